package app_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/assertion"
	"doorcode/pkg/bus"
	"doorcode/pkg/keyring"
	"doorcode/services/doorcodectl/app"
)

// files reads a folder's files and fails unless each is for its owner alone.
func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	content := map[string][]byte{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has the mode %s", e.Name(), info.Mode())
		}
		content[e.Name()] = read(t, filepath.Join(dir, e.Name()))
	}
	return content
}

// kids returns the key ids of a JWK set.
func kids(t *testing.T, set []byte) []string {
	t.Helper()
	var parsed struct {
		Keys []map[string]string `json:"keys"`
	}
	err := json.Unmarshal(set, &parsed)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, key := range parsed.Keys {
		if key["d"] != "" {
			t.Error("the public keys hold a private one")
		}
		ids = append(ids, key["kid"])
	}
	return ids
}

// signed returns an assertion of the folder's active key, and the id of that key.
func signed(t *testing.T, dir string) (text, kid string) {
	t.Helper()
	keys, err := assertion.Read(app.KeyFile(dir, app.AssertionKeys))
	if err != nil {
		t.Fatal(err)
	}
	text, err = keys.Sign(assertion.Claims{
		Issuer: "doorcode", FrontEnd: "web", Login: "kim", Workspace: "acme", Challenge: "c", Channel: "email", At: time.Unix(1e9, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	parsed, _, err := jwt.NewParser().ParseUnverified(text, jwt.MapClaims{})
	if err != nil {
		t.Fatal(err)
	}
	kid, _ = parsed.Header["kid"].(string)
	return text, kid
}

func TestKeys_MakesEveryFileOnceAndKeepsIt(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	keys, nats := filepath.Join(o.dir, "keys"), filepath.Join(o.dir, "nats")
	out := o.do(t, "keys")
	first := [2]map[string][]byte{files(t, keys), files(t, nats)}
	for _, name := range app.KeyRings() {
		if first[0][name+".json"] == nil || !strings.Contains(out, name) {
			t.Errorf("no file of %s, or nothing about it in %q", name, out)
		}
	}
	for _, user := range bus.UserNames() {
		if first[1][user+".nk"] == nil || !strings.Contains(out, user) {
			t.Errorf("no key of the user %s, or nothing about it in %q", user, out)
		}
	}
	_, kid := signed(t, keys)
	if kids(t, read(t, app.SealKeysFile(keys)))[0] == kid {
		t.Error("assertions and seals have one key")
	}
	if got := kids(t, read(t, app.JWKSFile(keys))); !slices.Equal(got, []string{kid}) {
		t.Errorf("public keys %v of the private key %s", got, kid)
	}
	if len(first[0]) != len(app.KeyRings())+2 {
		t.Errorf("%d files of keys", len(first[0]))
	}
	out = o.do(t, "keys")
	if strings.Count(out, "none, all are there") != 2 {
		t.Errorf("the second run says %q", out)
	}
	for i, dir := range []string{keys, nats} {
		again := files(t, dir)
		for name, content := range first[i] {
			if !bytes.Equal(again[name], content) {
				t.Errorf("%s changed", name)
			}
		}
		if len(again) != len(first[i]) {
			t.Errorf("%d files in %s, and %d before", len(again), dir, len(first[i]))
		}
	}
}

func TestKeys_MakesOnlyWhatIsMissing(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.do(t, "keys")
	dir := filepath.Join(o.dir, "keys")
	before := files(t, dir)
	err := errorsOf(os.Remove(app.KeyFile(dir, app.TagKeys)), os.Remove(app.JWKSFile(dir)))
	if err != nil {
		t.Fatal(err)
	}
	out := o.do(t, "keys")
	if !strings.Contains(out, ": tag\n") {
		t.Errorf("it says %q", out)
	}
	for name, content := range files(t, dir) {
		if changed := !bytes.Equal(before[name], content); changed != (name == "tag.json") {
			t.Errorf("%s changed: %t", name, changed)
		}
	}
}

// errorsOf returns the first error.
func errorsOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestKeys_ADamagedFileIsAnErrorAndStays(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.do(t, "keys")
	for _, name := range []string{app.HandleKeys, app.AssertionKeys} {
		path := app.KeyFile(filepath.Join(o.dir, "keys"), name)
		err := os.WriteFile(path, []byte(`{"active":1,"keys":{"1":"c3VycHJpc2U="}}`), 0o600)
		if err != nil {
			t.Fatal(err)
		}
		o.secrets = append(o.secrets, "c3VycHJpc2U=", "surprise")
		o.refused(t, 1, path, "keys", "-rotate", name)
		if !strings.Contains(string(read(t, path)), "c3VycHJpc2U=") {
			t.Errorf("%s was overwritten", name)
		}
	}
	o.refused(t, 1, "assertion.json", "keys")
}

func TestRotate_AddsAKeyToEveryRingAndOldValuesVerify(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.do(t, "keys")
	dir := filepath.Join(o.dir, "keys")
	for _, name := range app.KeyRings() {
		if name == app.AssertionKeys || name == app.SealKeys {
			continue
		}
		path := app.KeyFile(dir, name)
		old, err := keyring.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		id, sum := old.MAC("label", []byte("value"))
		out := o.do(t, "keys", "-rotate", name)
		next, err := keyring.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(next.IDs(), []uint8{1, 2}) || next.Active() != 2 || !next.Verify(id, sum, "label", []byte("value")) {
			t.Errorf("%s has the keys %v, active is %d", name, next.IDs(), next.Active())
		}
		newID, newSum := next.MAC("label", []byte("value"))
		if old.Verify(newID, newSum, "label", []byte("value")) || !strings.Contains(out, name) {
			t.Errorf("%s: the new key is no other one, or %q does not say so", name, out)
		}
	}
	files(t, dir) // the modes stay
}

func TestRotate_PublishesBothAssertionKeys(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.do(t, "keys")
	dir := filepath.Join(o.dir, "keys")
	before, old := signed(t, dir)
	o.do(t, "keys", "-rotate", app.AssertionKeys)
	_, kid := signed(t, dir)
	published := kids(t, read(t, app.JWKSFile(dir)))
	want := []string{old, kid}
	slices.Sort(want)
	if old == kid || !slices.Equal(published, want) {
		t.Errorf("published %v, the keys are %v", published, want)
	}
	if again, _ := signed(t, dir); again == before {
		t.Error("the former key still signs")
	}
}

// added adds a key to a ring and returns the words of the command that activates it.
func (o *operator) added(t *testing.T, name string) []string {
	t.Helper()
	out := strings.Fields(o.do(t, "keys", "-add", name))
	if len(out) < 4 || !slices.Contains(out, "doorcodectl") {
		t.Fatalf("it says %q", out)
	}
	return out[slices.Index(out, "doorcodectl")+1:]
}

func TestKeys_AKeyIsAddedToEveryRingAndActivatedLater(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.do(t, "keys")
	dir := filepath.Join(o.dir, "keys")
	for _, name := range app.KeyRings() {
		if name == app.AssertionKeys || name == app.SealKeys {
			continue
		}
		path := app.KeyFile(dir, name)
		old, err := keyring.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		activate := o.added(t, name)
		next, err := keyring.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		if id, sum := next.MAC("l"); next.Active() != 1 || !slices.Equal(next.IDs(), []uint8{1, 2}) || !old.Verify(id, sum, "l") {
			t.Errorf("%s has the keys %v, active is %d", name, next.IDs(), next.Active())
		}
		for range 2 {
			o.do(t, activate...)
			active, err := keyring.Read(path)
			if err != nil {
				t.Fatal(err)
			}
			if id, sum := active.MAC("l"); id != 2 || !slices.Equal(active.IDs(), []uint8{1, 2}) || !next.Verify(id, sum, "l") {
				t.Errorf("%s has the keys %v, active is %d", name, active.IDs(), id)
			}
		}
		for _, id := range []string{"3", "0", "256", "-1", "x"} {
			o.refused(t, 1, "unknown key id", "keys", "-activate", name, "-key="+id)
		}
	}
	files(t, dir) // the modes stay
}

func TestKeys_AnAssertionKeyIsPublishedBeforeItSigns(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.do(t, "keys")
	dir := filepath.Join(o.dir, "keys")
	before, old := signed(t, dir)
	activate := o.added(t, app.AssertionKeys)
	published := kids(t, read(t, app.JWKSFile(dir)))
	if again, _ := signed(t, dir); again != before || len(published) != 2 || !slices.Contains(published, old) {
		t.Errorf("published are %v, and %s no longer signs", published, old)
	}
	o.do(t, activate...)
	_, kid := signed(t, dir)
	if kid == old || !slices.Contains(published, kid) || !slices.Equal(kids(t, read(t, app.JWKSFile(dir))), published) {
		t.Errorf("%s signs, published were %v", kid, published)
	}
	o.refused(t, 1, "unknown key id", "keys", "-activate", app.AssertionKeys, "-key=none")
}

func TestKeys_OneChangeAtATime(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.do(t, "keys")
	before := files(t, filepath.Join(o.dir, "keys"))
	for _, args := range []string{
		"-activate tag", "-key 1", "-add tag -rotate tag", "-add tag -key 1", "-activate tag -key 1 -rotate tag", "-add=", "-rotate=",
	} {
		o.refused(t, 2, "one at a time", append([]string{"keys"}, strings.Fields(args)...)...)
	}
	for _, args := range []string{"-add jwks", "-activate ../nats/auth -key 1"} {
		o.refused(t, 1, strings.Join(app.KeyRings(), ", "), append([]string{"keys"}, strings.Fields(args)...)...)
	}
	if diff := cmp.Diff(before, files(t, filepath.Join(o.dir, "keys"))); diff != "" {
		t.Error("a command that was refused changed a file")
	}
}

func TestRotate_AnUnknownRingIsRefusedWithTheList(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.do(t, "keys")
	for _, name := range []string{"jwks", "../nats/auth", "Tag"} {
		o.refused(t, 1, strings.Join(app.KeyRings(), ", "), "keys", "-rotate", name)
	}
	empty := newOperator(t)
	empty.refused(t, 1, "no such file", "keys", "-rotate", app.TagKeys)
	if entries, _ := os.ReadDir(empty.dir); len(entries) != 0 {
		t.Error("a rotation of nothing made files")
	}
}
