package sandbox

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
)

// source draws ids and keys: at random, or from a seed. With a seed, each
// purpose has a row of its own, so that the ids of messages do not depend on
// how many webhooks were sent in between.
type source struct {
	seed  string
	mu    sync.Mutex
	drawn map[string]uint64
}

// newSource returns a source whose rows begin.
func newSource(seed string) *source { return &source{seed: seed, drawn: map[string]uint64{}} }

// draw returns n bytes, at most 32, for a purpose.
func (s *source) draw(purpose string, n int) []byte {
	drawn := make([]byte, n)
	if s.seed == "" {
		_, _ = rand.Read(drawn) // never fails, see crypto/rand
		return drawn
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drawn[purpose]++
	mac := hmac.New(sha256.New, []byte(s.seed))
	mac.Write(fmt.Appendf(nil, "%s/%d", purpose, s.drawn[purpose]))
	copy(drawn, mac.Sum(nil))
	return drawn
}

// mailID draws 16 bytes, written as 22 base64url characters as in the ids
// that were seen (providers.md 2.4).
func (s *source) mailID() string { return base64.RawURLEncoding.EncodeToString(s.draw("mail", 16)) }

// smsID draws the 16 hex characters of a message id (providers.md 4.2).
func (s *source) smsID() string { return strings.ToUpper(hex.EncodeToString(s.draw("sms", 8))) }

// eventID draws an id of an event that has no name of its own.
func (s *source) eventID() string { return base64.RawURLEncoding.EncodeToString(s.draw("event", 16)) }

// uuid draws an id as RFC 9562 §5.4 writes it.
func (s *source) uuid(purpose string) string {
	b := s.draw(purpose, 16)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// key draws a private key of P-256.
func (s *source) key() (*ecdsa.PrivateKey, error) {
	if s.seed == "" {
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	for range 8 { // one scalar of 2³² is out of range
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), s.draw("key", 32))
		if err == nil {
			return key, nil
		}
	}
	return nil, fmt.Errorf("draw a key: no scalar is in range")
}
