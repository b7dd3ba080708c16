package desk_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"doorcode/pkg/challenge"
	"doorcode/pkg/client"
	"doorcode/pkg/event"
	"doorcode/pkg/frontend"
	"doorcode/pkg/keyring"
	"doorcode/pkg/operator"
	"doorcode/pkg/phone"
	"doorcode/pkg/postgres"
	"doorcode/pkg/postgres/pgtest"
	"doorcode/pkg/telemetry"
	"doorcode/services/console/internal/board"
	"doorcode/services/console/internal/desk"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// rightCode is the one that the double of doorcode takes.
const rightCode = "123456"

// doorcode is an in-process double of what the console asks of auth; the real one is asked in services/e2e.
type doorcode struct {
	mu       sync.Mutex
	decision string
	asked    map[string]client.Request // by handle
	done     []string
}

func (d *doorcode) Create(_ context.Context, r client.Request) (client.Challenge, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	raw := make([]byte, 16)
	_, _ = rand.Read(raw)
	handle := base64.RawURLEncoding.EncodeToString(raw)
	d.asked[handle] = r
	return client.Challenge{Decision: d.decision, Handle: handle, Label: "KTM", Recipient: "s•••@example.com", SupportReference: "4F72-KQ9R"}, nil
}

func (d *doorcode) Check(_ context.Context, handle, code string) (client.Person, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, known := d.asked[handle]
	if !known || code != rightCode {
		left := 4
		return client.Person{}, &client.Error{Status: 422, Code: "wrong_code", ChecksLeft: &left}
	}
	return client.Person{Workspace: r.Workspace, Login: r.Login, Challenge: handle}, nil
}

func (d *doorcode) Resend(context.Context, string) error { return nil }

// SupportResend notes what auth is asked to do.
func (d *doorcode) SupportResend(_ context.Context, act client.SupportAct, channel string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done = append(d.done, fmt.Sprint("resend ", act.Challenge, " ", act.Operator, " ", act.Reason, " ", channel))
	return nil
}

// SupportUnlock notes what auth is asked to do.
func (d *doorcode) SupportUnlock(_ context.Context, act client.SupportAct) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done = append(d.done, fmt.Sprint("unlock ", act.Challenge, " ", act.Operator, " ", act.Reason))
	return nil
}

// house is a console on a real database.
type house struct {
	t        *testing.T
	db       *pgtest.Database
	owner    *postgres.Operators
	ring     *keyring.Ring
	doorcode *doorcode
	site     *httptest.Server
	mu       sync.Mutex
	ahead    time.Duration // of the console's clock
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, db: pgtest.Open(t), doorcode: &doorcode{decision: client.Required, asked: map[string]client.Request{}}}
	var err error
	h.ring, err = keyring.New()
	h.must(err)
	h.owner = postgres.NewOperators(h.db.Owner(t), h.ring)
	console := h.db.Console(t)
	h.site = httptest.NewUnstartedServer(nil)
	figures, err := board.New(board.Config{Store: console, Clock: h.now, CallingCode: phone.CallingCode})
	h.must(err)
	site, err := desk.New(desk.Config{
		Figures:   figures,
		PublicURL: "http://" + h.site.Listener.Addr().String(), Record: console, Operators: postgres.NewOperators(console, h.ring),
		Codes: h.doorcode, Help: h.doorcode, Keys: h.ring, Clock: h.now, Telemetry: telemetry.Telemetry{Log: slog.New(slog.NewTextHandler(t.Output(), nil))},
	})
	h.must(err)
	h.site.Config.Handler = site.Handler()
	h.site.Start()
	t.Cleanup(h.site.Close)
	return h
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Now().Add(h.ahead)
}

// wait lets time pass for the console.
func (h *house) wait(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ahead += d
}

// list lets somebody sign in and returns their secret.
func (h *house) list(o operator.Operator) string {
	h.t.Helper()
	o, secret := o.WithNewSecret(h.ring)
	h.must(h.owner.Put(h.t.Context(), o))
	return secret
}

