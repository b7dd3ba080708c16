package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/event"
	"doorcode/pkg/frontend"
	"doorcode/pkg/httpserver"
	"doorcode/pkg/otp"
)

// allOf is a front-end that may do everything.
func allOf(id string) frontend.FrontEnd {
	return frontend.FrontEnd{ID: id, Scopes: []frontend.Scope{frontend.Challenges, frontend.Directory, frontend.Settings, frontend.Support}, AllWorkspaces: true}
}

// bustestReady waits until auth has the bus again.
func bustestReady(t *testing.T, h *harness) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limitOfTest)
	defer cancel()
	bustest.Wait(t, "auth is ready", func() bool { return h.app.Ready(ctx) == nil })
	bustest.Wait(t, "the administrator is connected", func() bool { return h.bus.Admin().Ready(ctx) == nil })
}

// database returns the name of the test's database.
func database(t *testing.T, h *harness) string {
	t.Helper()
	var name string
	h.db.Scan(t, `SELECT current_database()`, nil, &name)
	return name
}

func TestSEC54_RoutesEqualTheDocument(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	router, ok := h.app.Handler().(interface{ Routes() []httpserver.Route })
	if !ok {
		t.Fatal("the handler tells no routes")
	}
	var served, described []string
	for _, r := range router.Routes() {
		served = append(served, r.Method+" "+r.Pattern)
	}
	for path, item := range api(t).Paths.Map() {
		for method := range item.Operations() {
			described = append(described, method+" "+path)
		}
	}
	slices.Sort(served)
	slices.Sort(described)
	if diff := cmp.Diff(described, served); diff != "" {
		t.Errorf("document and routes differ:\n%s", diff)
	}
}

