package delivery

import (
	"encoding/json"
	"slices"
	"testing"
	"time"
)

func TestReference_RoundTripFitsBothProviders(t *testing.T) {
	t.Parallel()
	r := Reference{Challenge: "AAECAwQFBgcICQoLDA0ODw", Send: 5, Attempt: "AAECAwQFBgc"}
	s := r.String()
	if len(s) != 36 {
		t.Errorf("%d characters", len(s))
	}
	got, err := ParseReference(s)
	if err != nil || got != r {
		t.Errorf("got %+v: %v", got, err)
	}
}

func TestParseReference_RefusesEverythingElse(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", "a.1.b", "AAECAwQFBgcICQoLDA0ODw.0.AAECAwQFBgc", "AAECAwQFBgcICQoLDA0ODw.01.AAECAwQFBgc",
		"AAECAwQFBgcICQoLDA0ODw.x.AAECAwQFBgc", "AAECAwQFBgcICQoLDA0ODw.100.AAECAwQFBgc", "AAECAwQFBgcICQoLDA0OD*.1.AAECAwQFBgc",
		"AAECAwQFBgcICQoLDA0ODw.1.AAECAwQFBg\n", "AAECAwQFBgcICQoLDA0ODw.1.AAECAwQFBgc.1",
	} {
		_, err := ParseReference(s)
		if err == nil {
			t.Errorf("%q was taken", s)
		}
	}
}

func FuzzParseReference(f *testing.F) {
	f.Add("AAECAwQFBgcICQoLDA0ODw.1.AAECAwQFBgc")
	f.Add("..")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseReference(s)
		if err == nil && r.String() != s {
			t.Fatal("an accepted reference is written differently")
		}
	})
}

func TestReason_NamesAreStableAndUnknownOnesAreOther(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, r := range Reasons() {
		text, err := json.Marshal(r)
		if err != nil || seen[string(text)] {
			t.Errorf("%s: %v", text, err)
		}
		seen[string(text)] = true
		var back Reason
		err = json.Unmarshal(text, &back)
		if err != nil || back != r {
			t.Errorf("%s became %s: %v", r, back, err)
		}
	}
	back := ReasonTimeout
	err := json.Unmarshal([]byte(`"of a later version"`), &back)
	if err != nil || back != ReasonOther {
		t.Errorf("became %s: %v", back, err)
	}
	if Reason(99).String() != "other" || Reason(0) != ReasonOther {
		t.Error("the zero reason is not other")
	}
}

func TestParseChannel_IsAClosedSet(t *testing.T) {
	t.Parallel()
	for _, c := range Channels() {
		got, err := ParseChannel(string(c))
		if err != nil || got != c {
			t.Errorf("%s: %v", c, err)
		}
	}
	_, err := ParseChannel("pigeon")
	if err == nil {
		t.Error("an unknown channel was taken")
	}
}

// at returns a time some seconds into the story.
func at(seconds int) time.Time { return time.Unix(1_780_000_000+int64(seconds), 0).UTC() }

// product.md edge cases 11 (no report ever), 13 (put off, then taken) and 14 (taken, then bounced) are among them.
func TestStatusOf_TellsTheBestKnowledge(t *testing.T) {
	t.Parallel()
	requested := Fact{Send: 1, Kind: FactRequested, At: at(0)}
	tried := func(s int, r Result) Fact {
		return Fact{Send: 1, Kind: FactAttempted, At: at(s), Result: r, Reason: ReasonProviderError}
	}
	told := func(s int, r Status) Fact { return Fact{Send: 1, Kind: FactReceipt, At: at(s), Reported: r} }
	for _, c := range []struct {
		name  string
		facts []Fact
		want  Status
	}{
		{"nothing yet", nil, StatusQueued},
		{"ordered", []Fact{requested}, StatusQueued},
		{"given back", []Fact{requested, {Send: 1, Kind: FactPostponed, At: at(1)}}, StatusSending},
		{"failed for now", []Fact{requested, tried(1, Temporary)}, StatusSending},
		{"unknown", []Fact{requested, tried(1, Unknown)}, StatusUnknown},
		{"unknown, then failed for now", []Fact{requested, tried(1, Unknown), tried(2, Temporary)}, StatusSending},
		{"unknown, then accepted", []Fact{requested, tried(1, Unknown), tried(2, Accepted)}, StatusAccepted},
		{"accepted, then an unknown hand-over before it shows up", []Fact{requested, tried(2, Accepted), tried(1, Unknown)}, StatusAccepted},
		{"refused", []Fact{requested, tried(1, Permanent)}, StatusFailed},
		{"failed for now and given up", []Fact{requested, tried(1, Temporary), {Send: 1, Kind: FactAbandoned, At: at(2)}}, StatusAbandoned},
		{"given up, though a try was accepted", []Fact{tried(1, Accepted), {Send: 1, Kind: FactAbandoned, At: at(2)}}, StatusAccepted},
		{"accepted, then reported so", []Fact{tried(1, Accepted), told(2, StatusAccepted)}, StatusAccepted},
		{"unknown, then a receipt shows that it was taken", []Fact{requested, tried(1, Unknown), told(2, StatusAccepted)}, StatusAccepted},
		{"given up, and delivered all the same", []Fact{tried(1, Unknown), {Send: 1, Kind: FactAbandoned, At: at(2)}, told(3, StatusDelivered)}, StatusDelivered},
		{"deferred", []Fact{tried(1, Accepted), told(2, StatusDeferred)}, StatusDeferred},
		{"deferred, then delivered", []Fact{tried(1, Accepted), told(3, StatusDelivered), told(2, StatusDeferred)}, StatusDelivered},
		{"delivered, though a later report is lower", []Fact{told(2, StatusDelivered), told(3, StatusAccepted), told(4, StatusDeferred)}, StatusDelivered},
		{"delivered and bounced afterwards", []Fact{told(2, StatusDelivered), told(3, StatusFailed)}, StatusFailed},
		{"a report before the attempt", []Fact{told(1, StatusDelivered), tried(2, Accepted)}, StatusDelivered},
		{"a report that says nothing we know", []Fact{requested, told(1, "read")}, StatusQueued},
		{"a report of another send", []Fact{{Send: 2, Kind: FactReceipt, Reported: StatusDelivered, At: at(1)}}, StatusQueued},
		{"of another send", []Fact{{Send: 2, Kind: FactAttempted, Result: Accepted, At: at(1)}}, StatusQueued},
	} {
		if got := StatusOf(1, c.facts); got.Status != c.want || got.Send != 1 {
			t.Errorf("%s: %s", c.name, got.Status)
		}
	}
}

