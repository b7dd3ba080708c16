package postgres_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"doorcode/pkg/certificate"
	"doorcode/pkg/config"
	"doorcode/pkg/postgres"
	"doorcode/pkg/postgres/pgtest"
)

// vouched returns an authority and a server's certificate for the given hosts.
func vouched(t *testing.T, hosts ...string) (authority, server certificate.Pair) {
	t.Helper()
	authority, err := certificate.NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	server, err = certificate.Issue(authority, hosts, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return authority, server
}

// in writes data to a file of the test and returns its path.
func in(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	err := os.WriteFile(path, data, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// The server has the rules of deploy/postgres, and the addresses are of the form of docker-compose.yml.
func TestOpen_SpeaksTLSAndRefusesWhatCannotBeTrusted(t *testing.T) {
	t.Parallel()
	rules, err := os.ReadFile(filepath.Join("..", "..", "deploy", "postgres", "pg_hba.conf"))
	if err != nil {
		t.Fatal(err)
	}
	authority, server := vouched(t, "127.0.0.1")
	other, _ := vouched(t, "127.0.0.1")
	cluster := pgtest.Secure(t, server.Certificate, server.Key, string(rules))
	owner, err := url.Parse(cluster.URL("doorcode"))
	if err != nil {
		t.Fatal(err)
	}
	right, wrong := in(t, authority.Certificate), in(t, other.Certificate)
	at := func(u url.URL, host, mode, root string) string {
		u.Host = host + ":" + u.Port()
		u.RawQuery = url.Values{"sslmode": {mode}, "sslrootcert": {root}}.Encode()
		return u.String()
	}
	secret := config.NewSecret("a password of the test alone")
	_, err = postgres.Migrate(t.Context(), at(*owner, "127.0.0.1", "verify-full", right), map[postgres.Role]config.Secret{postgres.RoleAuth: secret})
	if err != nil {
		t.Fatal(err)
	}

	password, _ := owner.User.Password()
	roles := map[string]config.Secret{"doorcode_auth": secret, "doorcode": config.NewSecret(password)}
	anonymous := *owner
	anonymous.User = nil
	opened := func(address, role string) error {
		db, err := postgres.Open(t.Context(), postgres.Config{URL: address, User: role, Password: roles[role]})
		if err == nil {
			db.Close()
		}
		return err
	}
	for role := range roles {
		err = opened(at(anonymous, "127.0.0.1", "verify-full", right), role)
		if err != nil {
			t.Errorf("%s as configured: %v", role, err)
		}
		var refused *pgconn.PgError
		err = opened(at(anonymous, "127.0.0.1", "disable", right), role)
		if !errors.As(err, &refused) || refused.Code != "28000" {
			t.Errorf("%s in plain: %v", role, err)
		}
		var untrusted *tls.CertificateVerificationError
		err = opened(at(anonymous, "127.0.0.1", "verify-full", wrong), role)
		if !errors.As(err, &untrusted) {
			t.Errorf("%s with another authority: %v", role, err)
		}
		var misnamed x509.HostnameError
		err = opened(at(anonymous, "localhost", "verify-full", right), role)
		if !errors.As(err, &misnamed) {
			t.Errorf("%s at another host: %v", role, err)
		}
	}
	// No other database is served, not even to its owner.
	owner.Path = "/postgres"
	_, err = pgx.Connect(t.Context(), at(*owner, "127.0.0.1", "verify-full", right))
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code != "28000" {
		t.Errorf("another database: %v", err)
	}
}
