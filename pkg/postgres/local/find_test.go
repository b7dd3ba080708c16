package local

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeBinaries makes a folder that looks like Postgres of a version.
func fakeBinaries(t *testing.T, dir, version string) {
	t.Helper()
	err := os.MkdirAll(dir, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	script(t, filepath.Join(dir, "initdb"), "exit 0")
	script(t, filepath.Join(dir, "postgres"), "echo 'postgres (PostgreSQL) "+version+" (Test)'")
}

// script writes a small program.
func script(t *testing.T, path, body string) {
	t.Helper()
	err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o755)
	if err != nil {
		t.Fatal(err)
	}
}

func TestFind_TakesTheGivenFolderOrSaysWhyNot(t *testing.T) {
	t.Parallel()
	good, old, empty := filepath.Join(t.TempDir(), "good"), filepath.Join(t.TempDir(), "old"), t.TempDir()
	fakeBinaries(t, good, "14.0")
	fakeBinaries(t, old, "13.9")
	got, err := Find(t.Context(), good)
	if err != nil || got != good {
		t.Errorf("a good folder: %q, %v", got, err)
	}
	for dir, want := range map[string]string{old: "13 is too old", empty: "look for initdb"} {
		_, err = Find(t.Context(), dir)
		if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, ErrNotFound) {
			t.Errorf("the folder %s: %v, want %q", dir, err, want)
		}
	}
}

func TestFind_PrefersPathAndThenTheNewest(t *testing.T) {
	root, links, bare := t.TempDir(), t.TempDir(), t.TempDir()
	for _, v := range []string{"9", "14", "16"} {
		fakeBinaries(t, filepath.Join(root, v, "bin"), v+".1")
	}
	places := []string{filepath.Join(root, "*", "bin")}
	t.Setenv("PATH", bare)
	got, err := find(t.Context(), "", places)
	if err != nil || got != filepath.Join(root, "16", "bin") {
		t.Errorf("without PATH: %q, %v, want the newest", got, err)
	}
	_, err = find(t.Context(), "", nil)
	if !errors.Is(err, ErrNotFound) {
		t.Errorf("nothing installed: %v, want ErrNotFound", err)
	}
	err = os.Symlink(filepath.Join(root, "14", "bin", "postgres"), filepath.Join(links, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", links)
	got, err = find(t.Context(), "", places)
	want, _ := realPath(filepath.Join(root, "14", "bin"))
	if err != nil || got != want {
		t.Errorf("with PATH: %q, %v, want the folder behind the link", got, err)
	}
}

func TestInstaller_InstallsQuietlyAndCleansUp(t *testing.T) {
	bin, dropIns := t.TempDir(), filepath.Join(t.TempDir(), "createcluster.d")
	// The look-alike knows no package before its lists are up to date, and insists
	// on the setting and on the silence.
	script(t, filepath.Join(bin, "apt-get"), `
echo "ran $*"
[ "$DEBIAN_FRONTEND" = noninteractive ] || exit 9
read -r line < `+filepath.Join(dropIns, "doorcode.conf")+` || exit 8
if [ "$1" = update ]; then : > `+filepath.Join(bin, "lists")+`; exit 0; fi
[ -f `+filepath.Join(bin, "lists")+` ] || exit 100`)
	t.Setenv("PATH", bin)
	var out strings.Builder
	err := installer{root: true, dropIns: dropIns, out: &out}.install(t.Context())
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if strings.Count(out.String(), "ran install --yes") != 2 || strings.Count(out.String(), "ran update") != 1 {
		t.Errorf("the installation went another way:\n%s", out.String())
	}
	left, err := os.ReadDir(dropIns)
	if err != nil || len(left) != 0 {
		t.Errorf("the setting was left behind: %v, %v", left, err)
	}
}

func TestInstaller_SaysWhatToInstall(t *testing.T) { //nolint:paralleltest // changes PATH
	for _, c := range []struct {
		manager string
		root    bool
		want    string
	}{
		{"apt-get", false, "as root with `apt-get install postgresql`"},
		{"dnf", true, "with `dnf install postgresql-server`"},
		{"apk", true, "with `apk add postgresql`"},
		{"brew", false, "with `brew install postgresql@17`"},
		{"none", true, "the PostgreSQL server of your system"},
	} {
		bin := t.TempDir()
		script(t, filepath.Join(bin, c.manager), "exit 1")
		t.Setenv("PATH", bin)
		err := installer{root: c.root, dropIns: filepath.Join(bin, "d"), out: t.Output()}.install(t.Context())
		if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("with %s: %v, want %q", c.manager, err, c.want)
		}
	}
}
