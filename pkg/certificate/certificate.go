// Package certificate makes a private authority and the certificates of servers that it vouches for, so that processes
// of one installation can speak TLS to one another without anything from outside.
//
// Keys are ECDSA on P-256. Everything is PEM in memory; who keeps it where is the caller's matter. It knows no
// intermediate authorities, no client certificates and no revocation: a server's certificate lives for a year and is
// made anew in time, as Usable tells.
package certificate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"time"
)

// How long certificates live. An authority outlives many servers, because each of its changes has to reach every client.
const (
	ServerLife    = 365 * 24 * time.Hour
	AuthorityLife = 10 * ServerLife
	// Renewal is how long before its end a certificate counts as used up.
	Renewal = 30 * 24 * time.Hour
)

// early is how far back a certificate begins, for clocks that go slow.
const early = time.Hour

// The types of PEM blocks.
const (
	certificateBlock = "CERTIFICATE"
	keyBlock         = "PRIVATE KEY" // PKCS #8
)

// Pair is a certificate and its private key, in PEM.
type Pair struct {
	Certificate []byte
	Key         []byte // a secret
}

// NewAuthority makes an authority that signs servers and no further authorities.
func NewAuthority(now time.Time) (Pair, error) {
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "doorcode authority"},
		NotBefore: now.Add(-early), NotAfter: now.Add(AuthorityLife),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}
	pair, err := sign(template, nil)
	if err != nil {
		return Pair{}, fmt.Errorf("make an authority: %w", err)
	}
	return pair, nil
}

// Issue makes a certificate that is good for serving under the given host names and addresses, signed by the authority.
func Issue(authority Pair, hosts []string, now time.Time) (Pair, error) {
	if len(hosts) == 0 {
		return Pair{}, errors.New("issue a certificate: no host is named")
	}
	parent, err := tls.X509KeyPair(authority.Certificate, authority.Key)
	if err != nil {
		return Pair{}, fmt.Errorf("read the authority: %w", err)
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: hosts[0]},
		NotBefore: now.Add(-early), NotAfter: now.Add(ServerLife),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, host := range hosts {
		ip := net.ParseIP(host)
		switch {
		case ip != nil:
			template.IPAddresses = append(template.IPAddresses, ip)
		case strings.Trim(strings.ToLower(host), "abcdefghijklmnopqrstuvwxyz0123456789-.") == "" && host != "":
			template.DNSNames = append(template.DNSNames, host)
		default:
			return Pair{}, errors.New("issue a certificate: a host is neither a name nor an address")
		}
	}
	pair, err := sign(template, &parent)
	if err != nil {
		return Pair{}, fmt.Errorf("issue a certificate: %w", err)
	}
	return pair, nil
}

// sign draws a key and a serial number and signs the template with the parent, or with itself when there is none.
func sign(template *x509.Certificate, parent *tls.Certificate) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("draw a key: %w", err)
	}
	// RFC 5280 §4.1.2.2: positive, at most 20 octets.
	template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return Pair{}, fmt.Errorf("draw a serial number: %w", err)
	}
	issuer, signer := template, any(key)
	if parent != nil {
		issuer, signer = parent.Leaf, parent.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, signer)
	if err != nil {
		return Pair{}, fmt.Errorf("sign: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, fmt.Errorf("encode the key: %w", err)
	}
	return Pair{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: der}),
		Key:         pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: secret}),
	}, nil
}

// UsableAuthority returns nil when the pair is an authority that has more than Renewal to live.
func UsableAuthority(authority Pair, now time.Time) error {
	parsed, err := tls.X509KeyPair(authority.Certificate, authority.Key)
	if err != nil {
		return fmt.Errorf("read the authority: %w", err)
	}
	if !parsed.Leaf.IsCA {
		return errors.New("the certificate is not that of an authority")
	}
	return lives(parsed.Leaf, now)
}

// Usable returns nil when the pair serves exactly these hosts, is signed by the authority and has more than Renewal to
// live. Otherwise it says why the pair has to be made anew.
func Usable(authority, server Pair, hosts []string, now time.Time) error {
	parsed, err := tls.X509KeyPair(server.Certificate, server.Key)
	if err != nil {
		return fmt.Errorf("read the server's certificate: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority.Certificate) {
		return errors.New("read the authority: it holds no certificate")
	}
	_, err = parsed.Leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now})
	if err != nil {
		return fmt.Errorf("verify the server's certificate: %w", err)
	}
	if !slices.Equal(named(parsed.Leaf), sorted(hosts)) {
		return errors.New("the certificate is for other hosts")
	}
	return lives(parsed.Leaf, now)
}

// lives tells whether a certificate has more than Renewal to live.
func lives(c *x509.Certificate, now time.Time) error {
	if now.Before(c.NotBefore) || !now.Add(Renewal).Before(c.NotAfter) {
		return errors.New("the certificate ends soon or has ended")
	}
	return nil
}

// named lists the hosts of a certificate in order.
func named(c *x509.Certificate) []string {
	hosts := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		hosts = append(hosts, ip.String())
	}
	return sorted(hosts)
}

// sorted returns an ordered copy without repetitions.
func sorted(hosts []string) []string {
	hosts = slices.Clone(hosts)
	slices.Sort(hosts)
	return slices.Compact(hosts)
}
