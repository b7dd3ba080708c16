package bus_test

import (
	"bufio"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/bus/embedded"
	"doorcode/pkg/certificate"
)

// secured is a server with nats-tls.conf, whose certificate a private authority signed.
type secured struct {
	dir    string // what the server's container mounts, and the authority ca.pem
	server *embedded.Server
}

// secure starts one whose certificate is for the given hosts.
func secure(t *testing.T, hosts ...string) secured {
	t.Helper()
	dir := t.TempDir()
	authority, err := certificate.NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	server, err := certificate.Issue(authority, hosts, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	_, err = bus.WriteKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "nats-tls.conf")
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	for path, data := range map[string][]byte{
		filepath.Join(dir, "ca.pem"):   authority.Certificate,
		filepath.Join(dir, "nats.pem"): server.Certificate,
		filepath.Join(dir, "nats.key"): server.Key,
		conf:                           []byte(strings.ReplaceAll(string(text), "/doorcode/", dir+"/")),
	} {
		err := os.WriteFile(path, data, 0o600)
		if err != nil {
			t.Fatal(err)
		}
	}
	s := secured{dir: dir}
	s.server, err = embedded.Start(patience(t), embedded.Config{
		ConfigFile: conf, StoreDir: filepath.Join(dir, "store"), Listen: "127.0.0.1:0",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := s.server.Stop(patience(t))
		if err != nil {
			t.Error(err)
		}
	})
	return s
}

// config is that of a client which trusts the authority.
func (s secured) config() bus.Config {
	return bus.Config{
		URL: s.server.URL(), Name: "auth", KeyFile: filepath.Join(s.dir, "auth.nk"), CAFile: filepath.Join(s.dir, "ca.pem"),
	}
}

func TestConnect_SpeaksTLSWithTheGivenAuthority(t *testing.T) {
	t.Parallel()
	s := secure(t, "127.0.0.1")
	cfg := s.config()
	// The scheme does not matter: the file decides.
	cfg.URL = strings.Replace(cfg.URL, "tls://", "nats://", 1)
	conn, err := bus.Connect(patience(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	err = conn.Ready(patience(t))
	if err != nil {
		t.Error(err)
	}
	err = conn.Drain(patience(t))
	if err != nil {
		t.Error(err)
	}
}

// It shows SEC-30 of deploy/SECURITY.md.
func TestConnect_RefusesAServerThatCannotProveItself(t *testing.T) {
	t.Parallel()
	right, other := secure(t, "127.0.0.1"), secure(t, "nats.example")
	plain := bustest.StartEmpty(t)
	foreign := right.config()
	foreign.CAFile = other.config().CAFile
	misnamed := other.config()
	open := right.config()
	open.URL, open.KeyFile = plain.URL(), plain.KeyFile("auth")
	for name, cfg := range map[string]bus.Config{
		"signed by another authority": foreign,
		"made for another host":       misnamed,
		"without TLS":                 open,
	} {
		// The context allows for much more than one try.
		_, err := bus.Connect(patience(t), cfg)
		if err == nil || errors.Is(err, bus.ErrUnavailable) || !strings.Contains(err.Error(), "cannot be trusted") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestConnect_RefusesAFileWithoutAuthorities(t *testing.T) {
	t.Parallel()
	s := secure(t, "127.0.0.1")
	for _, file := range []string{"missing.pem", "nats.conf", "nats.key"} {
		cfg := s.config()
		cfg.CAFile = filepath.Join(s.dir, file)
		_, err := bus.Connect(patience(t), cfg)
		if err == nil || errors.Is(err, bus.ErrUnavailable) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// It shows SEC-30 of deploy/SECURITY.md.
func TestServer_WithTLSGivesAPlainClientNoAnswer(t *testing.T) {
	t.Parallel()
	s := secure(t, "127.0.0.1")
	conn, err := new(net.Dialer).DialContext(patience(t), "tcp", strings.TrimPrefix(s.server.URL(), "tls://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, err = conn.Write([]byte("CONNECT {}\r\nPING\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil || strings.Contains(line, "INFO") || strings.Contains(line, "PONG") {
		t.Errorf("it answers %q, %v", line, err)
	}
}
