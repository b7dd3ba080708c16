package app_test

import (
	"crypto/x509"
	"encoding/pem"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/certificate"
)

// leaf parses the first certificate of a file's content.
func leaf(t *testing.T, content []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(content)
	if block == nil {
		t.Fatal("no PEM")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCertificates_MakesWhatComposeNeedsOnce(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	dir := filepath.Join(o.dir, "certificates")
	out := o.do(t, "certificates", "-dir", dir)
	if !strings.HasSuffix(out, ": ca, nats, postgres\n") {
		t.Errorf("it says %q", out)
	}
	before := files(t, dir)
	names := slices.Sorted(maps.Keys(before))
	if diff := cmp.Diff([]string{"ca.key", "ca.pem", "nats.key", "nats.pem", "postgres.key", "postgres.pem"}, names); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	authority := x509.NewCertPool()
	authority.AppendCertsFromPEM(before["ca.pem"])
	for _, name := range []string{"nats", "postgres"} {
		_, err := leaf(t, before[name+".pem"]).Verify(x509.VerifyOptions{Roots: authority, DNSName: name})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	out = o.do(t, "certificates", "-dir", dir)
	if !strings.Contains(out, "none, all are there") {
		t.Errorf("the second time it says %q", out)
	}
	if diff := cmp.Diff(before, files(t, dir)); diff != "" {
		t.Error("the second time changed a file")
	}
}

func TestCertificates_MakesAnewWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	dir := o.dir
	args := []string{"certificates", "-dir", dir, "-server", "nats=nats,10.1.2.3", "-server", "postgres"}
	o.do(t, args...)
	put := func(name string, data []byte) {
		err := os.WriteFile(filepath.Join(dir, name), data, 0o600)
		if err != nil {
			t.Fatal(err)
		}
	}
	ca := certificate.Pair{Certificate: files(t, dir)["ca.pem"], Key: files(t, dir)["ca.key"]}
	old, err := certificate.Issue(ca, []string{"postgres"}, time.Now().Add(-certificate.ServerLife+24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name   string
		change func()
		args   []string
		made   string
	}{
		{"another host", func() {}, []string{"certificates", "-dir", dir, "-server", "nats=nats", "-server", "postgres"}, "nats"},
		{"hosts of before", func() {}, args, "nats"},
		{"a key cut short", func() { put("nats.key", []byte("-----BEGIN")) }, args, "nats"},
		{"a day to live", func() { put("postgres.pem", old.Certificate); put("postgres.key", old.Key) }, args, "postgres"},
		{"no authority", func() { put("ca.key", nil) }, args, "ca, nats, postgres"},
		{"nothing changed", func() {}, args, "none, all are there"},
	} {
		step.change()
		out := o.do(t, step.args...)
		if !strings.HasSuffix(out, ": "+step.made+"\n") {
			t.Errorf("%s: it made %q, want %s", step.name, out, step.made)
		}
	}
}

func TestCertificates_RefusesWhatNamesNoServer(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "=host", "ca=host", "../nats=host", "nats=", "nats=a b"} {
		o := newOperator(t)
		a := o.run(t, "certificates", "-dir", o.dir, "-server", text)
		if a.code == 0 || a.complaint == "" {
			t.Errorf("-server %q: exit code %d", text, a.code)
		}
	}
}
