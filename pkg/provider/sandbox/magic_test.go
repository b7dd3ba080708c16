package sandbox

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vonage/vonage-go-sdk"

	"doorcode/pkg/delivery"
)

func TestMagic_RefusesMail(t *testing.T) {
	t.Parallel()
	for suffix, want := range map[string]struct {
		status int
		text   string
	}{
		"+429":     {http.StatusTooManyRequests, "too many requests"},
		"+500":     {http.StatusInternalServerError, "Internal Server Error"},
		"+credits": {http.StatusUnauthorized, "Maximum credits exceeded"},
	} {
		s := start(t)
		got, err := s.send(t.Context(), DefaultSendGridKey, code("ada"+suffix+"@example.net", "c.1.a"))
		if err != nil || got.StatusCode != want.status || !strings.Contains(got.Body, want.text) || s.Count() != 0 {
			t.Errorf("%s = %+v, %v, %d stored", suffix, got, err, s.Count())
		}
	}
}

func TestMagic_CutsTheLineAfterItAccepted(t *testing.T) {
	t.Parallel()
	h := receive(t, nil)
	s := startWith(t, Config{VonageReceiptURL: h.url})
	_, err := s.send(t.Context(), DefaultSendGridKey, code("ada+cut@example.net", "c.1.a"))
	_, _, panicked, failed := s.text(t, "447911123492", "Hello", vonage.SMSOpts{})
	if err == nil || failed == nil || panicked != nil || len(s.Messages("ada+cut@example.net")) != 1 || len(s.Messages("447911123492")) != 1 {
		t.Errorf("mail %v, SMS %v (%v), %d stored", err, failed, panicked, s.Count())
	}
	s.flush(t)
	if len(h.got()) != 1 {
		t.Error("the receipt of a cut send does not come")
	}
}

// held is a send that is not answered, until the sandbox stops.
func held(t *testing.T, send func(*server)) *server {
	t.Helper()
	s := start(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		send(s)
	}()
	t.Cleanup(func() {
		stop(t, s.Sandbox)
		<-done
	})
	return s
}

func TestMagic_AnswersAfterItAcceptedTooLate(t *testing.T) {
	t.Parallel()
	for name, send := range map[string]func(*server){
		"mail": func(s *server) {
			_, _ = s.send(context.WithoutCancel(t.Context()), DefaultSendGridKey, code("ada+late-accept@example.net", "c.1.a"))
		},
		"SMS": func(s *server) { _, _, _, _ = s.text(t, "447911123493", "Hello", vonage.SMSOpts{}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := held(t, send)
			waitFor(t, "the stored message", func() bool { return s.Count() == 1 })
		})
	}
}

func TestMagic_HangsUntilTheSenderGoes(t *testing.T) {
	t.Parallel()
	s := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := s.send(ctx, DefaultSendGridKey, code("ada+hang@example.net", "c.1.a"))
	if err == nil || s.Count() != 0 {
		t.Errorf("send = %v, %d stored", err, s.Count())
	}
}

func TestMagic_HoldsNothingOnceStopped(t *testing.T) {
	t.Parallel()
	s := start(t)
	stop(t, s.Sandbox)
	stop(t, s.Sandbox)
	s.ClearFaults()
	_, err := s.send(t.Context(), DefaultSendGridKey, code("ada+hang@example.net", "c.1.a"))
	got, late := s.send(t.Context(), DefaultSendGridKey, code("ada+late-accept@example.net", "c.1.a"))
	if err == nil || late != nil || got.StatusCode != http.StatusAccepted {
		t.Errorf("hang = %v, late = %+v %v", err, got, late)
	}
}

func TestMagic_YieldsToAFault(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.add(t, Fault{Kind: Status, Status: 503, Count: 1})
	got, err := s.send(t.Context(), DefaultSendGridKey, code("ada+credits@example.net", "c.1.a"))
	if err != nil || got.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("send = %+v, %v", got, err)
	}
}