// browser is one browser at the console.
type browser struct {
	h    *house
	http *http.Client
}

func (h *house) browser() *browser {
	h.t.Helper()
	jar, err := cookiejar.New(nil)
	h.must(err)
	return &browser{h: h, http: &http.Client{Timeout: time.Minute, Jar: jar, Transport: h.site.Client().Transport}}
}

// answer is the page that a browser ends at.
type answer struct {
	status     int
	path, text string
	header     http.Header
}

func (b *browser) do(method, path string, form url.Values, header ...string) answer {
	b.h.t.Helper()
	r, err := http.NewRequestWithContext(b.h.t.Context(), method, b.h.site.URL+path, strings.NewReader(form.Encode()))
	b.h.must(err)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := b.http.Do(r)
	b.h.must(err)
	text, err := io.ReadAll(res.Body)
	b.h.must(err)
	b.h.must(res.Body.Close())
	return answer{status: res.StatusCode, path: res.Request.URL.Path, text: string(text), header: res.Header}
}

func (b *browser) get(path string) answer { return b.do(http.MethodGet, path, nil) }

// signIn goes the whole way.
func (b *browser) signIn(id, secret string) {
	b.h.t.Helper()
	b.do(http.MethodPost, "/sign-in", url.Values{"operator": {id}, "secret": {secret}})
	b.do(http.MethodPost, "/code", url.Values{"code": {rightCode}})
}

// issued puts a challenge on record and returns its id.
func (h *house) issued(workspace, reference string) string {
	h.t.Helper()
	id, err := challenge.NewID()
	h.must(err)
	at := time.Now().Add(-time.Minute)
	audit := func(n int, kind event.Type, detail map[string]any) postgres.Audit {
		data, err := json.Marshal(detail)
		h.must(err)
		return postgres.Audit{
			ID: fmt.Sprint(id, n), At: at.Add(time.Duration(n) * time.Second), Kind: kind, Workspace: workspace, Login: "jo", Challenge: id, Actor: "web", Detail: data,
		}
	}
	h.must(h.db.Verifier(h.t).Record(h.t.Context(), postgres.Batch{
		Challenges: []postgres.Issued{{Event: event.Issued{
			Challenge: id, Workspace: workspace, Login: "jo", LoginVersion: 1, FrontEnd: "web", Purpose: challenge.SignIn, Channel: "email", Label: "XYZ",
			SupportReference: reference, DigestKey: 1, Digest: []byte("digest"), TagKey: 1, Policy: challenge.DefaultPolicy(),
			Routes:    []event.Route{{Channel: "email", Recipient: "j•••@acme.example", Address: []byte("hash"), PerHour: 1, PerDay: 1, Envelope: "sealed-envelope"}},
			CreatedAt: at, ResendAt: at, ExpiresAt: at.Add(10 * time.Minute),
		}}},
		Audit: []postgres.Audit{
			audit(0, event.ChallengeIssued, map[string]any{"channel": "email", "label": "XYZ", "support_reference": reference, "front_end": "web", "expires_at": at.Add(10 * time.Minute)}),
			audit(2, event.DeliveryAttempted, map[string]any{"send": 1, "attempt": "a", "provider": "sendgrid", "provider_id": "msg-" + workspace, "result": "accepted"}),
			audit(3, event.ReceiptRecorded, map[string]any{"send": 1, "provider": "sendgrid", "status": "failed", "reason": "invalid_recipient", "detail": "550 <jo@acme.example><script>alert(1)</script> or +31612345678"}),
		},
	}))
	return id
}

// reference is one with a right check character.
func reference() string { return challenge.ReferenceOf([]byte{0, 1, 0, 15, 1, 20, 7}) }

