package client

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// scripted is a doorcode that answers every request with the same bytes, and one for its keys.
type scripted struct {
	status  int
	retry   string
	body    []byte
	jwks    []byte
	refused error
}

// RoundTrip answers without a network.
func (s *scripted) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := s.status, s.body
	if strings.HasSuffix(r.URL.Path, "/jwks.json") {
		status, body = http.StatusOK, s.jwks
	}
	if s.refused != nil {
		return nil, s.refused
	}
	header := http.Header{}
	if !strings.ContainsAny(s.retry, "\r\n") {
		header["Retry-After"] = []string{s.retry}
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(bytes.NewReader(body)), Request: r}, nil
}

// newScripted returns a client of it.
func newScripted(f *testing.F) (*scripted, *Client) {
	f.Helper()
	s := &scripted{}
	c, err := New(Config{URL: "http://doorcode.example", Key: secretKey, HTTP: &http.Client{Transport: s}, Now: approvedAt})
	if err != nil {
		f.Fatal(err)
	}
	return s, c
}

// fuzzKey is always the same, so that what a run finds is found again by every other.
func fuzzKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
}

// fuzzJWKS is the public part.
func fuzzJWKS() []byte {
	public := fuzzKey().Public().(ed25519.PublicKey) //nolint:forcetypeassert // it is
	return fmt.Appendf(nil, `{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": %q}]}`, base64.RawURLEncoding.EncodeToString(public))
}

// fuzzHandle is a handle of challID; its MAC is doorcode's concern.
func fuzzHandle() string {
	id, _ := base64.RawURLEncoding.DecodeString(challID)
	return base64.RawURLEncoding.EncodeToString(append(append([]byte{1, 1}, id...), 1, 2, 3, 4, 5, 6))
}

// fuzzAssertion signs claims.
func fuzzAssertion(f *testing.F, method jwt.SigningMethod, change func(jwt.MapClaims)) string {
	f.Helper()
	claims := jwt.MapClaims{
		"iss": "doorcode", "aud": "lanternbird", "sub": "jo", "jti": challID, "challenge": challID, "workspace": "acme", "channel": "email",
		"amr": []string{"otp"}, "iat": approvedAt().Unix(), "exp": approvedAt().Add(time.Minute).Unix(),
	}
	change(claims)
	unsigned := jwt.NewWithClaims(method, claims)
	unsigned.Header["kid"] = "k"
	var key any = fuzzKey()
	switch method {
	case jwt.SigningMethodNone:
		key = jwt.UnsafeAllowNoneSignatureType
	case jwt.SigningMethodHS256: // The known mistake: the public key as a shared secret.
		key = []byte(fuzzKey().Public().(ed25519.PublicKey)) //nolint:forcetypeassert // it is
	}
	signed, err := unsigned.SignedString(key)
	if err != nil {
		f.Fatal(err)
	}
	return signed
}

// FuzzVerify holds that nothing is a proof but the one assertion that the key signed for this sign-in, byte for byte
// (SEC-08).
func FuzzVerify(f *testing.F) {
	good := fuzzAssertion(f, jwt.SigningMethodEdDSA, func(jwt.MapClaims) {})
	seeds := []string{
		good, good + "=", good + "\n", good + ".", strings.ToUpper(good), strings.TrimRight(good, "A"), "", ".", "..", "a.b.c", good[:len(good)-2],
		fuzzAssertion(f, jwt.SigningMethodNone, func(jwt.MapClaims) {}), fuzzAssertion(f, jwt.SigningMethodHS256, func(jwt.MapClaims) {}),
		fuzzAssertion(f, jwt.SigningMethodEdDSA, func(c jwt.MapClaims) { delete(c, "exp") }),
		fuzzAssertion(f, jwt.SigningMethodEdDSA, func(c jwt.MapClaims) { c["exp"] = 1e300 }),
		fuzzAssertion(f, jwt.SigningMethodEdDSA, func(c jwt.MapClaims) { c["iat"] = -1e300 }),
		fuzzAssertion(f, jwt.SigningMethodEdDSA, func(c jwt.MapClaims) { c["aud"] = []string{"other"} }),
	}
	for _, seed := range seeds {
		f.Add(fuzzHandle(), seed)
	}
	f.Add("", good)
	f.Add("AQE", good)
	s, c := newScripted(f)
	s.jwks = fuzzJWKS()
	f.Fuzz(func(t *testing.T, handle, assertion string) {
		p, err := c.verify(t.Context(), handle, assertion)
		switch {
		case err == nil && (assertion != good || challengeOf(handle) != challID || p.Login != "jo"):
			t.Errorf("%q is a proof of %+v for the handle %q", assertion, p, handle)
		case err != nil && (!errors.Is(err, ErrAssertion) || p.Login != "" || p.Workspace != ""):
			t.Errorf("%+v, %v", p, err)
		case err != nil && assertion == good && challengeOf(handle) == challID:
			t.Errorf("the good one is refused: %v", err)
		}
	})
}

