package assertion

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"doorcode/pkg/challenge"
)

// leeway is how far the clocks of who signs and who verifies may differ.
const leeway = 10 * time.Second

// ErrNotValid says that a text is no assertion of these keys, or not the expected one. It says no more on purpose.
var ErrNotValid = errors.New("the assertion is not valid")

// Public holds the public keys of assertions by their ids. It is immutable.
type Public struct{ keys map[string]ed25519.PublicKey }

// ParseJWKS reads what JWKS wrote. Its error quotes nothing.
func ParseJWKS(data []byte) (*Public, error) {
	var set struct {
		Keys []jwk `json:"keys"`
	}
	err := json.Unmarshal(data, &set)
	if err != nil {
		return nil, errors.New("read public keys: not a JSON Web Key Set")
	}
	p := &Public{keys: map[string]ed25519.PublicKey{}}
	for _, k := range set.Keys {
		x, err := base64.RawURLEncoding.DecodeString(k.X)
		if err != nil || k.Type != "OKP" || k.Curve != "Ed25519" || len(x) != ed25519.PublicKeySize {
			return nil, errors.New("read public keys: a key is not one on Ed25519")
		}
		p.keys[k.ID] = x
	}
	if len(p.keys) == 0 {
		return nil, errors.New("read public keys: there is none")
	}
	return p, nil
}

// Expected is what an assertion has to be, at that time.
type Expected struct {
	FrontEnd  string // the audience
	Challenge string
	Now       time.Time
}

// Verify returns the claims of an assertion that is signed by one of the keys, alive and the expected one, or fails with
// ErrNotValid. Which purpose serves is for the caller to judge.
func (p *Public) Verify(text string, want Expected) (Claims, error) {
	if want.FrontEnd == "" || want.Challenge == "" || strings.ContainsAny(text, "\r\n") {
		return Claims{}, ErrNotValid
	}
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithAudience(want.FrontEnd),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(leeway),
		jwt.WithTimeFunc(func() time.Time { return want.Now }), jwt.WithStrictDecoding(),
	)
	var c payload
	_, err := parser.ParseWithClaims(text, &c, func(t *jwt.Token) (any, error) {
		id, _ := t.Header["kid"].(string)
		key := p.keys[id]
		if key == nil {
			return nil, ErrNotValid
		}
		return key, nil
	})
	if err != nil || c.ID != want.Challenge || c.Challenge != want.Challenge || c.IssuedAt == nil ||
		c.Subject == "" || c.Workspace == "" || len(c.Methods) == 0 || c.ExpiresAt.Sub(c.IssuedAt.Time) > Life {
		return Claims{}, ErrNotValid
	}
	purpose := challenge.Purpose(c.Purpose)
	if purpose == "" {
		purpose = challenge.SignIn
	}
	return Claims{
		Issuer: c.Issuer, FrontEnd: want.FrontEnd, Login: c.Subject, Workspace: c.Workspace, Challenge: c.Challenge,
		Channel: c.Channel, Purpose: purpose, At: c.IssuedAt.Time,
	}, nil
}

// VerifyMessage reports whether a key signed a message, as SignMessage does. A key that is not there signed nothing.
func (p *Public) VerifyMessage(key string, message, signature []byte) bool {
	public := p.keys[key]
	return public != nil && ed25519.Verify(public, message, signature)
}