func contains(t *testing.T, text string, wanted ...string) {
	t.Helper()
	for _, want := range wanted {
		if !strings.Contains(text, want) {
			t.Errorf("it lacks %q: %s", want, text)
		}
	}
}

// It shows SEC-59 of deploy/SECURITY.md: there is no default account, and every sign-in needs both factors.
func TestSignIn_NeedsTheSecretAndACode(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.browser()
	for _, id := range []string{"", "admin", "operator", "root"} {
		a := b.do(http.MethodPost, "/sign-in", url.Values{"operator": {id}, "secret": {id}})
		if a.status != http.StatusUnauthorized {
			t.Errorf("a fresh console lets %q on: %d", id, a.status)
		}
	}
	secret := h.list(operator.Operator{ID: "sue", Role: operator.Support, AllWorkspaces: true})
	unknown := b.do(http.MethodPost, "/sign-in", url.Values{"operator": {"eve"}, "secret": {secret}})
	wrong := b.do(http.MethodPost, "/sign-in", url.Values{"operator": {"sue"}, "secret": {secret[1:] + "A"}})
	if unknown.status != wrong.status || unknown.text != wrong.text || wrong.status != http.StatusUnauthorized {
		t.Errorf("who is unknown and who is wrong are told apart: %d and %d", unknown.status, wrong.status)
	}
	if len(h.doorcode.asked) != 0 {
		t.Error("a code was asked for before the secret was right")
	}
	a := b.do(http.MethodPost, "/sign-in", url.Values{"operator": {"sue"}, "secret": {secret}})
	contains(t, a.text, "s•••@example.com", "KTM")
	if a = b.get("/"); a.path != "/sign-in" {
		t.Errorf("the secret alone leads to %s", a.path)
	}
	a = b.do(http.MethodPost, "/code", url.Values{"code": {"654321"}})
	contains(t, a.text, "That code is not right. Tries left: 4.")
	a = b.do(http.MethodPost, "/code", url.Values{"code": {rightCode}})
	if a.status != http.StatusOK || a.path != "/" || !strings.Contains(a.text, "sue, support") {
		t.Errorf("after the code: %d at %s", a.status, a.path)
	}
	for _, r := range h.doorcode.asked {
		if r.Workspace != frontend.Operators || r.Login != "sue" {
			t.Errorf("the code was asked of %s/%s", r.Workspace, r.Login)
		}
	}
}

// A workspace that needs no code yet, or may skip it, still needs one here.
func TestSignIn_IsNotWaived(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	secret := h.list(operator.Operator{ID: "sue", Role: operator.Support, AllWorkspaces: true})
	for _, decision := range []string{client.NotRequired, client.Skippable} {
		h.doorcode.decision = decision
		b := h.browser()
		a := b.do(http.MethodPost, "/sign-in", url.Values{"operator": {"sue"}, "secret": {secret}})
		if a.status != http.StatusServiceUnavailable || b.get("/").path != "/sign-in" {
			t.Errorf("%s: %d", decision, a.status)
		}
	}
}

