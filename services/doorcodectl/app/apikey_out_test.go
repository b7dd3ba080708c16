package app_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"doorcode/pkg/frontend"
	"doorcode/pkg/postgres/pgtest"
)

func TestAPIKey_InAFileIsKeptWhileItIsValid(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.useDatabase(t, pgtest.Open(t).OwnerURL())
	o.do(t, "keys")
	file := filepath.Join(o.dir, "api-key")
	create := func() string {
		out := o.do(t, "api-key", "create", "demo", "-scopes", "challenges,directory", "-out", file)
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o600 || strings.Contains(out, string(data)) {
			t.Errorf("the file is %v, %v, or the key was printed", info, err)
		}
		_, isKey := frontend.ParseAuthorization("Bearer " + string(data))
		if !isKey {
			t.Error("the file holds no key")
		}
		return string(data)
	}
	first := create()
	if create() != first {
		t.Error("a valid key was made anew")
	}
	printed := o.do(t, "api-key", "create", "demo")
	third := create()
	if third == first || third == strings.TrimSpace(printed) {
		t.Error("a key that has ended was kept")
	}
	err := os.WriteFile(file, []byte("no key"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if create() == "no key" {
		t.Error("a file without a key was kept")
	}
}
