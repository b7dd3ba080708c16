package provider_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/delivery"
	"doorcode/pkg/provider"
	"doorcode/pkg/provider/providertest"
)

func TestMessage_ShowsItsReferenceAlone(t *testing.T) {
	t.Parallel()
	m := providertest.Sample(1)
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "message", m)
	text, err := json.Marshal(map[string]any{"m": m, "p": &m})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(text)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		fmt.Fprintf(&out, verb, m)
		fmt.Fprintf(&out, verb, &m)
		fmt.Fprintf(&out, verb, []provider.Message{m})
	}
	for _, secret := range []string{m.Recipient, providertest.SampleCode, m.Subject} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%q can be seen in %s", secret, out.String())
		}
	}
	if !strings.Contains(out.String(), m.Reference) {
		t.Error("the reference cannot be seen")
	}
}

func TestMessage_CheckRefusesWhatNoProviderMayBeGiven(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	good := provider.Message{
		Reference: "c.1.a", Recipient: "ada@example.net", Subject: "Your code", Text: "x", NotAfter: now.Add(time.Nanosecond),
	}
	if refused := good.Check(now); refused != nil {
		t.Fatalf("a good message is refused: %v", refused)
	}
	for name, c := range map[string]struct {
		spoil func(*provider.Message)
		want  delivery.Reason
	}{
		"at the deadline":           {func(m *provider.Message) { m.NotAfter = now }, delivery.ReasonTooLate},
		"without a deadline":        {func(m *provider.Message) { m.NotAfter = time.Time{} }, delivery.ReasonTooLate},
		"late and malformed":        {func(m *provider.Message) { m.NotAfter, m.Text = now, "" }, delivery.ReasonTooLate},
		"reference empty":           {func(m *provider.Message) { m.Reference = "" }, delivery.ReasonRejected},
		"reference too long":        {func(m *provider.Message) { m.Reference = strings.Repeat("a", 41) }, delivery.ReasonRejected},
		"reference with an address": {func(m *provider.Message) { m.Reference = "ada@example" }, delivery.ReasonRejected},
		"recipient empty":           {func(m *provider.Message) { m.Recipient = "" }, delivery.ReasonInvalidRecipient},
		"recipient with a break":    {func(m *provider.Message) { m.Recipient = "a@b\nc" }, delivery.ReasonInvalidRecipient},
		"recipient not UTF-8":       {func(m *provider.Message) { m.Recipient = "a\xff@b" }, delivery.ReasonInvalidRecipient},
		"subject with NUL":          {func(m *provider.Message) { m.Subject = "a\x00b" }, delivery.ReasonRejected},
		"subject with C1 control":   {func(m *provider.Message) { m.Subject = "a\u0085b" }, delivery.ReasonRejected},
		"subject with a separator":  {func(m *provider.Message) { m.Subject = "a\u2028b" }, delivery.ReasonRejected},
		"text empty":                {func(m *provider.Message) { m.Text = "" }, delivery.ReasonRejected},
	} {
		m := good
		c.spoil(&m)
		refused := m.Check(now)
		if refused == nil || refused.Result != delivery.Permanent || refused.Reason != c.want || refused.Status != 0 {
			t.Errorf("%s: got %v, want permanent, %s", name, refused, c.want)
		}
	}
}

func TestFailure_SaysWhatIsKnownAndNothingElse(t *testing.T) {
	t.Parallel()
	f := &provider.Failure{
		Result: delivery.Temporary, Reason: delivery.ReasonRateLimited, Status: 429,
		RetryAfter: 3 * time.Second, Detail: "ada@example.net got 123456 too often",
	}
	const want = "send: temporary, rate_limited, status 429: [address] got [digits] too often"
	if f.Error() != want {
		t.Errorf("got %q", f.Error())
	}
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "failure", f)
	for _, part := range []string{"failure.result=temporary", "failure.reason=rate_limited", "failure.status=429", "failure.retry_after=3s"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("%s is missing in %s", part, out.String())
		}
	}
	if strings.Contains(out.String(), "ada") || strings.Contains(out.String(), "123456") {
		t.Errorf("leaks: %s", out.String())
	}
	short := &provider.Failure{Result: delivery.Unknown}
	if short.Error() != "send: unknown, other" {
		t.Errorf("got %q", short.Error())
	}
}

func TestFailureOf_FindsAFailureAndTrustsNothingElse(t *testing.T) {
	t.Parallel()
	f := &provider.Failure{Result: delivery.Permanent}
	if provider.FailureOf(fmt.Errorf("attempt: %w", f)) != f {
		t.Error("a wrapped failure is not found")
	}
	bug := provider.FailureOf(errors.New("to ada@example.net"))
	if bug.Result != delivery.Unknown || bug.Reason != delivery.ReasonOther || strings.Contains(bug.Error(), "ada") {
		t.Errorf("a bug became %v", bug)
	}
}

func TestUsableID_IsNoCodeAndNoRecipient(t *testing.T) {
	t.Parallel()
	mail := provider.Message{Recipient: "ada.7@example.net", Text: "804613 is your code. It works for 10 minutes, until 2026-11-24."}
	text := provider.Message{Recipient: "+12015550107", Text: "9147003115 is your code.\n\n@lanternbird.example #9147003115"}
	for id, want := range map[string]bool{
		"14c5d75ce93.dfd.64b469.filter0001-1": true, "0C000000A1B2C3D4": true, "2026-10": true, "": true,
		"804613": false, "m.804613-1": false, "ada.7": false, "ada.7@example.net": false, "a b": false, strings.Repeat("a", 101): false,
	} {
		if got := provider.UsableID(id, mail); (got == id) != want || got != "" && got != id {
			t.Errorf("%q of a mail: %q", id, got)
		}
	}
	for id, want := range map[string]bool{"0C000000A1B2C3D4": true, "9147003115": false, "x9147003115": false, "12015550107": false, "+12015550107": false} {
		if got := provider.UsableID(id, text); (got == id) != want || got != "" && got != id {
			t.Errorf("%q of a text message: %q", id, got)
		}
	}
}
