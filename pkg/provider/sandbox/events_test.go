package sandbox

import (
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/sendgrid/sendgrid-go/helpers/eventwebhook"
)

// The vector of providers.md 3.3.
const (
	vectorBody      = `[{"email":"ada@example.net","event":"delivered","timestamp":1795472100}]` + "\r\n"
	vectorTimestamp = "1795472109"
	vectorKey       = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE5h4hUAfrFyFSPX4FDyde9k/AEr2kqK4lwTVyesOm6t+oMXUirXsj0qcFsQ3XDTM0X2Rw89nagy13UKJ4VmhCMA=="
	vectorSignature = "MEUCID1kEHY1J1aVQ1oSZ7xuNZT7Jb/xzl0XzGo1WSkzfQMkAiEAwG8Br+CIDRG6bMmr0qDIj0XgNW0rpa5oVtHcsZoniPk="
)

func TestEvents_SignTheBytesOfTheVector(t *testing.T) {
	t.Parallel()
	public, err := eventwebhook.ConvertPublicKeyBase64ToECDSA(vectorKey)
	if err != nil {
		t.Fatal(err)
	}
	der, err := base64.StdEncoding.DecodeString(vectorSignature)
	if err != nil {
		t.Fatal(err)
	}
	if !ecdsa.VerifyASN1(public, signedDigest(vectorTimestamp, []byte(vectorBody)), der) {
		t.Error("the signature of the vector is not over what we sign")
	}
	if ecdsa.VerifyASN1(public, signedDigest(vectorTimestamp, []byte(strings.TrimSuffix(vectorBody, "\r\n"))), der) {
		t.Error("the line end is not signed")
	}
}

func TestEvents_AreSignedAsTheProviderVerifies(t *testing.T) {
	t.Parallel()
	for _, seed := range []string{"", "one"} {
		key, err := newSource(seed).key()
		if err != nil {
			t.Fatal(err)
		}
		signed, err := signEvents(key, vectorTimestamp, []byte(vectorBody))
		if err != nil {
			t.Fatal(err)
		}
		again, err := signEvents(key, vectorTimestamp, []byte(vectorBody))
		if err != nil || again != signed {
			t.Errorf("the same bytes have two signatures (%v)", err)
		}
		shown := publicKey(key)
		public, err := eventwebhook.ConvertPublicKeyBase64ToECDSA(shown)
		if err != nil || len(shown) != 124 {
			t.Fatalf("public key %s: %v", shown, err)
		}
		ok, err := eventwebhook.VerifySignature(public, []byte(vectorBody), signed, vectorTimestamp)
		if err != nil || !ok {
			t.Errorf("verified = %v, %v", ok, err)
		}
	}
}

func TestEvents_HaveTheFieldsOfTheProvider(t *testing.T) {
	t.Parallel()
	h := receive(t, nil)
	s := start(t)
	key := s.hooked(t, h)
	id := s.accept(t, "ada@example.net", "c.1.a")
	s.flush(t)
	posts := h.got()
	if len(posts) != 1 || !verified(t, key, posts[0]) {
		t.Fatalf("%d posts, want one that is signed", len(posts))
	}
	header := posts[0].Header
	if header.Get("Content-Type") != "application/json;charset=utf-8" || header.Get("User-Agent") != "SendGrid Event API" ||
		header.Get("Accept-Encoding") != "gzip" || header.Get(timestampHeader) != "1772452800" || posts[0].Path != "/events" {
		t.Errorf("post to %s with %v", posts[0].Path, header)
	}
	common := func(kind string) object {
		name := fmt.Sprintf("%s-100001-%s-0", kind, id)
		return object{
			"email": "ada@example.net", "event": kind, "timestamp": 1772452800.0, "dlv": "c.1.a", "category": []any{"otp"},
			"sg_event_id":   base64.RawURLEncoding.EncodeToString([]byte(name)),
			"sg_message_id": id + ".recvd-5f6d7c8b9-sbx01-1-69A57BC0-0.0", "smtp-id": "<" + id + "@geopod-ismtpd-1>",
		}
	}
	delivered := common("delivered")
	delivered["response"], delivered["ip"], delivered["tls"] = "250 2.0.0 OK", "192.0.2.10", 1.0
	diff := cmp.Diff([]object{common("processed"), delivered}, h.events(t))
	if diff != "" {
		t.Errorf("events differ (-want +got):\n%s", diff)
	}
}

