package report_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
	"doorcode/pkg/event/eventtest"
	"doorcode/pkg/keyring"
	"doorcode/pkg/limit"
	"doorcode/services/receipts/internal/report"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ring(t *testing.T) *keyring.Ring {
	t.Helper()
	r, err := keyring.New()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// bounce is a report with a reference.
func bounce() report.Report {
	return report.Report{
		Provider: "sendgrid", Channel: delivery.Email, Recipient: "Ada@Example.net", Status: delivery.StatusFailed,
		Reference: delivery.Reference{Challenge: "AAECAwQFBgcICQoLDA0ODw", Send: 2, Attempt: "AAECAwQFBgc"},
		Reason:    delivery.ReasonInvalidRecipient, Detail: "5.1.1: <Ada@Example.net> unknown, code 492816\x00", ProviderID: "m1", ProviderEvent: "e1",
		At: time.Unix(1_795_472_100, 0), Cause: []string{"bounce", "1795472100", ""},
	}
}

// written returns the event of a report, held against its schema.
func written(t *testing.T, keys *keyring.Ring, r report.Report) (event.Event, event.Receipt) {
	t.Helper()
	e, err := r.Event(keys)
	if err != nil {
		t.Fatal(err)
	}
	eventtest.Validate(t, "doorcode.receipt."+string(r.Channel), e)
	var p event.Receipt
	err = e.Decode(&p)
	if err != nil {
		t.Fatal(err)
	}
	return e, p
}

func TestEvent_NamesTheDeliveryAndNobody(t *testing.T) {
	t.Parallel()
	e, p := written(t, ring(t), bounce())
	if e.Subject != p.Challenge || e.Source != report.Source || !e.Time.Equal(p.At) || p.Challenge != "AAECAwQFBgcICQoLDA0ODw" ||
		p.Send != 2 || p.Attempt != "AAECAwQFBgc" || p.AddressHash != nil || p.Status != "failed" || p.Reason != "invalid_recipient" {
		t.Errorf("%+v %+v", e, p)
	}
	for _, secret := range []string{"example.net", "492816", "Ada", `\u0000`} {
		if strings.Contains(string(e.Data), secret) {
			t.Errorf("the event holds %q: %s", secret, e.Data)
		}
	}
	if !strings.Contains(p.Detail, "5.1.1") {
		t.Errorf("the cause is lost: %s", p.Detail)
	}
}

func TestEvent_WithoutAReferenceHasTheKeyedHashOfLimits(t *testing.T) {
	t.Parallel()
	keys, r := ring(t), bounce()
	r.Reference = delivery.Reference{}
	e, p := written(t, keys, r)
	if e.Subject != "" || p.Challenge != "" || p.Send != 0 || !bytes.Equal(p.AddressHash, limit.RecipientKey(keys, "email", "ada@example.net")) {
		t.Errorf("%+v %+v", e, p)
	}
	if _, there := e.Header()["ce-subject"]; there {
		t.Error("the event has an empty subject")
	}
	if strings.Contains(strings.ToLower(string(e.Data)), "example.net") {
		t.Errorf("the event holds the recipient: %s", e.Data)
	}
	same := r
	same.Recipient = "ada@example.NET"
	other := r
	other.Recipient = "bea@example.net"
	again, _ := written(t, keys, same)
	foreign, _ := written(t, keys, other)
	if again.ID != e.ID || foreign.ID == e.ID {
		t.Error("the id does not follow from the recipient")
	}
}

// P9: what arrives twice is the same event, whatever its second id is.
func TestP9_ACopyIsTheSameEvent(t *testing.T) {
	t.Parallel()
	keys := ring(t)
	first, _ := written(t, keys, bounce())
	r := bounce()
	r.ProviderEvent, r.Detail = "e2", "in other words"
	again, _ := written(t, keys, r)
	if again.ID != first.ID || !again.Time.Equal(first.Time) {
		t.Error("a copy is another event")
	}
	for name, change := range map[string]func(*report.Report){
		"cause":    func(r *report.Report) { r.Cause = []string{"bounce", "1795472101", ""} },
		"send":     func(r *report.Report) { r.Reference.Send = 3 },
		"attempt":  func(r *report.Report) { r.Reference.Attempt = "BBECAwQFBgc" },
		"provider": func(r *report.Report) { r.Provider = "other" },
	} {
		r := bounce()
		change(&r)
		other, _ := written(t, keys, r)
		if other.ID == first.ID {
			t.Errorf("another %s is the same event", name)
		}
	}
}

func TestEvent_DropsIDsThatAreNone(t *testing.T) {
	t.Parallel()
	for id, kept := range map[string]bool{
		"Xet6bZ7WRTG2fYDa-p7arw.recvd-5f6d7-1.0": true, "": true, "a b": false, "a\x00": false, "ada@example.net": false, "ü": false,
		strings.Repeat("x", 200): true, strings.Repeat("x", 201): false,
	} {
		r := bounce()
		r.ProviderID, r.ProviderEvent = id, id
		_, p := written(t, ring(t), r)
		if (p.ProviderID == id) != kept || p.ProviderID != p.ProviderEvent {
			t.Errorf("%q became %q", id, p.ProviderID)
		}
	}
}

func TestEvent_GoodNewsHasNoReason(t *testing.T) {
	t.Parallel()
	for _, s := range delivery.Reportable() {
		r := bounce()
		r.Status, r.Reason = s, delivery.ReasonOther
		_, p := written(t, ring(t), r)
		if bad := s == delivery.StatusFailed || s == delivery.StatusDeferred; bad != (p.Reason == "other") {
			t.Errorf("%s: reason %q", s, p.Reason)
		}
	}
}

func TestPlausible_BelievesAWeek(t *testing.T) {
	t.Parallel()
	now := bounce().At
	for age, want := range map[time.Duration]bool{
		0: true, -59 * time.Minute: true, -61 * time.Minute: false, 167 * time.Hour: true, 169 * time.Hour: false,
	} {
		if bounce().Plausible(now.Add(age)) != want {
			t.Errorf("after %s: not %t", age, want)
		}
	}
	if (report.Report{}).Plausible(now) {
		t.Error("no time is believed")
	}
}
