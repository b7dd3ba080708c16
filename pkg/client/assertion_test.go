package client

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// forger is a doorcode whose signature is right and whose claims are whatever a test wants.
type forger struct {
	key     ed25519.PrivateKey
	fetches atomic.Int64
	kid     string // that the assertions name
	claims  jwt.MapClaims
	hold    chan struct{} // unless nil, a fetch of the keys waits for it
	asked   chan struct{} // and says here that it came
	refuse  atomic.Bool   // a fetch fails
}

// newForger returns a forger of good assertions, and a client that asks it.
func newForger(t *testing.T, now func() time.Time) (*forger, *Client) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	f := &forger{key: private, kid: "k", claims: jwt.MapClaims{
		"iss": "doorcode", "aud": "lanternbird", "sub": "jo", "jti": challID, "challenge": challID, "workspace": "acme", "channel": "email",
		"amr": []string{"otp"}, "iat": approvedAt().Unix(), "exp": approvedAt().Add(time.Minute).Unix(),
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/.well-known/jwks.json" {
			f.fetches.Add(1)
			if f.hold != nil {
				f.asked <- struct{}{}
				<-f.hold
			}
			if f.refuse.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"keys": []map[string]string{
				{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": base64.RawURLEncoding.EncodeToString(public)},
			}})
			return
		}
		signed, err := f.sign()
		if err != nil {
			t.Error(err)
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"outcome": "approved", "assertion": signed})
	}))
	t.Cleanup(server.Close)
	c, err := New(Config{URL: server.URL, Key: secretKey, HTTP: server.Client(), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.http.CloseIdleConnections)
	return f, c
}

// sign signs the claims as they are.
func (f *forger) sign() (string, error) {
	unsigned := jwt.NewWithClaims(jwt.SigningMethodEdDSA, f.claims)
	unsigned.Header["kid"] = f.kid
	return unsigned.SignedString(f.key)
}

// SEC-08: what the browser brings back decides nothing by itself: another sign-in's assertion, a post that names its own
// handle, and one that was edited are refused.
func TestSEC08_APostedAssertionCountsForThePendingHandleAlone(t *testing.T) {
	t.Parallel()
	f, c := newForger(t, approvedAt)
	signed, err := f.sign()
	if err != nil {
		t.Fatal(err)
	}
	other := base64.RawURLEncoding.EncodeToString(append([]byte{1, 1, 9}, make([]byte, 41)...))
	edited := signed[:len(signed)-6] + "AAAAAA"
	for name, in := range map[string][2]string{
		"another sign-in": {other, signed}, "no pending sign-in": {"", signed}, "no assertion": {handleOf(t), ""}, "edited": {handleOf(t), edited},
		"the browser's word": {handleOf(t), "verified"}, "the handle itself": {handleOf(t), handleOf(t)},
	} {
		p, err := c.Verify(t.Context(), in[0], in[1])
		if !errors.Is(err, ErrAssertion) || p.Login != "" {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	p, err := c.Verify(t.Context(), handleOf(t), signed)
	if err != nil || p.Login != "jo" {
		t.Errorf("for control: %+v, %v", p, err)
	}
}

// SEC-08: a good signature is not enough; each claim that DESIGN 8 names has to be there and mean this sign-in.
func TestCheck_RefusesAnAssertionWithAClaimMissingOrWrong(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(jwt.MapClaims){
		"no life":           func(c jwt.MapClaims) { delete(c, "exp") },
		"a life too long":   func(c jwt.MapClaims) { c["exp"] = approvedAt().Add(61 * time.Second).Unix() },
		"no start":          func(c jwt.MapClaims) { delete(c, "iat") },
		"a start to come":   func(c jwt.MapClaims) { c["iat"] = approvedAt().Add(11 * time.Second).Unix() },
		"no person":         func(c jwt.MapClaims) { delete(c, "sub") },
		"no workspace":      func(c jwt.MapClaims) { delete(c, "workspace") },
		"no method":         func(c jwt.MapClaims) { c["amr"] = []string{} },
		"no challenge":      func(c jwt.MapClaims) { delete(c, "challenge") },
		"another id":        func(c jwt.MapClaims) { c["jti"] = "BBECAwQFBgcICQoLDA0ODw" },
		"another audience":  func(c jwt.MapClaims) { c["aud"] = "lanternbird2" },
		"no audience":       func(c jwt.MapClaims) { delete(c, "aud") },
		"an approval":       func(c jwt.MapClaims) { c["purpose"] = "approval" },
		"a proof":           func(c jwt.MapClaims) { c["purpose"] = "proof" },
		"no issuer":         func(c jwt.MapClaims) { delete(c, "iss") },
		"good, for control": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, c := newForger(t, approvedAt)
			if spoil != nil {
				spoil(f.claims)
			}
			p, err := c.Check(t.Context(), handleOf(t), "482917")
			// The hosted page's way: the same assertion, posted.
			signed, signErr := f.sign()
			if signErr != nil {
				t.Fatal(signErr)
			}
			posted, postedErr := c.Verify(t.Context(), handleOf(t), signed)
			if (postedErr == nil) != (err == nil) || posted.Login != p.Login || spoil != nil && !errors.Is(postedErr, ErrAssertion) {
				t.Errorf("posted: person %+v, %v", posted, postedErr)
			}
			switch {
			case spoil == nil && (err != nil || p.Login != "jo"):
				t.Errorf("person %+v, %v", p, err)
			case spoil != nil && (!errors.Is(err, ErrAssertion) || p.Login != ""):
				t.Errorf("person %+v, %v", p, err)
			}
		})
	}
}

