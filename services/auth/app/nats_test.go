package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/event"
	"doorcode/pkg/frontend"
	"doorcode/services/auth/app"
)

// door asks over NATS as a login front-end does, with the credential of FRONT_END_EXAMPLE.
type door struct {
	*harness
	conn *bus.Conn
}

func (h *harness) door(t *testing.T) door {
	t.Helper()
	return door{h, h.bus.Connect(t, "front-end")}
}

// ask asks a verb and returns the answer as HTTP would give it, without headers.
func (d door) ask(t *testing.T, verb string, body any, header map[string]string) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limitOfTest)
	defer cancel()
	if header == nil {
		header = map[string]string{"Authorization": "Bearer " + d.key}
	}
	data, err := d.conn.Ask(ctx, "doorcode.api.challenges."+verb, header, encoded(t, body))
	var refused *bus.ServiceError
	switch {
	case errors.As(err, &refused):
		return answer{Status: refused.Code, Body: refused.Body}
	case err != nil:
		t.Fatalf("%s: %v", verb, err)
	}
	return answer{Status: 200, Body: data}
}

// same fails the test unless an answer on NATS equals one on HTTP; what HTTP calls created or accepted is no refusal.
func same(t *testing.T, verb string, overNATS, overHTTP answer) {
	t.Helper()
	if strings.TrimSpace(string(overHTTP.Body)) != strings.TrimSpace(string(overNATS.Body)) ||
		overHTTP.Status != overNATS.Status && (overHTTP.Status >= 300 || overNATS.Status >= 300) {
		t.Errorf("%s: NATS answers %d %s\nHTTP answers %d %s", verb, overNATS.Status, overNATS.Body, overHTTP.Status, overHTTP.Body)
	}
}

// judging answers as a verifier that refuses one code and knows one state.
func judging(t *testing.T, h *harness) {
	t.Helper()
	state := func([]byte) ([]byte, error) {
		return json.Marshal(event.StateReply{State: "pending", Label: "KRT", Channel: "email", Recipient: "b•••@example.com", SupportReference: "4F72KQ9R"})
	}
	h.verifier(t, event.VerbState, state)
	h.verifier(t, event.VerbCancel, state)
	h.verifier(t, event.VerbCheck, func(data []byte) ([]byte, error) {
		var r event.CheckRequest
		err := json.Unmarshal(data, &r)
		if err != nil {
			return nil, err
		}
		if r.CheckID == "wrong" {
			return nil, &bus.ServiceError{Code: 422, Body: []byte(`{"status":422,"detail":"This code is not right.","code":"wrong_code","checks_left":3}`)}
		}
		return json.Marshal(event.CheckReply{Assertion: "signed"})
	})
	h.verifier(t, event.VerbResend, func([]byte) ([]byte, error) {
		return json.Marshal(event.ResendReply{Send: 2, Channel: "email", Recipient: "b•••@example.com"})
	})
}

// It shows SEC-13 of deploy/SECURITY.md.
func TestNATS_EveryVerbAnswersAsHTTPDoes(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	judging(t, h)
	d := h.door(t)
	// A create over NATS is repeated over HTTP: the key is the same, whatever way it came.
	header := map[string]string{"authorization": "Bearer " + h.key, "idempotency-key": "one"}
	first := d.ask(t, "create", fields{"workspace": "w", "login": "bert"}, header)
	same(t, "create", first, h.do(t, create("bert").with("one")))
	if len(h.issued(t)) != 1 {
		t.Errorf("%d challenges were issued", len(h.issued(t)))
	}
	same(t, "create of another", d.ask(t, "create", fields{"workspace": "w", "login": "anna"}, header),
		h.do(t, request{method: "POST", path: "/v1/challenges", body: fields{"workspace": "w", "login": "anna"}}.with("one")))
	var c created
	first.into(t, &c)
	path := "/v1/challenges/" + c.Handle
	for _, pair := range []struct {
		verb, method, path string
		body               fields
	}{
		{"read", "GET", path, nil},
		{"check", "POST", path + "/checks", fields{"code": "123456"}},
		{"check", "POST", path + "/checks", fields{"code": "123-456", "check_id": "wrong"}},
		{"check", "POST", path + "/checks", fields{"code": "12"}},
		{"resend", "POST", path + "/deliveries", fields{}},
		{"resend", "POST", path + "/deliveries", fields{"channel": "email"}},
		{"resend", "POST", path + "/deliveries", fields{"channel": "pigeon"}},
		{"cancel", "DELETE", path, nil},
	} {
		r := request{method: pair.method, path: pair.path}
		body := fields{"handle": c.Handle}
		if pair.body != nil {
			r.body = pair.body
			for name, value := range pair.body {
				body[name] = value
			}
		}
		same(t, pair.verb, d.ask(t, pair.verb, body, nil), h.do(t, r))
	}
}

