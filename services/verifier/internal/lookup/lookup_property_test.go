package lookup_test

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/keyring"
	"doorcode/pkg/postgres"
	"doorcode/pkg/problem"
	"doorcode/services/verifier/internal/lookup"
	"doorcode/services/verifier/internal/verifiertest"
)

// A challenge is found by its own front-end with a handle that auth made: of this stream and of this sequence as long as
// the row is not there, and by its id afterwards. Everything else is the same unknown challenge, and records nothing.
func TestFind_TakesNothingForeign(t *testing.T) {
	t.Parallel()
	r := verifiertest.New(t)
	f := lookup.New(r.DB(), r.Bus.Connect(t, "verifier"), r.Handles)
	foreign, err := keyring.New()
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		c, other := r.Issue(), r.Issue()
		if rapid.Bool().Draw(rt, "at hand") {
			f.Came(postgres.Issued{Event: c.Event, Stream: bustest.Number, Sequence: c.Sequence})
			defer f.Gone(c.ID())
		}
		recorded := rapid.Bool().Draw(rt, "recorded")
		if recorded {
			_, err := f.Find(t.Context(), c.Request())
			if err != nil {
				rt.Fatal(err)
			}
		}
		h := challenge.Handle{
			Challenge: c.ID(),
			Stream:    rapid.SampledFrom([]uint16{bustest.Number, bustest.Number, bustest.Number + 1, 0}).Draw(rt, "stream"),
			Sequence:  rapid.SampledFrom([]uint64{c.Sequence, c.Sequence, c.Sequence, other.Sequence, 1 << 40}).Draw(rt, "sequence"),
		}
		ring := rapid.SampledFrom([]*keyring.Ring{r.Handles, r.Handles, r.Handles, foreign}).Draw(rt, "ring")
		text, err := h.Encode(ring)
		if err != nil {
			rt.Fatal(err)
		}
		changed := rapid.IntRange(0, 4).Draw(rt, "changed") == 0
		if changed {
			i := rapid.IntRange(0, len(text)-1).Draw(rt, "character")
			c := rapid.SampledFrom([]byte("AZaz09-_.")).Filter(func(c byte) bool { return c != text[i] }).Draw(rt, "to")
			text = text[:i] + string(c) + text[i+1:]
		}
		frontEnd := rapid.SampledFrom([]string{verifiertest.FrontEnd, verifiertest.FrontEnd, "other", "", "we", "web "}).Draw(rt, "front-end")
		found, err := f.Find(t.Context(), event.HandleRequest{Handle: text, FrontEnd: frontEnd})

		mine := ring == r.Handles && !changed && frontEnd == verifiertest.FrontEnd
		if mine && (recorded || h.Stream == bustest.Number && h.Sequence == c.Sequence) {
			if err != nil || found.Facts.ID != c.ID() {
				rt.Fatalf("%+v of %q is %+v: %v", h, frontEnd, found, err)
			}
			return
		}
		var p *problem.Problem
		if !errors.As(err, &p) || p.Code != "unknown_challenge" || found.Facts.ID != "" {
			rt.Fatalf("%+v of %q is %+v: %v", h, frontEnd, found, err)
		}
		if n := r.Count(`SELECT count(*) FROM challenges WHERE id IN ($1, $2)`, c.ID(), other.ID()); n > 0 != recorded {
			rt.Fatalf("%+v of %q recorded %d challenges", h, frontEnd, n)
		}
	})
}
