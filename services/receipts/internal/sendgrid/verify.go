// Package sendgrid reads the event webhook of SendGrid (providers.md 3): its signature, its lenient JSON, and what its
// events mean for a code. It has no clock and no connection.
package sendgrid

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The headers of a signed webhook.
const (
	SignatureHeader = "X-Twilio-Email-Event-Webhook-Signature"
	TimestampHeader = "X-Twilio-Email-Event-Webhook-Timestamp"
)

// maxKeys is how many keys are accepted at once: the present one and its successor.
const maxKeys = 2

// The bounds of a signature's age. Whether a retry is signed anew is open, and SendGrid retries for a day
// (providers.md 3.3); copies change nothing, so a generous age costs nothing.
const (
	maxAhead = 5 * time.Minute
	maxAge   = 25 * time.Hour
)

// ErrSignature says that a webhook was not signed by a known key just now. It is the same for every cause.
var ErrSignature = errors.New("invalid signature")

// ParseKeys reads one or two public keys, each on a line of its own as SendGrid shows it: base64 of a
// SubjectPublicKeyInfo (RFC 5480) with a key on P-256.
func ParseKeys(text string) ([]*ecdsa.PublicKey, error) {
	var keys []*ecdsa.PublicKey
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		der, err := base64.StdEncoding.DecodeString(line)
		if err != nil {
			return nil, errors.New("a verification key of SendGrid is not base64")
		}
		parsed, err := x509.ParsePKIXPublicKey(der)
		if err != nil {
			return nil, fmt.Errorf("a verification key of SendGrid is not a public key: %w", err)
		}
		key, ok := parsed.(*ecdsa.PublicKey)
		if !ok || key.Curve != elliptic.P256() {
			return nil, errors.New("a verification key of SendGrid is not one of ECDSA on P-256")
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 || len(keys) > maxKeys {
		return nil, fmt.Errorf("there are %d verification keys of SendGrid and not one or two", len(keys))
	}
	return keys, nil
}

// Verify checks the signature over the timestamp and the body as it came, and the timestamp's shape and age. Nothing
// stands between the two in what is signed, so the shape is part of the signature's meaning (providers.md 1, trap 15).
func Verify(keys []*ecdsa.PublicKey, signature, timestamp string, body []byte, now time.Time) error {
	at, ok := unixSeconds(timestamp)
	if !ok || at.After(now.Add(maxAhead)) || at.Before(now.Add(-maxAge)) {
		return ErrSignature
	}
	der, err := base64.StdEncoding.DecodeString(signature)
	if err != nil {
		return ErrSignature
	}
	digest := sha256.New()
	_, _ = digest.Write([]byte(timestamp)) // A hash takes everything.
	_, _ = digest.Write(body)
	sum := digest.Sum(nil)
	for _, key := range keys {
		if ecdsa.VerifyASN1(key, sum, der) {
			return nil
		}
	}
	return ErrSignature
}

// unixSeconds reads a time of exactly ten digits, which lasts from 2001 to 2286.
func unixSeconds(s string) (time.Time, bool) {
	if len(s) != 10 || strings.Trim(s, "0123456789") != "" {
		return time.Time{}, false
	}
	seconds, err := strconv.ParseInt(s, 10, 64)
	return time.Unix(seconds, 0).UTC(), err == nil
}
