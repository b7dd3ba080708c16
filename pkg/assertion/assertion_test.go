package assertion_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"doorcode/pkg/assertion"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func fresh(t *testing.T) *assertion.Keys {
	t.Helper()
	k, err := assertion.New()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func claims() assertion.Claims {
	return assertion.Claims{
		Issuer: "doorcode", FrontEnd: "web", Login: "anna", Workspace: "acme", Challenge: "AAAAAAAAAAAAAAAAAAAAAA", Channel: "email",
		At: time.Date(2026, 3, 1, 12, 0, 0, 987654321, time.UTC),
	}
}

func sign(t *testing.T, k *assertion.Keys, c assertion.Claims) string {
	t.Helper()
	s, err := k.Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// verify reads an assertion with the keys of a JWK set.
func verify(t *testing.T, k *assertion.Keys, text string) (header, payload map[string]any) {
	t.Helper()
	set, err := k.JWKS()
	if err != nil {
		t.Fatal(err)
	}
	var parsed struct {
		Keys []struct{ Kty, Crv, Kid, Use, Alg, X string }
	}
	err = json.Unmarshal(set, &parsed)
	if err != nil {
		t.Fatal(err)
	}
	read := jwt.MapClaims{}
	got, err := jwt.ParseWithClaims(text, read, func(j *jwt.Token) (any, error) {
		for _, key := range parsed.Keys {
			if key.Kid == j.Header["kid"] && key.Kty == "OKP" && key.Crv == "Ed25519" && key.Use == "sig" && key.Alg == "EdDSA" {
				raw, err := base64.RawURLEncoding.DecodeString(key.X)
				return ed25519.PublicKey(raw), err
			}
		}
		return nil, jwt.ErrTokenUnverifiable
	}, jwt.WithValidMethods([]string{"EdDSA"}), jwt.WithTimeFunc(func() time.Time { return claims().At }))
	if err != nil {
		t.Fatal(err)
	}
	return got.Header, read
}

// It shows SEC-08 of deploy/SECURITY.md.
func TestSign_SaysWhatHappenedAndNoMore(t *testing.T) {
	t.Parallel()
	k := fresh(t)
	header, payload := verify(t, k, sign(t, k, claims()))
	want := map[string]any{
		"iss": "doorcode", "aud": []any{"web"}, "sub": "anna", "jti": "AAAAAAAAAAAAAAAAAAAAAA", "iat": 1772366400.0, "exp": 1772366460.0,
		"workspace": "acme", "challenge": "AAAAAAAAAAAAAAAAAAAAAA", "channel": "email", "amr": []any{"otp"},
	}
	if diff := cmp.Diff(want, payload); diff != "" {
		t.Error(diff)
	}
	if header["alg"] != "EdDSA" || header["kid"] == "" {
		t.Errorf("header: %v", header)
	}
}

func TestP2_SignIsTheSameForTheSameClaims(t *testing.T) {
	t.Parallel()
	k := fresh(t)
	data, err := k.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "assertion.json")
	err = os.WriteFile(path, data, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	restarted, err := assertion.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	local := claims()
	local.At = local.At.In(time.FixedZone("east", 3600))
	if sign(t, k, claims()) != sign(t, restarted, local) {
		t.Error("two texts for one approval")
	}
}

func TestSign_RefusesAMissingClaim(t *testing.T) {
	t.Parallel()
	k := fresh(t)
	for _, drop := range []func(*assertion.Claims){
		func(c *assertion.Claims) { c.Issuer = "" }, func(c *assertion.Claims) { c.FrontEnd = "" },
		func(c *assertion.Claims) { c.Login = "" }, func(c *assertion.Claims) { c.Workspace = "" },
		func(c *assertion.Claims) { c.Challenge = "" }, func(c *assertion.Claims) { c.Channel = "" },
		func(c *assertion.Claims) { c.At = time.Time{} },
	} {
		c := claims()
		drop(&c)
		_, err := k.Sign(c)
		if err == nil {
			t.Errorf("%+v was signed", c)
		}
	}
}

func TestRotate_OldAssertionsStayGood(t *testing.T) {
	t.Parallel()
	old := fresh(t)
	before := sign(t, old, claims())
	next, err := old.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	after := sign(t, next, claims())
	was, _ := verify(t, next, before)
	is, _ := verify(t, next, after)
	if was["kid"] == is["kid"] {
		t.Error("the new key does not sign")
	}
}

func TestAdd_AKeyIsPublishedBeforeItSigns(t *testing.T) {
	t.Parallel()
	old := fresh(t)
	next, id, err := old.Add()
	if err != nil {
		t.Fatal(err)
	}
	// With the keys of whoever has not learned of the new one, and published beside it.
	was, _ := verify(t, old, sign(t, next, claims()))
	active, err := next.Activate(id)
	if err != nil {
		t.Fatal(err)
	}
	is, _ := verify(t, next, sign(t, active, claims()))
	if was["kid"] == id || is["kid"] != id {
		t.Errorf("the new key is %s, before its activation %v signs and after it %v", id, was["kid"], is["kid"])
	}
	_, err = old.Activate(id)
	if !errors.Is(err, assertion.ErrUnknownKey) {
		t.Errorf("a key that is not there: %v", err)
	}
}

func TestRead_RefusesWhatIsNoKeyFile(t *testing.T) {
	t.Parallel()
	data, err := fresh(t).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Active string            `json:"active"`
		Keys   map[string]string `json:"keys"`
	}
	err = json.Unmarshal(data, &f)
	if err != nil {
		t.Fatal(err)
	}
	seed := f.Keys[f.Active]
	dir := t.TempDir()
	for name, content := range map[string]string{
		"empty":      ``,
		"no active":  `{"keys":{"` + f.Active + `":"` + seed + `"}}`,
		"other id":   `{"active":"other","keys":{"other":"` + seed + `"}}`,
		"short seed": `{"active":"a","keys":{"a":"c2VjcmV0"}}`,
	} {
		path := filepath.Join(dir, name)
		err := os.WriteFile(path, []byte(content), 0o600)
		if err != nil {
			t.Fatal(err)
		}
		_, err = assertion.Read(path)
		if err == nil || strings.Contains(err.Error(), seed) || strings.Contains(err.Error(), "c2VjcmV0") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = assertion.Read(filepath.Join(dir, "missing"))
	if err == nil {
		t.Error("a missing file was taken")
	}
}

func TestKeys_ShowNothingOfThemselves(t *testing.T) {
	t.Parallel()
	k := fresh(t)
	marshalled, err := json.Marshal(map[string]any{"keys": k})
	if err != nil {
		t.Fatal(err)
	}
	shown := fmt.Sprintf("%v %+v %#v %s %x %d", k, k, k, k, k, k) + k.LogValue().String() + k.String() + k.GoString()
	if strings.ReplaceAll(strings.ReplaceAll(shown, "[redacted]", ""), " ", "") != "" || string(marshalled) != `{"keys":"[redacted]"}` {
		t.Errorf("%s %s", shown, marshalled)
	}
}
