package event_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"doorcode/pkg/auditlog"
	"doorcode/pkg/event"
	"doorcode/pkg/event/eventtest"
	"doorcode/schemas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// payloadOf returns a fresh payload of a type.
func payloadOf(t *testing.T, typ event.Type) any {
	t.Helper()
	switch typ {
	case event.ChallengeIssued:
		return &event.Issued{}
	case event.DeliveryRequested:
		return &event.Requested{}
	case event.DeliveryAttempted, event.DeliveryPostponed, event.DeliveryAbandoned:
		return &event.Delivery{}
	case event.ReceiptRecorded:
		return &event.Receipt{}
	case event.SealMade:
		return &auditlog.Record{}
	case event.NoticeRequested:
		return &event.Notice{}
	case event.ChallengeApproved, event.ChallengeExpired, event.ChallengeCanceled, event.ChallengeExhausted, event.ChallengeWaived,
		event.CheckRejected:
		return &event.Outcome{}
	case event.WorkspacePut, event.WorkspaceRemoved, event.LoginPut, event.LoginRemoved, event.LoginLocked, event.LoginUnlocked,
		event.FactorRequested, event.FactorChanged, event.FactorCanceled, event.FactorReverted,
		event.InvitationMade, event.InvitationRepeated, event.InvitationWithdrawn, event.InvitationAccepted, event.JoinRequested,
		event.JoinDeclined, event.GroupTestStarted, event.GroupAddressProven, event.RolloutOrdered, event.RolloutPractised, event.RolloutPostponed:
		return &event.Directory{}
	}
	t.Fatalf("type %s has no payload", typ)
	return nil
}

func TestVectors_AreAcceptedOrRefusedAsTheySay(t *testing.T) {
	t.Parallel()
	for _, v := range eventtest.Vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			e, err := event.Parse(v.Subject, v.Header, v.Data)
			if v.Expect == "malformed" {
				if !errors.Is(err, event.ErrMalformed) {
					t.Fatalf("got %v, want malformed because %s", err, v.Why)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			eventtest.Validate(t, v.Subject, e)
		})
	}
}

// A payload struct that forgot a field of its schema would drop it here.
func TestVectors_PayloadsCarryEveryField(t *testing.T) {
	t.Parallel()
	for _, typ := range event.Types() {
		t.Run(string(typ), func(t *testing.T) {
			t.Parallel()
			e := eventtest.Accepted(t, typ)
			payload := payloadOf(t, typ)
			dec := json.NewDecoder(bytes.NewReader(e.Data))
			dec.DisallowUnknownFields()
			err := dec.Decode(payload)
			if err != nil {
				t.Fatal(err)
			}
			again, err := json.Marshal(payload)
			if err != nil {
				t.Fatal(err)
			}
			var want, got map[string]any
			if json.Unmarshal(e.Data, &want) != nil || json.Unmarshal(again, &got) != nil {
				t.Fatal("payload does not marshal")
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("payload changed (-vector +payload):\n%s", diff)
			}
			eventtest.ValidateData(t, typ, again)
		})
	}
}

func TestSchemas_ThereIsOnePerTypeAndNoMore(t *testing.T) {
	t.Parallel()
	entries, err := schemas.Events.ReadDir("events")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		if name, found := strings.CutSuffix(e.Name(), ".json"); found {
			got = append(got, name)
		}
	}
	want := map[string]bool{}
	for _, typ := range event.Types() {
		want[string(typ)] = true
	}
	for _, name := range got {
		if !want[name] {
			t.Errorf("schema %s belongs to no type", name)
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("type %s has no schema", name)
	}
}

