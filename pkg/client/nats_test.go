package client

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
)

// said is one request as it came over the bus.
type said struct {
	verb   string
	header map[string]string
	body   map[string]any
}

// overBus returns a client of d whose challenges go over a real bus to answer, and what it said so far.
func (d *doorcode) overBus(t *testing.T, answer func(verb string) ([]byte, error)) (c *Client, heard func() []said) {
	t.Helper()
	plain := d.start(t, approvedAt())
	b := bustest.Start(t)
	var mu sync.Mutex
	var all []said
	var endpoints []bus.Endpoint
	for _, verb := range []string{"create", "read", "check", "resend", "cancel"} {
		endpoints = append(endpoints, bus.Endpoint{
			Name: verb, Subject: "doorcode.api.challenges." + verb,
			Handle: func(_ context.Context, r bus.Request) ([]byte, error) {
				s := said{verb: verb, header: r.Header}
				err := json.Unmarshal(r.Data, &s.body)
				if err != nil {
					return nil, err
				}
				mu.Lock()
				all = append(all, s)
				mu.Unlock()
				return answer(verb)
			},
		})
	}
	service, err := b.Connect(t, "auth").Serve(t.Context(), bus.ServiceConfig{Name: "challenges", Version: "1.0.0", Workers: 4, Endpoints: endpoints})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := service.Stop(context.Background())
		if err != nil {
			t.Error(err)
		}
	})
	c, err = NewNATS(Config{URL: plain.base, Key: secretKey, HTTP: plain.http, Now: plain.now}, b.Connect(t, "front-end"))
	if err != nil {
		t.Fatal(err)
	}
	return c, func() []said {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

func TestNewNATS_AsksEveryVerbOverTheBusAndVerifiesTheAssertion(t *testing.T) {
	t.Parallel()
	d := &doorcode{keys: newKeys(t)}
	signed, err := d.keys.Sign(good())
	if err != nil {
		t.Fatal(err)
	}
	handle := handleOf(t)
	c, heard := d.overBus(t, func(verb string) ([]byte, error) {
		return json.Marshal(map[string]any{"decision": "required", "handle": handle, "state": "pending", "outcome": "approved", "assertion": signed, "verb": verb})
	})
	ch, err := c.Create(t.Context(), Request{Workspace: "acme", Login: "jo", Key: "once", Visitor: &Visitor{Address: "203.0.113.9"}})
	if err != nil || ch.Handle != handle {
		t.Fatalf("challenge %+v, %v", ch, err)
	}
	s, err := c.Read(t.Context(), handle)
	if err != nil || s.State != "pending" {
		t.Errorf("state %+v, %v", s, err)
	}
	p, err := c.Check(t.Context(), handle, "482917")
	if err != nil || p.Login != "jo" {
		t.Errorf("person %+v, %v", p, err)
	}
	err = errors.Join(c.Resend(t.Context(), handle), c.ResendBy(t.Context(), handle, "sms"), c.Cancel(t.Context(), handle))
	if err != nil {
		t.Error(err)
	}
	all := heard()
	var bodies []map[string]any
	for i, s := range all {
		if s.header["Authorization"] != "Bearer "+secretKey {
			t.Errorf("%s brings no key", s.verb)
		}
		if keyed := s.header["Idempotency-Key"] != ""; keyed != (s.verb == "create" || s.verb == "resend") {
			t.Errorf("%s brings the idempotency key %q", s.verb, s.header["Idempotency-Key"])
		}
		if i == 2 && s.body["check_id"] == "" {
			t.Error("a check has no id")
		}
		delete(s.body, "check_id")
		s.body["verb"] = s.verb
		bodies = append(bodies, s.body)
	}
	want := []map[string]any{
		{"verb": "create", "workspace": "acme", "login": "jo", "client": map[string]any{"address": "203.0.113.9"}},
		{"verb": "read", "handle": handle},
		{"verb": "check", "handle": handle, "code": "482917"},
		{"verb": "resend", "handle": handle},
		{"verb": "resend", "handle": handle, "channel": "sms"},
		{"verb": "cancel", "handle": handle},
	}
	if diff := cmp.Diff(want, bodies); diff != "" {
		t.Errorf("what was asked (-want +got):\n%s", diff)
	}
	if all[0].header["Idempotency-Key"] != "once" || d.asked.Load() != 0 {
		t.Errorf("the key is %q, %d requests went over HTTP", all[0].header["Idempotency-Key"], d.asked.Load())
	}
}

// SEC-08: the way of the answer makes no proof of it.
func TestNewNATS_RefusesAForeignAssertion(t *testing.T) {
	t.Parallel()
	d := &doorcode{keys: newKeys(t)}
	signed, err := newKeys(t).Sign(good())
	if err != nil {
		t.Fatal(err)
	}
	c, _ := d.overBus(t, func(string) ([]byte, error) { return json.Marshal(map[string]string{"assertion": signed}) })
	p, err := c.Check(t.Context(), handleOf(t), "482917")
	if !errors.Is(err, ErrAssertion) || p.Login != "" {
		t.Errorf("got %+v: %v", p, err)
	}
}

func TestNewNATS_TellsRefusalsApartAndRepeatsALostOne(t *testing.T) {
	t.Parallel()
	d := &doorcode{keys: newKeys(t)}
	c, heard := d.overBus(t, func(verb string) ([]byte, error) {
		switch verb {
		case "check":
			return nil, &bus.ServiceError{Code: 422, Body: []byte(`{"status":422,"code":"wrong_code","detail":"No.","checks_left":4}`)}
		case "resend":
			return nil, &bus.ServiceError{Code: 429, Body: []byte(`{"status":429,"code":"resend_too_early","detail":"Wait.","retry_after":17}`)}
		}
		return nil, &bus.ServiceError{Code: 503} // A body that says nothing.
	})
	_, err := c.Check(t.Context(), handleOf(t), "482917")
	var e *Error
	if !errors.As(err, &e) || e.Code != "wrong_code" || e.Status != http.StatusUnprocessableEntity || e.ChecksLeft == nil || *e.ChecksLeft != 4 {
		t.Errorf("a wrong code: %v", err)
	}
	err = c.Resend(t.Context(), handleOf(t))
	if !errors.As(err, &e) || e.Code != "resend_too_early" || e.RetryAfter != 17*time.Second {
		t.Errorf("too early: %v", err)
	}
	_, err = c.Create(t.Context(), Request{Workspace: "acme", Login: "jo"})
	if !errors.As(err, &e) || e.Status != 503 || e.Code != "unexpected_answer" {
		t.Errorf("unavailable: %v", err)
	}
	all := heard()
	if len(all) != 4 || all[2].header["Idempotency-Key"] == "" || all[2].header["Idempotency-Key"] != all[3].header["Idempotency-Key"] {
		t.Errorf("%d requests, or the repeat has another key", len(all))
	}
}

func TestNewNATS_RefusesWhatItCannotUse(t *testing.T) {
	t.Parallel()
	_, err := NewNATS(Config{URL: "http://127.0.0.1", Key: secretKey}, nil)
	if err == nil {
		t.Error("a client without a requester was made")
	}
	_, err = NewNATS(Config{Key: secretKey}, &bus.Conn{})
	if err == nil {
		t.Error("a client without an address was made")
	}
}
