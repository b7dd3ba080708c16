package sendgrid_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sendgrid/sendgrid-go/helpers/eventwebhook"
	"go.uber.org/goleak"

	"doorcode/pkg/delivery"
	"doorcode/services/receipts/internal/report"
	"doorcode/services/receipts/internal/sendgrid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The vector of providers.md 3.3.
const (
	vectorBody      = "[{\"email\":\"ada@example.net\",\"event\":\"delivered\",\"timestamp\":1795472100}]\r\n"
	vectorTimestamp = "1795472109"
	vectorKey       = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE5h4hUAfrFyFSPX4FDyde9k/AEr2kqK4lwTVyesOm6t+oMXUirXsj0qcFsQ3XDTM0X2Rw89nagy13UKJ4VmhCMA=="
	vectorSignature = "MEUCID1kEHY1J1aVQ1oSZ7xuNZT7Jb/xzl0XzGo1WSkzfQMkAiEAwG8Br+CIDRG6bMmr0qDIj0XgNW0rpa5oVtHcsZoniPk="
)

// vectorNow is a moment after the vector was signed.
func vectorNow() time.Time { return time.Unix(1_795_472_115, 0) }

func keys(t testing.TB, text string) []*ecdsa.PublicKey {
	t.Helper()
	parsed, err := sendgrid.ParseKeys(text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// signer signs as SendGrid does.
type signer struct {
	t   *testing.T
	key *ecdsa.PrivateKey
}

func newSigner(t *testing.T) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signer{t: t, key: key}
}

// public is the key as SendGrid shows it.
func public(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

func (s signer) sign(timestamp, body string) string {
	s.t.Helper()
	sum := sha256.Sum256([]byte(timestamp + body))
	der, err := ecdsa.SignASN1(rand.Reader, s.key, sum[:])
	if err != nil {
		s.t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

func TestVerify_TakesTheVectorAndNothingLikeIt(t *testing.T) {
	t.Parallel()
	ring := keys(t, vectorKey)
	err := sendgrid.Verify(ring, vectorSignature, vectorTimestamp, []byte(vectorBody), vectorNow())
	if err != nil {
		t.Fatal(err)
	}
	der, err := base64.StdEncoding.DecodeString(vectorSignature)
	if err != nil {
		t.Fatal(err)
	}
	trailing := base64.StdEncoding.EncodeToString(append(der, 0))
	zero := base64.StdEncoding.EncodeToString([]byte{0x30, 6, 2, 1, 0, 2, 1, 0})
	for name, c := range map[string]struct{ signature, timestamp, body string }{
		"without the line end":            {vectorSignature, vectorTimestamp, strings.TrimSpace(vectorBody)},
		"other time":                      {vectorSignature, "1795472108", vectorBody},
		"a digit moved into the body":     {vectorSignature, vectorTimestamp[:9], vectorTimestamp[9:] + vectorBody},
		"a digit moved out of the body":   {vectorSignature, vectorTimestamp + "[", vectorBody[1:]},
		"a sign before the time":          {vectorSignature, "+795472109", vectorBody},
		"no time":                         {vectorSignature, "", vectorBody},
		"no signature":                    {"", vectorTimestamp, vectorBody},
		"no base64":                       {"*" + vectorSignature[1:], vectorTimestamp, vectorBody},
		"no DER":                          {"AAAA", vectorTimestamp, vectorBody},
		"bytes behind the DER":            {trailing, vectorTimestamp, vectorBody},
		"zeroes":                          {zero, vectorTimestamp, vectorBody},
		"the body written anew, with air": {vectorSignature, vectorTimestamp, strings.Replace(vectorBody, ",", ", ", 1)},
	} {
		err := sendgrid.Verify(ring, c.signature, c.timestamp, []byte(c.body), vectorNow())
		if !errors.Is(err, sendgrid.ErrSignature) {
			t.Errorf("%s was taken: %v", name, err)
		}
	}
	err = sendgrid.Verify(nil, vectorSignature, vectorTimestamp, []byte(vectorBody), vectorNow())
	if !errors.Is(err, sendgrid.ErrSignature) {
		t.Errorf("taken without a key: %v", err)
	}
}

func TestVerify_BoundsTheAge(t *testing.T) {
	t.Parallel()
	ring, signed := keys(t, vectorKey), time.Unix(1_795_472_109, 0)
	for now, want := range map[time.Time]bool{
		signed.Add(-5 * time.Minute):               true,
		signed.Add(-5*time.Minute - time.Second):   false,
		signed.Add(25 * time.Hour):                 true,
		signed.Add(25*time.Hour + time.Nanosecond): false,
	} {
		err := sendgrid.Verify(ring, vectorSignature, vectorTimestamp, []byte(vectorBody), now)
		if (err == nil) != want {
			t.Errorf("%s after it was signed: %v", now.Sub(signed), err)
		}
	}
}

// Our few lines and SendGrid's own package say the same about what SendGrid writes, in both layouts of a batch.
func TestVerify_AgreesWithSendGridsPackage(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	theirs, err := eventwebhook.ConvertPublicKeyBase64ToECDSA(public(t, &s.key.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	ours := keys(t, public(t, &s.key.PublicKey))
	for _, body := range []string{vectorBody, "[{\"a\":1},\r\n{\"a\":2}]\r\n", "[{\"a\":1}\r\n,{\"a\":2}]\r\n", "[]", ""} {
		signature := s.sign(vectorTimestamp, body)
		good, err := eventwebhook.VerifySignature(theirs, []byte(body), signature, vectorTimestamp)
		if err != nil || !good {
			t.Errorf("%q: theirs says %t, %v", body, good, err)
		}
		err = sendgrid.Verify(ours, signature, vectorTimestamp, []byte(body), vectorNow())
		if err != nil {
			t.Errorf("%q: %v", body, err)
		}
	}
}

func TestVerify_TakesTwoKeysWhileTheyChange(t *testing.T) {
	t.Parallel()
	older, newer, other := newSigner(t), newSigner(t), newSigner(t)
	ring := keys(t, "\n"+public(t, &older.key.PublicKey)+"\r\n  "+public(t, &newer.key.PublicKey)+"\n\n")
	for s, want := range map[signer]bool{older: true, newer: true, other: false} {
		err := sendgrid.Verify(ring, s.sign(vectorTimestamp, "[]"), vectorTimestamp, []byte("[]"), vectorNow())
		if (err == nil) != want {
			t.Errorf("want %t: %v", want, err)
		}
	}
}

func TestParseKeys_RefusesWhatIsNoKeyOfSendGrid(t *testing.T) {
	t.Parallel()
	long, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	foreign := public(t, &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 2047), E: 65537})
	for name, text := range map[string]string{
		"nothing": "", "blank": " \n", "no base64": "-----BEGIN PUBLIC KEY-----", "no key": "AAAA",
		"RSA": foreign, "P-384": public(t, &long.PublicKey), "three": strings.Repeat(vectorKey+"\n", 3),
		"one of two is none": vectorKey + "\nAAAA",
	} {
		_, err := sendgrid.ParseKeys(text)
		if err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

const ref = "AAECAwQFBgcICQoLDA0ODw.2.AAECAwQFBgc"

func TestReport_SaysWhatEachEventMeans(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		event  string
		status delivery.Status
		reason delivery.Reason
		detail string
	}{
		"processed": {`"event":"processed","smtp-id":"<x@geopod>"`, delivery.StatusAccepted, delivery.ReasonOther, ""},
		"delivered": {`"event":"delivered","response":"250 2.0.0 OK","tls":1`, delivery.StatusDelivered, delivery.ReasonOther, "250 2.0.0 OK"},
		"deferred":  {`"event":"deferred","response":"421 later","attempt":"3"`, delivery.StatusDeferred, delivery.ReasonUnreachable, "421 later"},
		"bounce": {
			`"event":"bounce","type":"bounce","status":"5.1.1","reason":"550 no such user","bounce_classification":"Invalid Address"`,
			delivery.StatusFailed, delivery.ReasonInvalidRecipient, "5.1.1: 550 no such user",
		},
		"bounce of a full mailbox": {`"event":"bounce","type":"bounce","bounce_classification":"Mailbox Unavailable"`, delivery.StatusFailed, delivery.ReasonUnreachable, ""},
		"bounce for the content":   {`"event":"bounce","type":"bounce","bounce_classification":"Content"`, delivery.StatusFailed, delivery.ReasonRejected, ""},
		"bounce without a class":   {`"event":"bounce","status":"nonsense","reason":"no"`, delivery.StatusFailed, delivery.ReasonInvalidRecipient, "no"},
		"blocked":                  {`"event":"bounce","type":"blocked","reason":"spam"`, delivery.StatusFailed, delivery.ReasonRejected, "spam"},
		"dropped":                  {`"event":"dropped","reason":"Bounced Address"`, delivery.StatusFailed, delivery.ReasonSuppressed, "Bounced Address"},
	} {
		r := one(t, `{"email":"ada@example.net","timestamp":1795472100,"sg_event_id":"e1","sg_message_id":"m1","category":["otp"],"dlv":"`+ref+`",`+c.event+`}`)
		got, err := r.Report()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := report.Report{
			Provider: "sendgrid", Channel: delivery.Email, Recipient: "ada@example.net", Status: c.status, Reason: c.reason, Detail: c.detail,
			Reference:  delivery.Reference{Challenge: "AAECAwQFBgcICQoLDA0ODw", Send: 2, Attempt: "AAECAwQFBgc"},
			ProviderID: "m1", ProviderEvent: "e1", At: time.Unix(1_795_472_100, 0).UTC(), Cause: got.Cause,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestReport_LeavesOutWhatIsNotAboutADelivery(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]error{
		`{"event":"open","timestamp":1795472100,"dlv":"` + ref + `"}`:       report.ErrUnused,
		`{"event":"spamreport","timestamp":1795472100,"dlv":"` + ref + `"}`: report.ErrUnused,
		`{"event":"account_status_change","timestamp":1795472100}`:          report.ErrUnused,
		`{}`: report.ErrUnused,
		`{"event":["delivered"],"timestamp":1795472100}`:                                        report.ErrUnused,
		`{"event":"delivered","timestamp":1795472100}`:                                          report.ErrForeign,
		`{"event":"delivered","timestamp":1795472100,"dlv":"a.1.b"}`:                            report.ErrForeign,
		`{"event":"bounce","timestamp":1795472100,"email":"a@example.net","sg_message_id":"m"}`: report.ErrForeign,
		`{"event":"bounce","timestamp":1795472100,"email":"a@example.net","dlv":"x"}`:           report.ErrForeign,
		`{"event":"bounce","timestamp":1795472100}`:                                             report.ErrUnreadable,
		`{"event":"bounce","timestamp":1795472100,"email":"<a@example.net>"}`:                   report.ErrUnreadable,
		`{"event":"delivered","dlv":"` + ref + `"}`:                                             report.ErrUnreadable,
		`{"event":"delivered","timestamp":"soon","dlv":"` + ref + `"}`:                          report.ErrUnreadable,
		`{"event":"delivered","timestamp":1795472100.5,"dlv":"` + ref + `"}`:                    report.ErrUnreadable,
		`{"event":"delivered","timestamp":1795472100000,"dlv":"` + ref + `"}`:                   report.ErrUnreadable,
	} {
		_, err := one(t, body).Report()
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, not %v", body, err, want)
		}
	}
}

// sg_event_id is not stable (providers.md 1, trap 16), so a copy is known by the rest.
func TestReport_CopiesHaveOneCause(t *testing.T) {
	t.Parallel()
	base := `{"email":"ada@example.net","event":"deferred","timestamp":1795472100,"sg_event_id":"e1","dlv":"` + ref + `","attempt":"1"}`
	cause := func(old, changed string) string {
		r, err := one(t, strings.Replace(base, old, changed, 1)).Report()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(r.Cause, "|")
	}
	same := cause("x", "x")
	for old, changed := range map[string]string{`"e1"`: `"e2"`, `"attempt":"1"`: `"attempt":1`, `1795472100`: `"1795472100"`} {
		if cause(old, changed) != same {
			t.Errorf("a copy with %s has another cause", changed)
		}
	}
	for old, changed := range map[string]string{`1795472100`: `1795472101`, `"attempt":"1"`: `"attempt":"2"`, `"deferred"`: `"delivered"`} {
		if cause(old, changed) == same {
			t.Errorf("another event with %s has the same cause", changed)
		}
	}
}

func TestReport_AnAsynchronousBounceHasItsRecipientAlone(t *testing.T) {
	t.Parallel()
	r, err := one(t, `{"email":"Ada@Example.net","event":"bounce","type":"bounce","timestamp":1795472100,"sg_event_id":"e","sg_message_id":""}`).Report()
	if err != nil || r.Reference.Challenge != "" || r.Recipient != "Ada@Example.net" || r.Status != delivery.StatusFailed {
		t.Errorf("%+v: %v", r, err)
	}
}

func TestDecode_IsLenientWithinAnArrayAlone(t *testing.T) {
	t.Parallel()
	for body, want := range map[string][2]int{
		"[]": {0, 0}, "[\r\n]\r\n": {0, 0}, "[{}]\r\n": {1, 0}, "[{},\r\n{}]\r\n": {2, 0}, "[{}\r\n,{}]\r\n": {2, 0},
		`[1,null,"x",[],{"event":{"a":1},"email":7,"new":[true]}]`: {1, 4},
	} {
		entries, skipped, err := sendgrid.Decode([]byte(body))
		if err != nil || len(entries) != want[0] || skipped != want[1] {
			t.Errorf("%q: %d read, %d skipped: %v", body, len(entries), skipped, err)
		}
	}
	for _, body := range []string{"", " []", "{}", "[", "[{}", "[{}]x", "[{},]", "\xef\xbb\xbf[]"} {
		_, _, err := sendgrid.Decode([]byte(body))
		if !errors.Is(err, report.ErrUnreadable) {
			t.Errorf("%q: %v", body, err)
		}
	}
}

// one reads a batch of one event.
func one(t testing.TB, event string) sendgrid.Entry {
	t.Helper()
	entries, skipped, err := sendgrid.Decode([]byte("[" + event + "]\r\n"))
	if err != nil || len(entries) != 1 || skipped != 0 {
		t.Fatalf("%s: %d read, %d skipped: %v", event, len(entries), skipped, err)
	}
	return entries[0]
}

// What is accepted reads the same when it is written again, and whatever becomes a report can be an event.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(vectorBody))
	f.Add([]byte(`[{"email":"ada@example.net","event":"deferred","timestamp":"1795472100","attempt":3,"dlv":"` + ref + `"},7]`))
	f.Add([]byte(`[{"event":"bounce","email":"a@b.example","timestamp":1795472100,"status":"5.0.0","reason":"a\u0000b"}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		entries, _, err := sendgrid.Decode(body)
		if err != nil {
			return
		}
		again, err := json.Marshal(entries)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 0 {
			return
		}
		back, skipped, err := sendgrid.Decode(again)
		if err != nil || skipped != 0 || !cmp.Equal(entries, back) {
			t.Fatalf("reads differently when it is written again: %v", err)
		}
		for i, e := range entries {
			r, err := e.Report()
			other, otherErr := back[i].Report()
			if !errors.Is(otherErr, err) || !cmp.Equal(r, other) {
				t.Fatal("means something else when it is written again")
			}
			if err == nil && r.Reference.Challenge == "" && !strings.Contains(r.Recipient, "@") {
				t.Fatal("a report about nobody")
			}
		}
	})
}

// FuzzVerify holds that nothing is signed but what was, and that no header or key breaks the check.
func FuzzVerify(f *testing.F) {
	f.Add(vectorSignature, vectorTimestamp, []byte(vectorBody), vectorKey)
	f.Add(vectorSignature, vectorTimestamp[:9], []byte(vectorTimestamp[9:]+vectorBody), vectorKey)
	f.Add("", "", []byte(nil), "")
	f.Add("MAA=", vectorTimestamp, []byte("[]"), vectorKey+"\n"+vectorKey)
	f.Add("MAYCAQACAQA=", vectorTimestamp, []byte("[]"), "AAAA")
	f.Fuzz(func(t *testing.T, signature, timestamp string, body []byte, text string) {
		vector := keys(t, vectorKey)
		err := sendgrid.Verify(vector, signature, timestamp, body, vectorNow())
		if err == nil && (timestamp != vectorTimestamp || string(body) != vectorBody) {
			t.Errorf("%q %q is signed by %q", timestamp, body, signature)
		}
		parsed, err := sendgrid.ParseKeys(text)
		if err != nil {
			return
		}
		if len(parsed) < 1 || len(parsed) > 2 {
			t.Errorf("%d keys in %q", len(parsed), text)
		}
		_ = sendgrid.Verify(parsed, signature, timestamp, body, vectorNow())
	})
}
