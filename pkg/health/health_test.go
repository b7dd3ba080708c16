package health_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"doorcode/pkg/health"
)

// facts draws messages of which everything may or may not have happened.
func facts(t *rapid.T) []health.Fact {
	start := time.Date(2026, 3, 4, 3, 2, 0, 0, time.UTC)
	after := func(label string) time.Time {
		return start.Add(time.Duration(rapid.IntRange(-2, 900).Draw(t, label)) * time.Second)
	}
	maybe := func(label string) time.Time {
		if rapid.Bool().Draw(t, "has "+label) {
			return after(label)
		}
		return time.Time{}
	}
	one := rapid.Custom(func(t *rapid.T) health.Fact {
		return health.Fact{
			RequestedAt: start, At: after("at"), Accepted: rapid.Bool().Draw(t, "accepted"), Notice: rapid.Bool().Draw(t, "notice"),
			DeliveredAt: maybe("delivered"), Failed: rapid.Bool().Draw(t, "failed"), ApprovedAt: maybe("approved"), NextAt: maybe("next"),
		}
	})
	return rapid.SliceOfN(one, 0, 60).Draw(t, "facts")
}

// naive finds a quantile the long way: by the sorted times themselves.
func naive(times []time.Duration, percent int) string {
	if len(times) == 0 {
		return "none"
	}
	slices.Sort(times)
	at := times[(len(times)*percent+99)/100-1]
	for _, b := range health.Bounds() {
		if at < b {
			return fmt.Sprintf("under %d s", int(b.Seconds()))
		}
	}
	return "over 600 s"
}

func TestFigures_AreThoseOfTheMessagesOneByOne(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		all := facts(t)
		got := health.FiguresOf(health.Count(all), health.Count(all))
		var accepted, delivered, silent, codes, verified int
		var toAccept, toDeliver []time.Duration
		for _, f := range all {
			if !f.Accepted {
				continue
			}
			accepted++
			arrived := !f.DeliveredAt.IsZero() && !f.Failed
			if arrived {
				delivered++
			} else if !f.Failed {
				silent++
			}
			if f.Notice {
				continue
			}
			codes++
			toAccept = append(toAccept, f.At.Sub(f.RequestedAt))
			if arrived {
				toDeliver = append(toDeliver, f.DeliveredAt.Sub(f.RequestedAt))
			}
			if !f.ApprovedAt.IsZero() && (f.NextAt.IsZero() || !f.NextAt.Before(f.ApprovedAt)) {
				verified++
			}
		}
		for what, pair := range map[string][2]any{
			"sent":             {got.Sent, len(all)},
			"accepted":         {got.Accepted, health.Share{Part: accepted, Of: len(all)}},
			"delivered":        {got.Delivered, health.Share{Part: delivered, Of: accepted}},
			"verified":         {got.Verified, health.Share{Part: verified, Of: codes}},
			"no report":        {got.NoReport, health.Share{Part: silent, Of: accepted}},
			"median accepted":  {got.MedianAccepted.String(), naive(toAccept, 50)},
			"95th accepted":    {got.SlowAccepted.String(), naive(toAccept, 95)},
			"median delivered": {got.MedianDelivered.String(), naive(toDeliver, 50)},
			"95th delivered":   {got.SlowDelivered.String(), naive(toDeliver, 95)},
		} {
			if pair[0] != pair[1] {
				t.Errorf("%s: %v, not %v", what, pair[0], pair[1])
			}
		}
	})
}

func TestCounts_AddUpHoweverTheMessagesAreDivided(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		all := facts(t)
		cut := rapid.IntRange(0, len(all)).Draw(t, "cut")
		if health.Count(all[:cut]).Add(health.Count(all[cut:])) != health.Count(all) {
			t.Error("the parts are not the whole")
		}
	})
}

func TestShare_IsNeverMoreThanItIs(t *testing.T) {
	t.Parallel()
	for s, want := range map[health.Share]string{
		{0, 0}: "none", {1, 2}: "1 of 2", {0, 19}: "0 of 19", {10, 20}: "50 %", {41, 100}: "41 %",
		{1, 1000}: "1 %", {999, 1000}: "99 %", {1000, 1000}: "100 %", {0, 1000}: "0 %", {29, 200}: "15 %",
	} {
		if s.String() != want {
			t.Errorf("%d of %d: %q, not %q", s.Part, s.Of, s, want)
		}
	}
}

// window are figures of some codes that were all accepted and reported, and so many of them verified.
func window(codes, verified int, in ...int) health.Counts {
	c := health.Counts{Sent: codes, Accepted: codes, Delivered: codes, Codes: codes, Verified: verified}
	bin := 1
	if len(in) > 0 {
		bin = in[0]
	}
	c.AcceptedIn[bin] = codes
	return c
}

func TestJudge_SaysWhatIsWrongAndNothingOfAFew(t *testing.T) {
	t.Parallel()
	usual := window(1000, 930)
	refused := window(100, 93)
	refused.Sent = 300
	silent := window(100, 93)
	silent.Delivered = 20
	tail := window(94, 90)
	tail.Codes, tail.Accepted, tail.Sent, tail.Delivered = 100, 100, 100, 100
	tail.AcceptedIn[16] = 6
	for name, c := range map[string]struct {
		now, usual health.Counts
		state      health.State
		words      string
	}{
		"an outage":               {window(100, 41), usual, health.Bad, "verified share 41 %, usual 93 %"},
		"a dip":                   {window(100, 80), usual, health.Watch, "verified share 80 %, usual 93 %"},
		"an ordinary day":         {window(100, 92), usual, health.Fine, "as usual"},
		"two, both lost":          {window(2, 0), usual, health.Quiet, "2 sent: too few to judge"},
		"nothing":                 {health.Counts{}, usual, health.Quiet, "0 sent: too few to judge"},
		"nothing to compare":      {window(100, 10), window(5, 5), health.Fine, "as usual"},
		"refused, never usual":    {refused, health.Counts{}, health.Bad, "accepted share 33 %"},
		"no reports":              {silent, usual, health.Bad, "no report on 80 %, usual 0 %"},
		"slow":                    {window(100, 93, 7), usual, health.Bad, "median time to acceptance under 20 s"},
		"just within the gate":    {window(100, 93, 6), usual, health.Fine, "as usual"},
		"a slow tail":             {tail, usual, health.Watch, "95th time to acceptance over 600 s"},
		"better than it ever was": {window(100, 100), usual, health.Fine, "as usual"},
	} {
		got := health.Judge(health.FiguresOf(c.now, c.now), health.FiguresOf(c.usual, c.usual))
		if got.State != c.state || got.Words != c.words {
			t.Errorf("%s: %s, %q", name, got.State, got.Words)
		}
	}
}

func TestMailbox_NamesLargeProvidersAlone(t *testing.T) {
	t.Parallel()
	of := health.Mailbox()
	for address, want := range map[string]string{
		"anna@gmail.com": "gmail", "Anna@GoogleMail.COM": "gmail", "a@web.de.": "webde", "anna@example.com": "other",
		"anna@gmail.com.example.com": "other", "anna@mail.gmail.com": "other", "": "other", "gmail.com@example.com": "other",
		"\"a@gmail.com\"@family.example": "other",
	} {
		if got := of(address); got != want {
			t.Errorf("%s: %q, not %q", address, got, want)
		}
	}
}
