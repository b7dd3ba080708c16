package bus

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/nats-io/nats.go"
)

// transport returns the options for TLS with the authorities in a file, none without a file. The handshake comes first
// (nats-postgres.md 7), so that a server, or whoever sits in between, can offer no plain connection. The file is read
// again at each reconnect: a new authority beside the old one needs no restart.
func transport(caFile string) ([]nats.Option, error) {
	if caFile == "" {
		return nil, nil
	}
	authorities, err := os.ReadFile(caFile) //nolint:gosec // The operator names the file.
	if err != nil {
		return nil, fmt.Errorf("read the authorities of the bus: %w", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(authorities) {
		return nil, errors.New("read the authorities of the bus: the file holds no certificate in PEM")
	}
	return []nats.Option{
		nats.Secure(&tls.Config{MinVersion: tls.VersionTLS13}),
		nats.RootCAs(caFile),
		nats.TLSHandshakeFirst(),
	}, nil
}

// isUntrusted tells a server that is there but does not prove who it is, or does not speak TLS, from one that is not
// there.
func isUntrusted(err error) bool {
	var verification *tls.CertificateVerificationError
	var noTLS tls.RecordHeaderError
	return errors.As(err, &verification) || errors.As(err, &noTLS) || errors.Is(err, nats.ErrSecureConnWanted)
}
