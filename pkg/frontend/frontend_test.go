package frontend_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"doorcode/pkg/frontend"
	"doorcode/pkg/keyring"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func made(t *testing.T) (*keyring.Ring, frontend.FrontEnd, string) {
	t.Helper()
	ring, err := keyring.New()
	if err != nil {
		t.Fatal(err)
	}
	f, key, err := frontend.FrontEnd{ID: "login-page", Scopes: []frontend.Scope{frontend.Challenges}, Workspaces: []string{"w1"}}.WithNewKey(ring)
	if err != nil {
		t.Fatal(err)
	}
	return ring, f, key
}

// It shows SEC-26 and SEC-53 of deploy/SECURITY.md.
func TestFrontEnd_HoldsItsKeyAlone(t *testing.T) {
	t.Parallel()
	ring, f, text := made(t)
	key, ok := frontend.ParseAuthorization("Bearer " + text)
	if !ok || key.ID != "login-page" || !f.Holds(ring, key) {
		t.Fatal("the key is not its own")
	}
	rotated, err := ring.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	if !f.Holds(rotated, key) {
		t.Error("the key ended with the rotation of the ring")
	}
	other, otherText, err := f.WithNewKey(ring)
	if err != nil {
		t.Fatal(err)
	}
	otherKey, _ := frontend.ParseAuthorization("Bearer " + otherText)
	if f.Holds(ring, otherKey) || other.Holds(ring, key) {
		t.Error("one key opens another")
	}
	renamed := f
	renamed.ID = "other"
	if renamed.Holds(ring, key) {
		t.Error("the key opens a front-end of another name")
	}
}

func TestParseAuthorization_RefusesWhatIsNoKey(t *testing.T) {
	t.Parallel()
	_, _, text := made(t)
	for _, header := range []string{
		"", "Bearer", "Bearer ", text, "Basic " + text, "Bearer dck_", "Bearer dck__", "Bearer dck_login-page", "Bearer " + text[:len(text)-1],
		"Bearer " + text + "x", "Bearer dck_Login_" + strings.Repeat("a", 43), "Bearer xck_login-page_" + strings.Repeat("a", 43),
		"Bearer dck_" + strings.Repeat("a", 33) + "_" + strings.Repeat("a", 43),
	} {
		_, ok := frontend.ParseAuthorization(header)
		if ok {
			t.Errorf("%q is taken for a key", header)
		}
	}
	_, ok := frontend.ParseAuthorization("bearer " + text)
	if !ok {
		t.Error("the scheme counts its case")
	}
}

// It shows SEC-53 of deploy/SECURITY.md.
func TestFrontEnd_MayDoWhatItsKeySays(t *testing.T) {
	t.Parallel()
	_, f, _ := made(t)
	if !f.May(frontend.Challenges, "w1") || f.May(frontend.Challenges, "w2") || f.May(frontend.Directory, "w1") {
		t.Error("scope or workspace does not count")
	}
	f.Workspaces = nil
	if f.May(frontend.Challenges, "w1") {
		t.Error("no workspace is taken for all of them")
	}
	f.AllWorkspaces = true
	if !f.May(frontend.Challenges, "w2") {
		t.Error("all workspaces are not all")
	}
	// Who may change addresses everywhere may not have an operator's codes.
	if f.May(frontend.Challenges, frontend.Operators) {
		t.Error("all workspaces are the operators' too")
	}
	f.AllWorkspaces, f.Workspaces = false, []string{frontend.Operators}
	if !f.May(frontend.Challenges, frontend.Operators) {
		t.Error("the console's own key may not ask for its operators' codes")
	}
}

func TestWithNewKey_RefusesAnIDThatAKeyCannotCarry(t *testing.T) {
	t.Parallel()
	ring, _, _ := made(t)
	for _, id := range []string{"", "a_b", "A", "a b", "ä", strings.Repeat("a", 33)} {
		_, _, err := frontend.FrontEnd{ID: id}.WithNewKey(ring)
		if err == nil {
			t.Errorf("%q is taken", id)
		}
	}
}

func TestKey_ShowsNothingOfItsSecret(t *testing.T) {
	t.Parallel()
	_, _, text := made(t)
	key, _ := frontend.ParseAuthorization("Bearer " + text)
	secret := text[len(text)-43:]
	var b strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		fmt.Fprintf(&b, verb, key)
		fmt.Fprintf(&b, verb, &key)
	}
	data, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	b.Write(data)
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "key", key)
	b.WriteString(key.String())
	if strings.Contains(b.String(), secret) || strings.Contains(b.String(), fmt.Sprintf("%x", secret)) {
		t.Error("the secret shows")
	}
	if reflect.TypeFor[frontend.Key]().Comparable() {
		t.Error("two keys can be compared with ==")
	}
}

func TestParseScope_IsAClosedSet(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"challenges", "directory"} {
		got, err := frontend.ParseScope(s)
		if err != nil || string(got) != s {
			t.Errorf("%s: %v", s, err)
		}
	}
	_, err := frontend.ParseScope("all")
	if err == nil {
		t.Error("an unknown scope is taken")
	}
}
