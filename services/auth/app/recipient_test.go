package app_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/postgres"
)

// record puts challenges on record, as the verifier does.
func (h *harness) record(t testing.TB, challenges []event.Issued) {
	t.Helper()
	db, err := postgres.Open(t.Context(), h.db.VerifierConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var all []postgres.Issued
	for i, e := range challenges {
		all = append(all, postgres.Issued{Event: e, Stream: 1, Sequence: uint64(i + 1)})
	}
	err = db.Record(t.Context(), postgres.Batch{Challenges: all})
	if err != nil {
		t.Fatal(err)
	}
}

// labelled returns copies of a challenge with the labels that begin with B.
func labelled(t testing.TB, e event.Issued) []event.Issued {
	t.Helper()
	const others = "CDFGHJKLMNPRSTVWXZ"
	var all []event.Issued
	for _, second := range others {
		for _, third := range strings.ReplaceAll(others, string(second), "") {
			id, err := challenge.NewID()
			if err != nil {
				t.Fatal(err)
			}
			e.Challenge, e.Label = id, "B"+string(second)+string(third)
			all = append(all, e)
		}
	}
	return all
}

// R10.3, and edge case 23: hundreds sign in at 09:00 at one group address. The group's limit lets 60 an hour through, whose
// labels are none that is live there, be it of another workspace; the others are told when to come again, and nobody is
// locked out by it.
func TestEdge23_AGroupAddressIsBusyInTheMorning(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	h.must(t, 200, h.asRead(t, fields{"name": "Lanternbird", "main_email": "office@example.com", "group_address": true, "owner": "anna"}))
	h.must(t, 201, request{method: "PUT", path: "/v1/workspaces/v", body: fields{"name": "Other", "main_email": "Office@Example.com", "owner": "otto"}})
	h.must(t, 201, request{method: "PUT", path: "/v1/workspaces/v/logins/otto", body: fields{"role": "owner"}})
	h.must(t, 201, request{method: "POST", path: "/v1/challenges", body: fields{"workspace": "v", "login": "otto"}})
	h.record(t, labelled(t, h.issued(t)[0]))
	const logins, each = 25, 4
	for n := range logins {
		h.must(t, 201, put(fmt.Sprint("/logins/g", n), fields{"role": "administrator", "email": "office@example.com"}))
	}
	let := 0
	for n := range logins * each {
		r := create(fmt.Sprint("g", n%logins))
		if n >= 59 { // otto's was the first of 60
			p := h.refused(t, 429, "too_many_messages", r)
			if at := time.Duration(p.RetryAfter) * time.Second; at < 50*time.Minute || at > time.Hour {
				t.Errorf("sign-in %d may come again after %s", n, at)
			}
			continue
		}
		var c created
		h.must(t, 201, r).into(t, &c)
		if strings.HasPrefix(c.Label, "B") {
			t.Errorf("sign-in %d has the label %s, which is live there", n, c.Label)
		}
		let++
	}
	if h.count(t, `SELECT count(*) FROM login_budgets WHERE locked_at IS NOT NULL OR failures <> '{}'`) != 0 || let != 59 {
		t.Errorf("%d were let through", let)
	}
	// At other addresses these labels are free.
	h.must(t, 201, create("bert"))
}