func TestMagic_IsDocumentedAndDistinct(t *testing.T) {
	t.Parallel()
	for _, list := range [][]Magic{MailMagic(), SMSMagic()} {
		var seen []string
		for _, m := range list {
			if m.Effect == "" || m.Recipient == "" || slices.Contains(seen, m.Recipient) {
				t.Errorf("magic = %+v", m)
			}
			seen = append(seen, m.Recipient)
			fault := m.fault.withDefaults()
			err := fault.validate()
			if m.fault.Kind != "" && err != nil {
				t.Errorf("%s: %v", m.Recipient, err)
			}
			if m.status != "" && smsText(m.status) == "" {
				t.Errorf("%s has no text", m.Recipient)
			}
		}
	}
	if m := magicOf(delivery.Email, "ada+Bounce+x@example.net"); len(m.events) != 2 || m.events[1].event.Kind != "delivered" {
		t.Error("a suffix in the middle is magic")
	}
}

func TestFault_MeetsOneChannelOnly(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.add(t, Fault{Kind: Status, Status: 503, Channel: delivery.SMS})
	s.accept(t, "ada@example.net", "c.1.a")
	_, _, panicked, err := s.text(t, phoneNumber, "Hello", vonage.SMSOpts{})
	if err == nil || panicked != nil || s.Count() != 1 || s.CountOf(delivery.SMS) != 0 {
		t.Errorf("SMS = %v, %v, %d stored", err, panicked, s.Count())
	}
	if s.AddFault(Fault{Kind: Hang, Channel: "fax"}) == nil {
		t.Error("a fault of no channel")
	}
}

func TestFault_SpeaksAsTheSMSProvider(t *testing.T) {
	t.Parallel()
	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	for name, row := range map[string]struct {
		fault  Fault
		status int
		body   string
	}{
		"503":      {Fault{Kind: Status, Status: 503}, 503, `{"error-code":"503","error-code-label":"Service Unavailable"}`},
		"204":      {Fault{Kind: Status, Status: 204}, 204, ""},
		"html":     {Fault{Kind: HTML, To: "4479*"}, 502, htmlPage},
		"empty":    {Fault{Kind: Empty}, 200, ""},
		"redirect": {Fault{Kind: Redirect, Location: "/elsewhere"}, 307, ""},
		"limit":    {Fault{Kind: RateLimit}, 200, `{"message-count":"1","messages":[{"status":"1","error-text":"Throughput Rate Exceeded - please wait [ 250 ] and retry"}]}`},
		"reset":    {Fault{Kind: RateLimit, Reset: time.Second}, 200, `{"message-count":"1","messages":[{"status":"1","error-text":"Throughput Rate Exceeded - please wait [ 1000 ] and retry"}]}`},
		"credits":  {Fault{Kind: Credits}, 200, `{"message-count":"1","messages":[{"status":"9","error-text":"Quota Exceeded - rejected"}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			s.add(t, row.fault)
			got, text := s.do(t, http.MethodPost, smsPath, strings.NewReader(smsForm(nil).Encode()), form)
			if got.StatusCode != row.status || text != row.body || s.Count() != 0 || got.Header.Get("X-No-Cors-Reason") != "" {
				t.Errorf("answer = %d %s\nwant     %d %s", got.StatusCode, text, row.status, row.body)
			}
			if row.fault.Kind == Redirect && got.Header.Get("Location") != "/elsewhere" {
				t.Errorf("headers = %v", got.Header)
			}
		})
	}
}

func TestFault_RewordsNoMail(t *testing.T) {
	t.Parallel()
	for _, kind := range []Kind{BadJSON, NumberTypes, NoContentType, XML, PartialRefusal} {
		s := start(t)
		got, err := s.meets(t, Fault{Kind: kind})
		if err != nil || got.StatusCode != http.StatusAccepted || s.Count() != 1 {
			t.Errorf("%s = %+v, %v", kind, got, err)
		}
	}
}
