package certificate_test

import (
	"strings"
	"testing"
	"time"

	"doorcode/pkg/certificate"
)

// FuzzUsable holds that no file breaks the command that looks at it, that a changed one is not usable by mistake, and
// that what is said about it has no key in it.
func FuzzUsable(f *testing.F) {
	now := time.Unix(1_795_472_115, 0)
	authority, err := certificate.NewAuthority(now)
	if err != nil {
		f.Fatal(err)
	}
	server, err := certificate.Issue(authority, []string{"nats", "127.0.0.1"}, now)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(server.Certificate, server.Key)
	f.Add(server.Key, server.Certificate)
	f.Add(authority.Certificate, authority.Key)
	f.Add([]byte(nil), []byte("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n"))
	f.Add(append(append([]byte{}, server.Certificate...), authority.Certificate...), server.Key)
	f.Fuzz(func(t *testing.T, certificates, key []byte) {
		pair := certificate.Pair{Certificate: certificates, Key: key}
		for _, err := range []error{
			certificate.Usable(authority, pair, []string{"nats", "127.0.0.1"}, now), certificate.UsableAuthority(pair, now), certificate.Usable(pair, pair, nil, now),
		} {
			if err != nil && len(key) > 20 && strings.Contains(err.Error(), string(key)) {
				t.Errorf("the key is told: %v", err)
			}
		}
		issued, err := certificate.Issue(pair, []string{"nats"}, now)
		if err == nil && len(issued.Certificate) == 0 {
			t.Error("nothing is issued")
		}
	})
}
