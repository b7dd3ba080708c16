// Package assertion signs what a front-end needs to let a person in: a JWT (RFC 7519), signed with
// Ed25519 (EdDSA, RFC 8037), good for one challenge, one front-end and sixty seconds (DESIGN 3.5).
//
// It holds the signing keys with their file form and the public form that auth serves. Front-ends verify by package
// client, and auth those of its own challenges by Public. An assertion is a pure function of its claims and the key: asked for again, it is the same text.
package assertion

import (
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"doorcode/pkg/challenge"
)

// Life is how long an assertion is good for (SEC-08).
const Life = 60 * time.Second

// Claims are the facts of one approved or waived challenge.
type Claims struct {
	Issuer    string
	FrontEnd  string // the audience
	Login     string // the subject, unique within its workspace
	Workspace string
	Challenge string // also the id of the assertion
	Channel   string
	// Purpose is what the code was good for; empty or sign_in is a sign-in, of which the assertion says nothing more.
	Purpose challenge.Purpose
	// Waived is why no code was needed; empty: one was, and it was right. A waiver has no channel.
	Waived string
	// At is when the challenge was approved or waived, by the database clock.
	At time.Time
}

// payload is the JSON of an assertion. Its fields stand in a fixed order.
type payload struct {
	jwt.RegisteredClaims
	Workspace string   `json:"workspace"`
	Challenge string   `json:"challenge"`
	Channel   string   `json:"channel,omitempty"`
	Purpose   string   `json:"purpose,omitempty"`
	Methods   []string `json:"amr"`
	Reason    string   `json:"reason,omitempty"`
}

// purpose is what the assertion says of the purpose.
func (c Claims) purpose() string {
	if c.Purpose == challenge.SignIn {
		return ""
	}
	return string(c.Purpose)
}

// methods is what was proved beside the password: nothing by a waiver.
func (c Claims) methods() []string {
	if c.Waived != "" {
		return []string{}
	}
	return []string{"otp"}
}

// Sign returns the assertion of the claims under the active key. `amr` says `otp` and never `mfa`: an e-mailed code
// proves no more (RFC 8176 §2, security.md 0.2). That of a waiver is empty and says why.
func (k *Keys) Sign(c Claims) (string, error) {
	if c.Issuer == "" || c.FrontEnd == "" || c.Login == "" || c.Workspace == "" || c.Challenge == "" || (c.Channel == "") != (c.Waived != "") ||
		c.At.IsZero() {
		return "", errors.New("sign assertion: a claim is missing")
	}
	at := c.At.UTC().Truncate(time.Second)
	unsigned := jwt.NewWithClaims(jwt.SigningMethodEdDSA, payload{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: c.Issuer, Subject: c.Login, Audience: jwt.ClaimStrings{c.FrontEnd}, ID: c.Challenge,
			IssuedAt: jwt.NewNumericDate(at), ExpiresAt: jwt.NewNumericDate(at.Add(Life)),
		},
		Workspace: c.Workspace, Challenge: c.Challenge, Channel: c.Channel, Purpose: c.purpose(), Methods: c.methods(), Reason: c.Waived,
	})
	unsigned.Header["kid"] = k.active
	signed, err := unsigned.SignedString(k.signing)
	if err != nil {
		return "", fmt.Errorf("sign assertion: %w", err)
	}
	return signed, nil
}
