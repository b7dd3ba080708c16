package app_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/event"
	"doorcode/services/auth/app"
)

// Whoever has no key gets one answer about every login there is or is not, whatever its state and its channel (SEC-16,
// SEC-23), and moves no counter and sends nothing (SEC-07, SEC-17).
// It shows SEC-25 of deploy/SECURITY.md.
func TestSEC23_WithoutAKeyEveryLoginLooksAlikeAndNothingHappens(t *testing.T) {
	t.Parallel()
	h := start(t, texting(200))
	h.settle(t)
	h.phoned(t, "kim", "+12025550148", "")
	for _, login := range []string{"locked", "spent"} {
		h.must(t, 201, put("/logins/"+login, fields{"role": "member", "email": login + "@example.com"}))
	}
	h.db.Exec(t, `UPDATE login_budgets SET locked_at = now() WHERE login = 'locked'`)
	h.db.Exec(t, `UPDATE login_budgets SET failures = array_fill(clock_timestamp(), ARRAY[10]) WHERE login = 'spent'`)
	before := h.counters(t)
	var first *answer
	for _, login := range []string{"bert", "anna", "kim", "locked", "spent", "nobody"} {
		for range 20 {
			r := create(login)
			r.key = "-"
			a := h.must(t, 401, r)
			if first == nil {
				first = &a
			}
			if diff := cmp.Diff(first, &a); diff != "" {
				t.Fatalf("the answer about %s is its own:\n%s", login, diff)
			}
		}
	}
	for _, path := range []string{"/checks", "/deliveries"} {
		h.must(t, 401, request{method: "POST", path: "/v1/challenges/x" + path, key: "-", body: fields{"code": "123456"}})
	}
	if after := h.counters(t); after != before {
		t.Errorf("the counters were %s and are %s", before, after)
	}
	if got := len(h.issued(t)); got != 0 {
		t.Errorf("%d challenges were issued", got)
	}
}

// counters returns all that limits a login or an address, in one line.
func (h *harness) counters(t *testing.T) string {
	t.Helper()
	var all string
	h.db.Scan(t, `SELECT concat((SELECT string_agg(b::text, ';' ORDER BY login) FROM login_budgets b), (SELECT string_agg(l::text, ';') FROM limits l))`, nil, &all)
	return all
}

// Every operation that takes a code or may answer with an assertion is listed here and tagged in the document. A further
// one has to be added to both, and then to the tests of the limits.
func TestSEC13_OneOperationTakesCodesAndGivesAssertions(t *testing.T) {
	t.Parallel()
	found, tagged := map[string][]string{}, map[string][]string{}
	for path, item := range api(t).Paths.Map() {
		for method, operation := range item.Operations() {
			name := method + " " + path
			for _, tag := range operation.Tags {
				tagged[tag] = append(tagged[tag], name)
			}
			if operation.RequestBody != nil && (mentions(operation.RequestBody.Value.Content, "code") || mentions(operation.RequestBody.Value.Content, "codes")) {
				found["accepts-code"] = append(found["accepts-code"], name)
			}
			for status, response := range operation.Responses.Map() {
				if strings.HasPrefix(status, "2") && mentions(response.Value.Content, "assertion") {
					found["issues-assertion"] = append(found["issues-assertion"], name)
				}
			}
		}
	}
	const check = "POST /v1/challenges/{handle}/checks"
	// Codes of doorcode's own purposes let nobody in: they are judged under the same budgets and give no assertion.
	own := []string{
		"POST /v1/workspaces/{workspace}/group-tests/{test}/confirm",
		"POST /v1/workspaces/{workspace}/logins/{login}/factor-changes/{change}/confirm",
	}
	// Those of waivers take no code: they prove nothing, and a locked login gets none either.
	want := map[string][]string{
		"accepts-code":     append([]string{check}, own...),
		"issues-assertion": {"POST /v1/challenges", check, "POST /v1/challenges/{handle}/skip"},
	}
	for tag := range want {
		slices.Sort(found[tag])
		slices.Sort(tagged[tag])
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("operations that take a code or give an assertion:\n%s", diff)
	}
	for tag := range want {
		if diff := cmp.Diff(want[tag], tagged[tag]); diff != "" {
			t.Errorf("operations with the tag %s:\n%s", tag, diff)
		}
	}
}