// FuzzKeys holds that whatever the key set is, keys are Ed25519's and verifying with them is safe.
func FuzzKeys(f *testing.F) {
	good := fuzzAssertion(f, jwt.SigningMethodEdDSA, func(jwt.MapClaims) {})
	f.Add(fuzzJWKS())
	f.Add([]byte(`{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "AAAA"}, {"kty": "EC"}, null]}`))
	f.Add([]byte(`{"keys": {}}`))
	f.Add([]byte(`{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "` + strings.Repeat("A", 43) + `"}]}`))
	f.Add([]byte(`null`))
	s, c := newScripted(f)
	f.Fuzz(func(t *testing.T, jwks []byte) {
		s.jwks = jwks
		keys, err := c.fetchKeys(t.Context())
		for id, key := range keys {
			if len(key) != ed25519.PublicKeySize {
				t.Errorf("the key %q has %d bytes", id, len(key))
			}
		}
		c.keys.keys, c.keys.fetched = nil, time.Time{}
		_, verified := c.verify(t.Context(), fuzzHandle(), good)
		own := keys["k"].Equal(fuzzKey().Public())
		if (verified == nil) != own || err != nil && verified == nil {
			t.Errorf("with the keys %q: %v, %v", jwks, err, verified)
		}
	})
}

// FuzzAnswers holds that no answer, whatever it is, lets anybody in, waits for less than no time or shows the API key.
func FuzzAnswers(f *testing.F) {
	for _, body := range []string{
		``, `{}`, `null`, `[]`, `{"decision": "required"}`, `{"decision": "waived", "handle": "h"}`, `{"outcome": "approved", "assertion": "a.b.c"}`,
		`{"status": 422, "code": "wrong_code", "detail": "d", "checks_left": 3}`, `{"code": "too_many", "retry_after": 9223372036854775807}`,
		`{"state": "pending", "deliveries": [{}], "expires_at": "x"}`,
	} {
		for _, status := range []int{200, 201, 204, 302, 422, 503} {
			f.Add(status, "1", []byte(body))
		}
	}
	f.Add(429, "9223372036854775807", []byte(`{}`))
	f.Add(429, "-5", []byte(`{}`))
	s, c := newScripted(f)
	s.jwks = fuzzJWKS()
	f.Fuzz(func(t *testing.T, status int, retry string, body []byte) {
		if status < 200 || status > 999 {
			return
		}
		s.status, s.retry, s.body = status, retry, body
		person, err := c.Check(t.Context(), fuzzHandle(), "482917")
		if err == nil || person.Login != "" {
			t.Errorf("%d %q lets %+v in", status, body, person)
		}
		ch, created := c.Create(t.Context(), Request{Workspace: "acme", Login: "jo"})
		if created == nil && ch.Decision != "required" {
			t.Errorf("%d %q is a decision", status, body)
		}
		_, read := c.Read(t.Context(), fuzzHandle())
		for _, err := range []error{
			err, created, read, c.Cancel(t.Context(), fuzzHandle()), c.Resend(t.Context(), fuzzHandle()), newNATSError(status, body),
		} {
			var refused *Error
			if errors.As(err, &refused) && (refused.Code == "" || refused.RetryAfter < 0 || refused.Status != status) {
				t.Errorf("%d %q with Retry-After %q is %+v", status, body, retry, refused)
			}
			if err != nil && strings.Contains(err.Error(), secretKey) && !bytes.Contains(body, []byte("dck_")) {
				t.Errorf("the key is in %v", err)
			}
		}
	})
}
