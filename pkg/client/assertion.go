package client

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Person is who a right code proved: a login of a workspace, by one factor
// after the password. An e-mailed code is at most AAL1 in NIST's terms.
//
// A Person with a Reason went on without a code, as doorcode allowed: beside the
// password nothing was proved, and there is neither Channel nor Methods.
type Person struct {
	Workspace string
	Login     string
	Channel   string
	Methods   []string // amr
	Reason    string   // of a waiver, such as not_yet, grace or exempt
	Challenge string   // whose code it was: the name of this one proof
	At        time.Time
}

// ErrAssertion says that an answer of doorcode is no proof: the signature, the
// audience, the issuer, the time or the challenge is not the expected one.
var ErrAssertion = errors.New("the assertion is not valid for this sign-in")

// maxLife is the longest life of an assertion that is believed (SEC-08).
const maxLife = 60 * time.Second

// leeway is how far the clocks of doorcode and of the front-end may differ.
const leeway = 10 * time.Second

// claims are the assertion's claims (DESIGN 8).
type claims struct {
	jwt.RegisteredClaims
	Workspace string   `json:"workspace"`
	Challenge string   `json:"challenge"`
	Channel   string   `json:"channel"`
	AMR       []string `json:"amr"`
	// Purpose stands in assertions that are no proof of a sign-in.
	Purpose string `json:"purpose"`
	// Reason stands in waivers.
	Reason string `json:"reason"`
}

// verify returns who an assertion names, or ErrAssertion.
func (c *Client) verify(ctx context.Context, handle, assertion string) (Person, error) {
	if strings.ContainsAny(assertion, "\r\n") { // Base64 in Go passes over line ends, so one proof would have many spellings.
		return Person{}, ErrAssertion
	}
	var cl claims
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithIssuer(c.issuer), jwt.WithAudience(c.frontEnd),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(leeway), jwt.WithTimeFunc(c.now), jwt.WithStrictDecoding(),
	)
	_, err := parser.ParseWithClaims(assertion, &cl, func(t *jwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		return c.keys.find(ctx, c, kid)
	})
	if err != nil {
		var unavailable *keysError
		if errors.As(err, &unavailable) {
			return Person{}, unavailable
		}
		return Person{}, ErrAssertion
	}
	challenge := challengeOf(handle)
	switch {
	case challenge == "" || cl.ID != challenge || cl.Challenge != challenge:
		return Person{}, ErrAssertion
	case cl.IssuedAt == nil || cl.ExpiresAt.Sub(cl.IssuedAt.Time) > maxLife:
		return Person{}, ErrAssertion
	case cl.Purpose != "" && cl.Purpose != "sign_in":
		return Person{}, ErrAssertion
	case cl.Subject == "" || cl.Workspace == "" || (len(cl.AMR) == 0) != (cl.Reason != "") || (cl.Channel == "") != (cl.Reason != ""):
		return Person{}, ErrAssertion
	}
	return Person{
		Workspace: cl.Workspace, Login: cl.Subject, Channel: cl.Channel, Methods: cl.AMR, Reason: cl.Reason, Challenge: challenge, At: cl.IssuedAt.Time,
	}, nil
}

// challengeOf reads the challenge's id out of a handle; its MAC is doorcode's
// own concern. An assertion for another handle is refused by it.
func challengeOf(handle string) string {
	raw, err := base64.RawURLEncoding.DecodeString(handle)
	if err != nil || len(raw) < 18 {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(raw[2:18])
}

// keySet holds doorcode's public keys by key id.
type keySet struct {
	mu      sync.Mutex
	keys    map[string]ed25519.PublicKey
	fetched time.Time
	flight  *flight // the fetch that is under way, or nil
}

// flight is a fetch that others wait for.
type flight struct {
	done chan struct{} // closed at its end
	err  error         // what came of it, once done
	left bool          // whoever fetched gave up: that is no answer for others
}

// refetch is how long an unknown key id does not cause another fetch.
const refetch = 5 * time.Second

// keysError says that the public keys could not be fetched.
type keysError struct{ cause error }

// Error names the cause.
func (e *keysError) Error() string { return "fetch doorcode's public keys: " + e.cause.Error() }

// Unwrap returns the cause.
func (e *keysError) Unwrap() error { return e.cause }

// find returns the key of that id. An id that is not known yet is fetched, so
// that a rotation needs nothing of the front-end. There is one fetch at a time,
// for which the callers with an unknown id wait and nobody else.
func (s *keySet) find(ctx context.Context, c *Client, kid string) (ed25519.PublicKey, error) {
	for {
		key, f, mine := s.look(c.now(), kid)
		switch {
		case key != nil:
			return key, nil
		case f == nil:
			return nil, ErrAssertion
		case mine:
			s.fetch(ctx, c, f)
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, &keysError{ctx.Err()}
		}
		if f.err != nil && (mine || !f.left) {
			return nil, &keysError{f.err}
		}
	}
}

// look returns the key of that id, or the fetch to wait for, which is mine when
// the caller is to carry it out, or neither when the id was asked for just now.
func (s *keySet) look(now time.Time, kid string) (key ed25519.PublicKey, f *flight, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, known := s.keys[kid]
	switch {
	case known:
		return key, nil, false
	case s.flight != nil:
		return nil, s.flight, false
	case s.keys != nil && now.Sub(s.fetched) <= refetch:
		return nil, nil, false
	}
	s.flight = &flight{done: make(chan struct{})}
	return nil, s.flight, true
}

// fetch carries out a fetch and tells those that wait.
func (s *keySet) fetch(ctx context.Context, c *Client, f *flight) {
	keys, err := c.fetchKeys(ctx)
	if err != nil && ctx.Err() == nil { // Once more, as every call: the code is spent by now.
		keys, err = c.fetchKeys(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.keys, s.fetched = keys, c.now()
	}
	f.err, f.left, s.flight = err, ctx.Err() != nil, nil
	close(f.done)
}

// fetchKeys reads /.well-known/jwks.json: Ed25519 keys (RFC 8037), others are
// passed over.
func (c *Client) fetchKeys(ctx context.Context) (map[string]ed25519.PublicKey, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/.well-known/jwks.json", nil)
	if err != nil {
		return nil, errors.New("malformed address")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", res.StatusCode)
	}
	var set struct {
		Keys []struct {
			Kty string `json:"kty"`
			Crv string `json:"crv"`
			Kid string `json:"kid"`
			X   string `json:"x"`
		} `json:"keys"`
	}
	err = json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(&set)
	if err != nil {
		return nil, errors.New("not a key set")
	}
	keys := map[string]ed25519.PublicKey{}
	for _, k := range set.Keys {
		x, err := base64.RawURLEncoding.DecodeString(k.X)
		if err == nil && k.Kty == "OKP" && k.Crv == "Ed25519" && len(x) == ed25519.PublicKeySize {
			keys[k.Kid] = x
		}
	}
	return keys, nil
}
