package sandbox

import (
	"bufio"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vonage/vonage-go-sdk"

	"doorcode/pkg/delivery"
)

// TestStory_OfAPersonWithBothChannels follows one person: the mail is deferred,
// the SMS after it arrives, and both are reported as an integrator reads them.
func TestStory_OfAPersonWithBothChannels(t *testing.T) {
	t.Parallel()
	events, receipts := receive(t, nil), receive(t, nil)
	s := startWith(t, Config{VonageReceiptMethod: ReceiptForm, VonageSignatureMethod: SHA512HMAC})
	key := s.hooked(t, events)
	s.accept(t, "ada+defer@example.net", "c.1.a")
	id := s.texted(t, phoneNumber, otpText, vonage.SMSOpts{ClientRef: "c.2.a", Callback: receipts.url + "/vonage"})
	list, err := s.Wait(t.Context(), "+"+phoneNumber, 1)
	if err != nil || len(list) != 1 || !strings.HasSuffix(list[0].Text, "\n@example.com #123456") {
		t.Fatalf("the phone shows %+v, %v", list, err)
	}
	s.flush(t)
	diff := cmp.Diff([]string{"processed", "deferred", "deferred"}, events.kinds(t))
	if diff != "" || !verified(t, key, events.got()[0]) {
		t.Errorf("events differ (-want +got):\n%s", diff)
	}
	got := receiptIn(t, receipts.got()[0])
	if got["messageId"] != id || got["client-ref"] != "c.2.a" || got["status"] != "delivered" || got["msisdn"] != phoneNumber ||
		got["sig"] != signature(SHA512HMAC, DefaultVonageSignatureSecret, got) {
		t.Errorf("receipt = %v", got)
	}
	diff = cmp.Diff(map[string]int{"c.1.a": 1, "c.2.a": 1}, s.References())
	if diff != "" || s.Count() != 2 || s.CountOf(delivery.SMS) != 1 {
		t.Errorf("references differ (-want +got):\n%s", diff)
	}
	s.Clear()
	if s.Count() != 0 || s.CountOf(delivery.SMS) != 0 || len(s.Messages(phoneNumber)) != 0 {
		t.Error("something is left")
	}
}

// TestVonage_AnswersOnTheWire holds the answer byte for byte, but for its date.
func TestVonage_AnswersOnTheWire(t *testing.T) {
	t.Parallel()
	s := start(t)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	body := smsForm(map[string]string{"to": ""}).Encode()
	_, err = conn.Write([]byte("POST /sms/json HTTP/1.1\r\nHost: sandbox\r\nContent-Type: application/x-www-form-urlencoded; charset=utf-8\r\n" +
		"Content-Length: " + itoa(len(body)) + "\r\n\r\n" + body))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"HTTP/1.1 200 OK", "Connection: keep-alive", "Content-Length: 82", "Content-Type: application/json", "Server: nginx", "",
		`{"message-count":"1","messages":[{"status":"2","error-text":"Missing to param"}]}`,
	}
	want[2] = "Content-Length: " + itoa(len(want[6]))
	reader := bufio.NewReader(conn)
	var got []string
	for len(got) < len(want)-1 {
		line, err := reader.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(line, "Date: ") {
			got = append(got, strings.TrimSuffix(line, "\r\n"))
		}
	}
	rest := make([]byte, len(want[6]))
	_, err = reader.Read(rest)
	diff := cmp.Diff(want, append(got, string(rest)))
	if err != nil || diff != "" {
		t.Errorf("read %v, answer differs (-want +got):\n%s", err, diff)
	}
}

// itoa writes a number into JSON and headers alike.
func itoa(n int) string {
	text, _ := json.Marshal(n) // a number is always written
	return string(text)
}

func TestControl_KeepsTheChannelOfAFault(t *testing.T) {
	t.Parallel()
	s := start(t)
	asJSON := map[string]string{"Content-Type": "application/json"}
	got, text := s.do(t, http.MethodPost, "/_sandbox/faults", strings.NewReader(`{"kind":"late-accept","channel":"sms","to":"44*"}`), asJSON)
	if got.StatusCode != http.StatusCreated {
		t.Fatalf("post = %d %s", got.StatusCode, text)
	}
	diff := cmp.Diff([]Met{{Fault: Fault{Kind: LateAccept, Channel: delivery.SMS, To: "44*", Status: 200, Location: "/", Delay: 30 * time.Second}}}, s.Faults())
	if diff != "" {
		t.Errorf("faults differ (-want +got):\n%s", diff)
	}
	_, text = s.do(t, http.MethodGet, "/_sandbox/faults", nil, nil)
	if strings.TrimSpace(text) != `[{"kind":"late-accept","channel":"sms","to":"44*","status":200,"delay_ms":30000,"location":"/","hits":0}]` {
		t.Errorf("list = %s", text)
	}
	got, _ = s.do(t, http.MethodPost, "/_sandbox/faults", strings.NewReader(`{"kind":"hang","channel":"fax"}`), asJSON)
	if got.StatusCode != http.StatusBadRequest || len(s.Faults()) != 1 {
		t.Errorf("a fault of no channel = %d", got.StatusCode)
	}
}

// TestWebhooks_TellNothingWhenTheyFail proves that neither an error nor a
// control answer tells an address, a number or a key.
func TestWebhooks_TellNothingWhenTheyFail(t *testing.T) {
	t.Parallel()
	h := receive(t, func(int) int { return http.StatusTeapot })
	s := startWith(t, Config{VonageReceiptURL: "http://127.0.0.1:1/unreachable?key=word"})
	s.hooked(t, h)
	s.accept(t, "ada@example.net", "c.1.a")
	s.form(t, smsForm(nil))
	got, text := s.do(t, http.MethodPost, "/_sandbox/webhooks/flush", nil, nil)
	if got.StatusCode != http.StatusBadGateway || got.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("flush = %d %s", got.StatusCode, text)
	}
	for _, secret := range []string{"ada", phoneNumber, h.url, "unreachable", "word", DefaultVonageSignatureSecret, "Hello"} {
		if strings.Contains(text, secret) {
			t.Errorf("the answer tells %q: %s", secret, text)
		}
	}
}