// No event has a field for a code or a full recipient: the closed list of
// field names is looked through here whenever it grows (P4).
// It shows SEC-27 of deploy/SECURITY.md.
func TestP4_NoEventHasAFieldForACodeOrARecipientInClear(t *testing.T) {
	t.Parallel()
	for _, typ := range event.Types() {
		fields := reflect.TypeOf(payloadOf(t, typ)).Elem()
		for i := range fields.NumField() {
			name, _, _ := strings.Cut(fields.Field(i).Tag.Get("json"), ",")
			switch name {
			case "code", "email", "phone", "to", "recipient", "address", "secret", "key":
				t.Errorf("%s has the field %s", typ, name)
			}
		}
	}
}

func TestSubjectOf_RefusesChannelsThatAreNoWord(t *testing.T) {
	t.Parallel()
	for _, channel := range []string{"", "*", ">", "email.x", "Email", "e mail"} {
		for _, typ := range []event.Type{event.ChallengeIssued, event.DeliveryAttempted, event.ReceiptRecorded} {
			_, err := event.SubjectOf(typ, channel)
			if !errors.Is(err, event.ErrMalformed) {
				t.Errorf("%s on channel %q: %v", typ, channel, err)
			}
		}
	}
}

func TestReceiptID_FollowsFromItsPartsAlone(t *testing.T) {
	t.Parallel()
	id := event.ReceiptID("sendgrid", "a", "bc")
	if id != event.ReceiptID("sendgrid", "a", "bc") || len(id) != len("receipt.")+22 {
		t.Errorf("%s is not what the same parts give, or has another length", id)
	}
	for _, other := range []string{
		event.ReceiptID("vonage", "a", "bc"), event.ReceiptID("sendgrid", "ab", "c"), event.ReceiptID("sendgrid", "a", "bc", ""),
		event.ReceiptID("sendgrid"), event.ReceiptID("", "sendgrid", "a", "bc"),
	} {
		if other == id {
			t.Error("other parts have the same id")
		}
	}
}

func TestSendOf_ReadsEveryKindOfOrderAndNothingElse(t *testing.T) {
	t.Parallel()
	first, err := event.SendOf(eventtest.Accepted(t, event.ChallengeIssued))
	if err != nil {
		t.Fatal(err)
	}
	if first.Number != 1 || first.Route != 0 || first.Channel != "email" || first.Envelope == "" {
		t.Errorf("first send: %+v", first)
	}
	resend, err := event.SendOf(eventtest.Accepted(t, event.DeliveryRequested))
	if err != nil {
		t.Fatal(err)
	}
	if resend.Number != 2 || resend.Envelope != first.Envelope || !resend.ExpiresAt.Equal(first.ExpiresAt) {
		t.Errorf("resend: %+v", resend)
	}
	if !first.NotAfter.Equal(first.ExpiresAt.Add(-time.Minute)) || !resend.NotAfter.Equal(first.NotAfter) || first.Notice != "" {
		t.Errorf("no call may start after %s or %s", first.NotAfter, resend.NotAfter)
	}
	e := eventtest.Accepted(t, event.NoticeRequested)
	notice, err := event.SendOf(e)
	if err != nil {
		t.Fatal(err)
	}
	if notice.Number != 1 || notice.Route != 0 || notice.Channel != "sms" || notice.Challenge != e.ID || notice.Notice != event.NoticeLoginLocked ||
		!notice.NotAfter.Equal(e.Time.Add(24*time.Hour)) || notice.ExpiresAt.Before(notice.NotAfter) {
		t.Errorf("notice: %+v", notice)
	}
	for _, typ := range event.Types() {
		if typ == event.ChallengeIssued || typ == event.DeliveryRequested || typ == event.NoticeRequested {
			continue
		}
		_, err := event.SendOf(eventtest.Accepted(t, typ))
		if !errors.Is(err, event.ErrMalformed) {
			t.Errorf("%s asks for a send: %v", typ, err)
		}
	}
}

