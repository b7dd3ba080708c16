package assertion

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/challenge"
)

// signer returns keys and what others know of them.
func signer(t *testing.T) (*Keys, *Public) {
	t.Helper()
	keys, err := New()
	if err != nil {
		t.Fatal(err)
	}
	keys, err = keys.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	data, err := keys.JWKS()
	if err != nil {
		t.Fatal(err)
	}
	public, err := ParseJWKS(data)
	if err != nil {
		t.Fatal(err)
	}
	return keys, public
}

func TestVerify_TakesTheExpectedAssertionAlone(t *testing.T) {
	t.Parallel()
	keys, public := signer(t)
	foreign, _ := signer(t)
	at := time.Date(2026, time.June, 3, 8, 2, 11, 0, time.UTC)
	claims := Claims{
		Issuer: "doorcode", FrontEnd: "doorcode", Login: "anna", Workspace: "w", Challenge: "c", Channel: "email", Purpose: challenge.Proof, At: at,
	}
	text, err := keys.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	want := Expected{FrontEnd: "doorcode", Challenge: "c", Now: at.Add(time.Second)}
	got, err := public.Verify(text, want)
	got.At = got.At.UTC()
	if diff := cmp.Diff(claims, got); err != nil || diff != "" {
		t.Errorf("%v (-signed +verified):\n%s", err, diff)
	}
	forged, err := foreign.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text string
		want Expected
	}{
		"another key":          {forged, want},
		"another front-end":    {text, Expected{FrontEnd: "web", Challenge: "c", Now: want.Now}},
		"another challenge":    {text, Expected{FrontEnd: "doorcode", Challenge: "d", Now: want.Now}},
		"nothing expected":     {text, Expected{Now: want.Now}},
		"two minutes later":    {text, Expected{FrontEnd: "doorcode", Challenge: "c", Now: at.Add(2 * time.Minute)}},
		"a minute before":      {text, Expected{FrontEnd: "doorcode", Challenge: "c", Now: at.Add(-time.Minute)}},
		"another spelling":     {text[:10] + "\n" + text[10:], want},
		"no signature":         {text[:strings.LastIndex(text, ".")+1], want},
		"something else":       {"x", want},
		"a changed signature":  {text[:len(text)-6] + "AAAAAA", want},
		"a changed part of it": {strings.Replace(text, ".", ".A", 1), want},
	} {
		_, err = public.Verify(c.text, c.want)
		if !errors.Is(err, ErrNotValid) {
			t.Errorf("%s is taken: %v", name, err)
		}
	}
}

// A sign-in says nothing of its purpose, so that who verified before purposes were verifies it still.
func TestSign_SaysThePurposeOfWhatIsNoSignIn(t *testing.T) {
	t.Parallel()
	keys, public := signer(t)
	at := time.Date(2026, time.June, 3, 8, 2, 11, 0, time.UTC)
	c := Claims{Issuer: "doorcode", FrontEnd: "web", Login: "anna", Workspace: "w", Challenge: "c", Channel: "email", At: at}
	before, err := keys.Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	c.Purpose = challenge.SignIn
	signIn, err := keys.Sign(c)
	if err != nil || signIn != before {
		t.Errorf("a sign-in reads differently: %v", err)
	}
	c.Purpose = challenge.Approval
	other, err := keys.Sign(c)
	if err != nil || other == before {
		t.Errorf("an approval reads like a sign-in: %v", err)
	}
	got, err := public.Verify(signIn, Expected{FrontEnd: "web", Challenge: "c", Now: at})
	if err != nil || got.Purpose != challenge.SignIn {
		t.Errorf("a sign-in is verified as %s: %v", got.Purpose, err)
	}
}

func TestParseJWKS_RefusesWhatIsNoSetOfPublicKeys(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		``, `{}`, `{"keys":[]}`, `[]`, `{"keys":[{"kty":"RSA","kid":"1"}]}`, `{"keys":[{"kty":"OKP","crv":"X25519","kid":"1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`,
		`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1","x":"AAAA"}]}`, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1","x":"?"}]}`,
	} {
		_, err := ParseJWKS([]byte(bad))
		if err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