// It shows SEC-59 of deploy/SECURITY.md.
func TestSession_EndsByTimeBySignOutAndByTheList(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	secret := h.list(operator.Operator{ID: "sue", Role: operator.Support, AllWorkspaces: true})
	signedIn := func(b *browser) bool { return b.get("/").path == "/" }

	idle := h.browser()
	idle.signIn("sue", secret)
	h.wait(14 * time.Minute)
	if !signedIn(idle) {
		t.Error("fourteen minutes end a session")
	}
	h.wait(14 * time.Minute)
	if !signedIn(idle) {
		t.Error("a request did not keep the session")
	}
	h.wait(15*time.Minute + time.Second)
	if signedIn(idle) {
		t.Error("an idle session lives on")
	}

	// A copy of the cookie is worth nothing after a sign-out.
	out := h.browser()
	out.signIn("sue", secret)
	home, err := url.Parse(h.site.URL)
	h.must(err)
	copied := h.browser()
	copied.http.Jar.SetCookies(home, out.http.Jar.Cookies(home))
	if !signedIn(copied) {
		t.Fatal("the copy is no session")
	}
	kept := copied.http.Jar.Cookies(home)
	if a := out.do(http.MethodPost, "/sign-out", nil); a.path != "/sign-in" {
		t.Errorf("the sign-out leads to %s", a.path)
	}
	copied.http.Jar.SetCookies(home, kept)
	if signedIn(copied) || signedIn(out) {
		t.Error("a session outlives its sign-out")
	}

	// Whoever is removed, or gets another role, is out with the commit.
	for what, change := range map[string]func(){
		"a removal":      func() { h.must(h.owner.Remove(t.Context(), "sue")) },
		"another role":   func() { secret = h.list(operator.Operator{ID: "sue", Role: operator.Auditor, AllWorkspaces: true}) },
		"a row forged":   func() { h.db.Exec(t, `UPDATE operators SET role = 'operator' WHERE id = 'sue'`) },
		"a code too old": func() {},
	} {
		secret = h.list(operator.Operator{ID: "sue", Role: operator.Support, AllWorkspaces: true})
		b := h.browser()
		b.do(http.MethodPost, "/sign-in", url.Values{"operator": {"sue"}, "secret": {secret}})
		if what == "a code too old" {
			h.wait(5*time.Minute + time.Second)
			a := b.do(http.MethodPost, "/code", url.Values{"code": {rightCode}})
			if a.status != http.StatusUnauthorized || signedIn(b) {
				t.Errorf("%s: %d", what, a.status)
			}
			continue
		}
		b.do(http.MethodPost, "/code", url.Values{"code": {rightCode}})
		if !signedIn(b) {
			t.Fatalf("before %s nobody is in", what)
		}
		change()
		if a := b.get("/"); a.status == http.StatusOK && a.path == "/" {
			t.Errorf("%s leaves the session", what)
		}
	}
}

// Each role at each page: the matrix of pkg/operator is what the addresses obey. It shows SEC-59 of deploy/SECURITY.md.
func TestPages_AreThoseOfTheRole(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.issued("acme", reference())
	for _, role := range operator.Roles() {
		o := operator.Operator{ID: "x", Role: role, AllWorkspaces: role != operator.Owner, Workspaces: []string{"acme"}}
		if o.AllWorkspaces {
			o.Workspaces = nil
		}
		b := h.browser()
		b.signIn("x", h.list(o))
		for path, act := range map[string]operator.Act{
			"/": operator.Search, "/challenges/" + id: operator.Timeline, "/health": operator.Health, "/rollout": operator.Rollout, "/audit": operator.Audit,
		} {
			a := b.get(path)
			if (a.status == http.StatusOK && a.path == path) != o.May(act) {
				t.Errorf("%s at %s: %d at %s", role, path, a.status, a.path)
			}
			if strings.HasPrefix(path, "/challenges/") && strings.Contains(a.text, "What to try") != o.May(operator.Advice) {
				t.Errorf("%s is given advice, or is not", role)
			}
		}
	}
	if a := h.browser().get("/challenges/" + id); a.path != "/sign-in" || strings.Contains(a.text, "acme") {
		t.Errorf("nobody is shown %s", a.text)
	}
}

// An owner of workspaces sees what happened there and nothing else, not even that there is something.
func TestPages_AnOwnerSeesTheirWorkspacesAlone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	mine, other := h.issued("acme", reference()), h.issued("other", reference())
	b := h.browser()
	b.signIn("olga", h.list(operator.Operator{ID: "olga", Role: operator.Owner, Workspaces: []string{"acme"}}))
	for _, q := range []string{"", reference(), "other", other, "msg-other"} {
		a := b.get("/?q=" + url.QueryEscape(q))
		if strings.Contains(a.text, "/challenges/"+other) {
			t.Errorf("%q finds the other's", q)
		}
	}
	contains(t, b.get("/?q="+reference()).text, "/challenges/"+mine)
	if a, nothing := b.get("/challenges/"+other), b.get("/challenges/AAAAAAAAAAAAAAAAAAAAAA"); a.status != http.StatusNotFound || a.text != nothing.text {
		t.Errorf("the other's challenge: %d", a.status)
	}
	contains(t, b.get("/challenges/"+mine).text, "j•••@acme.example")
}

