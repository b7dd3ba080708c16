package load

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"doorcode/services/bench/internal/inbox"
)

// doorcode answers as auth does, and sends the message while a create is answered.
type doorcode struct {
	inbox         *inbox.Inbox
	create, check int // statuses
	code, outcome string
	silent        bool // sends nothing
}

func (d *doorcode) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body struct{ Workspace, Code string }
	_ = json.NewDecoder(r.Body).Decode(&body)
	if r.Header.Get("Authorization") != "Bearer dck_bench_key" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	switch {
	case r.URL.Path == "/v1/challenges":
		if !d.silent {
			d.deliver(r.Context(), body.Workspace+"@acme.example")
		}
		w.WriteHeader(d.create)
		_, _ = w.Write([]byte(`{"handle":"h-` + body.Workspace + `","code":"overloaded"}`))
	case r.URL.Path != "/v1/challenges/h-bench-000000/checks" || body.Code != d.code:
		w.WriteHeader(http.StatusTeapot)
	default:
		w.WriteHeader(d.check)
		_, _ = w.Write([]byte(`{"outcome":"` + d.outcome + `","assertion":"signed","code":"unavailable"}`))
	}
}

// deliver calls the provider.
func (d *doorcode) deliver(ctx context.Context, to string) {
	body := `{"personalizations":[{"to":[{"email":"` + to + `"}]}],"content":[{"type":"text/plain","value":"\n123456\n"}]}`
	d.inbox.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodPost, "/v3/mail/send", bytes.NewBufferString(body)))
}

// frontEnd is one of a doorcode, with one person.
func frontEnd(t *testing.T, d *doorcode) *FrontEnd {
	t.Helper()
	d.inbox = inbox.New([]string{PersonOf(0).Recipient})
	server := httptest.NewServer(d)
	f := NewFrontEnd(strings.TrimPrefix(server.URL, "http://"), "dck_bench_key", 1, d.inbox)
	t.Cleanup(server.Close)
	t.Cleanup(f.Close)
	return f
}

// right is a doorcode that lets people in.
func right() doorcode {
	return doorcode{create: http.StatusCreated, check: http.StatusOK, code: "123456", outcome: "approved"}
}

func TestFrontEnd_SignsInAndTimesFromTheIntendedBegin(t *testing.T) {
	t.Parallel()
	d := right()
	f := frontEnd(t, &d)
	tally := NewTally()
	for range 3 {
		f.SignIn(t.Context(), time.Now().Add(-time.Minute), tally)
	}
	if tally.Cycles() != 3 || len(tally.Failures()) != 0 {
		t.Errorf("%d cycles, failures %v", tally.Cycles(), tally.Failures())
	}
	for _, s := range Stages() {
		late := s == Create || s == Cycle // which waited to begin
		if times := tally.Times(s); len(times) != 3 || (slices.Min(times) >= time.Minute) != late {
			t.Errorf("%s took %v", s, times)
		}
	}
}

func TestFrontEnd_CountsWhatWentWrong(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*doorcode){
		"create: 503 overloaded":    func(d *doorcode) { d.create = http.StatusServiceUnavailable },
		"check: 503 unavailable":    func(d *doorcode) { d.check = http.StatusServiceUnavailable },
		"check: 418 ":               func(d *doorcode) { d.code = "654321" },
		"check: not approved":       func(d *doorcode) { d.outcome = "pending" },
		"no message came":           func(d *doorcode) { d.silent = true },
		"nobody is free to sign in": nil,
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			d := right()
			f := frontEnd(t, &d)
			switch {
			case change == nil:
				<-f.free
			default:
				change(&d)
			}
			if d.silent {
				f.patience = time.Millisecond
			}
			tally := NewTally()
			f.SignIn(t.Context(), time.Now(), tally)
			if !maps.Equal(tally.Failures(), map[string]int{want: 1}) || tally.Cycles() != 0 {
				t.Errorf("failures %v, %d cycles", tally.Failures(), tally.Cycles())
			}
		})
	}
}

func TestFrontEnd_SaysWhenNobodyAnswers(t *testing.T) {
	t.Parallel()
	f := NewFrontEnd("127.0.0.1:1", "dck_bench_key", 1, inbox.New([]string{PersonOf(0).Recipient}))
	t.Cleanup(f.Close)
	tally := NewTally()
	f.SignIn(t.Context(), time.Now(), tally)
	f.SignIn(t.Context(), time.Now(), tally) // the person is free again
	if !maps.Equal(tally.Failures(), map[string]int{"create: no answer": 2}) {
		t.Errorf("failures %v", tally.Failures())
	}
}

func TestPersonOf_HasAnAddressOfItsOwn(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for n := range 70_000 {
		p := PersonOf(n)
		seen[p.Address], seen[p.Workspace], seen[p.Recipient] = true, true, true
	}
	if len(seen) != 3*70_000 {
		t.Errorf("%d different facts", len(seen))
	}
}
