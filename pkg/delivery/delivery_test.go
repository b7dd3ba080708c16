package delivery

import (
	"encoding/json"
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

func TestStatusOf_TellsTheBestKnowledge(t *testing.T) {
	t.Parallel()
	requested := Fact{Send: 1, Kind: FactRequested, At: at(0)}
	tried := func(s int, r Result) Fact {
		return Fact{Send: 1, Kind: FactAttempted, At: at(s), Result: r, Reason: ReasonProviderError}
	}
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
		{"of another send", []Fact{{Send: 2, Kind: FactAttempted, Result: Accepted, At: at(1)}}, StatusQueued},
	} {
		if got := StatusOf(1, c.facts); got.Status != c.want || got.Send != 1 {
			t.Errorf("%s: %s", c.name, got.Status)
		}
	}
}

// P9 for what is recorded today: no order and no repetition changes a status.
func TestP9_StatusDoesNotDependOnOrderOrRepetition(t *testing.T) {
	t.Parallel()
	facts := []Fact{{Send: 1, Kind: FactRequested, At: at(0)}}
	for i, r := range Results() {
		facts = append(facts, Fact{Send: 1, Kind: FactAttempted, At: at(i + 1), Number: i + 1, Result: r})
	}
	facts = append(facts, Fact{Send: 1, Kind: FactPostponed, At: at(9)}, Fact{Send: 1, Kind: FactAbandoned, At: at(10)})
	for size := 1; size <= len(facts); size++ {
		some := facts[:size]
		want := StatusOf(1, some)
		permute(append([]Fact{}, some...), func(mixed []Fact) {
			repeated := append(mixed[:size:size], mixed[0])
			if got := StatusOf(1, repeated); got != want {
				t.Fatalf("%d facts: %+v, in order %+v", size, got, want)
			}
		})
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
