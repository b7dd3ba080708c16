package app

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// FuzzKeySet holds that no file with a private key is served as the public ones.
func FuzzKeySet(f *testing.F) {
	for _, seed := range []string{
		`{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "AAAA"}]}`, `{"keys": [{"kty": "OKP", "d": "AAAA"}]}`, `{"keys": [{"kty": "oct", "k": "AAAA"}]}`, `{"keys": []}`, `{"keys": [null]}`, `{"keys": {}}`, ``, `null`,
		`{"keys": [{"D": "AAAA"}]}`, `{"keys": [{"x": "AAAA"}], "keys": [{"d": "AAAA"}]}`, `{"keys": [{"\u0064": "AAAA"}]}`, `{"Keys": [{"d": "AAAA"}], "keys": [{"x": ""}]}`,
	} {
		f.Add([]byte(seed))
	}
	path := filepath.Join(f.TempDir(), "jwks.json")
	f.Fuzz(func(t *testing.T, data []byte) {
		err := os.WriteFile(path, data, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		served, err := readJWKS(path)
		if err == nil && (!bytes.Equal(served, data) || bytes.Contains(data, []byte(`"d":`)) || bytes.Contains(data, []byte(`"d" :`)) && len(data) < 40) {
			t.Errorf("%q is served", data)
		}
	})
}
