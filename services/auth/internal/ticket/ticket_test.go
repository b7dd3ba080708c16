package ticket_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"doorcode/pkg/keyring"
	"doorcode/services/auth/internal/ticket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func sample(t testing.TB) (*keyring.Ring, ticket.Ticket) {
	t.Helper()
	ring, err := keyring.New()
	if err != nil {
		t.Fatal(err)
	}
	return ring, ticket.Ticket{
		Handle: "AQEhandle", FrontEnd: "login-page", ReturnURL: "https://app.example/in?a=b", Locale: "nl-BE",
		ExpiresAt: time.Date(2026, 6, 3, 10, 12, 0, 0, time.UTC),
	}
}

func TestTicket_IsReadAsItWasWrittenAndIsTheSameEveryTime(t *testing.T) {
	t.Parallel()
	ring, want := sample(t)
	s := want.Encode(ring)
	if s != want.Encode(ring) {
		t.Error("two tickets of one challenge differ")
	}
	rotated, err := ring.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ticket.Decode(rotated, s)
	if err != nil || got != want {
		t.Errorf("read %+v, %v", got, err)
	}
	if strings.Contains(want.Page(), "AQE") || want.Page() != got.Page() || len(want.Page()) != 16 {
		t.Errorf("page %s", want.Page())
	}
}

func TestTicket_NothingElsePassesForOne(t *testing.T) {
	t.Parallel()
	ring, good := sample(t)
	other, _ := sample(t)
	s := good.Encode(ring)
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	bad := []string{"", "x", s + "\n", s + "=", s[:len(s)-4], good.Open().Encode(ring), good.Encode(other)}
	for i := range raw {
		changed := append([]byte{}, raw...)
		changed[i] ^= 1
		bad = append(bad, base64.RawURLEncoding.EncodeToString(changed))
	}
	for _, b := range bad {
		_, err := ticket.Decode(ring, b)
		if !errors.Is(err, ticket.ErrUnknown) {
			t.Errorf("%q is taken for a ticket: %v", b, err)
		}
	}
	_, err = ticket.DecodeSession(ring, s)
	if !errors.Is(err, ticket.ErrUnknown) {
		t.Errorf("a ticket is taken for a session: %v", err)
	}
}

func TestSession_IsFreshAtEveryOpeningAndKnowsItsOwnForms(t *testing.T) {
	t.Parallel()
	ring, ticketed := sample(t)
	one, two := ticketed.Open(), ticketed.Open()
	if one.Encode(ring) == two.Encode(ring) || one.Form() == two.Form() {
		t.Error("two openings give one session")
	}
	read, err := ticket.DecodeSession(ring, one.Encode(ring))
	if err != nil || read.Ticket != ticketed || read.Form() != one.Form() {
		t.Fatalf("read %+v, %v", read.Ticket, err)
	}
	if !read.Posted(one.Form()) || read.Posted(two.Form()) || read.Posted("") {
		t.Error("a session takes the forms of another, or not its own")
	}
	if strings.Contains(one.Encode(ring), one.Form()) {
		t.Error("the cookie shows the form's value")
	}
}

func FuzzDecode(f *testing.F) {
	ring, good := sample(f)
	f.Add(good.Encode(ring))
	f.Add(good.Open().Encode(ring))
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ticket.Decode(ring, s)
		if err == nil && got.Encode(ring) != s {
			t.Errorf("%q is taken and written differently", s)
		}
		_, _ = ticket.DecodeSession(ring, s)
	})
}
