package assertion

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
)

// ErrUnknownKey says that there is no key of that id.
var ErrUnknownKey = errors.New("unknown key id")

// mask is what keys show of themselves.
const mask = "[redacted]"

// Keys are Ed25519 seeds by key id; the active one signs, all of them are published, so that an assertion outlives a
// rotation. A key's id follows from its public key and so never names another one. Keys are immutable and safe for
// concurrent use.
type Keys struct {
	_      [0]func() // keys cannot be compared with ==
	active string
	seeds  map[string][]byte
	// signing is the active key whole: to work it out from its seed takes as long as to sign.
	signing ed25519.PrivateKey
}

// keysOf returns the keys of which one signs, or none yet.
func keysOf(active string, seeds map[string][]byte) *Keys {
	k := &Keys{active: active, seeds: seeds}
	if seeds[active] != nil {
		k.signing = ed25519.NewKeyFromSeed(seeds[active])
	}
	return k
}

// file is the form of the keys on disk.
type file struct {
	Active string            `json:"active"`
	Keys   map[string][]byte `json:"keys"`
}

// New returns one fresh key.
func New() (*Keys, error) {
	return (&Keys{}).Rotate()
}

// Add returns the same keys and a fresh one, and the id of it. It is published and does not sign, until Activate.
func (k *Keys) Add() (*Keys, string, error) {
	seed := make([]byte, ed25519.SeedSize)
	_, err := rand.Read(seed)
	if err != nil {
		return nil, "", fmt.Errorf("draw assertion key: %w", err)
	}
	seeds := map[string][]byte{}
	maps.Copy(seeds, k.seeds)
	id := keyID(seed)
	seeds[id] = seed
	return keysOf(k.active, seeds), id, nil
}

// Activate returns the same keys, of which another one signs. It fails with ErrUnknownKey.
func (k *Keys) Activate(id string) (*Keys, error) {
	if k.seeds[id] == nil {
		return nil, ErrUnknownKey
	}
	return keysOf(id, k.seeds), nil
}

// Rotate is Add and Activate in one step.
func (k *Keys) Rotate() (*Keys, error) {
	next, id, err := k.Add()
	if err != nil {
		return nil, err
	}
	return next.Activate(id)
}

// Read loads keys from a file that holds what Marshal returned. Errors name the path and never the content.
func Read(path string) (*Keys, error) {
	data, err := os.ReadFile(path) //nolint:gosec // The operator names the key file.
	if err != nil {
		return nil, fmt.Errorf("read assertion keys: %w", err)
	}
	k, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("read assertion keys %s: %w", path, err)
	}
	return k, nil
}

// parse reads the file form; its errors never quote the input.
func parse(data []byte) (*Keys, error) {
	var f file
	if json.Unmarshal(data, &f) != nil {
		return nil, errors.New("not assertion keys in JSON")
	}
	for id, seed := range f.Keys {
		if len(seed) != ed25519.SeedSize {
			return nil, fmt.Errorf("a key does not have %d bytes", ed25519.SeedSize)
		}
		if keyID(seed) != id {
			return nil, errors.New("a key id does not belong to its key")
		}
	}
	if f.Keys[f.Active] == nil {
		return nil, errors.New("the active key is missing")
	}
	return keysOf(f.Active, f.Keys), nil
}

// Marshal returns the file form. It is the one way to the seeds and serves the command that makes key files.
func (k *Keys) Marshal() ([]byte, error) {
	data, err := json.MarshalIndent(file{Active: k.active, Keys: k.seeds}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write assertion keys: %w", err)
	}
	return append(data, '\n'), nil
}

// jwk is one public key as RFC 8037 §2 has it.
type jwk struct {
	Type      string `json:"kty"`
	Curve     string `json:"crv"`
	ID        string `json:"kid"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
	X         string `json:"x"`
}

// JWKS returns the public keys as a JWK set (RFC 7517 §5), in the order of their ids.
func (k *Keys) JWKS() ([]byte, error) {
	set := struct {
		Keys []jwk `json:"keys"`
	}{Keys: []jwk{}}
	for _, id := range slices.Sorted(maps.Keys(k.seeds)) {
		set.Keys = append(set.Keys, jwk{
			Type: "OKP", Curve: "Ed25519", ID: id, Use: "sig", Algorithm: "EdDSA",
			X: base64.RawURLEncoding.EncodeToString(public(k.seeds[id])),
		})
	}
	data, err := json.MarshalIndent(set, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write public keys: %w", err)
	}
	return append(data, '\n'), nil
}

// keyID names a key: the first eight bytes of the hash of its public half, as base64url.
func keyID(seed []byte) string {
	sum := sha256.Sum256(public(seed))
	return base64.RawURLEncoding.EncodeToString(sum[:8])
}

// public returns the public half of a seed.
func public(seed []byte) ed25519.PublicKey {
	key := ed25519.NewKeyFromSeed(seed)
	return ed25519.PublicKey(key[ed25519.SeedSize:])
}

// String shows a mask.
func (k *Keys) String() string { return mask }

// GoString shows a mask.
func (k *Keys) GoString() string { return mask }

// Format shows a mask for every verb.
func (k *Keys) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(mask)) }

// LogValue shows a mask.
func (k *Keys) LogValue() slog.Value { return slog.StringValue(mask) }

// MarshalJSON shows a mask: keys that slip into a document stay secret.
func (k *Keys) MarshalJSON() ([]byte, error) { return []byte(`"` + mask + `"`), nil }

// SignMessage signs a message of another kind with the active key, of a ring that signs no assertions, and returns the
// key's id. What kind it is has to be in the message.
func (k *Keys) SignMessage(message []byte) (key string, signature []byte) {
	return k.active, ed25519.Sign(k.signing, message)
}
