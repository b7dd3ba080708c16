package sandbox

import (
	"context"
	"crypto/hmac"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vonage/vonage-go-sdk"
)

// receiptVector is the receipt whose signatures providers.md 4.8 gives.
func receiptVector() map[string]string {
	return map[string]string{
		"api-key": "abcd1234", "client-ref": "01JDEXAMPLE0000000000000A", "err-code": "0", "message-timestamp": "2026-11-23 22:15:09",
		"messageId": "0C000000A1B2C3D4", "msisdn": "34600111222", "network-code": "21407",
		"nonce": "5b0e6f0e-4b6e-4f6b-9d8e-2f0f6f4d9a11", "price": "0.05500000", "scts": "2611232215", "status": "delivered",
		"timestamp": "1795472109", "to": "Example", "sig": "not part of it",
	}
}

func TestSignature_IsThatOfTheVectors(t *testing.T) {
	t.Parallel()
	for method, want := range map[SignatureMethod]string{
		Unsigned:   "",
		MD5Hash:    "f095a6d6aa184b3ede2d0ed770be8683",
		MD5HMAC:    "EB91BAB0259DB4678D848D6B03C312E5",
		SHA1HMAC:   "03A43698CD1321AB6103401021EF081013BA107E",
		SHA256HMAC: "6D288341217AF9602659DF39595558EECD97BBF608C027518595F9A5223D3CE2",
		SHA512HMAC: "7E24575496DDB5D54AE0AC6C4E6F29F45AF7EA0D6DB96B9A6BD67ED4494DE97F37E420718C04F16093C3FAA12F79F97C58B7722072F4F07B00198F22A8A85F3C",
	} {
		if got := signature(method, DefaultVonageSignatureSecret, receiptVector()); got != want {
			t.Errorf("%s = %s, want %s", method, got, want)
		}
	}
	if len(SignatureMethods()) != 6 {
		t.Error("a method has no vector")
	}
}

func TestSignature_DoesNotLetAValueActAsAnother(t *testing.T) {
	t.Parallel()
	got := canonical(map[string]string{"b": "x&c=y", "a": "1=2", "message-timestamp": "1", "messageId": "2", "sig": "3"})
	if got != "&a=1_2&b=x_c_y&message-timestamp=1&messageId=2" {
		t.Errorf("canonical = %s", got)
	}
}

// receiptIn reads the fields of a receipt, however it came.
func receiptIn(t *testing.T, p hookPost) map[string]string {
	t.Helper()
	raw := p.Query
	switch p.Header.Get("Content-Type") {
	case "application/json":
		var fields map[string]string
		err := json.Unmarshal(p.Body, &fields)
		if err != nil {
			t.Fatalf("receipt %s: %v", p.Body, err)
		}
		return fields
	case "application/x-www-form-urlencoded":
		raw = string(p.Body)
	}
	form, err := url.ParseQuery(raw)
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	for name := range form {
		fields[name] = form.Get(name)
	}
	return fields
}

