package report_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
	"doorcode/pkg/keyring"
	"doorcode/services/receipts/internal/report"
)

// FuzzEvent holds that what a provider says becomes an event that our own parser takes, that copies are one event, and
// that the recipient is not in it (P4).
func FuzzEvent(f *testing.F) {
	ring, err := keyring.New()
	if err != nil {
		f.Fatal(err)
	}
	const to = "jo.doe@acme.example"
	for _, detail := range []string{
		"", "550 5.1.1 <" + to + ">: no mailbox", strings.ToUpper(to), "to=" + strings.ReplaceAll(to, "@", "%40"), "code 804613", "\x00\u2028\xff", strings.Repeat("x", 300), strings.ReplaceAll(to, "@", "&#64;"),
	} {
		f.Add(to, detail, "m.1", "e-1", true)
		f.Add(to, detail, to, to, false)
	}
	at := time.Unix(1_795_472_115, 0)
	f.Fuzz(func(t *testing.T, recipient, detail, message, id string, referred bool) {
		r := report.Report{
			Provider: "sendgrid", Channel: delivery.Email, Recipient: recipient, Status: delivery.StatusFailed, Reason: delivery.ReasonRejected,
			Detail: detail, ProviderID: message, ProviderEvent: id, At: at, Cause: []string{"bounce"},
		}
		if referred {
			r.Reference = delivery.Reference{Challenge: "AAECAwQFBgcICQoLDA0ODw", Send: 1, Attempt: "AAECAwQFBgc"}
		}
		e, err := r.Event(ring)
		if err != nil {
			t.Fatal(err)
		}
		again, err := r.Event(ring)
		if err != nil || again.ID != e.ID || !bytes.Equal(again.Data, e.Data) {
			t.Error("a copy is another event")
		}
		var p event.Receipt
		err = e.Decode(&p)
		if err != nil || !json.Valid(e.Data) || len([]rune(p.Detail)) > 200 {
			t.Fatalf("%s: %v", e.Data, err)
		}
		subject, err := event.SubjectOf(e.Type, string(r.Channel))
		if err != nil {
			t.Fatal(err)
		}
		_, err = event.Parse(subject, e.Header(), e.Data)
		if err != nil {
			t.Errorf("our own parser refuses it: %v", err)
		}
		if account.ValidateEmail(recipient) == nil {
			for _, told := range []string{p.Detail, p.ProviderID, p.ProviderEvent} {
				if strings.Contains(strings.ToLower(told), strings.ToLower(recipient)) {
					t.Errorf("%q is told: %q", recipient, told)
				}
			}
		}
	})
}