// bad lists bodies that are refused by the name of a field, for each operation that takes one.
func bad() []struct {
	method, path, field, body string
} {
	const (
		create    = "/v1/challenges"
		workspace = "/v1/workspaces/w"
		login     = "/v1/workspaces/w/logins/anna"
		settings  = "/v1/settings-sessions"
		support   = "/v1/support/challenges/AAAAAAAAAAAAAAAAAAAAAA"
	)
	long := strings.Repeat("x", 2001)
	return []struct{ method, path, field, body string }{
		{"POST", create, "", ``},
		{"POST", create, "", `null`},
		{"POST", create, "", `[{"workspace":"w","login":"anna"}]`},
		{"POST", create, "", `{"workspace":"w","login":"anna"}{}`},
		{"POST", create, "workspace", `{"login":"anna"}`},
		{"POST", create, "workspace", `{"workspace":"","login":"anna"}`},
		{"POST", create, "workspace", `{"workspace":"a/b","login":"anna"}`},
		{"POST", create, "workspace", `{"workspace":["w"],"login":"anna"}`},
		{"POST", create, "workspace", `{"workspace":"w","workspace":"v","login":"anna"}`},
		{"POST", create, "login", `{"workspace":"w"}`},
		{"POST", create, "login", `{"workspace":"w","login":7}`},
		{"POST", create, "login", `{"workspace":"w","login":"änna"}`},
		{"POST", create, "login", `{"workspace":"w","login":"` + long + `"}`},
		{"POST", create, "to", `{"workspace":"w","login":"anna","to":"thief@example.org"}`},
		{"POST", create, "code", `{"workspace":"w","login":"anna","code":"123456"}`},
		{"POST", create, "Login", `{"workspace":"w","Login":"anna"}`},
		{"POST", create, "locale", `{"workspace":"w","login":"anna","locale":"en_US"}`},
		{"POST", create, "return_url", `{"workspace":"w","login":"anna","return_url":"javascript:alert(1)"}`},
		{"POST", create, "return_url", `{"workspace":"w","login":"anna","return_url":"/in"}`},
		{"POST", create, "return_url", `{"workspace":"w","login":"anna","return_url":"https://a/` + long + `"}`},
		{"POST", create, "client", `{"workspace":"w","login":"anna","client":"203.0.113.9"}`},
		{"POST", create, "client.address", `{"workspace":"w","login":"anna","client":{"address":"203.0.113.9, 198.51.100.1"}}`},
		{"POST", create, "client.address", `{"workspace":"w","login":"anna","client":{"address":"fe80::1%eth0"}}`},
		{"POST", create, "client.user_agent", `{"workspace":"w","login":"anna","client":{"user_agent":"` + long + `"}}`},
		{"POST", create, "client.browser_id", `{"workspace":"w","login":"anna","client":{"browser_id":"a b"}}`},
		{"POST", create, "client.host", `{"workspace":"w","login":"anna","client":{"host":"x"}}`},
		{"POST", settings, "workspace", `{"login":"anna","return_url":"https://app.example/"}`},
		{"POST", settings, "login", `{"workspace":"w","login":"a b","return_url":"https://app.example/"}`},
		{"POST", settings, "return_url", `{"workspace":"w","login":"anna"}`},
		{"POST", settings, "return_url", `{"workspace":"w","login":"anna","return_url":"https://thief.example/"}`},
		{"POST", settings, "return_url", `{"workspace":"w","login":"anna","return_url":"javascript:alert(1)"}`},
		{"POST", settings, "locale", `{"workspace":"w","login":"anna","return_url":"https://app.example/","locale":"en_US"}`},
		{"POST", settings, "client.address", `{"workspace":"w","login":"anna","return_url":"https://app.example/","client":{"address":"x"}}`},
		{"POST", settings, "email", `{"workspace":"w","login":"anna","return_url":"https://app.example/","email":"thief@example.org"}`},
		{"POST", support + "/deliveries", "operator", `{"reason":"it bounced"}`},
		{"POST", support + "/deliveries", "operator", `{"operator":"sue smith","reason":"it bounced"}`},
		{"POST", support + "/deliveries", "reason", `{"operator":"sue"}`},
		{"POST", support + "/deliveries", "reason", `{"operator":"sue","reason":" "}`},
		{"POST", support + "/deliveries", "reason", `{"operator":"sue","reason":"a\nb"}`},
		{"POST", support + "/deliveries", "reason", `{"operator":"sue","reason":"` + long + `"}`},
		{"POST", support + "/deliveries", "channel", `{"operator":"sue","reason":"it bounced","channel":"pigeon"}`},
		{"POST", support + "/deliveries", "email", `{"operator":"sue","reason":"it bounced","email":"thief@example.org"}`},
		{"POST", support + "/unlock", "operator", `{"reason":"known"}`},
		{"POST", support + "/unlock", "reason", `{"operator":"sue"}`},
		{"PUT", workspace, "name", `{"main_email":"a@example.com"}`},
		{"PUT", workspace, "name", `{"name":"a\r\nBcc: b@example.com","main_email":"a@example.com"}`},
		{"PUT", workspace, "main_email", `{"name":"a"}`},
		{"PUT", workspace, "main_email", `{"name":"a","main_email":["a@example.com","b@example.com"]}`},
		{"PUT", workspace, "main_email", `{"name":"a","main_email":"a@example.com,b@example.com"}`},
		{"PUT", workspace, "owner", `{"name":"a","main_email":"a@example.com","owner":"a b"}`},
		{"PUT", workspace, "group_address", `{"name":"a","main_email":"a@example.com","group_address":"yes"}`},
		{"PUT", workspace, "id", `{"id":"w","name":"a","main_email":"a@example.com"}`},
		{"PUT", "/v1/workspaces/a%2Fb", "workspace", `{"name":"a","main_email":"a@example.com"}`},
		{"PUT", login, "role", `{}`},
		{"PUT", login, "role", `{"role":"root"}`},
		{"PUT", login, "email", `{"role":"member","email":"a@b@c"}`},
		{"PUT", login, "email", `{"role":"member","email":null}`},
		{"PUT", login, "locale", `{"role":"member","locale":"???"}`},
		{"PUT", login, "phone", `{"role":"member","phone":"015112345678"}`},
		{"PUT", login, "phone", `{"role":"member","phone":"+19005551234"}`},
		{"PUT", login, "phone", `{"role":"member","phone":4915112345678}`},
		{"PUT", login, "channel", `{"role":"member","channel":"sms"}`},
		{"PUT", login, "channel", `{"role":"member","phone":"+4915112345678","channel":"voice"}`},
		{"PUT", login, "phones", `{"role":"member","phones":["+4915112345678"]}`},
		{"PUT", "/v1/workspaces/w/logins/a%20b", "login", `{"role":"member"}`},
		{"PUT", login, "invitation", `{"role":"administrator","email":"a@example.org","invitation":"a b"}`},
		{"PUT", login, "invitation", `{"role":"administrator","email":"a@example.org","invitation":"nothing"}`},
		{"POST", workspace + "/invitations", "email", `{"by":"anna"}`},
		{"POST", workspace + "/invitations", "email", `{"by":"anna","email":"a@example.org\r\nBcc: b@example.org"}`},
		{"POST", workspace + "/invitations", "email", `{"by":"anna","email":["a@example.org","b@example.org"]}`},
		{"POST", workspace + "/invitations", "by", `{"email":"a@example.org"}`},
		{"POST", workspace + "/invitations", "locale", `{"email":"a@example.org","by":"anna","locale":"en_US"}`},
		{"POST", workspace + "/invitations", "role", `{"email":"a@example.org","by":"anna","role":"owner"}`},
		{"POST", workspace + "/group-tests", "by", `{}`},
		{"POST", workspace + "/group-tests", "locale", `{"by":"anna","locale":"???"}`},
		{"POST", workspace + "/group-tests", "email", `{"by":"anna","email":"thief@example.org"}`},
		{"POST", workspace + "/group-tests/x/confirm", "codes", `{"codes":"482917"}`},
	}
}

