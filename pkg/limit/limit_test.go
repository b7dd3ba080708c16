package limit_test

import (
	"crypto/rand"
	"math/big"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"doorcode/pkg/keyring"
	"doorcode/pkg/limit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// begin is the time at which every test begins.
func begin() time.Time { return time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC) }

// below draws a number from 0 to n-1.
func below(t *testing.T, n int64) int64 {
	t.Helper()
	v, err := rand.Int(rand.Reader, big.NewInt(n))
	if err != nil {
		t.Fatal(err)
	}
	return v.Int64()
}

func want(d limit.Dimension, windows ...limit.Window) limit.Want {
	return limit.Want{Dimension: d, Key: []byte("key"), Windows: windows}
}

func create(id string, at time.Time, most int, wants ...limit.Want) limit.Create {
	return limit.Create{
		Challenge: "challenge of " + id, ExpiresAt: at.Add(10 * time.Minute), Entry: limit.Entry(id), MaxLive: most, Wants: wants,
	}
}

func TestState_NeverTakesMoreThanAnyWindowHolds(t *testing.T) {
	t.Parallel()
	const tries = 20
	for range tries {
		windows := []limit.Window{
			{Span: time.Minute, Max: int(below(t, 4)) + 1},
			{Span: time.Hour, Max: int(below(t, 12)) + 1},
		}
		var taken []time.Time
		state := limit.State{Rows: make([]limit.Row, 1)}
		now := begin()
		for i := range 300 {
			now = now.Add(time.Duration(below(t, int64(40*time.Second))))
			state.Slots = limit.Slots{} // Only the row is under test.
			next, answer := state.Take(now, create(string(rune('a'+i)), now, 5, want(limit.Client, windows...)))
			room := true
			for _, w := range windows {
				room = room && inside(taken, now, w.Span) < w.Max
			}
			if room != (answer.Refused == "") {
				t.Fatalf("take %d: room is %v and the answer is %+v", i, room, answer)
			}
			if room {
				taken = append(taken, now)
				state = next
				continue
			}
			after := now.Add(answer.Wait)
			for _, w := range windows {
				if inside(taken, after, w.Span) >= w.Max {
					t.Fatalf("take %d: after %s there is still no room", i, answer.Wait)
				}
			}
		}
	}
}

// inside counts times by the definition of a window.
func inside(times []time.Time, now time.Time, span time.Duration) int {
	n := 0
	for _, at := range times {
		if now.Sub(at) < span {
			n++
		}
	}
	return n
}

func TestState_TakesAllOrNothing(t *testing.T) {
	t.Parallel()
	full := limit.Row{Times: []time.Time{begin()}, Entries: []int64{1}}
	state := limit.State{Rows: []limit.Row{full, {}}}
	wants := []limit.Want{want(limit.Client, limit.PerMinute(1)...), want(limit.Recipient, limit.PerHourAndDay(20, 60)...)}
	next, answer := state.Take(begin().Add(time.Second), create("a", begin(), 5, wants...))
	if answer.Refused != limit.Client || answer.Wait != 59*time.Second {
		t.Errorf("the answer is %+v", answer)
	}
	if diff := cmp.Diff(state, next); diff != "" {
		t.Errorf("a refused create took something:\n%s", diff)
	}
}

func TestState_TellsAboutTheRecipientFirst(t *testing.T) {
	t.Parallel()
	full := limit.Row{Times: []time.Time{begin()}, Entries: []int64{1}}
	state := limit.State{Rows: []limit.Row{full, full}}
	wants := []limit.Want{want(limit.Client, limit.PerMinute(1)...), want(limit.Recipient, limit.PerHourAndDay(1, 60)...)}
	_, answer := state.Take(begin(), create("a", begin(), 5, wants...))
	if answer.Refused != limit.Recipient || answer.Wait != time.Hour {
		t.Errorf("the answer is %+v", answer)
	}
}

func TestState_RepeatTakesNothingAndIsNotRefused(t *testing.T) {
	t.Parallel()
	wants := []limit.Want{want(limit.Recipient, limit.PerHourAndDay(1, 1)...)}
	first, answer := limit.State{Rows: make([]limit.Row, 1)}.Take(begin(), create("a", begin(), 1, wants...))
	if answer.Refused != "" || answer.Repeat {
		t.Fatalf("the first answer is %+v", answer)
	}
	later := begin().Add(time.Minute)
	again := create("a", later, 1, wants...)
	again.Challenge = "another draw"
	second, answer := first.Take(later, again)
	if !answer.Repeat || answer.Refused != "" || answer.Challenge != "challenge of a" {
		t.Errorf("the repeat is answered with %+v", answer)
	}
	if diff := cmp.Diff(first.Rows, second.Rows); diff != "" {
		t.Errorf("the repeat took something:\n%s", diff)
	}
	if !slices.Equal(second.Slots.IDs, []string{"challenge of a"}) || !second.Slots.Until[0].Equal(later.Add(10*time.Minute)) {
		t.Errorf("the place of the repeat is %+v", second.Slots)
	}
	_, other := first.Take(later, create("b", later, 1, wants...))
	if other.Refused != limit.Live {
		t.Errorf("another request is answered with %+v", other)
	}
}

