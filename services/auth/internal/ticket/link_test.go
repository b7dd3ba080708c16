package ticket_test

import (
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"doorcode/services/auth/internal/ticket"
)

func TestLink_IsReadAsItWasWrittenAndIsTheSameEveryTime(t *testing.T) {
	t.Parallel()
	ring, _ := sample(t)
	want := ticket.Link{
		Kind: ticket.LinkInvitation, Workspace: strings.Repeat("w", 64), ID: strings.Repeat("~", 64), Until: time.Date(2026, 6, 10, 8, 2, 0, 0, time.UTC),
	}
	address := want.Address(ring)
	u, err := url.Parse("https://sign-in.example.com" + address)
	if err != nil || u.Path != "/invitation" || len(address) > 400 || address != want.Address(ring) {
		t.Fatalf("address %s: %v", address, err)
	}
	rotated, err := ring.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ticket.LinkInvitation.Decode(rotated, u.Query().Get(ticket.LinkInvitation.Field()))
	if err != nil || got != want {
		t.Errorf("read %+v, %v", got, err)
	}
}

func TestLink_NothingElsePassesForOne(t *testing.T) {
	t.Parallel()
	ring, prompt := sample(t)
	other, _ := sample(t)
	good := ticket.Link{Kind: ticket.LinkUndo, Workspace: "w", ID: "abc", Until: time.Now()}
	field := func(address string) string { return address[strings.Index(address, "=")+1:] }
	s := field(good.Address(ring))
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	foreign := good
	foreign.Kind = ticket.LinkInvitation
	bad := []string{"", "x", s + "\n", s + "=", s[:len(s)-4], field(good.Address(other)), field(foreign.Address(ring)), prompt.Encode(ring), prompt.Open().Encode(ring)}
	for i := range raw {
		changed := append([]byte{}, raw...)
		changed[i] ^= 1
		bad = append(bad, base64.RawURLEncoding.EncodeToString(changed))
	}
	for _, b := range bad {
		_, err := ticket.LinkUndo.Decode(ring, b)
		if !errors.Is(err, ticket.ErrUnknown) {
			t.Errorf("%q is taken for a link: %v", b, err)
		}
	}
	_, err = ticket.Decode(ring, s)
	if !errors.Is(err, ticket.ErrUnknown) {
		t.Errorf("a link is taken for a ticket: %v", err)
	}
}

func TestVisit_IsFreshAtEveryOpeningAndPassesForNothingElse(t *testing.T) {
	t.Parallel()
	ring, prompt := sample(t)
	link := ticket.Link{Kind: ticket.LinkInvitation, Workspace: "w", ID: "abc", Until: time.Date(2026, 6, 10, 8, 2, 0, 0, time.UTC)}
	one := link.Visit("AQEhandle", "KRT", "k•••@example.com", time.Date(2026, 6, 3, 8, 12, 0, 0, time.UTC))
	two := link.Visit("AQEhandle", "KRT", "k•••@example.com", one.ExpiresAt)
	if one.Form() == two.Form() || one.Posted(two.Form()) || !one.Posted(one.Form()) || one.Posted("") {
		t.Error("two visits have one form")
	}
	got, err := ticket.LinkInvitation.DecodeVisit(ring, one.Encode(ring))
	if err != nil || got.Link != link || got.Handle != one.Handle || got.Label != "KRT" || got.Recipient != one.Recipient || !got.ExpiresAt.Equal(one.ExpiresAt) || !got.Posted(one.Form()) {
		t.Errorf("read %+v, %v", got, err)
	}
	if len(link.Page()) != 16 || strings.Contains(link.Page(), "abc") {
		t.Errorf("page %s", link.Page())
	}
	other, _ := sample(t)
	for _, bad := range []string{"", one.Encode(ring) + "=", one.Encode(other), prompt.Open().Encode(ring), strings.TrimPrefix(link.Address(ring), "/invitation?of=")} {
		_, err = ticket.LinkInvitation.DecodeVisit(ring, bad)
		if !errors.Is(err, ticket.ErrUnknown) {
			t.Errorf("%q is taken for a visit: %v", bad, err)
		}
	}
	_, err = ticket.LinkUndo.DecodeVisit(ring, one.Encode(ring))
	if !errors.Is(err, ticket.ErrUnknown) {
		t.Errorf("a visit of another kind: %v", err)
	}
	_, err = ticket.DecodeSession(ring, one.Encode(ring))
	if !errors.Is(err, ticket.ErrUnknown) {
		t.Errorf("a visit is taken for a session: %v", err)
	}
}
