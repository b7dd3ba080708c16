package app_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/event"
	"doorcode/services/auth/app"
)

// keeper plays the verifier: it answers with a state and announces when that changes.
type keeper struct {
	conn *bus.Conn

	mu    sync.Mutex
	state event.StateReply
	away  bool
	asked int
}

func newKeeper(t *testing.T, h *harness) *keeper {
	t.Helper()
	k := &keeper{conn: h.bus.Connect(t, "verifier"), state: event.StateReply{
		State: "pending", Label: "KRT", Channel: "email", Recipient: "b•••@example.com", SupportReference: "4F72KQ9R", ChecksLeft: 5,
		ExpiresAt: time.Now().Add(10 * time.Minute),
	}}
	h.verifier(t, event.VerbState, func([]byte) ([]byte, error) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.asked++
		if k.away {
			return nil, errors.New("away")
		}
		return json.Marshal(k.state)
	})
	return k
}

// change changes the state and announces it.
func (k *keeper) change(t *testing.T, challenge string, f func(*event.StateReply)) {
	t.Helper()
	k.mu.Lock()
	f(&k.state)
	k.mu.Unlock()
	data, err := json.Marshal(event.Changed{Challenges: []string{"another", challenge}})
	if err != nil {
		t.Fatal(err)
	}
	err = k.conn.Announce(event.SubjectChanged, data)
	if err != nil {
		t.Fatal(err)
	}
}

// streamed is an open event stream.
type streamed struct {
	t      *testing.T
	res    *http.Response
	lines  *bufio.Reader
	cancel context.CancelFunc
}

// follow opens the event stream of a handle over a connection of its own.
func (h *harness) follow(t *testing.T, handle, key string) *streamed {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limitOfTest)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+h.app.Addr()+"/v1/challenges/"+handle+"/events", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return &streamed{t: t, res: res, lines: bufio.NewReader(res.Body), cancel: cancel}
}

// next returns the data of the next event, or io.EOF when the stream has ended in order.
func (s *streamed) next() (string, error) {
	s.t.Helper()
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			return "", err
		}
		if data, found := strings.CutPrefix(line, "data: "); found {
			return strings.TrimSpace(data), nil
		}
	}
}

// want reads events until one holds the text.
func (s *streamed) want(text string) {
	s.t.Helper()
	for {
		data, err := s.next()
		if err != nil {
			s.t.Fatalf("no event with %s: %v", text, err)
		}
		if strings.Contains(data, text) {
			return
		}
	}
}

// followed returns a running auth with one challenge and its keeper.
func followed(t *testing.T, change func(*app.Config)) (*harness, *keeper, created, string) {
	t.Helper()
	h := start(t, change)
	h.settle(t)
	k := newKeeper(t, h)
	var c created
	h.must(t, 201, create("bert")).into(t, &c)
	return h, k, c, h.issued(t)[0].Challenge
}

// openStreams waits until that many streams are open.
func (h *harness) openStreams(t *testing.T, n float64) {
	t.Helper()
	bustest.Wait(t, "the streams are counted", func() bool { return h.gauge(t, "doorcode_event_streams") == n })
}

