package sandbox

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vonage/vonage-go-sdk"
)

// phoneNumber is a plain one, without any magic.
const phoneNumber = "447911123456"

// text gives an SMS to the unmodified client of the provider, which may panic.
func (s *server) text(t *testing.T, to, text string, opts vonage.SMSOpts) (got vonage.Sms, refused vonage.SmsErrorResponse, panicked any, err error) {
	t.Helper()
	client := vonage.NewSMSClient(vonage.CreateAuthFromKeySecret(DefaultVonageKey, DefaultVonageSecret))
	client.Config.BasePath = s.url + "/sms"
	client.Config.HTTPClient = s.client
	defer func() { panicked = recover() }()
	got, refused, err = client.Send("ExampleCo", to, text, opts)
	return got, refused, nil, err
}

// texted sends an SMS that must be accepted and returns the id of its first part.
func (s *server) texted(t *testing.T, to, text string, opts vonage.SMSOpts) string {
	t.Helper()
	got, refused, panicked, err := s.text(t, to, text, opts)
	if err != nil || panicked != nil || len(got.Messages) == 0 || got.Messages[0].Status != "0" {
		t.Fatalf("send = %+v, %+v, %v, %v; want status 0", got, refused, panicked, err)
	}
	return got.Messages[0].MessageId
}

func TestVonage_TakesTheUnmodifiedClient(t *testing.T) {
	t.Parallel()
	s := start(t)
	text := "123456 is your Example code.\n\n@example.com #123456"
	got, _, panicked, err := s.text(t, phoneNumber, text, vonage.SMSOpts{Type: "text", ClientRef: "c.1.a", StatusReportReq: true})
	if err != nil || panicked != nil || len(got.Messages) != 1 {
		t.Fatalf("send = %+v, %v, %v", got, panicked, err)
	}
	m := got.Messages[0]
	want := m
	want.To, want.Status, want.RemainingBalance = phoneNumber, "0", "999999.94500000"
	want.MessagePrice, want.Network = "0.05500000", "23410"
	diff := cmp.Diff(want, m)
	if diff != "" || len(m.MessageId) != 16 || strings.Trim(m.MessageId, "0123456789ABCDEF") != "" {
		t.Errorf("id %q, reply differs (-want +got):\n%s", m.MessageId, diff)
	}
	stored := s.Messages("+" + phoneNumber)
	if len(stored) != 1 || stored[0].Text != text || stored[0].From != "ExampleCo" || stored[0].ProviderID != m.MessageId ||
		stored[0].ClientRef != "c.1.a" || stored[0].Parts != 1 || s.References()["c.1.a"] != 1 {
		t.Errorf("stored %+v", stored)
	}
}

func TestVonage_RefusesTheUnmodifiedClientInText(t *testing.T) {
	t.Parallel()
	s := start(t)
	for to, status := range map[string]string{
		"447911123401": "1", "447911123405": "5", "447911123406": "6", "447911123407": "7", "447911123409": "9",
		"447911123415": "15", "447911123422": "22", "447911123429": "29", "447911123433": "33", "+" + phoneNumber: "3",
	} {
		_, refused, panicked, err := s.text(t, to, "Hello", vonage.SMSOpts{})
		if err != nil || panicked != nil || len(refused.Messages) != 1 || refused.Messages[0].Status != status || refused.Messages[0].ErrorText == "" {
			t.Errorf("send to %s = %+v, %v, %v; want status %s", to, refused, panicked, err, status)
		}
	}
	if s.Count() != 0 {
		t.Errorf("%d messages were stored", s.Count())
	}
}

// TestVonage_WordsAnAcceptanceSoThatTheClientStumbles replays traps 6 to 8 of
// providers.md 1: the SMS is stored and its sender does not learn it.
func TestVonage_WordsAnAcceptanceSoThatTheClientStumbles(t *testing.T) {
	t.Parallel()
	for kind, panics := range map[Kind]bool{XML: true, BadJSON: false, NumberTypes: false, NoContentType: false} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := start(t)
			s.add(t, Fault{Kind: kind})
			_, _, panicked, err := s.text(t, phoneNumber, "Hello", vonage.SMSOpts{})
			if (panicked != nil) != panics || (err == nil && !panics) || s.Count() != 1 {
				t.Errorf("panic %v, error %v, stored %d", panicked, err, s.Count())
			}
		})
	}
}

func TestVonage_RefusesALaterPartWithoutTheClientSeeing(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.add(t, Fault{Kind: PartialRefusal})
	got, refused, _, err := s.text(t, phoneNumber, strings.Repeat("a", 161), vonage.SMSOpts{})
	if err != nil || len(refused.Messages) != 0 || len(got.Messages) != 2 || got.Messages[1].Status != "5" {
		t.Errorf("send = %+v, %+v, %v; want part 2 refused unseen", got, refused, err)
	}
	got, _, _, err = s.text(t, phoneNumber, "one part", vonage.SMSOpts{})
	if err != nil || len(got.Messages) != 1 || got.Messages[0].Status != "0" {
		t.Errorf("one part = %+v, %v", got, err)
	}
}