// It shows SEC-53 of deploy/SECURITY.md.
func TestNATS_RefusesAsHTTPDoes(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	d := h.door(t)
	for name, asked := range map[string]struct {
		authorization string
		body          func(verb string) any
	}{
		// Who brings no key is told nothing about the body.
		"no key":        {"", func(string) any { return `{"handle":` }},
		"nonsense":      {"Basic x", func(string) any { return `{"handle":` }},
		"a foreign key": {"Bearer " + h.key[:len(h.key)-4] + "AAAA", func(verb string) any { return whole(verb, "x") }},
	} {
		for _, verb := range []string{"create", "read", "check", "resend", "cancel"} {
			a := d.ask(t, verb, asked.body(verb), map[string]string{"Authorization": asked.authorization})
			if p := a.problem(t); a.Status != 401 || p.Code != "unauthenticated" {
				t.Errorf("%s with %s is answered %d %s", verb, name, a.Status, p.Code)
			}
		}
	}
	for _, verb := range []string{"read", "check", "resend", "cancel"} {
		a := d.ask(t, verb, whole(verb, "foreign"), nil)
		if p := a.problem(t); a.Status != 404 || p.Code != "unknown_challenge" {
			t.Errorf("%s of a foreign handle is answered %d %s", verb, a.Status, p.Code)
		}
	}
	limited := h.frontEnd(t, frontend.FrontEnd{ID: "other", Scopes: []frontend.Scope{frontend.Challenges}, Workspaces: []string{"v"}})
	a := d.ask(t, "create", fields{"workspace": "w", "login": "bert"}, map[string]string{"Authorization": "Bearer " + limited})
	if a.Status != 404 {
		t.Errorf("a create outside the key's workspaces is answered %d", a.Status)
	}
	a = d.ask(t, "create", fields{"workspace": "w", "login": "bert"}, map[string]string{"Authorization": "Bearer " + h.key, "Idempotency-Key": ""})
	if a.Status != 400 {
		t.Errorf("an empty idempotency key is answered %d", a.Status)
	}
	if len(h.issued(t)) != 0 {
		t.Errorf("%d challenges were issued", len(h.issued(t)))
	}
}

// whole is a body that has all that a verb needs.
func whole(verb, handle string) fields {
	switch verb {
	case "create":
		return fields{"workspace": "w", "login": "bert"}
	case "check":
		return fields{"handle": handle, "code": "123456"}
	}
	return fields{"handle": handle}
}

func TestNATS_NamesTheFieldThatIsWrong(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	d := h.door(t)
	for _, b := range bad() {
		if b.path != "/v1/challenges" {
			continue
		}
		a := d.ask(t, "create", b.body, nil)
		if p := a.problem(t); a.Status != 400 || p.Code != "invalid_request" || p.Field != b.field {
			t.Errorf("create %.80s is answered %d %s, field %q and not %q", b.body, a.Status, p.Code, p.Field, b.field)
		}
	}
	for _, b := range []struct{ verb, body, field string }{
		{"read", ``, ""},
		{"read", `{"handle":7}`, "handle"},
		{"read", `{"handle":"a","handle":"b"}`, "handle"},
		{"read", `{"handle":"a","code":"123456"}`, "code"},
		{"cancel", `{"Handle":"a"}`, "Handle"},
		{"cancel", `[]`, ""},
		{"check", `{"handle":"a","code":123456}`, "code"},
		{"check", `{"handle":"a","code":"123456","by":"me"}`, "by"},
		{"check", `{"handle":null,"code":"123456"}`, "handle"},
		{"resend", `{"handle":"a","channel":["sms"]}`, "channel"},
		{"resend", `{"handle":"a"}{}`, ""},
	} {
		a := d.ask(t, b.verb, b.body, nil)
		if p := a.problem(t); a.Status != 400 || p.Code != "invalid_request" || p.Field != b.field {
			t.Errorf("%s %s is answered %d %s, field %q", b.verb, b.body, a.Status, p.Code, p.Field)
		}
	}
}

// It shows SEC-68 of deploy/SECURITY.md.
func TestNATS_AFullPoolIsAnHonest503(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *app.Config) { c.NATSWorkers = 1 })
	h.settle(t)
	began, release := make(chan struct{}, 1), make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	t.Cleanup(free) // A verifier that never answers could not be stopped.
	h.verifier(t, event.VerbState, func([]byte) ([]byte, error) {
		select {
		case began <- struct{}{}:
		default: // asked again
		}
		<-release
		return json.Marshal(event.StateReply{State: "pending", SupportReference: "4F72KQ9R"})
	})
	d := h.door(t)
	var c created
	d.ask(t, "create", fields{"workspace": "w", "login": "bert"}, nil).into(t, &c)
	slow := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), limitOfTest)
		defer cancel()
		_, err := d.conn.Ask(ctx, "doorcode.api.challenges.read", map[string]string{"Authorization": "Bearer " + h.key}, []byte(`{"handle":"`+c.Handle+`"}`))
		slow <- err
	}()
	select {
	case <-began:
	case err := <-slow:
		t.Fatalf("the request that fills the pool: %v", err)
	}
	a := d.ask(t, "create", fields{"workspace": "w", "login": "bert"}, nil)
	if p := a.problem(t); a.Status != 503 || p.Code != "overloaded" || p.RetryAfter != 1 {
		t.Errorf("a request too many is answered %d %s", a.Status, a.Body)
	}
	free()
	err := <-slow
	if err != nil {
		t.Errorf("the request that was in time: %v", err)
	}
	bustest.Wait(t, "room again", func() bool {
		return d.ask(t, "create", fields{"workspace": "w", "login": "bert"}, nil).Status == 200
	})
}

// It shows SEC-67 of deploy/SECURITY.md.
func TestP7_NATSAnswers503WhenTheVerifierIsAway(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	d := h.door(t)
	var c created
	d.ask(t, "create", fields{"workspace": "w", "login": "bert"}, nil).into(t, &c)
	for _, verb := range []string{"read", "check", "resend", "cancel"} {
		a := d.ask(t, verb, whole(verb, c.Handle), nil)
		if p := a.problem(t); a.Status != 503 || p.Code != "unavailable" || p.RetryAfter != 1 {
			t.Errorf("%s is answered %d %s", verb, a.Status, a.Body)
		}
	}
}
