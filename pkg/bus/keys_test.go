package bus_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nkeys"

	"doorcode/pkg/bus"
)

func TestWriteKeys_MakesEachKeyOnce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "bus")
	made, err := bus.WriteKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(bus.UserNames(), made); diff != "" {
		t.Errorf("made (-want +got):\n%s", diff)
	}
	before := files(t, dir)
	made, err = bus.WriteKeys(dir)
	if err != nil || len(made) != 0 {
		t.Errorf("a second time made %v, %v", made, err)
	}
	if diff := cmp.Diff(before, files(t, dir)); diff != "" {
		t.Error("a second time changed a file")
	}
}

func TestWriteKeys_KeepsWhatTheOperatorWrote(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const own = "# our own front-ends\n"
	err := os.WriteFile(filepath.Join(dir, "front-ends.conf"), []byte(own), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = bus.WriteKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	err = os.Remove(filepath.Join(dir, "auditor.nk"))
	if err != nil {
		t.Fatal(err)
	}
	made, err := bus.WriteKeys(dir)
	if diff := cmp.Diff([]string{"auditor"}, made); err != nil || diff != "" {
		t.Errorf("made anew: %v (-want +got):\n%s", err, diff)
	}
	if got := files(t, dir)["front-ends.conf"]; got != own {
		t.Errorf("front-ends.conf became %q", got)
	}
}

func TestWriteKeys_KeepsSeedsToTheirOwner(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := bus.WriteKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	content := files(t, dir)
	for _, user := range bus.UserNames() {
		info, err := os.Stat(filepath.Join(dir, user+".nk"))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("seed of %s: %v, %v", user, info, err)
		}
		if strings.Contains(content["nkeys.conf"], strings.TrimSpace(content[user+".nk"])) {
			t.Errorf("the seed of %s is in the server's configuration", user)
		}
	}
}

func TestWriteKeys_RefusesASeedThatIsNone(t *testing.T) {
	t.Parallel()
	account, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := account.Seed()
	if err != nil {
		t.Fatal(err)
	}
	for _, seed := range []string{"", "not a seed", string(foreign)} {
		dir := t.TempDir()
		err := os.WriteFile(filepath.Join(dir, "auth.nk"), []byte(seed), 0o600)
		if err != nil {
			t.Fatal(err)
		}
		_, err = bus.WriteKeys(dir)
		if err == nil || !strings.Contains(err.Error(), "auth") {
			t.Errorf("a seed of %d characters: %v", len(seed), err)
		}
	}
}

func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	content := map[string]string{}
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		content[entry.Name()] = string(data)
	}
	return content
}