// It shows SEC-04, SEC-54 and SEC-56 of deploy/SECURITY.md.
func TestAPI_NamesTheFieldThatIsWrong(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	for _, c := range bad() {
		p := h.refused(t, 400, "invalid_request", request{method: c.method, path: c.path, body: c.body})
		if p.Field != c.field {
			t.Errorf("%s %s %.80s: field %q and not %q", c.method, c.path, c.body, p.Field, c.field)
		}
	}
	for _, key := range []string{"", " ", "a b", "ä", strings.Repeat("x", 256)} {
		p := h.refused(t, 400, "invalid_request", create("bert").with(key))
		if p.Field != "Idempotency-Key" {
			t.Errorf("key %q: field %q", key, p.Field)
		}
	}
	if got := len(h.issued(t)); got != 0 {
		t.Errorf("%d challenges were issued", got)
	}
}

// It shows SEC-11 of deploy/SECURITY.md.
func TestDirectory_AnIDThatCannotBeIsUnknown(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	for _, id := range []string{"%00", "%ff", "a%2Fb", "a%20b", strings.Repeat("x", 65)} {
		for _, method := range []string{"GET", "DELETE"} {
			h.refused(t, 404, "unknown_workspace", request{method: method, path: "/v1/workspaces/" + id})
			h.refused(t, 404, "unknown_workspace", request{method: method, path: "/v1/workspaces/" + id + "/logins/bert"})
			h.refused(t, 404, "unknown_login", request{method: method, path: "/v1/workspaces/w/logins/" + id})
		}
		h.refused(t, 404, "unknown_login", request{method: "DELETE", path: "/v1/workspaces/w/logins/" + id + "/lock"})
	}
}

// It shows SEC-54 of deploy/SECURITY.md.
func TestAPI_BoundsBodiesAndMediaTypes(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	r := create("bert")
	r.header = map[string]string{"Content-Type": "text/plain"}
	h.refused(t, 415, "unsupported_media_type", r)
	r = create("bert")
	r.body = `{"workspace":"` + strings.Repeat("x", 70_000) + `"}`
	h.refused(t, 413, "body_too_large", r)
	h.refused(t, 404, "not_found", request{method: "GET", path: "/v1/nothing"})
	h.refused(t, 405, "method_not_allowed", request{method: "PATCH", path: "/v1/challenges"})
	h.refused(t, 404, "not_found", request{method: "GET", path: "/v1//challenges/x"})
	if h.metric(t, "doorcode_http_requests_total", "other") < 0 {
		t.Error("requests without an operation are not counted")
	}
}

