package postgres

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
)

// scramRounds is what Postgres itself takes (its scram_iterations).
const scramRounds = 4096

// scramVerifier returns what Postgres keeps of a password (RFC 5803). Sent instead
// of the password it keeps the password out of the statement, and so out of the
// server's log and its list of running statements. Only printable ASCII is taken:
// anything else would have to be normalised first (RFC 4013).
func scramVerifier(password string) (string, error) {
	for _, b := range []byte(password) {
		if b < ' ' || b > '~' {
			return "", errors.New("a database password may hold printable ASCII characters only")
		}
	}
	salt := make([]byte, 16)
	_, err := rand.Read(salt)
	if err != nil {
		return "", fmt.Errorf("draw salt: %w", err)
	}
	salted, err := pbkdf2.Key(sha256.New, password, salt, scramRounds, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("derive salted password: %w", err)
	}
	stored := sha256.Sum256(scramMAC(salted, "Client Key"))
	enc := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", scramRounds, enc(salt), enc(stored[:]), enc(scramMAC(salted, "Server Key"))), nil
}

// scramMAC is HMAC-SHA-256 of a text.
func scramMAC(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
