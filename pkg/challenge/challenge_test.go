package challenge

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/keyring"
)

// It shows SEC-06 of deploy/SECURITY.md.
func TestNewID_IsRandomAndOfFixedLength(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		id, err := NewID()
		if err != nil || len(id) != 22 || seen[id] {
			t.Fatalf("id of %d characters, seen %v: %v", len(id), seen[id], err)
		}
		seen[id] = true
	}
	attempt, err := NewAttempt()
	if err != nil || len(attempt) != 11 {
		t.Errorf("attempt id of %d characters: %v", len(attempt), err)
	}
}

func TestDrawLabel_HasThreeDifferentConsonantsAndAvoidsLiveOnes(t *testing.T) {
	t.Parallel()
	live := []string{}
	for range 500 {
		label, err := DrawLabel(live)
		if err != nil {
			t.Fatal(err)
		}
		if len(label) != 3 || strings.ContainsAny(label, "AEIOUYQ0123456789") || label[0] == label[1] || label[1] == label[2] || label[0] == label[2] {
			t.Fatalf("label %s", label)
		}
		for _, l := range live {
			if l == label {
				t.Fatalf("label %s is live already", label)
			}
		}
		live = append(live, label)
	}
}

// Two mails that lie side by side are told apart by every letter of their labels.
func TestDrawLabel_DiffersFromItsNeighboursInEveryLetter(t *testing.T) {
	t.Parallel()
	for range 50 {
		live := []string{}
		for range 17 {
			label, err := DrawLabel(live)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range live {
				if label[0] == l[0] || label[1] == l[1] || label[2] == l[2] {
					t.Fatalf("label %s beside %v", label, live)
				}
			}
			live = append(live, label)
		}
	}
}

func TestDrawReference_CarriesItsCheckCharacter(t *testing.T) {
	t.Parallel()
	for range 200 {
		ref, err := DrawReference()
		if err != nil || len(ref) != 8 || strings.ContainsAny(ref, "ILOU") {
			t.Fatalf("reference %s: %v", ref, err)
		}
		for i := range 7 {
			changed := []byte(ref)
			changed[i] = crockford[(strings.IndexByte(crockford, ref[i])+1)%32]
			if luhn(string(changed[:7])) == ref[7] {
				t.Fatalf("a wrong character %d in %s goes unseen", i, ref)
			}
		}
	}
	if got := ShowReference("4F72KQ9R"); got != "4F72-KQ9R" {
		t.Errorf("shown as %s", got)
	}
	if got := ShowReference("short"); got != "short" {
		t.Errorf("shown as %s", got)
	}
}

func TestReferenceOf_FollowsFromTheSumAndLooksLikeADrawnOne(t *testing.T) {
	t.Parallel()
	ref := ReferenceOf([]byte{0, 31, 32, 255, 7, 8, 9, 10})
	if ref != "0Z0Z789"+string(luhn("0Z0Z789")) || len(ref) != 8 {
		t.Errorf("reference %s", ref)
	}
	if ReferenceOf([]byte{0, 31, 32, 255, 7, 8, 9}) != ref || ReferenceOf([]byte{1, 31, 32, 255, 7, 8, 9}) == ref {
		t.Error("it does not follow from the first seven bytes")
	}
}

// It shows SEC-12 and SEC-14 of deploy/SECURITY.md.
func TestPolicy_NoSettingDisablesCounting(t *testing.T) {
	t.Parallel()
	err := DefaultPolicy().Validate()
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Policy, int){
		"challenge": func(p *Policy, n int) { p.WrongPerChallenge = n },
		"hour":      func(p *Policy, n int) { p.WrongPerHour = n },
		"day":       func(p *Policy, n int) { p.WrongPerDay = n },
		"lock":      func(p *Policy, n int) { p.LockAfter = n },
		"sends":     func(p *Policy, n int) { p.Sends = n },
	} {
		for _, n := range []int{-1, 0, 101, 1 << 30} {
			p := DefaultPolicy()
			change(&p, n)
			if p.Validate() == nil {
				t.Errorf("%s of %d is allowed", name, n)
			}
		}
	}
}

func TestResendWait_DoublesFromThirtySeconds(t *testing.T) {
	t.Parallel()
	for send, want := range map[int]time.Duration{
		-1: 30 * time.Second, 1: 30 * time.Second, 2: time.Minute, 3: 2 * time.Minute, 4: 4 * time.Minute, 9: 4 * time.Minute,
	} {
		if got := ResendWait(send); got != want {
			t.Errorf("after send %d: %s", send, got)
		}
	}
}

func TestNotAfter_IsAMinuteBeforeTheEndAndLastResendTwo(t *testing.T) {
	t.Parallel()
	end := time.Date(2026, 6, 3, 8, 12, 0, 0, time.UTC)
	if got := end.Sub(NotAfter(end)); got != time.Minute {
		t.Errorf("last call %s before the end", got)
	}
	if got := end.Sub(LastResend(end)); got != 2*time.Minute {
		t.Errorf("last resend %s before the end", got)
	}
}

// handleRing returns a ring and a handle of the tests.
func handleRing(t testing.TB) (*keyring.Ring, Handle) {
	t.Helper()
	r, err := keyring.New()
	if err != nil {
		t.Fatal(err)
	}
	return r, Handle{Challenge: "AAECAwQFBgcICQoLDA0ODw", Stream: 7, Sequence: 1<<40 + 3}
}

func TestHandle_RoundTripAlsoAfterARotation(t *testing.T) {
	t.Parallel()
	r, h := handleRing(t)
	s, err := h.Encode(r)
	if err != nil || len(s) != 59 {
		t.Fatalf("handle of %d characters: %v", len(s), err)
	}
	next, err := r.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeHandle(next, s)
	if err != nil || got != h {
		t.Errorf("got %+v: %v", got, err)
	}
}

// A sequence cannot be probed: every changed byte and every foreign key is one answer.
// It shows SEC-06 and SEC-26 of deploy/SECURITY.md.
func TestHandle_RefusesEverythingElse(t *testing.T) {
	t.Parallel()
	r, h := handleRing(t)
	s, err := h.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		raw[i] ^= 1
		_, err := DecodeHandle(r, base64.RawURLEncoding.EncodeToString(raw))
		if !errors.Is(err, ErrHandle) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
		raw[i] ^= 1
	}
	other, _ := handleRing(t)
	_, err = DecodeHandle(other, s)
	if !errors.Is(err, ErrHandle) {
		t.Errorf("foreign key: %v", err)
	}
	for _, bad := range []string{"", "x", s + "A", s[:58], s + "\n", strings.Repeat("A", 59)} {
		_, err := DecodeHandle(r, bad)
		if !errors.Is(err, ErrHandle) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	_, err = Handle{Challenge: "short"}.Encode(r)
	if err == nil {
		t.Error("a malformed challenge id was encoded")
	}
}

func FuzzDecodeHandle(f *testing.F) {
	r, h := handleRing(f)
	s, err := h.Encode(r)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s)
	f.Add("")
	f.Fuzz(func(t *testing.T, in string) {
		got, err := DecodeHandle(r, in)
		if err != nil {
			return
		}
		again, err := got.Encode(r)
		if err != nil || again != in {
			t.Fatal("an accepted handle encodes to another one")
		}
	})
}