// The bus forgets a request's id after ten minutes, also when repeats have kept its place: what comes then is a new
// message, and it is counted.
func TestState_ARepeatPastItsTimeIsCounted(t *testing.T) {
	t.Parallel()
	wants := []limit.Want{want(limit.Recipient, limit.PerHourAndDay(5, 5)...)}
	state, _ := limit.State{Rows: make([]limit.Row, 1)}.Take(begin(), create("a", begin(), 5, wants...))
	for _, after := range []time.Duration{5 * time.Minute, 9*time.Minute + 30*time.Second} {
		now := begin().Add(after)
		var answer limit.Answer
		state, answer = state.Take(now, create("a", now, 5, wants...))
		if !answer.Repeat {
			t.Fatalf("after %s: %+v", after, answer)
		}
	}
	now := begin().Add(10*time.Minute + 30*time.Second)
	late := create("a", now, 5, wants...)
	late.Challenge = "another draw"
	state, answer := state.Take(now, late)
	if answer.Repeat || answer.Refused != "" || answer.Challenge != "another draw" || len(state.Slots.IDs) != 1 {
		t.Errorf("past its time: %+v, places %v", answer, state.Slots.IDs)
	}
}

func TestState_RepeatDoesNotReviveAnEndedChallenge(t *testing.T) {
	t.Parallel()
	wants := []limit.Want{want(limit.Recipient, limit.PerHourAndDay(20, 60)...)}
	state, _ := limit.State{Rows: make([]limit.Row, 1)}.Take(begin(), create("a", begin(), 5, wants...))
	state.Slots = limit.Slots{} // The challenge ended.
	next, answer := state.Take(begin().Add(time.Minute), create("a", begin(), 5, wants...))
	if !answer.Repeat || len(next.Slots.IDs) != 0 || len(next.Rows[0].Times) != 1 {
		t.Errorf("the repeat is answered with %+v and leaves %+v", answer, next)
	}
}

func TestState_CountsAKeyThatIsNoLongerGood(t *testing.T) {
	t.Parallel()
	wants := []limit.Want{want(limit.Recipient, limit.PerHourAndDay(20, 60)...)}
	state, _ := limit.State{Rows: make([]limit.Row, 1)}.Take(begin(), create("a", begin(), 5, wants...))
	later := begin().Add(limit.Repeat)
	next, answer := state.Take(later, create("a", later, 5, wants...))
	if answer.Repeat || len(next.Rows[0].Times) != 2 || len(next.Slots.IDs) != 1 {
		t.Errorf("the late request is answered with %+v and leaves %+v", answer, next)
	}
}

func TestState_GivesALivePlaceBackAtItsExpiry(t *testing.T) {
	t.Parallel()
	state := limit.State{}
	for i := range 5 {
		at := begin().Add(time.Duration(i) * time.Second)
		var answer limit.Answer
		state, answer = state.Take(at, create(string(rune('a'+i)), at, 5))
		if answer.Refused != "" {
			t.Fatalf("create %d is answered with %+v", i, answer)
		}
	}
	now := begin().Add(time.Minute)
	_, answer := state.Take(now, create("f", now, 5))
	if answer.Refused != limit.Live || answer.Wait != 9*time.Minute {
		t.Errorf("the sixth is answered with %+v", answer)
	}
	now = now.Add(answer.Wait)
	state, answer = state.Take(now, create("f", now, 5))
	if answer.Refused != "" || len(state.Slots.IDs) != 5 {
		t.Errorf("after the wait it is answered with %+v", answer)
	}
}

func TestRow_DropsWhatNoWindowSees(t *testing.T) {
	t.Parallel()
	row := limit.Row{Times: []time.Time{begin().Add(-25 * time.Hour), begin().Add(-time.Hour)}, Entries: []int64{1, 2}}
	state, _ := limit.State{Rows: []limit.Row{row}}.Take(begin(), create("a", begin(), 5, want(limit.Recipient, limit.PerHourAndDay(20, 60)...)))
	if diff := cmp.Diff([]int64{2, limit.Entry("a")}, state.Rows[0].Entries); diff != "" {
		t.Error(diff)
	}
}

func TestSort_OrdersByDimensionThenKey(t *testing.T) {
	t.Parallel()
	wants := []limit.Want{
		{Dimension: limit.Recipient, Key: []byte{1}},
		{Dimension: limit.Client, Key: []byte{9}},
		{Dimension: limit.Client, Key: []byte{2, 3}},
		{Dimension: limit.Spend, Key: limit.SpendKey()},
	}
	limit.Sort(wants)
	got := []string{}
	for _, w := range wants {
		got = append(got, string(w.Dimension)+string(w.Key))
	}
	if diff := cmp.Diff([]string{"sms_spendall", "recipient\x01", "client\x02\x03", "client\x09"}, got); diff != "" {
		t.Error(diff)
	}
}

