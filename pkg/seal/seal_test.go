package seal

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/keyring"
)

// ring returns a fresh ring.
func ring(t testing.TB) *keyring.Ring {
	t.Helper()
	r, err := keyring.New()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var at = time.Date(2026, 6, 3, 8, 2, 0, 123_000_000, time.UTC) //nolint:gochecknoglobals // the tests' one fixed time

// where returns the context the tests seal for.
func where() Context {
	return Context{Challenge: "AAECAwQFBgcICQoLDA0ODw", Route: 0, Channel: "email", NotAfter: at.Add(9 * time.Minute)}
}

// content returns what the tests seal.
func content() Content {
	return Content{
		Code: "482917", Recipient: "jo@acme.example", Workspace: "Acme", Label: "KTM", Reference: "4F72KQ9R", Locale: "en",
		CreatedAt: at, ExpiresAt: at.Add(10 * time.Minute), UserAgent: "Mozilla/5.0",
	}
}

func TestOpen_ReturnsWhatWasSealed(t *testing.T) {
	t.Parallel()
	r := ring(t)
	envelope, err := Seal(r, where(), content())
	if err != nil {
		t.Fatal(err)
	}
	got, err := Open(r, where(), envelope)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(content(), got); diff != "" {
		t.Errorf("content changed:\n%s", diff)
	}
}

// SEC-28: any context field altered, or the key of another channel: it does not open.
func TestP4_AnEnvelopeOpensOnlyInItsContextAndWithItsKey(t *testing.T) {
	t.Parallel()
	r := ring(t)
	envelope, err := Seal(r, where(), content())
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Context){
		"challenge": func(c *Context) { c.Challenge = "BBECAwQFBgcICQoLDA0ODw" },
		"route":     func(c *Context) { c.Route = 1 },
		"channel":   func(c *Context) { c.Channel = "sms" },
		"notice":    func(c *Context) { c.Notice = "login_locked" },
		"not after": func(c *Context) { c.NotAfter = c.NotAfter.Add(time.Millisecond) },
		"shifted": func(c *Context) {
			c.Challenge, c.Channel = c.Challenge+"e", "mail"
		},
	} {
		other := where()
		change(&other)
		_, err := Open(r, other, envelope)
		if !errors.Is(err, ErrNotOpened) {
			t.Errorf("opened with another %s: %v", name, err)
		}
	}
	_, err = Open(ring(t), where(), envelope)
	if !errors.Is(err, ErrNotOpened) {
		t.Errorf("opened with another key: %v", err)
	}
}

// It shows SEC-28 of deploy/SECURITY.md.
func TestOpen_RefusesEveryFlippedBitOfAByte(t *testing.T) {
	t.Parallel()
	r := ring(t)
	envelope, err := Seal(r, where(), content())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(envelope)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		raw[i] ^= 0x10
		_, err := Open(r, where(), base64.RawURLEncoding.EncodeToString(raw))
		if !errors.Is(err, ErrNotOpened) {
			t.Fatalf("opened with byte %d changed: %v", i, err)
		}
		raw[i] ^= 0x10
	}
}

// It shows SEC-28 of deploy/SECURITY.md.
func TestP4_AnEnvelopeShowsNeitherContentNorItsLength(t *testing.T) {
	t.Parallel()
	r := ring(t)
	short, long := content(), content()
	long.Recipient = strings.Repeat("a", 60) + "@acme.example"
	long.Workspace = strings.Repeat("W", 60)
	one, err := Seal(r, where(), short)
	if err != nil {
		t.Fatal(err)
	}
	two, err := Seal(r, where(), long)
	if err != nil {
		t.Fatal(err)
	}
	if len(one) != len(two) {
		t.Errorf("lengths %d and %d tell the address", len(one), len(two))
	}
	again, err := Seal(r, where(), short)
	if err != nil {
		t.Fatal(err)
	}
	if one == again {
		t.Error("the same content gives the same envelope")
	}
	raw, err := base64.RawURLEncoding.DecodeString(one)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"482917", "jo@acme", "KTM", "Acme"} {
		if strings.Contains(string(raw), secret) {
			t.Errorf("the envelope shows %d bytes of content", len(secret))
		}
	}
}

func TestOpen_WorksAfterARotation(t *testing.T) {
	t.Parallel()
	old := ring(t)
	envelope, err := Seal(old, where(), content())
	if err != nil {
		t.Fatal(err)
	}
	next, err := old.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(next, where(), envelope)
	if err != nil {
		t.Errorf("an envelope of the old key: %v", err)
	}
	fresh, err := Seal(next, where(), content())
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(old, where(), fresh)
	if !errors.Is(err, ErrNotOpened) {
		t.Errorf("the old ring opens the new key's envelope: %v", err)
	}
}

func TestSeal_RefusesContentThatIsTooLong(t *testing.T) {
	t.Parallel()
	c := content()
	c.UserAgent = strings.Repeat("x", maxPlain)
	_, err := Seal(ring(t), where(), c)
	if err == nil || strings.Contains(err.Error(), "xxx") {
		t.Errorf("got %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	r := ring(f)
	envelope, err := Seal(r, where(), content())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(envelope[:len(envelope)-1])
	f.Add("")
	f.Add("AQE")
	f.Fuzz(func(t *testing.T, forged string) {
		if forged == envelope {
			return
		}
		_, err := Open(r, where(), forged)
		if !errors.Is(err, ErrNotOpened) {
			t.Fatalf("a forged envelope: %v", err)
		}
	})
}
