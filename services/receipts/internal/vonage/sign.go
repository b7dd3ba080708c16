// Package vonage reads the delivery receipts of Vonage's SMS API (providers.md 4.7, 4.8): three ways to carry them, five
// ways to sign them, and what they mean for a code. It has no clock and no connection.
package vonage

import (
	"crypto/hmac"
	"crypto/md5"  //nolint:gosec // One of the provider's methods; the operator chooses a better one.
	"crypto/sha1" //nolint:gosec // As above.
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"doorcode/pkg/config"
)

// Method is how receipts are signed.
type Method string

// The methods of the provider. Only the first is no HMAC.
const (
	MD5Hash Method = "md5hash"
	MD5     Method = "md5"
	SHA1    Method = "sha1"
	SHA256  Method = "sha256"
	SHA512  Method = "sha512"
)

// Methods lists every method.
func Methods() []Method { return []Method{MD5Hash, MD5, SHA1, SHA256, SHA512} }

// maxSecrets is how many secrets are accepted at once: the present one and its successor.
const maxSecrets = 2

// The bounds of a receipt's age. A retry may come a day later, and a copy changes nothing, so nonces are not kept.
const (
	maxAhead = 5 * time.Minute
	maxAge   = 25 * time.Hour
)

// ErrSignature says that a receipt was not signed with a known secret just now, or is about another account. It is the
// same for every cause.
var ErrSignature = errors.New("invalid signature")

// ParseSecrets reads one or two signature secrets, each on a line of its own.
func ParseSecrets(text string) ([]config.Secret, error) {
	var secrets []config.Secret
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" {
			secrets = append(secrets, config.NewSecret(line))
		}
	}
	if len(secrets) == 0 || len(secrets) > maxSecrets {
		return nil, fmt.Errorf("there are %d signature secrets of Vonage and not one or two", len(secrets))
	}
	return secrets, nil
}

// Verifier checks receipts of one account.
type Verifier struct {
	Secrets []config.Secret // one or two
	Method  Method
	// APIKey is the account's; when empty, the signature alone tells the account.
	APIKey string
}

// Verify checks the signature in constant time, then the account and the age.
func (v Verifier) Verify(f Fields, now time.Time) error {
	claimed, err := hex.DecodeString(f["sig"])
	if err != nil || len(claimed) == 0 {
		return ErrSignature
	}
	signed := false
	for _, secret := range v.Secrets {
		sum, known := v.Method.sign(f.signedText(), secret)
		signed = known && hmac.Equal(sum, claimed) || signed
	}
	at, readable := unixSeconds(f["timestamp"])
	switch {
	case !signed, !readable, at.After(now.Add(maxAhead)), at.Before(now.Add(-maxAge)):
		return ErrSignature
	case v.APIKey != "" && f["api-key"] != v.APIKey:
		return ErrSignature
	}
	return nil
}

// signedText is what is signed: all fields but the signature, sorted by the bytes of their names, with the two
// separators taken out of the values.
func (f Fields) signedText() string {
	flat := strings.NewReplacer("&", "_", "=", "_")
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if name != "sig" {
			b.WriteString("&" + name + "=" + flat.Replace(f[name]))
		}
	}
	return b.String()
}

// sign computes a signature, or reports false for an unknown method.
func (m Method) sign(text string, secret config.Secret) ([]byte, bool) {
	var maker func() hash.Hash
	switch m {
	case MD5Hash:
		sum := md5.Sum([]byte(text + secret.Reveal())) //nolint:gosec // See the import.
		return sum[:], true
	case MD5:
		maker = md5.New
	case SHA1:
		maker = sha1.New
	case SHA256:
		maker = sha256.New
	case SHA512:
		maker = sha512.New
	default:
		return nil, false
	}
	mac := hmac.New(maker, []byte(secret.Reveal()))
	_, _ = mac.Write([]byte(text)) // A hash takes everything.
	return mac.Sum(nil), true
}

// unixSeconds reads a time of exactly ten digits.
func unixSeconds(s string) (time.Time, bool) {
	if len(s) != 10 || strings.Trim(s, "0123456789") != "" {
		return time.Time{}, false
	}
	seconds, err := strconv.ParseInt(s, 10, 64)
	return time.Unix(seconds, 0).UTC(), err == nil
}