// It shows SEC-07 of deploy/SECURITY.md.
func TestSEC53_AKeyOpensNothingOutsideItsScopesAndWorkspaces(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	page := h.frontEnd(t, frontend.FrontEnd{ID: "page", Scopes: []frontend.Scope{frontend.Challenges}, Workspaces: []string{"w"}})
	elsewhere := h.frontEnd(t, frontend.FrontEnd{
		ID: "elsewhere", Scopes: []frontend.Scope{frontend.Challenges, frontend.Directory}, Workspaces: []string{"v"},
	})
	keeper := h.frontEnd(t, frontend.FrontEnd{ID: "keeper", Scopes: []frontend.Scope{frontend.Directory}, AllWorkspaces: true})
	directory := []request{
		{method: "GET", path: "/v1/workspaces/w"},
		{method: "PUT", path: "/v1/workspaces/w", body: fields{"name": "x", "main_email": "thief@example.org"}},
		{method: "DELETE", path: "/v1/workspaces/w"},
		{method: "GET", path: "/v1/workspaces/w/logins/bert"},
		{method: "PUT", path: "/v1/workspaces/w/logins/bert", body: fields{"role": "owner", "email": "thief@example.org"}},
		{method: "DELETE", path: "/v1/workspaces/w/logins/bert"},
		{method: "DELETE", path: "/v1/workspaces/w/logins/bert/lock"},
		{method: "POST", path: "/v1/workspaces/w/invitations", body: fields{"email": "thief@example.org", "by": "anna"}},
		{method: "GET", path: "/v1/workspaces/w/invitations"},
		{method: "GET", path: "/v1/workspaces/w/invitations/x"},
		{method: "DELETE", path: "/v1/workspaces/w/invitations/x"},
		{method: "POST", path: "/v1/workspaces/w/invitations/x/deliveries"},
		{method: "GET", path: "/v1/workspaces/w/join-requests"},
		{method: "DELETE", path: "/v1/workspaces/w/join-requests/x"},
		{method: "POST", path: "/v1/workspaces/w/group-tests", body: fields{"by": "anna"}},
		{method: "GET", path: "/v1/workspaces/w/group-tests/x"},
		{method: "POST", path: "/v1/workspaces/w/group-tests/x/confirm", body: fields{"codes": []string{"482917", "482917"}}},
	}
	for _, r := range directory {
		for _, r.key = range []string{page, elsewhere} {
			h.refused(t, 404, "unknown_workspace", r)
		}
	}
	for _, key := range []string{elsewhere, keeper} {
		r := create("bert")
		r.key = key
		h.refused(t, 404, "unknown_workspace", r)
	}
	var c created
	r := create("bert")
	r.key = page
	h.must(t, 201, r).into(t, &c)
	h.refused(t, 404, "unknown_challenge", request{method: "GET", path: "/v1/challenges/" + c.Handle, key: keeper})
	h.must(t, 200, request{method: "GET", path: "/v1/workspaces/w/logins/bert"})
	h.must(t, 404, request{method: "GET", path: "/v1/workspaces/v", key: elsewhere})
	h.must(t, 201, request{method: "PUT", path: "/v1/workspaces/v", key: elsewhere, body: fields{"name": "V", "main_email": "v@example.com"}})
}

// It shows SEC-07 and SEC-23 of deploy/SECURITY.md.
func TestSEC53_WithoutAValidKeyNothingIsTold(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	unknown := strings.Replace(h.key, "dck_front_", "dck_nobody_", 1)
	wrong := h.key[:len(h.key)-4] + "AAAA"
	for _, key := range []string{"-", "x", wrong, unknown} {
		for _, r := range []request{
			create("bert"), create("nobody"),
			{method: "POST", path: "/v1/challenges", body: `{"workspace":"w","login":"a b"}`},
			{method: "GET", path: "/v1/workspaces/w"},
			{method: "GET", path: "/v1/challenges/x"},
			{method: "DELETE", path: "/v1/workspaces/w/logins/bert/lock"},
		} {
			r.key = key
			a := h.must(t, 401, r)
			if a.problem(t).Code != "unauthenticated" || a.Header.Get("WWW-Authenticate") != `Bearer realm="doorcode"` {
				t.Errorf("%s %s: %s", r.method, r.path, a.Body)
			}
		}
	}
	h.must(t, 200, request{method: "GET", path: "/.well-known/jwks.json", key: "-"})
}