func TestReceipt_TravelsByEveryMethodAndSignature(t *testing.T) {
	t.Parallel()
	for _, method := range ReceiptMethods() {
		for _, signed := range SignatureMethods() {
			t.Run(string(method)+" "+string(signed), func(t *testing.T) {
				t.Parallel()
				h := receive(t, nil)
				s := startWith(t, Config{VonageReceiptURL: h.url + "/dlr?tenant=a", VonageReceiptMethod: method, VonageSignatureMethod: signed})
				id := s.texted(t, phoneNumber, "Hello", vonage.SMSOpts{ClientRef: "a&b=c"})
				s.flush(t)
				posts := h.got()
				if len(posts) != 1 || posts[0].Path != "/dlr" || !strings.HasPrefix(posts[0].Query, "tenant=a") || posts[0].Header.Get("User-Agent") == "" {
					t.Fatalf("posts = %+v", posts)
				}
				got := receiptIn(t, posts[0])
				sig := got["sig"]
				if want := signature(signed, DefaultVonageSignatureSecret, withoutTenant(got)); sig != want {
					t.Errorf("sig = %s, want %s", sig, want)
				}
				if signed != Unsigned && (got["timestamp"] != "1772452800" || len(got["nonce"]) != 36) {
					t.Errorf("timestamp %q, nonce %q", got["timestamp"], got["nonce"])
				}
				for _, name := range []string{"sig", "timestamp", "nonce", "tenant"} {
					delete(got, name)
				}
				diff := cmp.Diff(map[string]string{
					"msisdn": phoneNumber, "to": "ExampleCo", "network-code": "23410", "messageId": id, "price": "0.05500000",
					"status": "delivered", "scts": "2603021200", "err-code": "0", "api-key": DefaultVonageKey, "client-ref": "a&b=c",
					"message-timestamp": "2026-03-02 12:00:00",
				}, got)
				if diff != "" {
					t.Errorf("receipt differs (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// withoutTenant drops the parameter of the configured address, which is not signed.
func withoutTenant(fields map[string]string) map[string]string {
	delete(fields, "tenant")
	return fields
}

func TestReceipt_GoesToTheCallbackOfTheMessage(t *testing.T) {
	t.Parallel()
	account, own := receive(t, nil), receive(t, nil)
	s := startWith(t, Config{VonageReceiptURL: account.url})
	s.form(t, smsForm(map[string]string{"callback": own.url + "/mine"}))
	s.form(t, smsForm(map[string]string{"status-report-req": "false"}))
	s.form(t, smsForm(map[string]string{"to": "447911123407"}))
	s.flush(t)
	if len(account.got()) != 0 || len(own.got()) != 1 || own.got()[0].Path != "/mine" {
		t.Errorf("account got %d, callback %d", len(account.got()), len(own.got()))
	}
	silent := start(t)
	silent.form(t, smsForm(nil))
	if silent.WebhookCounts() != (WebhookCounts{}) {
		t.Error("a receipt waits for nobody")
	}
}

func TestReceipt_TellsWhatTheNumberAsksFor(t *testing.T) {
	t.Parallel()
	for end, want := range map[string][]string{
		"56": {"delivered 0"}, "60": nil, "70": {"buffered 0", "delivered 0"}, "71": {"failed 1"}, "72": {"failed 2"}, "76": {"rejected 6"},
		"79": {"expired 1"}, "94": {"delivered 0"}, "95": {"delivered 0", "delivered 0", "delivered 0"},
	} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			h := receive(t, nil)
			s := startWith(t, Config{VonageReceiptURL: h.url})
			s.texted(t, "4479111234"+end, "Hello", vonage.SMSOpts{})
			s.flush(t)
			var got []string
			for _, p := range h.got() {
				fields := receiptIn(t, p)
				got = append(got, fields["status"]+" "+fields["err-code"])
			}
			diff := cmp.Diff(want, got)
			if diff != "" {
				t.Errorf("receipts differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReceipt_ComesForEachPart(t *testing.T) {
	t.Parallel()
	h := receive(t, nil)
	s := startWith(t, Config{VonageReceiptURL: h.url})
	reply := s.form(t, smsForm(map[string]string{"text": strings.Repeat("a", 161)}))
	s.flush(t)
	posts := h.got()
	if len(posts) != 2 || receiptIn(t, posts[0])["messageId"] != reply.Messages[0].ID || receiptIn(t, posts[1])["messageId"] != reply.Messages[1].ID {
		t.Errorf("%d receipts for %+v", len(posts), reply)
	}
}

// TestReceipt_IsLostByARefusal holds the rule of providers.md 4.7: only 429 and
// 5xx are asked again.
func TestReceipt_IsLostByARefusal(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]WebhookCounts{
		200: {Taken: 1}, 205: {Taken: 1}, 206: {Lost: 1}, 302: {Lost: 1}, 401: {Lost: 1}, 404: {Lost: 1},
		429: {Retried: 1, Waiting: 1}, 503: {Retried: 1, Waiting: 1},
	} {
		h := receive(t, func(int) int { return status })
		s := startWith(t, Config{VonageReceiptURL: h.url})
		s.form(t, smsForm(nil))
		err := s.Flush(t.Context())
		if (err == nil) != (want.Taken == 1) || s.WebhookCounts() != want || len(h.got()) != 1 {
			t.Errorf("%d: %v, %+v, %d posts", status, err, s.WebhookCounts(), len(h.got()))
		}
	}
}

func TestReceipt_CanBeSpoilt(t *testing.T) {
	t.Parallel()
	h := receive(t, nil)
	s := startWith(t, Config{VonageReceiptURL: h.url})
	for _, fault := range []WebhookFault{BadSignature, NoSignature, Stale, Duplicate, Lose} {
		err := s.AddWebhookFault(fault, 1)
		if err != nil {
			t.Fatal(err)
		}
		s.form(t, smsForm(nil))
		err = s.Flush(context.WithoutCancel(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
	}
	posts := h.got()
	if len(posts) != 5 {
		t.Fatalf("%d posts, want 5: one each, two for the duplicate, none for the lost", len(posts))
	}
	var valid []bool
	for _, p := range posts {
		fields := receiptIn(t, p)
		got, err := hex.DecodeString(fields["sig"])
		want, _ := hex.DecodeString(signature(SHA256HMAC, DefaultVonageSignatureSecret, fields))
		valid = append(valid, err == nil && hmac.Equal(got, want))
	}
	diff := cmp.Diff([]bool{false, false, true, true, true}, valid)
	if diff != "" {
		t.Errorf("valid signatures differ (-want +got):\n%s", diff)
	}
	if stale := receiptIn(t, posts[2])["timestamp"]; stale != "1772359200" {
		t.Errorf("the stale one is of %s", stale)
	}
	if receiptIn(t, posts[3])["messageId"] != receiptIn(t, posts[4])["messageId"] {
		t.Error("the duplicate is about another message")
	}
}

func TestReceipt_CanBeTurnedAround(t *testing.T) {
	t.Parallel()
	h := receive(t, nil)
	s := startWith(t, Config{VonageReceiptURL: h.url})
	err := s.AddWebhookFault(Reorder, 1)
	if err != nil {
		t.Fatal(err)
	}
	s.form(t, smsForm(map[string]string{"to": "447911123470"}))
	s.flush(t)
	posts := h.got()
	if len(posts) != 2 || receiptIn(t, posts[0])["status"] != "delivered" || receiptIn(t, posts[1])["status"] != "buffered" {
		t.Errorf("posts = %+v", posts)
	}
}

func TestReceipt_RefusesAnAddressThatIsNone(t *testing.T) {
	t.Parallel()
	_, err := receiptRequest(t.Context(), ReceiptGet, "http://[", nil)
	if err == nil {
		t.Error("a broken address makes a request")
	}
	got, err := receiptRequest(t.Context(), ReceiptGet, "http://127.0.0.1/", map[string]string{"a": "1"})
	if err != nil || got.Method != http.MethodGet || got.URL.RawQuery != "a=1" || got.Header.Get("Content-Type") != "" {
		t.Errorf("request = %+v, %v", got, err)
	}
}
