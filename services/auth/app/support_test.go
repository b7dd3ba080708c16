package app_test

import (
	"encoding/json"
	"strings"
	"testing"

	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/frontend"
	"doorcode/pkg/postgres"
)

// recorded makes a challenge of bert's and puts it on record, as the verifier does.
func (h *harness) recorded(t *testing.T) (id, handle string) {
	t.Helper()
	var c created
	h.must(t, 201, create("bert")).into(t, &c)
	issued := h.issued(t)
	e := issued[len(issued)-1]
	place, err := challenge.DecodeHandle(h.ring(t, "HANDLE"), c.Handle)
	if err != nil {
		t.Fatal(err)
	}
	err = h.db.Verifier(t).Record(t.Context(), postgres.Batch{Challenges: []postgres.Issued{{Event: e, Stream: place.Stream, Sequence: place.Sequence}}})
	if err != nil {
		t.Fatal(err)
	}
	return e.Challenge, c.Handle
}

// Support acts in a person's name, by the routes of the challenge, and is told no code. It shows SEC-48 of
// deploy/SECURITY.md.
func TestSupport_SendsAgainAndUnlocksInAPersonsName(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	id, handle := h.recorded(t)
	var resend event.ResendRequest
	var unlock event.UnlockRequest
	// What was asked for is on record before the verifier is asked.
	onRecord := func() (kinds string) {
		h.db.Scan(t, `SELECT coalesce(string_agg(kind || ' ' || actor || ' ' || (detail ->> 'reason') || ' ' || (detail ->> 'front_end'), ', ' ORDER BY at), '') FROM audit
			WHERE kind LIKE 'support.%' AND challenge_id = $1 AND workspace = 'w' AND login = 'bert'`, []any{id}, &kinds)
		return kinds
	}
	var before string
	h.verifier(t, event.VerbResend, func(data []byte) ([]byte, error) {
		before = onRecord()
		err := json.Unmarshal(data, &resend)
		if err != nil {
			return nil, err
		}
		return json.Marshal(event.ResendReply{Send: 2, Channel: "email", Recipient: "b•••@example.com"})
	})
	h.verifier(t, event.VerbUnlock, func(data []byte) ([]byte, error) { return []byte("{}"), json.Unmarshal(data, &unlock) })

	desk := h.frontEnd(t, frontend.FrontEnd{ID: "desk", Scopes: []frontend.Scope{frontend.Support}, AllWorkspaces: true})
	path := "/v1/support/challenges/" + id
	a := h.must(t, 202, request{method: "POST", path: path + "/deliveries", key: desk, body: fields{"operator": "sue", "reason": "it bounced", "channel": "email"}})
	if strings.Contains(string(a.Body), "bert@") || resend.Handle != handle || resend.FrontEnd != "front" || resend.Channel != "email" || len(resend.Key) == 0 {
		t.Errorf("%s, and the verifier was asked %+v", a.Body, resend)
	}
	if before != "support.v1.resend_asked sue it bounced desk" {
		t.Errorf("when it was done there was on record %q", before)
	}
	h.must(t, 204, request{method: "POST", path: path + "/unlock", key: desk, body: fields{"operator": "sue", "reason": "called back"}})
	if unlock.Workspace != "w" || unlock.Login != "bert" || unlock.By != "sue" {
		t.Errorf("the verifier was asked %+v", unlock)
	}
	if got := onRecord(); got != "support.v1.resend_asked sue it bounced desk, support.v1.unlock_asked sue called back desk" {
		t.Errorf("on record is %q", got)
	}
}

// A key of support opens nothing else, and no other key opens this.
func TestSEC53_SupportIsAScopeOfItsOwn(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	id, handle := h.recorded(t)
	h.verifier(t, event.VerbResend, func([]byte) ([]byte, error) {
		t.Error("the verifier was asked")
		return []byte("{}"), nil
	})
	desk := h.frontEnd(t, frontend.FrontEnd{ID: "desk", Scopes: []frontend.Scope{frontend.Support}, AllWorkspaces: true})
	elsewhere := h.frontEnd(t, frontend.FrontEnd{ID: "elsewhere", Scopes: []frontend.Scope{frontend.Support}, Workspaces: []string{"v"}})
	others := h.frontEnd(t, frontend.FrontEnd{
		ID: "others", Scopes: []frontend.Scope{frontend.Challenges, frontend.Directory, frontend.Settings}, AllWorkspaces: true,
	})
	body := fields{"operator": "sue", "reason": "it bounced"}
	for _, what := range []string{"/deliveries", "/unlock"} {
		for _, key := range []string{elsewhere, others} {
			h.refused(t, 404, "unknown_challenge", request{method: "POST", path: "/v1/support/challenges/" + id + what, key: key, body: body})
		}
		h.refused(t, 404, "unknown_challenge", request{method: "POST", path: "/v1/support/challenges/AAAAAAAAAAAAAAAAAAAAAA" + what, key: desk, body: body})
	}
	h.refused(t, 404, "unknown_challenge", request{method: "GET", path: "/v1/challenges/" + handle, key: desk})
	h.refused(t, 404, "unknown_workspace", request{method: "GET", path: "/v1/workspaces/w", key: desk})
	r := create("bert")
	r.key = desk
	h.refused(t, 404, "unknown_workspace", r)
	var asked int
	h.db.Scan(t, `SELECT count(*) FROM audit WHERE kind LIKE 'support.%'`, nil, &asked)
	if asked != 0 {
		t.Errorf("%d refused acts are on record as asked for", asked)
	}
}