// mentions reports whether one of the schemas of a body has a property of that name, at any depth.
func mentions(content openapi3.Content, name string) bool {
	var within func(s *openapi3.SchemaRef) bool
	within = func(s *openapi3.SchemaRef) bool {
		if s == nil || s.Value == nil {
			return false
		}
		_, ok := s.Value.Properties[name]
		parts := slices.Concat(slices.Collect(maps.Values(s.Value.Properties)), s.Value.AllOf, s.Value.OneOf, s.Value.AnyOf, openapi3.SchemaRefs{s.Value.Items})
		return ok || slices.ContainsFunc(parts, within)
	}
	return slices.ContainsFunc(slices.Collect(maps.Values(content)), func(m *openapi3.MediaType) bool { return within(m.Schema) })
}

// The address of a client is what the host application says; no header of whoever connects gives one, adds one or breaks
// the limit.
func TestSEC15_NoHeaderTellsTheAddressOfAClient(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *app.Config) { c.CreatesPerClient = 2 })
	h.settle(t)
	headers := []map[string]string{
		{"X-Forwarded-For": "198.51.100.1, 192.0.2.7"},
		{"X-Forwarded-For": "not an address"},
		{"Forwarded": `for="[2001:db8::1]";proto=https`},
		{"X-Real-Ip": "198.51.100.2"},
		{"True-Client-Ip": ""},
		{"Cf-Connecting-Ip": strings.Repeat("9", 4000)},
	}
	for i, header := range headers {
		r := create("bert")
		r.body = fields{"workspace": "w", "login": "bert", "client": fields{"address": "203.0.113.9"}}
		r.header = header
		if i < 2 {
			h.must(t, 201, r)
			continue
		}
		h.refused(t, 429, "too_many_requests", r)
	}
	rows := h.count(t, `SELECT count(*) FROM limits`)
	r := create("anna")
	r.header = headers[0]
	h.must(t, 201, r)
	if got := h.count(t, `SELECT count(*) FROM limits`); got != rows+1 {
		t.Errorf("a create without a client's address made %d limits, one of them for its recipient", got-rows)
	}
}

// No page of another origin can read an answer, no form of one can ask, no answer is kept or sets a cookie, and a code is
// taken from a body alone.
func TestSEC58_AnswersAreForTheCallerAlone(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	var c created
	h.must(t, 201, create("bert")).into(t, &c)
	checks := "/v1/challenges/" + c.Handle + "/checks"
	var asked atomic.Int64
	h.verifier(t, event.VerbCheck, func([]byte) ([]byte, error) {
		asked.Add(1)
		return nil, http.ErrAbortHandler
	})
	cross := map[string]string{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
	for what, r := range map[string]request{
		"an answer":             {method: "GET", path: "/v1/workspaces/w", header: cross},
		"the keys":              {method: "GET", path: "/.well-known/jwks.json", key: "-", header: cross},
		"a refusal":             {method: "GET", path: "/v1/workspaces/none", header: map[string]string{"Origin": "null"}},
		"no key":                {method: "GET", path: "/v1/workspaces/w", key: "-", header: cross},
		"no address":            {method: "GET", path: "/", header: cross},
		"a preflight":           {method: "OPTIONS", path: checks, header: map[string]string{"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}},
		"a code by GET":         {method: "GET", path: checks + "?code=123456", header: cross},
		"a code in the address": {method: "POST", path: checks + "?code=123456", body: fields{}, header: cross},
		"a form":                {method: "POST", path: checks, body: "code=123456", header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}},
		"a plain form":          {method: "POST", path: checks, body: `{"code":"123456"}`, header: map[string]string{"Content-Type": "text/plain"}},
	} {
		a := h.do(t, r) // It holds that no cache may keep the answer.
		if a.Header.Get("X-Content-Type-Options") != "nosniff" || a.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s: the headers are %v", what, a.Header)
		}
		for name := range a.Header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s: %s lets another origin in", what, name)
			}
		}
		if strings.Contains(r.path, checks) && a.Status < 400 {
			t.Errorf("%s is answered %d", what, a.Status)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("%d codes were judged", n)
	}
}
