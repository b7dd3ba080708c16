package certificate_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"go.uber.org/goleak"

	"doorcode/pkg/certificate"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// today is a fixed moment of the tests.
func today() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func authority(t *testing.T) certificate.Pair {
	t.Helper()
	pair, err := certificate.NewAuthority(today())
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func issue(t *testing.T, by certificate.Pair, hosts ...string) certificate.Pair {
	t.Helper()
	pair, err := certificate.Issue(by, hosts, today())
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func leaf(t *testing.T, p certificate.Pair) *x509.Certificate {
	t.Helper()
	parsed, err := tls.X509KeyPair(p.Certificate, p.Key)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Leaf
}

func TestNewAuthority_SignsServersAlone(t *testing.T) {
	t.Parallel()
	c := leaf(t, authority(t))
	if !c.IsCA || c.MaxPathLen != 0 || !c.MaxPathLenZero || c.KeyUsage != x509.KeyUsageCertSign {
		t.Errorf("authority: CA %v, path %d, usage %v", c.IsCA, c.MaxPathLen, c.KeyUsage)
	}
	if !c.NotAfter.Equal(today().Add(certificate.AuthorityLife)) {
		t.Errorf("it lives until %s", c.NotAfter)
	}
}

func TestIssue_ServesTheNamedHostsForAYear(t *testing.T) {
	t.Parallel()
	ca := authority(t)
	c := leaf(t, issue(t, ca, "nats", "10.1.2.3"))
	key, isECDSA := c.PublicKey.(*ecdsa.PublicKey)
	if !isECDSA || key.Curve != elliptic.P256() {
		t.Errorf("its key is a %T", c.PublicKey)
	}
	if c.IsCA || !c.NotAfter.Equal(today().AddDate(1, 0, 0)) {
		t.Errorf("CA %v, until %s", c.IsCA, c.NotAfter)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.Certificate)
	for host, good := range map[string]bool{"nats": true, "10.1.2.3": true, "postgres": false, "10.1.2.4": false} {
		_, err := c.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: today()})
		if (err == nil) != good {
			t.Errorf("as %s: %v", host, err)
		}
	}
	_, err := c.Verify(x509.VerifyOptions{
		Roots: roots, CurrentTime: today(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err == nil {
		t.Error("it is good for a client as well")
	}
}

func TestIssue_RefusesWhatItCannotSign(t *testing.T) {
	t.Parallel()
	ca := authority(t)
	for name, try := range map[string]struct {
		by    certificate.Pair
		hosts []string
	}{
		"no host":               {ca, nil},
		"no authority":          {certificate.Pair{}, []string{"nats"}},
		"the key of another":    {certificate.Pair{Certificate: ca.Certificate, Key: authority(t).Key}, []string{"nats"}},
		"a key that is no PEM":  {certificate.Pair{Certificate: ca.Certificate, Key: []byte("secret")}, []string{"nats"}},
		"a host with a newline": {ca, []string{"nats", "na\nts"}},
		"an empty host":         {ca, []string{"nats", ""}},
	} {
		_, err := certificate.Issue(try.by, try.hosts, today())
		if err == nil {
			t.Errorf("%s: issued", name)
		}
	}
}

func TestUsable_TellsWhatHasToBeMadeAnew(t *testing.T) {
	t.Parallel()
	ca, other := authority(t), authority(t)
	server := issue(t, ca, "nats", "localhost", "::1")
	hosts := []string{"localhost", "::1", "nats", "nats"}
	year := certificate.ServerLife
	for name, c := range map[string]struct {
		ca, server certificate.Pair
		hosts      []string
		at         time.Time
		good       bool
	}{
		"fresh, hosts in any order":  {ca, server, hosts, today(), true},
		"before its last month":      {ca, server, hosts, today().Add(year - certificate.Renewal - time.Minute), true},
		"in its last month":          {ca, server, hosts, today().Add(year - certificate.Renewal), false},
		"after its end":              {ca, server, hosts, today().Add(year + time.Minute), false},
		"before its time":            {ca, server, hosts, today().Add(-2 * time.Hour), false},
		"a host less":                {ca, server, hosts[:2], today(), false},
		"a host more":                {ca, server, append([]string{"bus"}, hosts...), today(), false},
		"signed by another":          {other, server, hosts, today(), false},
		"with the key of another":    {ca, certificate.Pair{Certificate: server.Certificate, Key: other.Key}, hosts, today(), false},
		"nothing there":              {ca, certificate.Pair{}, hosts, today(), false},
		"an authority without bytes": {certificate.Pair{}, server, hosts, today(), false},
	} {
		err := certificate.Usable(c.ca, c.server, c.hosts, c.at)
		if (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUsableAuthority_IsAnAuthorityThatLives(t *testing.T) {
	t.Parallel()
	ca := authority(t)
	for name, c := range map[string]struct {
		pair certificate.Pair
		at   time.Time
		good bool
	}{
		"fresh":             {ca, today(), true},
		"in its last month": {ca, today().Add(certificate.AuthorityLife - certificate.Renewal), false},
		"a server":          {issue(t, ca, "nats"), today(), false},
		"nothing":           {certificate.Pair{}, today(), false},
	} {
		err := certificate.UsableAuthority(c.pair, c.at)
		if (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}