func TestEvents_FollowTheMagicOfTheAddress(t *testing.T) {
	t.Parallel()
	for suffix, want := range map[string][]object{
		"+bounce":             {{"event": "processed"}, {"event": "bounce", "type": "bounce", "status": "5.1.1", "reason": unknownUser, "bounce_classification": "Invalid Address"}},
		"+blocked":            {{"event": "processed"}, {"event": "bounce", "type": "blocked", "status": "5.7.1", "reason": refusedMail, "bounce_classification": "Reputation"}},
		"+drop-unsub":         {{"event": "dropped", "reason": "Unsubscribed Address", "status": "5.0.0"}},
		"+drop-bounce":        {{"event": "dropped", "reason": "Bounced Address", "status": "5.0.0"}},
		"+defer":              {{"event": "processed"}, {"event": "deferred", "attempt": "1", "response": comeLater, "reason": comeLater}, {"event": "deferred", "attempt": "2", "response": comeLater, "reason": comeLater}},
		"+defer-then-deliver": {{"event": "processed"}, {"event": "deferred", "attempt": "1", "response": comeLater, "reason": comeLater}, {"event": "delivered", "response": mailTaken}},
		"+async-bounce":       {{"event": "processed"}, {"event": "delivered", "response": mailTaken}, {"event": "bounce", "type": "bounce", "status": "5.1.1", "reason": unknownUser, "bounce_classification": "Invalid Address"}},
		"+spam":               {{"event": "processed"}, {"event": "delivered", "response": mailTaken}, {"event": "spamreport"}},
		"+SLOW":               {{"event": "processed"}, {"event": "delivered", "response": mailTaken}},
		"+plain":              {{"event": "processed"}, {"event": "delivered", "response": mailTaken}},
		"+silent":             nil,
	} {
		t.Run(suffix, func(t *testing.T) {
			t.Parallel()
			h := receive(t, nil)
			s := start(t)
			s.hooked(t, h)
			s.accept(t, "ada"+suffix+"@example.net", "c.1.a")
			s.flush(t)
			got := h.events(t)
			diff := cmp.Diff(want, got, cmpopts.IgnoreMapEntries(func(name string, _ any) bool {
				switch name {
				case "event", "type", "status", "reason", "bounce_classification", "attempt", "response":
					return false
				}
				return true
			}))
			if diff != "" {
				t.Errorf("events differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEvents_OfALateBounceAreAnonymous(t *testing.T) {
	t.Parallel()
	h := receive(t, nil)
	s := start(t)
	s.hooked(t, h)
	s.accept(t, "ada+async-bounce@example.net", "c.1.a")
	s.flush(t)
	bounce := h.events(t)[2]
	for _, name := range []string{"dlv", "sg_message_id", "smtp-id"} {
		if _, has := bounce[name]; has {
			t.Errorf("the late bounce has %s", name)
		}
	}
	if bounce["email"] != "ada+async-bounce@example.net" || bounce["sg_event_id"] == "" {
		t.Errorf("bounce = %v", bounce)
	}
}

func TestEvents_ComeSeveralTimes(t *testing.T) {
	t.Parallel()
	h := receive(t, nil)
	s := start(t)
	s.hooked(t, h)
	s.accept(t, "ada+dup@example.net", "c.1.a")
	s.flush(t)
	ids := map[any]int{}
	for _, e := range h.events(t) {
		ids[e["sg_event_id"]]++
	}
	twice := 0
	for _, n := range ids {
		twice += n / 2
	}
	if len(h.kinds(t)) != 6 || len(ids) != 4 || twice != 2 {
		t.Errorf("ids = %v, want two that come twice and two that come once", ids)
	}
}

func TestEvents_NumberTheRecipientsAndKeepOwnKeys(t *testing.T) {
	t.Parallel()
	h := receive(t, nil)
	s := start(t)
	s.hooked(t, h)
	m := plain()
	first(m)["to"] = []any{object{"email": "ada@example.net"}, object{"email": "bob+drop-unsub@example.net"}}
	m["custom_args"] = object{"event": "mine", "timestamp": "mine", "x_own": "<&>"}
	got, text := s.post(t, encoded(t, m), nil)
	if got.StatusCode != http.StatusAccepted {
		t.Fatalf("answer = %d %s", got.StatusCode, text)
	}
	s.flush(t)
	events := h.events(t)
	if len(events) != 3 || strings.Contains(string(h.got()[0].Body), `\u003c`) {
		t.Fatalf("events = %v", events)
	}
	id, _ := events[2]["sg_message_id"].(string)
	if events[2]["email"] == "ada@example.net" {
		id, _ = events[1]["sg_message_id"].(string)
	}
	if !strings.HasSuffix(id, "-1.0") {
		t.Errorf("the id of the second recipient is %s", id)
	}
	for _, e := range events {
		if e["event"] == "mine" || e["timestamp"] == "mine" || e["x_own"] != "<&>" || e["category"] != nil {
			t.Errorf("event = %v", e)
		}
	}
}

func TestEvents_AreLaidOutInBothWays(t *testing.T) {
	t.Parallel()
	three := []mailEvent{{Kind: "processed", id: "1", mail: Message{ID: "m.0"}, at: noon()}, {Kind: "processed", id: "2", mail: Message{ID: "m.0"}, at: noon()}, {Kind: "processed", id: "3", mail: Message{ID: "m.0"}, at: noon()}}
	for layout, want := range map[Layout][]string{
		AfterComma:  {"[X]\r\n", "[X,\r\nX,\r\nX]\r\n"},
		BeforeComma: {"[X]\r\n", "[X\r\n,X\r\n,X]\r\n"},
	} {
		for i, events := range [][]mailEvent{three[:1], three} {
			body, err := encodeEvents(events, layout)
			if err != nil {
				t.Fatal(err)
			}
			shape := string(body)
			for _, e := range events {
				text, _ := json.Marshal(e.document())
				one, err := encodeEvent(e)
				if err != nil || len(one) > len(text) {
					t.Fatalf("event = %s, %v", one, err)
				}
				shape = strings.Replace(shape, string(one), "X", 1)
			}
			if shape != want[i] || !json.Valid(body) {
				t.Errorf("%s = %q, want %q", layout, shape, want[i])
			}
		}
	}
}

func TestEvents_OfASandboxedMailAreNone(t *testing.T) {
	t.Parallel()
	h := receive(t, nil)
	s := start(t)
	s.hooked(t, h)
	m := plain()
	m["mail_settings"] = object{"sandbox_mode": object{"enable": true}}
	got, _ := s.post(t, encoded(t, m), nil)
	s.flush(t)
	if got.StatusCode != http.StatusOK || len(h.got()) != 0 {
		t.Errorf("answer = %d with %d posts", got.StatusCode, len(h.got()))
	}
}