// gauge returns the value of a gauge without labels.
func (h *harness) gauge(t *testing.T, name string) float64 {
	t.Helper()
	families, err := h.tel.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

func TestEvents_TellTheSameAsTheReadUntilTheChallengeEnds(t *testing.T) {
	t.Parallel()
	h, k, c, id := followed(t, nil)
	s := h.follow(t, c.Handle, h.key)
	for name, want := range map[string]string{
		"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff",
	} {
		if s.res.StatusCode != 200 || s.res.Header.Get(name) != want {
			t.Errorf("answered %d with %s %q", s.res.StatusCode, name, s.res.Header.Get(name))
		}
	}
	data, err := s.next()
	if err != nil {
		t.Fatal(err)
	}
	read := h.must(t, 200, request{method: "GET", path: "/v1/challenges/" + c.Handle})
	if data+"\n" != string(read.Body) {
		t.Errorf("the event is %s and the read is %s", data, read.Body)
	}
	var value any
	err = json.Unmarshal([]byte(data), &value)
	if err != nil {
		t.Fatal(err)
	}
	err = api(t).Components.Schemas["State"].Value.VisitJSON(value)
	if err != nil {
		t.Errorf("the event is not as the document says: %v", err)
	}
	k.change(t, id, func(r *event.StateReply) {
		r.Deliveries = []event.DeliveryState{{Send: 1, Channel: "email", Status: "delivered", Text: "Accepted by example.com."}}
	})
	s.want("Accepted by example.com.")
	k.change(t, id, func(r *event.StateReply) { r.State = "approved" })
	s.want(`"state":"approved"`)
	_, err = s.next()
	if !errors.Is(err, io.EOF) {
		t.Errorf("the stream goes on after the end: %v", err)
	}
	h.openStreams(t, 0)
	if h.metric(t, "doorcode_http_requests_total", "GET /v1/challenges/{handle}/events") < 0 {
		t.Error("streams are not counted")
	}
}

// It shows SEC-53 of deploy/SECURITY.md.
func TestEvents_AreForWhoeverMayRead(t *testing.T) {
	t.Parallel()
	h, _, c, _ := followed(t, nil)
	path := "/v1/challenges/" + c.Handle + "/events"
	h.refused(t, 401, "unauthenticated", request{method: "GET", path: path, key: "-"})
	h.refused(t, 404, "unknown_challenge", request{method: "GET", path: "/v1/challenges/x/events"})
	h.refused(t, 405, "method_not_allowed", request{method: "POST", path: path})
	h.openStreams(t, 0)
}

func TestP7_EventsOutlastAVerifierThatIsAway(t *testing.T) {
	t.Parallel()
	h, k, c, id := followed(t, nil)
	s := h.follow(t, c.Handle, h.key)
	s.want("pending")
	k.change(t, id, func(*event.StateReply) { k.away = true })
	line := ""
	for !strings.HasPrefix(line, ":") {
		var err error
		line, err = s.lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
	}
	h.refused(t, 503, "unavailable", request{method: "GET", path: "/v1/challenges/" + c.Handle + "/events"})
	k.change(t, id, func(r *event.StateReply) { k.away, r.ChecksLeft = false, 4 })
	s.want(`"checks_left":4`)
	h.openStreams(t, 1)
}

// It shows SEC-54 of deploy/SECURITY.md.
func TestEvents_HaveABound(t *testing.T) {
	t.Parallel()
	h, _, c, _ := followed(t, func(cfg *app.Config) { cfg.EventStreams = 2 })
	first, second := h.follow(t, c.Handle, h.key), h.follow(t, c.Handle, h.key)
	first.want("pending")
	second.want("pending")
	a := h.must(t, 503, request{method: "GET", path: "/v1/challenges/" + c.Handle + "/events"})
	if a.problem(t).Code != "overloaded" || a.Header.Get("Retry-After") != "5" {
		t.Errorf("answered %s, Retry-After %s", a.Body, a.Header.Get("Retry-After"))
	}
	first.cancel() // The client is gone.
	h.openStreams(t, 1)
	h.follow(t, c.Handle, h.key).want("pending")
}

func TestEvents_AreLetGoWhenTheProcessStops(t *testing.T) {
	t.Parallel()
	h, _, c, _ := followed(t, nil)
	s := h.follow(t, c.Handle, h.key)
	s.want("pending")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), limitOfTest)
	defer cancel()
	err := h.app.Stop(ctx)
	if err != nil {
		t.Errorf("stop: %v", err)
	}
	_, err = s.next()
	if !errors.Is(err, io.EOF) {
		t.Errorf("the stream was cut off: %v", err)
	}
}

func TestEvents_AnswerToHeadWithoutAStream(t *testing.T) {
	t.Parallel()
	h, _, c, _ := followed(t, nil)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodHead, "http://"+h.app.Addr()+"/v1/challenges/"+c.Handle+"/events", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+h.key)
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	err = res.Body.Close()
	if err != nil || res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("answered %d: %v", res.StatusCode, err)
	}
	h.openStreams(t, 0)
}
