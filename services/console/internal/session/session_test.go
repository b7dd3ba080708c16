package session_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/keyring"
	"doorcode/services/console/internal/session"
)

func ring(t *testing.T) *keyring.Ring {
	t.Helper()
	r, err := keyring.New()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func encoded(t *testing.T, r *keyring.Ring, s session.Session) string {
	t.Helper()
	value, err := s.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestDecode_ReadsWhatThisConsoleMadeAndNothingElse(t *testing.T) {
	t.Parallel()
	r := ring(t)
	s := session.Session{ID: "AAAAAAAAAAAAAAAAAAAAAA", Operator: "sue", Version: "v", Began: time.Unix(1000, 0).UTC(), Seen: time.Unix(1001, 0).UTC()}
	value := encoded(t, r, s)
	got, err := session.Decode(r, value)
	if err != nil || got != s {
		t.Fatalf("%+v: %v", got, err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil || strings.Contains(string(raw), "sue") {
		t.Errorf("a browser can read it: %v", err)
	}
	if encoded(t, r, s) == value {
		t.Error("two cookies are the same")
	}
	next, err := r.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	if _, err = session.Decode(next, value); err != nil {
		t.Errorf("after a rotation: %v", err)
	}
	pending, err := session.Pending{Operator: "sue"}.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	wrong := map[string]string{"nothing": "", "one of another kind": pending, "one under other keys": encoded(t, ring(t), s), "no base64": "!"}
	for i := range raw {
		changed := append([]byte(nil), raw...)
		changed[i] ^= 1
		wrong["byte "+string(rune('0'+i%10))+" changed "+value[:i%8]] = base64.RawURLEncoding.EncodeToString(changed)
		wrong["cut "+value[:i]] = base64.RawURLEncoding.EncodeToString(raw[:i])
	}
	for what, w := range wrong {
		if _, err := session.Decode(r, w); !errors.Is(err, session.ErrUnknown) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err = session.DecodePending(r, value); !errors.Is(err, session.ErrUnknown) {
		t.Errorf("a session passes for what waits: %v", err)
	}
}

// It shows SEC-59 of deploy/SECURITY.md: fifteen minutes idle, eight hours in all, five minutes for a code.
func TestLive_EndsByIdlenessAndByAge(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	for _, c := range []struct {
		began, seen time.Duration
		live        bool
	}{
		{0, 0, true},
		{7 * time.Hour, 15 * time.Minute, true},
		{time.Hour, 15*time.Minute + time.Second, false},
		{8*time.Hour + time.Second, 0, false},
		{0, -time.Hour, false},
	} {
		s := session.Session{Began: now.Add(-c.began), Seen: now.Add(-c.seen)}
		if s.Live(now) != c.live {
			t.Errorf("began %s ago, seen %s ago: live %v", c.began, c.seen, !c.live)
		}
	}
	if !(session.Pending{Asked: now.Add(-5 * time.Minute)}).Fresh(now) || (session.Pending{Asked: now.Add(-5*time.Minute - time.Second)}).Fresh(now) {
		t.Error("a code is good for another time than five minutes")
	}
}