func TestSearch_ForgivesHowAReferenceIsRead(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.issued("acme", reference())
	b := h.browser()
	b.signIn("sue", h.list(operator.Operator{ID: "sue", Role: operator.Support, AllWorkspaces: true}))
	spoken := strings.ReplaceAll(strings.ToLower(reference()[:4]+" - "+reference()[4:]), "0", "o")
	for what, q := range map[string]string{"a reference": spoken, "a challenge": id, "a workspace": "acme", "a provider's id": "msg-acme", "nothing": ""} {
		contains(t, b.get("/?q="+url.QueryEscape(q)).text, "/challenges/"+id, "1 found")
		_ = what
	}
	wrong := reference()[:7] + map[bool]string{true: "A", false: "B"}[reference()[7] == 'B']
	contains(t, b.get("/?q="+wrong).text, "please read it again", "0 found")
	contains(t, b.get("/?q=4F72+%21%21%21%21").text, "please read it again", "0 found")
	contains(t, b.get("/?q=acme&from=2020-01-01T00:00&to=2020-03-01T00:00").text, "within 31 days")
	contains(t, b.get("/?q=acme&from=yesterday").text, "no time")
}

// The page shows masks alone, runs nothing that a provider wrote, and leaves on record who looked.
func TestTimeline_TellsTheStoryAndNoAddress(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.issued("acme", reference())
	b := h.browser()
	b.signIn("sue", h.list(operator.Operator{ID: "sue", Role: operator.Support, AllWorkspaces: true}))
	a := b.get("/challenges/" + id)
	contains(t, a.text, "j•••@acme.example", "XYZ", ">sign-in</th>", ">send 1</th>", "handed to sendgrid: accepted", "bounced", "&#43;2.0 s",
		"What to try:", "As text, to copy", challenge.ShowReference(reference()), "open")
	for _, secret := range []string{"jo@acme", "31612345678", "<script>", "sealed-envelope", "digest"} {
		if strings.Contains(a.text, secret) {
			t.Errorf("the page shows %q", secret)
		}
	}
	var actors string
	h.db.Scan(t, `SELECT string_agg(actor || ' ' || workspace || ' ' || login, ', ') FROM audit WHERE kind = 'challenge.v1.shown' AND challenge_id = $1`, []any{id}, &actors)
	if actors != "sue acme jo" {
		t.Errorf("on record is %q", actors)
	}
	csp := a.header.Get("Content-Security-Policy")
	if !strings.HasPrefix(csp, "default-src 'none'; style-src 'sha256-") || strings.Contains(csp, "script") || strings.Contains(csp, "unsafe") {
		t.Errorf("the policy is %s", csp)
	}
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("X-Frame-Options") != "DENY" {
		t.Errorf("headers %v", a.header)
	}
}

// It shows SEC-58 of deploy/SECURITY.md.
func TestForms_OfOtherSitesAreRefused(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.browser()
	b.signIn("sue", h.list(operator.Operator{ID: "sue", Role: operator.Support, AllWorkspaces: true}))
	for _, path := range []string{"/sign-in", "/code", "/code/resend", "/sign-out", "/challenges/x/send-again", "/challenges/x/unlock", "/confirm"} {
		a := b.do(http.MethodPost, path, url.Values{}, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example")
		if a.status != http.StatusForbidden {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	if a := b.get("/"); a.path != "/" {
		t.Error("another site signed the operator out")
	}
}
