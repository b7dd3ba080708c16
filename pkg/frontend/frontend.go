// Package frontend holds who may ask: the login front-ends with their API keys, scopes and workspaces (DESIGN 8).
//
// A key reads `dck_<front-end id>_<secret>`. The secret has 256 random bits; what is kept of it is an HMAC under a key
// outside the database, so that neither a dump nor a write to the database makes a key (SEC-26, SEC-53).
package frontend

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"doorcode/pkg/keyring"
)

// prefix marks an API key, so that scanners of repositories can find one.
const prefix = "dck_"

// Own is the id under which doorcode asks for codes itself, for what is no sign-in. No API key has it, so no front-end can
// take an assertion of its challenges for one.
const Own = "doorcode"

// Operators is the workspace of those who sign in to the console. A key that has all workspaces has all but this one:
// whoever may change addresses everywhere could have an operator's codes otherwise.
const Operators = "doorcode-console"

// MaxID is the longest id of a front-end.
const MaxID = 32

// secretSize is the size of a key's secret in base64url characters.
const secretSize = 43

const (
	mask     = "[api key]"
	keyLabel = "doorcode api key v1"
)

// Scope is a kind of requests that a key may make.
type Scope string

// The scopes. Directory is the power to sign in as anyone; a login page's key has Challenges alone. Settings opens the
// hosted Security settings of any login of its workspaces, which shows masked addresses and changes nothing without a
// code.
const (
	Challenges Scope = "challenges"
	Directory  Scope = "directory"
	Settings   Scope = "settings"
	// Support orders a message again by a route that is proven, and ends a lock, in the name of a person who is on record.
	// It can neither see nor choose a code or where one goes (SEC-48).
	Support Scope = "support"
)

// ParseScope returns the scope of that name, or an error for any other.
func ParseScope(s string) (Scope, error) {
	switch scope := Scope(s); scope {
	case Challenges, Directory, Settings, Support:
		return scope, nil
	}
	return "", errors.New("a scope is challenges, directory, settings or support")
}

// FrontEnd is one login front-end and what its key may do.
type FrontEnd struct {
	ID      string
	Name    string
	KeyID   uint8 // of the API-key ring
	KeyHash []byte
	Scopes  []Scope
	// Workspaces lists the only ones it may name, unless AllWorkspaces is set.
	Workspaces []string
	// All are all but Operators.
	AllWorkspaces bool
	// ReturnOrigins lists where a hosted page may send a browser back to, each in the form of ParseOrigin.
	ReturnOrigins []string
}

// ValidateID checks the id of a front-end: 1 to 32 of a-z, 0-9 and hyphen, and not Own.
func ValidateID(id string) error {
	if id == Own {
		return errors.New("a front-end's id is not " + Own + ", which is doorcode's own")
	}
	if id == "" || len(id) > MaxID || strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return fmt.Errorf("a front-end's id has 1 to %d of the characters a-z 0-9 -", MaxID)
	}
	for _, c := range id {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return fmt.Errorf("a front-end's id has 1 to %d of the characters a-z 0-9 -", MaxID)
		}
	}
	return nil
}

// WithNewKey returns the front-end with a fresh key and the key itself, which is shown once and kept nowhere.
func (f FrontEnd) WithNewKey(ring *keyring.Ring) (FrontEnd, string, error) {
	err := ValidateID(f.ID)
	if err != nil {
		return FrontEnd{}, "", err
	}
	raw := make([]byte, 32)
	_, err = rand.Read(raw)
	if err != nil {
		return FrontEnd{}, "", fmt.Errorf("draw api key: %w", err)
	}
	secret := base64.RawURLEncoding.EncodeToString(raw)
	f.KeyID, f.KeyHash = ring.MAC(keyLabel, []byte(f.ID), []byte(secret))
	return f, prefix + f.ID + "_" + secret, nil
}

// May reports whether the front-end's key has the scope and the workspace.
func (f FrontEnd) May(scope Scope, workspace string) bool {
	return f.Has(scope) && (f.AllWorkspaces && workspace != Operators || slices.Contains(f.Workspaces, workspace))
}

// Has reports whether the front-end's key has the scope.
func (f FrontEnd) Has(scope Scope) bool { return slices.Contains(f.Scopes, scope) }

// Holds reports in constant time whether the key is this front-end's.
func (f FrontEnd) Holds(ring *keyring.Ring, k Key) bool {
	return ring.Verify(f.KeyID, f.KeyHash, keyLabel, []byte(k.ID), []byte(k.secret)) && f.ID == k.ID
}

// Key is an API key as a request carried it. It shows nothing of its secret and cannot be compared with ==.
type Key struct {
	_      [0]func()
	ID     string // of the front-end that it claims to be
	secret string
}

// ParseAuthorization reads the value of an Authorization header, `Bearer dck_…`; anything else is no key.
func ParseAuthorization(header string) (Key, bool) {
	scheme, value, found := strings.Cut(header, " ")
	if !found || !strings.EqualFold(scheme, "Bearer") {
		return Key{}, false
	}
	rest, found := strings.CutPrefix(strings.TrimSpace(value), prefix)
	if !found {
		return Key{}, false
	}
	id, secret, found := strings.Cut(rest, "_")
	if !found || ValidateID(id) != nil || len(secret) != secretSize {
		return Key{}, false
	}
	return Key{ID: id, secret: secret}, true
}

// String shows a mask.
func (k Key) String() string { return mask }

// Format shows a mask for every verb.
func (k Key) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(mask)) }

// LogValue shows a mask.
func (k Key) LogValue() slog.Value { return slog.StringValue(mask) }

// MarshalJSON shows a mask.
func (k Key) MarshalJSON() ([]byte, error) { return []byte(`"` + mask + `"`), nil }
