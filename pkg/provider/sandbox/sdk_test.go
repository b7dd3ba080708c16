package sandbox

import (
	"context"
	"net/http"
	"testing"

	"github.com/sendgrid/rest"
	"github.com/sendgrid/sendgrid-go"
	"github.com/sendgrid/sendgrid-go/helpers/mail"
)

// code is a mail as doorcode sends it.
func code(to, reference string) *mail.SGMailV3 {
	m := mail.NewV3Mail()
	m.SetFrom(mail.NewEmail("Example", "login@auth.example.com"))
	m.Subject = "Your Example code <b>"
	m.AddContent(mail.NewContent("text/plain", "123456 is your code.\n"), mail.NewContent("text/html", "<p>123456 & more</p>"))
	p := mail.NewPersonalization()
	p.AddTos(mail.NewEmail("", to))
	p.SetCustomArg("dlv", reference)
	m.AddPersonalizations(p)
	m.SetHeader("Auto-Submitted", "auto-generated")
	m.AddCategories("otp")
	settings := mail.NewMailSettings()
	settings.BypassUnsubscribeManagement = mail.NewSetting(true)
	m.SetMailSettings(settings)
	off := false
	m.SetTrackingSettings(mail.NewTrackingSettings().
		SetClickTracking(&mail.ClickTrackingSetting{Enable: &off, EnableText: &off}).
		SetOpenTracking(&mail.OpenTrackingSetting{Enable: &off}).
		SetSubscriptionTracking(&mail.SubscriptionTrackingSetting{Enable: &off}).
		SetGoogleAnalytics(&mail.GaSetting{Enable: &off}))
	return m
}

// send gives a mail to the unmodified client of the provider.
func (s *server) send(ctx context.Context, key string, m *mail.SGMailV3) (*rest.Response, error) {
	request := sendgrid.GetRequest(key, mailPath, s.url)
	request.Method = rest.Post
	request.Body = mail.GetRequestBody(m)
	client := &rest.Client{HTTPClient: s.client}
	return client.SendWithContext(ctx, request)
}

// accept sends a mail that must be accepted and returns the provider's id.
func (s *server) accept(t *testing.T, to, reference string) string {
	t.Helper()
	got, err := s.send(t.Context(), DefaultSendGridKey, code(to, reference))
	if err != nil || got.StatusCode != http.StatusAccepted {
		t.Fatalf("send = %v, %v; want 202", got, err)
	}
	return http.Header(got.Headers).Get("X-Message-Id")
}

// meets adds a fault and sends one mail into it.
func (s *server) meets(t *testing.T, f Fault) (*rest.Response, error) {
	t.Helper()
	s.add(t, f)
	return s.send(t.Context(), DefaultSendGridKey, code("ada@example.net", "c.1.a"))
}

// codeBody is the body that the client makes of a mail.
func codeBody(to, reference string) []byte { return mail.GetRequestBody(code(to, reference)) }
