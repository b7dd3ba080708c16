package frontend_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"doorcode/pkg/frontend"
	"doorcode/pkg/keyring"
)

// FuzzParseAuthorization holds that only a key of the one form is taken, that nobody but its front-end's holder passes,
// and that nothing shows its secret.
func FuzzParseAuthorization(f *testing.F) {
	ring, err := keyring.New()
	if err != nil {
		f.Fatal(err)
	}
	web, key, err := frontend.FrontEnd{ID: "web"}.WithNewKey(ring)
	if err != nil {
		f.Fatal(err)
	}
	secret := strings.Repeat("s", 43)
	for _, seed := range []string{
		"Bearer " + key, "bearer " + key, "Bearer  " + key + " ", "Bearer dck_web_" + secret, "Bearer dck__" + secret, "Bearer dck_Web_" + secret,
		"Basic " + key, key, "", "Bearer", "Bearer dck_web", "Bearer dck_web_" + secret + "=", "Bearer\tdck_web_" + secret, "Bearer dck_web_\x00" + secret[1:],
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		k, ok := frontend.ParseAuthorization(header)
		if !ok {
			if k.ID != "" {
				t.Errorf("%q is no key, and names %q", header, k.ID)
			}
			return
		}
		scheme, value, _ := strings.Cut(header, " ")
		value = strings.TrimSpace(value)
		rest, found := strings.CutPrefix(value, "dck_"+k.ID+"_")
		if !strings.EqualFold(scheme, "Bearer") || !found || frontend.ValidateID(k.ID) != nil || len(rest) != len(secret) {
			t.Errorf("%q is taken for a key of %q", header, k.ID)
		}
		if web.Holds(ring, k) != (value == key) {
			t.Errorf("%q is taken for the key of web", header)
		}
		shown, err := json.Marshal(k)
		if text := fmt.Sprintf("%v %+v %#v %s %s", k, k, k, k.LogValue(), shown); err != nil || strings.Contains(text, rest) {
			t.Errorf("the secret is shown: %s", text)
		}
	})
}