// It shows SEC-04 and SEC-27 of deploy/SECURITY.md.
func TestCheck_SendsATagAndNeverACode(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	var asked atomic.Int64
	var got event.CheckRequest
	h.verifier(t, event.VerbCheck, func(data []byte) ([]byte, error) {
		asked.Add(1)
		err := json.Unmarshal(data, &got)
		if err != nil || strings.Contains(string(data), "123456") {
			return nil, errors.New("this is not a check")
		}
		return json.Marshal(event.CheckReply{Assertion: "a.b.c"})
	})
	var c created
	h.must(t, 201, create("bert")).into(t, &c)
	path := "/v1/challenges/" + c.Handle + "/checks"
	for _, code := range []string{`""`, `"12345"`, `"12345678901"`, `"12345a"`, `"１２３４５６"`, `123456`, `["123456"]`, `{"x":1}`, `"` + strings.Repeat("1", 1000) + `"`} {
		p := h.refused(t, 400, "invalid_request", request{method: "POST", path: path, body: `{"code":` + code + `}`})
		if p.Field != "code" {
			t.Errorf("code %s: field %q", code, p.Field)
		}
	}
	p := h.refused(t, 400, "invalid_request", request{method: "POST", path: path, body: fields{"code": "123456", "check_id": "a b"}})
	if p.Field != "check_id" || asked.Load() != 0 {
		t.Errorf("field %q, and the verifier was asked %d times", p.Field, asked.Load())
	}
	for _, handle := range []string{"x", c.Handle + "A", "B" + c.Handle[1:], c.Handle[:40] + "AAAA" + c.Handle[44:]} {
		h.refused(t, 404, "unknown_challenge", request{method: "POST", path: "/v1/challenges/" + handle + "/checks", body: fields{"code": "123456"}})
	}
	a := h.must(t, 200, request{method: "POST", path: path, body: fields{"code": "123 4-56", "check_id": "c1"}})
	if string(a.Body) != `{"outcome":"approved","assertion":"a.b.c"}`+"\n" {
		t.Errorf("the answer is %s", a.Body)
	}
	code, err := otp.Parse("123456")
	if err != nil {
		t.Fatal(err)
	}
	tags := otp.Tags(h.ring(t, "TAG"), h.issued(t)[0].Challenge, code)
	if !cmp.Equal([]byte(tags[1]), got.Tags[1]) || got.CheckID != "c1" || got.FrontEnd != "front" || got.Handle != c.Handle {
		t.Errorf("the verifier was asked %+v", got)
	}
	if strings.Contains(h.logs.String(), "123456") {
		t.Error("a typed code is in the log")
	}
}

func TestP7_ACheckIsRepeatedOnceWithItsID(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	var ids []string
	h.verifier(t, event.VerbCheck, func(data []byte) ([]byte, error) {
		var r event.CheckRequest
		err := json.Unmarshal(data, &r)
		if err != nil {
			return nil, err
		}
		ids = append(ids, r.CheckID)
		return nil, &bus.ServiceError{Code: 503, Body: []byte(`{"status":503,"code":"unavailable"}`)}
	})
	var c created
	h.must(t, 201, create("bert")).into(t, &c)
	p := h.refused(t, 503, "unavailable", request{method: "POST", path: "/v1/challenges/" + c.Handle + "/checks", body: fields{"code": "123456"}})
	if len(ids) != 2 || ids[0] == "" || ids[0] != ids[1] || p.RetryAfter != 1 {
		t.Errorf("the check ids are %q, the wait %d s", ids, p.RetryAfter)
	}
	h.refused(t, 503, "unavailable", request{method: "GET", path: "/v1/challenges/" + c.Handle}) // Nobody answers this verb.
}

func TestCheck_PassesOnWhatTheVerifierSays(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	h.verifier(t, event.VerbCheck, func([]byte) ([]byte, error) {
		return nil, &bus.ServiceError{Code: 422, Body: []byte(`{"type":"about:blank","title":"x","status":422,"detail":"This code is not right.","code":"wrong_code","checks_left":0}`)}
	})
	var c created
	h.must(t, 201, create("bert")).into(t, &c)
	p := h.refused(t, 422, "wrong_code", request{method: "POST", path: "/v1/challenges/" + c.Handle + "/checks", body: fields{"code": "123456"}})
	if p.ChecksLeft == nil || *p.ChecksLeft != 0 {
		t.Error("the checks left are lost")
	}
}