// P9: no order and no repetition changes a status, also of facts of the same moment.
func TestP9_StatusDoesNotDependOnOrderOrRepetition(t *testing.T) {
	t.Parallel()
	told := func(s int, r Status, why Reason) Fact {
		return Fact{Send: 1, Kind: FactReceipt, At: at(s), Reported: r, Reason: why}
	}
	tried := func(s int, r Result) Fact { return Fact{Send: 1, Kind: FactAttempted, At: at(s), Number: s, Result: r} }
	for name, facts := range map[string][]Fact{
		"attempts": {
			{Send: 1, Kind: FactRequested, At: at(0)},
			tried(1, Accepted), tried(2, Temporary), tried(3, Permanent), tried(4, Unknown),
			{Send: 1, Kind: FactPostponed, At: at(9)},
			{Send: 1, Kind: FactAbandoned, At: at(10)},
		},
		"receipts": {
			tried(1, Unknown), tried(2, Accepted), told(3, StatusAccepted, 0), told(4, StatusDeferred, ReasonUnreachable),
			told(5, StatusDelivered, 0), told(6, StatusFailed, ReasonInvalidRecipient), told(2, StatusDelivered, 0),
		},
		"one moment": {
			tried(1, Temporary), tried(1, Unknown), told(1, StatusFailed, ReasonRejected), told(1, StatusFailed, ReasonSuppressed),
			told(1, StatusDelivered, 0), told(1, StatusAccepted, 0), tried(1, Accepted),
		},
	} {
		for size := 1; size <= len(facts); size++ {
			some := facts[:size]
			want := StatusOf(1, some)
			permute(append([]Fact{}, some...), func(mixed []Fact) {
				repeated := append(mixed[:size:size], mixed[0])
				if got := StatusOf(1, repeated); got != want {
					t.Fatalf("%s: %d facts: %+v, in order %+v", name, size, got, want)
				}
			})
		}
	}
}

// A status that receipts made never goes down as more of them come (providers.md 3.2).
func TestP9_ReceiptsRaiseAStatusAlone(t *testing.T) {
	t.Parallel()
	order := Reportable()
	var facts []Fact
	for _, step := range []int{1, 0, 2, 1, 0, 3, 2, 1, 0} {
		facts = append(facts, Fact{Send: 1, Kind: FactReceipt, At: at(len(facts)), Reported: order[step]})
		highest := 0
		for _, f := range facts {
			highest = max(highest, slices.Index(order, f.Reported))
		}
		if got := StatusOf(1, facts); got.Status != order[highest] || got.By != FactReceipt {
			t.Fatalf("after %d reports: %+v, not %s", len(facts), got, order[highest])
		}
	}
}

// permute calls visit with every order of the facts.
func permute(facts []Fact, visit func([]Fact)) { permuteFrom(facts, 0, visit) }

// permuteFrom puts each of the facts from i on at place i in turn.
func permuteFrom(facts []Fact, i int, visit func([]Fact)) {
	if i == len(facts) {
		visit(facts)
		return
	}
	for j := i; j < len(facts); j++ {
		facts[i], facts[j] = facts[j], facts[i]
		permuteFrom(facts, i+1, visit)
		facts[i], facts[j] = facts[j], facts[i]
	}
}

func TestUnknownID_NamesAHandOver(t *testing.T) {
	t.Parallel()
	if got := UnknownID("c", 2, 3); got != "c.2.3" {
		t.Errorf("got %s", got)
	}
}