// It shows SEC-15 of deploy/SECURITY.md.
func TestClientKey_CountsANetworkOnce(t *testing.T) {
	t.Parallel()
	ring, err := keyring.New()
	if err != nil {
		t.Fatal(err)
	}
	key := func(s string) string { return string(limit.ClientKey(ring, netip.MustParseAddr(s))) }
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"203.0.113.9", "203.0.113.9", true},
		{"203.0.113.9", "203.0.113.10", false},
		{"203.0.113.9", "::ffff:203.0.113.9", true},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true},
		{"2001:db8:1:2::1", "2001:db8:1:3::1", false},
	} {
		if (key(c.a) == key(c.b)) != c.same {
			t.Errorf("%s and %s: same is not %v", c.a, c.b, c.same)
		}
	}
}

// It shows SEC-64 of deploy/SECURITY.md.
func TestNetwork_KeepsNoWholeAddress(t *testing.T) {
	t.Parallel()
	for address, network := range map[string]string{
		"203.0.113.9": "203.0.113.0/24", "::ffff:203.0.113.9": "203.0.113.0/24", "2001:db8:1:2::1": "2001:db8:1::/48",
	} {
		if got := limit.Network(netip.MustParseAddr(address)); got != network {
			t.Errorf("%s is kept as %s", address, got)
		}
	}
}

// It shows SEC-43 of deploy/SECURITY.md.
func TestRecipientKey_DependsOnChannelAndRecipient(t *testing.T) {
	t.Parallel()
	ring, err := keyring.New()
	if err != nil {
		t.Fatal(err)
	}
	a := string(limit.RecipientKey(ring, "email", "anna@example.com"))
	if a != string(limit.RecipientKey(ring, "email", "anna@example.com")) {
		t.Error("the same recipient has two keys")
	}
	if a == string(limit.RecipientKey(ring, "email", "bert@example.com")) || a == string(limit.RecipientKey(ring, "sms", "anna@example.com")) {
		t.Error("two recipients share a key")
	}
}

func TestIsRecipientKey_KnowsARecipientUnderEveryKeyOfTheRing(t *testing.T) {
	t.Parallel()
	ring, err := keyring.New()
	if err != nil {
		t.Fatal(err)
	}
	former := limit.RecipientKey(ring, "email", "anna@example.com")
	next, err := ring.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range [][]byte{former, limit.RecipientKey(next, "email", "anna@example.com")} {
		if !limit.IsRecipientKey(next, key, "email", "anna@example.com") {
			t.Error("a recipient is not known by a key of the ring")
		}
		if limit.IsRecipientKey(next, key, "email", "bert@example.com") || limit.IsRecipientKey(next, key, "sms", "anna@example.com") {
			t.Error("another recipient is known by the key")
		}
	}
	if limit.IsRecipientKey(next, nil, "email", "anna@example.com") || limit.IsRecipientKey(ring, limit.RecipientKey(next, "email", "anna@example.com"), "email", "anna@example.com") {
		t.Error("a recipient is known by no key, or by one that the ring lacks")
	}
}

func TestBucket_LetsThroughAsManyAsASecondHas(t *testing.T) {
	t.Parallel()
	now := begin()
	bucket := limit.NewBucket(3, func() time.Time { return now })
	allowed := func() int {
		n := 0
		for range 10 {
			if bucket.Allow() {
				n++
			}
		}
		return n
	}
	if got := allowed(); got != 3 {
		t.Errorf("%d were let through at once", got)
	}
	now = now.Add(time.Second)
	if got := allowed(); got != 3 {
		t.Errorf("%d were let through a second later", got)
	}
}

func TestState_TheSameRequestForAnotherRecipientIsNoRepeat(t *testing.T) {
	t.Parallel()
	wants := []limit.Want{want(limit.Client, limit.PerMinute(30)...), want(limit.Recipient, limit.PerHourAndDay(1, 60)...)}
	first, _ := limit.State{Rows: make([]limit.Row, 2)}.Take(begin(), create("a", begin(), 5, wants...))
	// The client's row is shared; login and recipient are others.
	for name, recipient := range map[string]limit.Row{
		"with room":    {},
		"without room": {Times: []time.Time{begin()}, Entries: []int64{limit.Entry("b")}},
	} {
		state := limit.State{Rows: []limit.Row{first.Rows[0], recipient}}
		next, answer := state.Take(begin().Add(time.Second), create("a", begin(), 5, wants...))
		if answer.Repeat || (answer.Refused == "") != (name == "with room") {
			t.Errorf("%s: %+v", name, answer)
		}
		if answer.Refused == "" && len(next.Rows[1].Times) != 1 {
			t.Errorf("%s: the recipient was not charged", name)
		}
	}
}
