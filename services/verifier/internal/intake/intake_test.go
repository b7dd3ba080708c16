package intake_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/event"
	"doorcode/pkg/event/eventtest"
	"doorcode/services/verifier/internal/intake"
)

// changed returns a vector's event with one member of its data replaced; the path is separated by dots.
func changed(t *testing.T, typ event.Type, path string, value any) event.Event {
	t.Helper()
	e := eventtest.Accepted(t, typ)
	var data map[string]any
	err := json.Unmarshal(e.Data, &data)
	if err != nil {
		t.Fatal(err)
	}
	at := data
	names := strings.Split(path, ".")
	for _, name := range names[:len(names)-1] {
		switch next := at[name].(type) {
		case map[string]any:
			at = next
		case []any:
			at, _ = next[0].(map[string]any)
		}
	}
	at[names[len(names)-1]] = value
	e.Data, err = json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestIssued_TakesTheVector(t *testing.T) {
	t.Parallel()
	p, err := intake.Issued(eventtest.Accepted(t, event.ChallengeIssued))
	if err != nil || p.Challenge == "" {
		t.Errorf("%v", err)
	}
}

func TestIssued_RefusesWhatIsNotWhole(t *testing.T) {
	t.Parallel()
	for path, value := range map[string]any{
		"challenge": "short", "workspace": "a b", "login": "", "login_version": 0, "front_end": "", "purpose": "", "label": "",
		"support_reference": "", "digest": "AAAA", "digest_key": 0, "tag_key": 0, "created_at": "0001-01-01T00:00:00Z",
		"expires_at": "2000-01-01T00:00:00Z", "channel": "sms", "routes": []any{},
		"routes.channel": "pigeon", "routes.address": "", "routes.per_hour": 0, "routes.per_day": 0, "routes.envelope": "",
		"policy.wrong_per_challenge": 6, "policy.wrong_per_hour": 11, "policy.wrong_per_day": 0, "policy.lock_after": 101, "policy.sends": 6,
		"digest_key ": 1,
	} {
		e := changed(t, event.ChallengeIssued, path, value)
		_, err := intake.Issued(e)
		if strings.HasSuffix(path, " ") { // A field that this version does not know is no reason.
			if err != nil {
				t.Errorf("an unknown field: %v", err)
			}
			continue
		}
		if !errors.Is(err, event.ErrMalformed) {
			t.Errorf("%s: %v", path, err)
		}
	}
	e := eventtest.Accepted(t, event.ChallengeIssued)
	uncapped := e
	uncapped.Data = bytes.ReplaceAll(e.Data, []byte(`"email"`), []byte(`"sms"`))
	_, err := intake.Issued(uncapped)
	if !errors.Is(err, event.ErrMalformed) {
		t.Errorf("texts that no cap counts: %v", err)
	}
	e.Subject = "another"
	_, err = intake.Issued(e)
	if !errors.Is(err, event.ErrMalformed) {
		t.Errorf("another subject: %v", err)
	}
}

// It shows SEC-03 of deploy/SECURITY.md.
func TestIssued_NoCodeLivesLongerThanTenMinutes(t *testing.T) {
	t.Parallel()
	p, err := intake.Issued(eventtest.Accepted(t, event.ChallengeIssued))
	if err != nil {
		t.Fatal(err)
	}
	for life, ok := range map[time.Duration]bool{10 * time.Minute: true, 10*time.Minute + time.Microsecond: false} {
		_, err = intake.Issued(changed(t, event.ChallengeIssued, "expires_at", p.CreatedAt.Add(life)))
		if (err == nil) != ok {
			t.Errorf("life of %s: %v", life, err)
		}
	}
}

func TestDelivery_RefusesWhatIsNotWhole(t *testing.T) {
	t.Parallel()
	for _, typ := range []event.Type{event.DeliveryAttempted, event.DeliveryPostponed, event.DeliveryAbandoned} {
		_, err := intake.Delivery(eventtest.Accepted(t, typ))
		if err != nil {
			t.Errorf("%s: %v", typ, err)
		}
		for path, value := range map[string]any{
			"challenge": "x", "send": 0, "number": 0, "channel": "pigeon", "requested_at": "0001-01-01T00:00:00Z",
		} {
			_, err = intake.Delivery(changed(t, typ, path, value))
			if !errors.Is(err, event.ErrMalformed) {
				t.Errorf("%s %s: %v", typ, path, err)
			}
		}
	}
	for path, value := range map[string]any{"result": "great", "number": 1001, "send": 6} {
		_, err := intake.Delivery(changed(t, event.DeliveryAttempted, path, value))
		if !errors.Is(err, event.ErrMalformed) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestNotice_TakesTheVectorAndNothingThatIsNotWhole(t *testing.T) {
	t.Parallel()
	p, err := intake.Notice(eventtest.Accepted(t, event.NoticeRequested))
	if err != nil || p.Kind != event.NoticeLoginLocked {
		t.Errorf("%+v: %v", p, err)
	}
	_, err = intake.Notice(changed(t, event.NoticeRequested, "not_after", "2099-06-04T08:02:11Z"))
	if !errors.Is(err, event.ErrMalformed) {
		t.Errorf("a notice with years to live: %v", err)
	}
	_, err = intake.Notice(changed(t, event.NoticeRequested, "kind", "told_by_a_newer_auth"))
	if err != nil {
		t.Errorf("a kind of a newer version: %v", err)
	}
	for path, value := range map[string]any{
		"notice": "IBESExQVFhcYGRobHB0eHw", "kind": "", "cause": "", "workspace": "a b", "login": "", "channel": "pigeon", "destination": "",
		"support_reference": "", "envelope": "", "not_after": "2026-06-03T08:02:00Z",
	} {
		_, err := intake.Notice(changed(t, event.NoticeRequested, path, value))
		if !errors.Is(err, event.ErrMalformed) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func FuzzIssued(f *testing.F) {
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"challenge":"AAAAAAAAAAAAAAAAAAAAAA","routes":[{}]}`))
	for _, v := range eventtest.Vectors(f) {
		f.Add([]byte(v.Data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := intake.Issued(event.Event{Type: event.ChallengeIssued, Data: data})
		if err == nil && (len(p.Routes) == 0 || p.Policy.Validate() != nil) {
			t.Error("an event that is not whole was taken")
		}
		_, _ = intake.Parse(bus.Message{Data: data})
		_, _ = intake.Delivery(event.Event{Type: event.DeliveryAttempted, Data: data})
		receipt, err := intake.Receipt(event.Event{Type: event.ReceiptRecorded, Data: data})
		if err == nil && (receipt.Challenge == "") != (len(receipt.AddressHash) > 0) {
			t.Error("a receipt about two things, or about nothing, was taken")
		}
		n, err := intake.Notice(event.Event{ID: "EBESExQVFhcYGRobHB0eHw", Subject: "EBESExQVFhcYGRobHB0eHw", Type: event.NoticeRequested, Data: data})
		if err == nil && (n.Notice != "EBESExQVFhcYGRobHB0eHw" || n.Envelope == "") {
			t.Error("a notice that is not whole was taken")
		}
	})
}

func TestReceipt_TakesTheVectors(t *testing.T) {
	t.Parallel()
	for _, v := range eventtest.Vectors(t) {
		if v.Expect != "accepted" || v.Header["ce-type"] != string(event.ReceiptRecorded) {
			continue
		}
		e, err := intake.Parse(bus.Message{Subject: v.Subject, Header: v.Header, Data: v.Data})
		if err == nil {
			_, err = intake.Receipt(e)
		}
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
		}
	}
}

func TestReceipt_RefusesWhatIsNotWhole(t *testing.T) {
	t.Parallel()
	hash := "EBESExQVFhcYGRobHB0eHyAhIiMkJSYnKCkqKywtLi8="
	for path, value := range map[string]any{
		"channel": "pigeon", "provider": "", "challenge": "short", "send": 6, "attempt": "AAECAwQFBg", "status": "read",
		"at": "2026-06-03T08:02:10Z", "address_hash": hash,
	} {
		_, err := intake.Receipt(changed(t, event.ReceiptRecorded, path, value))
		if !errors.Is(err, event.ErrMalformed) {
			t.Errorf("%s = %v: %v", path, value, err)
		}
	}
	for _, data := range []string{
		`{"channel":"email","provider":"p","status":"failed","at":"2026-06-03T08:02:09Z"}`,
		`{"channel":"email","provider":"p","status":"failed","at":"2026-06-03T08:02:09Z","address_hash":"AAAA"}`,
		`{"channel":"email","provider":"p","status":"failed","at":"2026-06-03T08:02:09Z","send":1,"address_hash":"` + hash + `"}`,
		`{"channel":7}`,
	} {
		e := eventtest.Accepted(t, event.ReceiptRecorded)
		e.Subject, e.Data = "", json.RawMessage(data)
		_, err := intake.Receipt(e)
		if !errors.Is(err, event.ErrMalformed) {
			t.Errorf("%s: %v", data, err)
		}
	}
	e := eventtest.Accepted(t, event.ReceiptRecorded)
	e.Subject = "other"
	_, err := intake.Receipt(e)
	if !errors.Is(err, event.ErrMalformed) {
		t.Errorf("about another challenge: %v", err)
	}
}

// What lets somebody in is asked for by a front-end, and what does not by doorcode itself: neither can pass for the other.
func TestIssued_KeepsPurposesAndFrontEndsTogether(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		purpose, frontEnd string
		taken             bool
	}{
		{"sign_in", "web", true},
		{"approval", "doorcode", true},
		{"proof", "doorcode", true},
		{"approval", "web", false},
		{"proof", "web", false},
		{"sign_in", "doorcode", false},
		{"door", "web", false},
	} {
		e := changed(t, event.ChallengeIssued, "purpose", c.purpose)
		e.Data = bytes.ReplaceAll(e.Data, frontEndOf(t, e), []byte(`"front_end":"`+c.frontEnd+`"`))
		_, err := intake.Issued(e)
		if (err == nil) != c.taken || err != nil && !errors.Is(err, event.ErrMalformed) {
			t.Errorf("%s of %s: %v", c.purpose, c.frontEnd, err)
		}
	}
}

// frontEndOf is the member of the data that names the front-end.
func frontEndOf(t *testing.T, e event.Event) []byte {
	t.Helper()
	var p event.Issued
	err := e.Decode(&p)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(`"front_end":"` + p.FrontEnd + `"`)
}
