// Package seal hides what only one dispatcher may read: code, recipient and
// the facts its message shows (DESIGN 6, P4). A notice is sealed like a code.
//
// A sealed envelope hides and authenticates at once: only holders of the
// channel's key ring can make or open one, so nobody but the front door can
// choose what is sent, or to whom. It opens only in the context it was sealed
// for: version, key, challenge or notice, route, channel, latest time of a call
// and kind of the notice.
package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"doorcode/pkg/keyring"
)

// version is the first byte of every envelope.
const version = 1

// block is what the plaintext is padded to, so that a length tells nothing
// about a name or an address (HPKE §9.7.6 by analogy).
const block = 512

// maxPlain bounds the content of an envelope in bytes.
const maxPlain = 8 * block

// saltSize is the size of the random salt from which a key per event derives.
const saltSize = 16

// ErrNotOpened says that an envelope was not made with this ring for this
// context, or was changed. It says no more on purpose.
var ErrNotOpened = errors.New("envelope does not open")

// Context is what an envelope is bound to.
type Context struct {
	Challenge string // or notice
	Route     int    // position among the challenge's routes, from 0
	Channel   string // the one channel whose dispatcher may open it
	NotAfter  time.Time
	// Notice is the kind of a notice, and empty for a code: what was sealed as
	// one of them never opens as the other.
	Notice string
}

// Content is what an envelope hides.
type Content struct {
	Code      string    `json:"code,omitempty"` // none in a notice
	Recipient string    `json:"recipient"`
	Workspace string    `json:"workspace"`       // its name, shown in the message
	Label     string    `json:"label,omitempty"` // of a notice: of the code that it tells of
	Reference string    `json:"reference"`       // support reference
	Locale    string    `json:"locale"`
	CreatedAt time.Time `json:"created_at"` // of a notice: when it happened
	ExpiresAt time.Time `json:"expires_at"`
	UserAgent string    `json:"user_agent,omitempty"`
	// Purpose is what the code is good for, empty for a sign-in, and About what
	// an approval or a proof is about.
	Purpose string `json:"purpose,omitempty"`
	About   string `json:"about,omitempty"`

	// The rest is of notices alone.

	// Owner says that a notice is about the owner of the workspace and goes to
	// the workspace's main address, or is for the owner about another's login.
	Owner bool `json:"owner,omitempty"`
	// Name is what somebody typed as a name, made inert.
	Name string `json:"name,omitempty"`
	// To is the channel of the route that a notice tells of, and Ending the last two digits of a phone.
	To     string `json:"to,omitempty"`
	Ending string `json:"ending,omitempty"`
	// Browser and System are words of the closed tables of package message.
	Browser string `json:"browser,omitempty"`
	System  string `json:"system,omitempty"`
	// Link is the one address of our own that a notice may hold, and Until when that ends.
	Link  string    `json:"link,omitempty"`
	Until time.Time `json:"until,omitzero"`
	// Date is the one that a notice of the roll-out tells, and Used how many of the People of the workspace have used a code.
	Date   time.Time `json:"date,omitzero"`
	Used   int       `json:"used,omitempty"`
	People int       `json:"people,omitempty"`
}

// Seal returns the envelope of the content under the active key.
func Seal(ring *keyring.Ring, ctx Context, c Content) (string, error) {
	plain, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("seal envelope: %w", err)
	}
	if len(plain) > maxPlain-4 {
		return "", errors.New("seal envelope: content is too long")
	}
	id := ring.Active()
	head := make([]byte, 2+saltSize)
	head[0], head[1] = version, id
	_, err = rand.Read(head[2:])
	if err != nil {
		return "", fmt.Errorf("seal envelope: %w", err)
	}
	aead, err := newAEAD(ring, id, head[2:], envelopeLabel)
	if err != nil {
		return "", fmt.Errorf("seal envelope: %w", err)
	}
	nonce := make([]byte, aead.NonceSize())
	_, err = rand.Read(nonce)
	if err != nil {
		return "", fmt.Errorf("seal envelope: %w", err)
	}
	out := append(head, nonce...)
	out = aead.Seal(out, nonce, pad(plain, block), ctx.additional(id))
	return base64.RawURLEncoding.EncodeToString(out), nil
}

// Open returns the content of an envelope, or ErrNotOpened.
func Open(ring *keyring.Ring, ctx Context, envelope string) (Content, error) {
	// The decoder skips line breaks; an envelope has none.
	raw, err := base64.RawURLEncoding.Strict().DecodeString(envelope)
	if err != nil || strings.ContainsAny(envelope, "\r\n") || len(raw) < 2+saltSize+12 || raw[0] != version {
		return Content{}, ErrNotOpened
	}
	id, salt := raw[1], raw[2:2+saltSize]
	aead, err := newAEAD(ring, id, salt, envelopeLabel)
	if err != nil {
		return Content{}, ErrNotOpened
	}
	rest := raw[2+saltSize:]
	plain, err := aead.Open(nil, rest[:aead.NonceSize()], rest[aead.NonceSize():], ctx.additional(id))
	if err != nil {
		return Content{}, ErrNotOpened
	}
	plain, err = unpad(plain)
	if err != nil {
		return Content{}, err
	}
	var c Content
	err = json.Unmarshal(plain, &c)
	if err != nil {
		return Content{}, ErrNotOpened
	}
	return c, nil
}

// envelopeLabel keeps the keys of envelopes apart from all others of a ring.
const envelopeLabel = "doorcode envelope v1"

// newAEAD returns AES-256-GCM under a key that derives from the ring, a salt and what it is for.
func newAEAD(ring *keyring.Ring, id uint8, salt []byte, label string) (cipher.AEAD, error) {
	key, err := ring.Derive(id, salt, label)
	if err != nil {
		return nil, err
	}
	blockCipher, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(blockCipher)
}

// additional returns the authenticated context, each field with its length.
func (c Context) additional(id uint8) []byte {
	var b bytes.Buffer
	b.Write([]byte{version, id})
	for _, f := range []string{c.Challenge, c.Channel} {
		_ = binary.Write(&b, binary.BigEndian, uint32(len(f))) //nolint:gosec // ids are short
		b.WriteString(f)
	}
	_ = binary.Write(&b, binary.BigEndian, int64(c.Route))
	_ = binary.Write(&b, binary.BigEndian, c.NotAfter.UnixMilli())
	b.WriteString(c.Notice) // last, so that it needs no length
	return b.Bytes()
}

// pad writes length, content and zeros up to a multiple of block.
func pad(plain []byte, block int) []byte {
	size := (4 + len(plain) + block - 1) / block * block
	out := make([]byte, size)
	binary.BigEndian.PutUint32(out, uint32(len(plain))) //nolint:gosec // bounded by maxPlain
	copy(out[4:], plain)
	return out
}

// unpad undoes pad.
func unpad(padded []byte) ([]byte, error) {
	if len(padded) < 4 {
		return nil, ErrNotOpened
	}
	n := binary.BigEndian.Uint32(padded)
	if int64(n) > int64(len(padded)-4) {
		return nil, ErrNotOpened
	}
	return padded[4 : 4+n], nil
}
