package keyring

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// FuzzParse holds that a ring which is taken is whole and re-encodes the same, and that a refusal tells nothing of the
// file.
func FuzzParse(f *testing.F) {
	const key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	for _, seed := range []string{
		`{"active": 1, "keys": {"1": "` + key + `"}}`, `{"active": 255, "keys": {"255": "` + key + `", "1": "` + key + `"}}`, `{"active": 0, "keys": {"0": "` + key + `"}}`,
		`{"active": 1, "keys": {"01": "` + key + `"}}`, `{"active": 1, "keys": {"1": "AAEC"}}`, `{"active": 1}`, `{}`, `null`, `[]`, key,
		`{"active": 256, "keys": {"256": "` + key + `"}}`, `{"active": 1, "keys": {"1": null}}`, `{"active": 1, "keys": {"1": "` + key + `", "1": ""}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parse(data)
		if err != nil {
			if r != nil || len(data) > 20 && strings.Contains(err.Error(), string(data)) {
				t.Errorf("the refusal %v quotes the file", err)
			}
			return
		}
		written, err := r.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := parse(written)
		if err != nil || again.active != r.active || len(again.keys) != len(r.keys) {
			t.Fatalf("it reads differently when it is written again: %v", err)
		}
		id, sum := r.MAC("label", []byte("field"))
		if id == 0 || id != r.Active() || !again.Verify(id, sum, "label", []byte("field")) {
			t.Error("the ring that was written again is another")
		}
		shown, err := json.Marshal(r)
		if err != nil || bytes.Contains(shown, []byte("=")) {
			t.Errorf("a ring shows itself: %s", shown)
		}
	})
}
