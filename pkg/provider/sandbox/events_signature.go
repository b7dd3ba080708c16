package sandbox

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
)

// The headers of a signed batch (providers.md 3.3).
const (
	signatureHeader = "X-Twilio-Email-Event-Webhook-Signature"
	timestampHeader = "X-Twilio-Email-Event-Webhook-Timestamp"
)

// signEvents signs the text of the timestamp and the raw body: ECDSA over
// SHA-256, base64 of the DER form (providers.md 3.3). The same bytes have the
// same signature, as RFC 6979 makes it.
func signEvents(key *ecdsa.PrivateKey, timestamp string, body []byte) (string, error) {
	der, err := key.Sign(nil, signedDigest(timestamp, body), crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("sign events: %w", err)
	}
	return base64.StdEncoding.EncodeToString(der), nil
}

// signedDigest is what is signed.
func signedDigest(timestamp string, body []byte) []byte {
	digest := sha256.New()
	digest.Write([]byte(timestamp))
	digest.Write(body)
	return digest.Sum(nil)
}

// publicKey writes the key as SendGrid shows it: base64 of a
// SubjectPublicKeyInfo; empty without a key.
func publicKey(key *ecdsa.PrivateKey) string {
	if key == nil {
		return ""
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return "" // not of a key of P-256
	}
	return base64.StdEncoding.EncodeToString(der)
}
