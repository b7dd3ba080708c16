package pgtest

import (
	"crypto/rand"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"doorcode/pkg/postgres/local"
)

// Private gives a test a server of its own and a database in it that is like that of Open, for tests that read what the
// server itself writes: its data folder, its WAL, its log. The settings are stronger than those of a run's cluster.
func Private(t testing.TB, stronger map[string]string) (*Database, *local.Cluster) {
	t.Helper()
	wanted := settings()
	maps.Copy(wanted, stronger)
	c := serve(t, wanted)
	ctx, cancel := lasting(t)
	defer cancel()
	err := prepare(ctx, c.URL("postgres"))
	if err != nil {
		t.Fatal("pgtest: make the template:", err)
	}
	template, err := templateName()
	if err != nil {
		t.Fatal("pgtest:", err)
	}
	a, err := parseAddress(c.URL("postgres"))
	if err != nil {
		t.Fatal("pgtest:", err)
	}
	d := &Database{name: "t_" + strings.ToLower(rand.Text()), address: a}
	d.admin(t, "CREATE DATABASE "+d.name+" TEMPLATE "+template)
	d.owner = pool(t, a.database(d.name))
	return d, c
}

// serve runs a server until the test ends.
func serve(t testing.TB, settings map[string]string) *local.Cluster {
	t.Helper()
	ctx, cancel := lasting(t)
	defer cancel()
	bin, err := local.FindOrInstall(ctx, "", t.Output())
	if err != nil {
		t.Fatal("pgtest: find postgres:", err)
	}
	dir, err := os.MkdirTemp("", "doorcode-pgtest-") //nolint:usetesting // t.TempDir lies below a folder that the server's user cannot pass
	if err != nil {
		t.Fatal("pgtest:", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	err = os.Chmod(dir, 0o711)
	if err != nil {
		t.Fatal("pgtest:", err)
	}
	c, err := local.Start(ctx, local.Config{Dir: filepath.Join(dir, "data"), BinDir: bin, Settings: settings})
	if err != nil {
		t.Fatal("pgtest: start postgres:", err)
	}
	t.Cleanup(func() {
		ctx, cancel := lasting(t)
		defer cancel()
		err := c.Remove(ctx)
		if err != nil {
			t.Error("pgtest: stop postgres:", err)
		}
	})
	return c
}