func TestCheck_AnUnknownKeyDoesNotMakeAFloodOfFetches(t *testing.T) {
	t.Parallel()
	now := approvedAt()
	f, c := newForger(t, func() time.Time { return now })
	f.kid = "unknown"
	for range 5 {
		_, err := c.Check(t.Context(), handleOf(t), "482917")
		if !errors.Is(err, ErrAssertion) || strings.Contains(err.Error(), "482917") {
			t.Fatal(err)
		}
	}
	if n := f.fetches.Load(); n != 1 {
		t.Errorf("%d fetches within one moment", n)
	}
	now = now.Add(refetch + time.Second)
	_, err := c.Check(t.Context(), handleOf(t), "482917")
	if !errors.Is(err, ErrAssertion) || f.fetches.Load() != 2 {
		t.Errorf("%v after %d fetches", err, f.fetches.Load())
	}
}

// asserting is what a caller with an assertion under a key id waits for.
func (f *forger) asserting(ctx context.Context, t *testing.T, c *Client, kid string) chan error {
	t.Helper()
	unsigned := jwt.NewWithClaims(jwt.SigningMethodEdDSA, f.claims)
	unsigned.Header["kid"] = kid
	signed, err := unsigned.SignedString(f.key)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := c.Verify(ctx, handleOf(t), signed)
		done <- err
	}()
	return done
}

// await receives in bounded time.
func await[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(time.Minute):
		t.Fatal("in vain: " + what)
		panic("unreachable")
	}
}

// Whoever brings an unknown key id makes nobody wait but those who do the same.
func TestVerify_AKnownKeyWaitsForNoFetch(t *testing.T) {
	t.Parallel()
	var later atomic.Int64
	f, c := newForger(t, func() time.Time { return approvedAt().Add(time.Duration(later.Load())) })
	if err := await(t, "the first", f.asserting(t.Context(), t, c, "k")); err != nil {
		t.Fatal(err)
	}
	later.Store(int64(refetch + time.Second))
	f.hold, f.asked = make(chan struct{}), make(chan struct{}, 9)
	var unknown []chan error
	for range 8 {
		unknown = append(unknown, f.asserting(t.Context(), t, c, "unknown"))
	}
	await(t, "a fetch", f.asked)
	for range 3 {
		if err := await(t, "a known key", f.asserting(t.Context(), t, c, "k")); err != nil {
			t.Error(err)
		}
	}
	// Who does not want to wait any longer need not.
	ctx, cancel := context.WithCancel(t.Context())
	impatient := f.asserting(ctx, t, c, "unknown")
	cancel()
	if err := await(t, "the impatient", impatient); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(f.hold)
	for _, done := range unknown {
		if err := await(t, "an unknown key", done); !errors.Is(err, ErrAssertion) {
			t.Error(err)
		}
	}
	if n := f.fetches.Load(); n != 2 {
		t.Errorf("%d fetches, and not the first and one for all others", n)
	}
}

// A fetch that its caller gave up says nothing to others; one that failed is the answer to all who waited.
func TestVerify_AFetchThatWasGivenUpIsMadeByTheNext(t *testing.T) {
	t.Parallel()
	f, c := newForger(t, approvedAt)
	f.hold, f.asked = make(chan struct{}), make(chan struct{}, 9)
	ctx, cancel := context.WithCancel(t.Context())
	first := f.asserting(ctx, t, c, "k")
	await(t, "a fetch", f.asked)
	second := f.asserting(t.Context(), t, c, "k")
	cancel()
	if err := await(t, "the first", first); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	await(t, "the fetch of the second", f.asked)
	third := f.asserting(t.Context(), t, c, "k")
	f.refuse.Store(true)
	close(f.hold)
	for _, done := range []chan error{second, third} {
		var failed *keysError
		if err := await(t, "a fetch that fails", done); !errors.As(err, &failed) {
			t.Error(err)
		}
	}
	f.refuse.Store(false)
	if err := await(t, "a good fetch", f.asserting(t.Context(), t, c, "k")); err != nil {
		t.Error(err)
	}
}
