// Package operator holds who may sign in to the console, and what each of them may see and do there (SEC-59).
//
// An operator has two factors: a secret of 130 random bits, of which an HMAC under a key outside the database is kept, and
// a code to the address of the login of that id in the operators' own workspace. It knows no clock and no driver.
package operator

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"slices"

	"doorcode/pkg/keyring"
)

// ErrRole says that there is no role of that name.
var ErrRole = errors.New("a role is operator, auditor, support or owner")

// ErrNowhere says that an owner has no workspace.
var ErrNowhere = errors.New("an owner sees the workspaces that are named, and none is")

const (
	secretLabel = "doorcode operator secret v1"
	// secretSize is the size of a secret in characters of base32: 130 bits.
	secretSize = 26
)

// Role is what an operator is to the console.
type Role string

// The roles.
const (
	Operations Role = "operator" // keeps doorcode running
	Auditor    Role = "auditor"  // reads the record
	Support    Role = "support"  // helps people who do not get in
	Owner      Role = "owner"    // of workspaces, and sees these alone
)

// Roles returns all roles.
func Roles() []Role { return []Role{Operations, Auditor, Support, Owner} }

// ParseRole returns the role of that name, or ErrRole.
func ParseRole(s string) (Role, error) {
	if !slices.Contains(Roles(), Role(s)) {
		return "", ErrRole
	}
	return Role(s), nil
}

// Act is a page of the console, or something that is done on one.
type Act string

// The acts. Those that Writes names need a fresh code each.
const (
	Search    Act = "search"     // find challenges by what people know of them
	Timeline  Act = "timeline"   // read the story of one
	Advice    Act = "advice"     // read what to try
	SendAgain Act = "send_again" // order one more message, by a proven route
	Unlock    Act = "unlock"     // end a login's lock
	Health    Act = "health"     // see how messages arrive, everywhere
	Rollout   Act = "rollout"    // see how far the roll-out is, everywhere
	Audit     Act = "audit"      // read the record itself
)

// Acts returns all acts.
func Acts() []Act { return []Act{Search, Timeline, Advice, SendAgain, Unlock, Health, Rollout, Audit} }

// Writes reports whether an act changes anything.
func (a Act) Writes() bool { return a == SendAgain || a == Unlock }

// Everywhere reports whether an act shows what happened in all workspaces at once: it is for those who see all.
func (a Act) Everywhere() bool { return a == Health || a == Rollout }

// Operator is one who may sign in.
type Operator struct {
	ID   string // as account.ValidateID has it; also the login that gets the codes
	Role Role
	// Workspaces lists the only ones whose sign-ins they see, unless AllWorkspaces is set.
	Workspaces    []string
	AllWorkspaces bool
	SecretKey     uint8 // of the console's ring
	SecretHash    []byte
}

// Validate refuses a role that there is not, and an owner of nothing.
func (o Operator) Validate() error {
	_, err := ParseRole(string(o.Role))
	if err != nil {
		return err
	}
	if o.Role == Owner && (o.AllWorkspaces || len(o.Workspaces) == 0) {
		return ErrNowhere
	}
	return nil
}

// May reports whether the role has an act. What is not listed is nobody's.
func (o Operator) May(a Act) bool {
	switch a {
	case Search, Timeline:
		return slices.Contains(Roles(), o.Role)
	case Health, Rollout:
		return o.Role == Operations || o.Role == Auditor || o.Role == Support
	case Audit:
		return o.Role == Operations || o.Role == Auditor || o.Role == Owner
	case Advice:
		return o.Role == Operations || o.Role == Support
	case SendAgain, Unlock:
		return o.Role == Operations || o.Role == Support
	}
	return false
}

// Sees reports whether what happened in a workspace is the operator's to see. What belongs to none is for those who see
// all.
func (o Operator) Sees(workspace string) bool {
	return o.AllWorkspaces || workspace != "" && slices.Contains(o.Workspaces, workspace)
}

// WithNewSecret returns the operator with a fresh secret and the secret itself, which is shown once and kept nowhere.
func (o Operator) WithNewSecret(ring *keyring.Ring) (Operator, string) {
	secret := rand.Text()
	o.SecretKey, o.SecretHash = ring.MAC(secretLabel, []byte(o.ID), []byte(secret))
	return o, secret
}

// Holds reports whether a typed secret is the operator's. It takes as long for nobody, the zero Operator, as for somebody
// with another secret.
func (o Operator) Holds(ring *keyring.Ring, id, secret string) bool {
	known := o.ID != "" && o.ID == id
	key, hash := o.SecretKey, o.SecretHash
	if !known {
		key, hash = ring.Active(), make([]byte, sha256.Size)
	}
	right := ring.Verify(key, hash, secretLabel, []byte(id), []byte(secret))
	return right && known && len(secret) == secretSize
}