// It shows SEC-21 of deploy/SECURITY.md.
func TestResend_NamesTheRequestByItsKey(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	var asked []event.ResendRequest
	h.verifier(t, event.VerbResend, func(data []byte) ([]byte, error) {
		var r event.ResendRequest
		err := json.Unmarshal(data, &r)
		if err != nil {
			return nil, err
		}
		asked = append(asked, r)
		return json.Marshal(event.ResendReply{Send: 2, Channel: "email", Recipient: "b•••@example.com"})
	})
	var c created
	h.must(t, 201, create("bert")).into(t, &c)
	r := request{method: "POST", path: "/v1/challenges/" + c.Handle + "/deliveries", body: fields{}}
	h.must(t, 202, r.with("one"))
	h.must(t, 202, r.with("one"))
	h.must(t, 202, r)
	if len(asked) != 3 || string(asked[0].Key) != string(asked[1].Key) || string(asked[1].Key) == string(asked[2].Key) {
		t.Errorf("the verifier was asked %+v", asked)
	}
	p := h.refused(t, 400, "invalid_request", request{method: "POST", path: r.path, body: fields{"channel": "pigeon"}})
	if p.Field != "channel" {
		t.Errorf("field %q", p.Field)
	}
}

// It shows SEC-48 of deploy/SECURITY.md.
func TestState_ShowsWhatTheVerifierKnows(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	reply := func([]byte) ([]byte, error) {
		return json.Marshal(event.StateReply{State: "canceled", Label: "KRT", Channel: "email", Recipient: "b•••@example.com", SupportReference: "4F72KQ9R"})
	}
	h.verifier(t, event.VerbState, reply)
	h.verifier(t, event.VerbCancel, reply)
	var c created
	h.must(t, 201, create("bert")).into(t, &c)
	for _, method := range []string{"GET", "DELETE"} {
		a := h.must(t, 200, request{method: method, path: "/v1/challenges/" + c.Handle})
		if !strings.Contains(string(a.Body), `"support_reference":"4F72-KQ9R"`) || !strings.Contains(string(a.Body), `"resend_at":null`) {
			t.Errorf("the answer is %s", a.Body)
		}
	}
}

// It shows SEC-17 of deploy/SECURITY.md.
func TestUnlock_AsksTheVerifierInTheNameOfTheFrontEnd(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	var asked event.UnlockRequest
	h.verifier(t, event.VerbUnlock, func(data []byte) ([]byte, error) { return []byte("{}"), json.Unmarshal(data, &asked) })
	h.must(t, 204, request{method: "DELETE", path: "/v1/workspaces/w/logins/bert/lock"})
	if asked != (event.UnlockRequest{Workspace: "w", Login: "bert", By: "front"}) {
		t.Errorf("the verifier was asked %+v", asked)
	}
	h.refused(t, 404, "unknown_login", request{method: "DELETE", path: "/v1/workspaces/w/logins/nobody/lock"})
}

func TestApp_ServesOnItsAddress(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+h.app.Addr()+"/.well-known/jwks.json", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 || !strings.Contains(string(body), "Ed25519") {
		t.Errorf("answered %d: %s, %v", resp.StatusCode, body, err)
	}
	if h.app.Ready(t.Context()) != nil {
		t.Error("it is not ready")
	}
}

// FuzzAPI holds that no input is answered with a 5xx.
// It shows SEC-54 of deploy/SECURITY.md.
func FuzzAPI(f *testing.F) {
	for i, c := range bad() {
		f.Add(c.method, c.path, []byte(c.body), fmt.Sprint(i))
	}
	f.Add("GET", "/v1/challenges/AQEAAA", []byte(nil), "k")
	f.Add("DELETE", "/v1/workspaces/w/logins/%00", []byte(nil), "")
	f.Add("GET", "/v1/workspaces/%00", []byte(nil), "")
	f.Add("DELETE", "/v1/workspaces/%ff/logins/%00/lock", []byte(nil), "")
	f.Add("POST", "/v1/challenges/x/checks", []byte(`{"code":"123456"}`), "\x00")
	h := fuzzed(f)
	f.Fuzz(func(t *testing.T, method, path string, body []byte, key string) {
		if !strings.HasPrefix(path, "/") || strings.Trim(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" || method == "" {
			return
		}
		target, err := url.ParseRequestURI(path)
		if err != nil {
			return
		}
		req := (&http.Request{Method: method, URL: target, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(body)))}).WithContext(t.Context())
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+h.key)
		req.Header["Idempotency-Key"] = []string{key}
		if status := h.status(req); status >= 500 {
			t.Errorf("%s %s %q is answered %d", method, path, body, status)
		}
	})
}