func TestSendOf_RefusesOrdersThatLackWhatTheyNeed(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 6, 3, 8, 0, 0, 0, time.UTC)
	for name, payload := range map[string]any{
		"no routes":    event.Issued{Challenge: "c", Channel: "email", ExpiresAt: at},
		"other route":  event.Issued{Challenge: "c", Channel: "email", ExpiresAt: at, Routes: []event.Route{{Channel: "sms"}}},
		"no expiry":    event.Issued{Challenge: "c", Channel: "email", Routes: []event.Route{{Channel: "email"}}},
		"no challenge": event.Issued{Channel: "email", ExpiresAt: at, Routes: []event.Route{{Channel: "email"}}},
	} {
		e, err := event.New(event.ChallengeIssued, "id", "doorcode/auth", at, "c", payload)
		if err != nil {
			t.Fatal(err)
		}
		_, err = event.SendOf(e)
		if !errors.Is(err, event.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	e, err := event.New(event.DeliveryRequested, "id", "doorcode/verifier", at, "c", event.Requested{Challenge: "c", Send: 1, ExpiresAt: at})
	if err != nil {
		t.Fatal(err)
	}
	_, err = event.SendOf(e)
	if !errors.Is(err, event.ErrMalformed) {
		t.Errorf("a requested first send: %v", err)
	}
}

func TestSendOf_RefusesNoticesThatLackWhatTheyNeed(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 6, 3, 8, 0, 0, 0, time.UTC)
	whole := event.Notice{Notice: "n", Kind: event.NoticeLoginLocked, Channel: "email", Envelope: "e", NotAfter: at}
	for name, spoil := range map[string]func(*event.Notice){
		"no id": func(n *event.Notice) { n.Notice = "" }, "no kind": func(n *event.Notice) { n.Kind = "" },
		"no envelope": func(n *event.Notice) { n.Envelope = "" }, "no deadline": func(n *event.Notice) { n.NotAfter = time.Time{} },
	} {
		payload := whole
		spoil(&payload)
		e, err := event.New(event.NoticeRequested, "id", "doorcode/auth", at, "n", payload)
		if err != nil {
			t.Fatal(err)
		}
		_, err = event.SendOf(e)
		if !errors.Is(err, event.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNoticeID_FollowsFromCauseAndRecipientAlone(t *testing.T) {
	t.Parallel()
	id := event.NoticeID("cause", []byte("hash"))
	if id != event.NoticeID("cause", []byte("hash")) || len(id) != 22 {
		t.Errorf("%s is not what the same cause and recipient give, or has another length", id)
	}
	for _, other := range []string{
		event.NoticeID("cause", []byte("other")), event.NoticeID("other", []byte("hash")), event.NoticeID("causeh", []byte("ash")), event.NoticeID("", []byte("causehash")),
	} {
		if other == id {
			t.Error("another cause or recipient has the same id")
		}
	}
}

func TestHeader_CarriesTheTraceOnlyWhenThereIsOne(t *testing.T) {
	t.Parallel()
	e := eventtest.Accepted(t, event.ChallengeApproved)
	if _, found := e.Header()["traceparent"]; found {
		t.Error("empty trace context in the header")
	}
	e.Traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	if e.Header()["traceparent"] != e.Traceparent {
		t.Error("trace context is lost")
	}
}

func FuzzParse(f *testing.F) {
	for _, v := range eventtest.Vectors(f) {
		f.Add(v.Subject, v.Header["ce-type"], v.Header["ce-time"], []byte(v.Data))
	}
	f.Fuzz(func(t *testing.T, subject, typ, at string, data []byte) {
		header := map[string]string{
			"ce-specversion": "1.0", "ce-datacontenttype": "application/json", "ce-id": "id", "ce-source": "s",
			"ce-type": typ, "ce-time": at,
		}
		e, err := event.Parse(subject, header, data)
		if err != nil {
			if !errors.Is(err, event.ErrMalformed) {
				t.Fatalf("another kind of error: %v", err)
			}
			return
		}
		again, err := event.Parse(subject, e.Header(), e.Data)
		if err != nil || again.Type != e.Type || !again.Time.Equal(e.Time) {
			t.Fatalf("accepted event does not read back: %v", err)
		}
	})
}
