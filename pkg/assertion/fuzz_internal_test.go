package assertion

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// FuzzParse holds that keys which are taken are whole and re-encode the same, that their public form has no seed in it,
// and that a refusal tells nothing of the file.
func FuzzParse(f *testing.F) {
	keys, err := New()
	if err != nil {
		f.Fatal(err)
	}
	good, err := keys.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		string(good), `{}`, `null`, `[]`, `{"active": "k", "keys": {"k": "AAEC"}}`, `{"active": "", "keys": {"": null}}`, strings.Replace(string(good), `"active": "`, `"active": "x`, 1),
		strings.Replace(string(good), `"keys": {`, `"keys": {"x": "",`, 1),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := parse(data)
		if err != nil {
			if k != nil || len(data) > 20 && strings.Contains(err.Error(), string(data)) {
				t.Errorf("the refusal %v quotes the file", err)
			}
			return
		}
		written, err := k.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := parse(written)
		if err != nil || again.active != k.active || len(again.seeds) != len(k.seeds) {
			t.Fatalf("it reads differently when it is written again: %v", err)
		}
		public, err := k.JWKS()
		if err != nil || !json.Valid(public) {
			t.Fatalf("no public form: %v", err)
		}
		for _, seed := range k.seeds {
			encoded, err := json.Marshal(seed)
			if err != nil || bytes.Contains(public, bytes.Trim(encoded, `"=`)) {
				t.Errorf("the public form holds a seed: %v", err)
			}
		}
	})
}
