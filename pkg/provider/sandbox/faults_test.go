package sandbox

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

func (s *server) add(t *testing.T, f Fault) {
	t.Helper()
	err := s.AddFault(f)
	if err != nil {
		t.Fatal(err)
	}
}

func TestFault_AnswersInPlaceOfTheProvider(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		fault  Fault
		status int
		body   string
	}{
		"500 by default":   {Fault{Kind: Status}, 500, `{"errors":[{"message":"Internal Server Error","field":null,"help":null}]}`},
		"400":              {Fault{Kind: Status, Status: 400}, 400, `{"errors":[{"message":"Bad Request","field":null,"help":null}]}`},
		"401":              {Fault{Kind: Status, Status: 401}, 401, `{"errors":[{"message":"The provided authorization grant is invalid, expired, or revoked","field":null,"help":null}]}`},
		"403":              {Fault{Kind: Status, Status: 403}, 403, `{"errors":[{"field":null,"message":"access forbidden"}]}`},
		"404":              {Fault{Kind: Status, Status: 404}, 404, `{"errors":[{"field":null,"message":"not found"}]}`},
		"503":              {Fault{Kind: Status, Status: 503}, 503, `{"errors":[{"message":"Service Unavailable","field":null,"help":null}]}`},
		"599":              {Fault{Kind: Status, Status: 599}, 599, `{"errors":[{"message":"Error","field":null,"help":null}]}`},
		"202 that is none": {Fault{Kind: Status, Status: 202}, 202, ""},
		"204":              {Fault{Kind: Status, Status: 204}, 204, ""},
		"html":             {Fault{Kind: HTML}, 502, htmlPage},
		"html 200":         {Fault{Kind: HTML, Status: 200}, 200, htmlPage},
		"empty":            {Fault{Kind: Empty}, 200, ""},
		"empty 503":        {Fault{Kind: Empty, Status: 503}, 503, ""},
		"ratelimit":        {Fault{Kind: RateLimit}, 429, `{"errors":[{"field":null,"message":"too many requests"}]}`},
		"credits":          {Fault{Kind: Credits}, 401, `{"errors":[{"message":"Maximum credits exceeded","field":null,"help":null}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			got, err := s.meets(t, row.fault)
			if err != nil || got.StatusCode != row.status || got.Body != row.body {
				t.Errorf("send = %+v, %v\nwant %d %s", got, err, row.status, row.body)
			}
			if s.Count() != 0 {
				t.Error("the message was stored")
			}
		})
	}
}

func TestFault_RateLimitTellsItsEndOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.add(t, Fault{Kind: RateLimit, Count: 1})
	got, err := s.meets(t, Fault{Kind: RateLimit, Reset: 30*time.Second + 1})
	if err != nil || http.Header(got.Headers).Get("X-RateLimit-Reset") != "" {
		t.Fatalf("without headers = %v, %v", got, err)
	}
	got, err = s.send(t.Context(), DefaultSendGridKey, code("ada@example.net", "c.1.b"))
	if err != nil {
		t.Fatal(err)
	}
	reset := strconv.FormatInt(noon().Unix()+31, 10)
	header := http.Header(got.Headers)
	if header.Get("X-RateLimit-Reset") != reset || header.Get("X-RateLimit-Remaining") != "0" || header.Get("X-RateLimit-Limit") == "" {
		t.Errorf("headers = %v, want a reset at %s", header, reset)
	}
}

func TestFault_RedirectPointsElsewhere(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.add(t, Fault{Kind: Redirect, Count: 1})
	got, err := s.meets(t, Fault{Kind: Redirect, Status: 301, Location: "/elsewhere"})
	if err != nil || got.StatusCode != 307 || http.Header(got.Headers).Get("Location") != "/" {
		t.Errorf("default = %v, %v", got, err)
	}
	got, err = s.send(t.Context(), DefaultSendGridKey, code("ada@example.net", "c.1.b"))
	if err != nil || got.StatusCode != 301 || http.Header(got.Headers).Get("Location") != "/elsewhere" {
		t.Errorf("301 = %v, %v", got, err)
	}
}

// A client that follows a 302 ends with "200 OK" and nothing was sent (providers.md 1, trap 3).
func TestFault_FollowedRedirectLooksLikeSuccess(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.client.CheckRedirect = nil
	got, err := s.meets(t, Fault{Kind: Redirect, Status: 302})
	if err != nil || got.StatusCode != http.StatusOK || s.Count() != 0 {
		t.Errorf("send = %v, %v with %d messages; want 200 and none", got, err, s.Count())
	}
}

func TestFault_ResetLeavesNoAnswer(t *testing.T) {
	t.Parallel()
	for kind, stored := range map[Kind]int{ResetBefore: 0, ResetAfter: 1} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := start(t)
			got, err := s.meets(t, Fault{Kind: kind})
			if err == nil {
				t.Errorf("send = %v, want an error", got)
			}
			if s.Count() != stored {
				t.Errorf("stored %d, want %d", s.Count(), stored)
			}
		})
	}
}

// The status and the id are usable although the body is broken (providers.md 2.6).
func TestFault_TruncateShowsTheAcceptanceFirst(t *testing.T) {
	t.Parallel()
	s := start(t)
	got, err := s.meets(t, Fault{Kind: Truncate})
	if err == nil || got == nil || got.StatusCode != http.StatusAccepted {
		t.Fatalf("send = %v, %v; want 202 and an error", got, err)
	}
	stored := s.Messages("ada@example.net")
	if len(stored) != 1 || http.Header(got.Headers).Get("X-Message-Id") != stored[0].ProviderID {
		t.Errorf("stored %d messages, headers %v", len(stored), got.Headers)
	}
}

func TestFault_DripNeverEnds(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.add(t, Fault{Kind: Drip, Delay: time.Millisecond})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+mailPath, strings.NewReader(string(encoded(t, plain()))))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+DefaultSendGridKey)
	got, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = got.Body.Close() }()
	if got.StatusCode != http.StatusAccepted || got.Header.Get("X-Message-Id") == "" || s.Count() != 1 {
		t.Errorf("answer = %d %v with %d stored", got.StatusCode, got.Header, s.Count())
	}
	bytes := make([]byte, 1)
	for range 3 {
		_, err = got.Body.Read(bytes)
		if err != nil || bytes[0] != ' ' {
			t.Fatalf("read = %q, %v; want a space", bytes, err)
		}
	}
	s.ClearFaults()
	for err == nil {
		_, err = got.Body.Read(bytes)
	}
	if err.Error() == "EOF" {
		t.Error("the answer ended in order")
	}
}

// held starts a send and waits until a fault holds it.
func (s *server) held(ctx context.Context, t *testing.T, f Fault) <-chan error {
	t.Helper()
	s.add(t, f)
	done := make(chan error, 1)
	go func() {
		got, err := s.send(ctx, DefaultSendGridKey, code("ada@example.net", "c.1.a"))
		if err == nil && got.StatusCode != http.StatusAccepted {
			err = fmt.Errorf("status %d", got.StatusCode)
		}
		done <- err
	}()
	waitFor(t, "the fault was met", func() bool { return s.Faults()[0].Hits == 1 })
	return done
}

func TestFault_HangEndsWithThePatienceOfTheSender(t *testing.T) {
	t.Parallel()
	s := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := s.held(ctx, t, Fault{Kind: Hang})
	select {
	case err := <-done:
		t.Fatalf("the send ended by itself: %v", err)
	default:
	}
	cancel()
	if err := <-done; err == nil || s.Count() != 0 {
		t.Errorf("send = %v with %d stored; want an error and none", err, s.Count())
	}
}

func TestFault_ClearLetsHeldSendsGo(t *testing.T) {
	t.Parallel()
	t.Run("hang is broken off", func(t *testing.T) {
		t.Parallel()
		s := start(t)
		done := s.held(t.Context(), t, Fault{Kind: Hang})
		s.ClearFaults()
		if err := <-done; err == nil || s.Count() != 0 {
			t.Errorf("send = %v with %d stored; want an error and none", err, s.Count())
		}
	})
	t.Run("a late one is answered", func(t *testing.T) {
		t.Parallel()
		s := start(t)
		done := s.held(t.Context(), t, Fault{Kind: Latency, Delay: time.Hour})
		if s.Count() != 0 {
			t.Error("stored before the delay")
		}
		s.ClearFaults()
		if err := <-done; err != nil || s.Count() != 1 {
			t.Errorf("send = %v with %d stored; want 202 and one", err, s.Count())
		}
	})
}

func TestFault_LatencyAnswersInTheEnd(t *testing.T) {
	t.Parallel()
	s := start(t)
	got, err := s.meets(t, Fault{Kind: Latency, Delay: time.Millisecond})
	if err != nil || got.StatusCode != http.StatusAccepted || s.Count() != 1 {
		t.Errorf("send = %v, %v with %d stored", got, err, s.Count())
	}
}

func TestFault_LateMessageIsStoredThoughNobodyWaits(t *testing.T) {
	t.Parallel()
	s := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := s.held(ctx, t, Fault{Kind: Latency, Delay: time.Hour})
	cancel()
	if err := <-done; err == nil {
		t.Error("the send did not fail")
	}
	within, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	_, err := s.Wait(within, "ada@example.net", 1)
	if err != nil {
		t.Error(err)
	}
}

func TestFault_ComesInOrderAndEndsWithItsCount(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.add(t, Fault{Kind: Status, Status: 503, Count: 2})
	s.add(t, Fault{Kind: Credits, Count: 1})
	var got []int
	for range 4 {
		answer, err := s.send(t.Context(), DefaultSendGridKey, code("ada@example.net", "c.1.a"))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, answer.StatusCode)
	}
	if fmt.Sprint(got) != "[503 503 401 202]" {
		t.Errorf("answers = %v", got)
	}
	list := s.Faults()
	if len(list) != 2 || list[0].Hits != 2 || list[1].Hits != 1 {
		t.Errorf("faults = %+v", list)
	}
}

func TestFault_MeetsThePatternAlone(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.add(t, Fault{Kind: Status, To: "*@Bad.example.net"})
	for to, want := range map[string]int{"ada@bad.example.net": 500, "ADA@BAD.example.net": 500, "ada@example.net": 202} {
		got, err := s.send(t.Context(), DefaultSendGridKey, code(to, "c.1.a"))
		if err != nil || got.StatusCode != want {
			t.Errorf("%s = %v, %v; want %d", to, got, err, want)
		}
	}
	got, _ := s.post(t, []byte("{"), nil)
	if got.StatusCode != http.StatusBadRequest {
		t.Errorf("a body that cannot be read = %d, want 400", got.StatusCode)
	}
}

func TestFault_StandsBeforeTheCheckOfTheRequest(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.add(t, Fault{Kind: Status, Count: 1})
	got, err := s.send(t.Context(), "SG.wrong", code("ada@example.net", "c.1.a"))
	if err != nil || got.StatusCode != 500 {
		t.Errorf("status fault = %v, %v; want 500", got, err)
	}
	s.add(t, Fault{Kind: ResetAfter})
	got, err = s.send(t.Context(), "SG.wrong", code("ada@example.net", "c.1.a"))
	if err != nil || got.StatusCode != 401 {
		t.Errorf("a refused mail = %v, %v; want 401", got, err)
	}
}

func TestFault_EveryKindHasARow(t *testing.T) {
	t.Parallel()
	for _, kind := range Kinds() {
		s := New(Config{})
		f := Fault{Kind: kind}
		if kind == Latency {
			f.Delay = time.Second
		}
		err := s.AddFault(f)
		if err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestFault_RefusesWhatMakesNoSense(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]Fault{
		"no kind":           {},
		"unknown kind":      {Kind: "slow"},
		"bad pattern":       {Kind: Hang, To: "["},
		"negative count":    {Kind: Hang, Count: -1},
		"low status":        {Kind: Status, Status: 100},
		"high status":       {Kind: Status, Status: 600},
		"no redirect":       {Kind: Redirect, Status: 200},
		"latency of zero":   {Kind: Latency},
		"negative delay":    {Kind: Latency, Delay: -1},
		"delay over a day":  {Kind: Drip, Delay: 25 * time.Hour},
		"reset over a day":  {Kind: RateLimit, Reset: 25 * time.Hour},
		"reset before zero": {Kind: RateLimit, Reset: -1},
	} {
		s := New(Config{})
		err := s.AddFault(f)
		if err == nil || len(s.Faults()) != 0 {
			t.Errorf("%s: added, want an error", name)
		}
	}
}

func TestFault_ListIsBounded(t *testing.T) {
	t.Parallel()
	s := New(Config{})
	for range maxFaults {
		err := s.AddFault(Fault{Kind: Hang})
		if err != nil {
			t.Fatal(err)
		}
	}
	if s.AddFault(Fault{Kind: Hang}) == nil {
		t.Error("one more was added")
	}
	s.ClearFaults()
	if len(s.Faults()) != 0 || s.AddFault(Fault{Kind: Hang}) != nil {
		t.Error("a clear does not make room")
	}
}
