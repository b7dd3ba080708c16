package vonage_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"doorcode/pkg/config"
	"doorcode/pkg/delivery"
	"doorcode/services/receipts/internal/report"
	"doorcode/services/receipts/internal/vonage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secret is that of the vector of providers.md 4.8.
const secret = "sandbox-signature-secret"

// vector is that receipt, and its signature by each method.
func vector() vonage.Fields {
	return vonage.Fields{
		"api-key": "abcd1234", "client-ref": "01JDEXAMPLE0000000000000A", "err-code": "0", "message-timestamp": "2026-11-23 22:15:09",
		"messageId": "0C000000A1B2C3D4", "msisdn": "34600111222", "network-code": "21407",
		"nonce": "5b0e6f0e-4b6e-4f6b-9d8e-2f0f6f4d9a11", "price": "0.05500000", "scts": "2611232215", "status": "delivered",
		"timestamp": "1795472109", "to": "Example",
	}
}

func signatures() map[vonage.Method]string {
	return map[vonage.Method]string{
		vonage.MD5Hash: "f095a6d6aa184b3ede2d0ed770be8683",
		vonage.MD5:     "EB91BAB0259DB4678D848D6B03C312E5",
		vonage.SHA1:    "03A43698CD1321AB6103401021EF081013BA107E",
		vonage.SHA256:  "6D288341217AF9602659DF39595558EECD97BBF608C027518595F9A5223D3CE2",
		vonage.SHA512:  "7E24575496DDB5D54AE0AC6C4E6F29F45AF7EA0D6DB96B9A6BD67ED4494DE97F37E420718C04F16093C3FAA12F79F97C58B7722072F4F07B00198F22A8A85F3C",
	}
}

func vectorNow() time.Time { return time.Unix(1_795_472_115, 0) }

// with returns a copy with other fields; an empty value takes one out.
func with(f vonage.Fields, pairs ...string) vonage.Fields {
	f = maps.Clone(f)
	for i := 0; i < len(pairs); i += 2 {
		f[pairs[i]] = pairs[i+1]
		if pairs[i+1] == "" {
			delete(f, pairs[i])
		}
	}
	return f
}

func verifier(m vonage.Method) vonage.Verifier {
	return vonage.Verifier{Method: m, Secrets: []config.Secret{config.NewSecret(secret)}, APIKey: "abcd1234"}
}

func TestVerify_TakesTheVectorOfEveryMethodInEitherCase(t *testing.T) {
	t.Parallel()
	for _, m := range vonage.Methods() {
		sig := signatures()[m]
		for _, written := range []string{strings.ToLower(sig), strings.ToUpper(sig)} {
			err := verifier(m).Verify(with(vector(), "sig", written), vectorNow())
			if err != nil {
				t.Errorf("%s: %v", m, err)
			}
		}
		for other, foreign := range signatures() {
			err := verifier(m).Verify(with(vector(), "sig", foreign), vectorNow())
			if (err == nil) != (m == other) {
				t.Errorf("%s with a signature by %s: %v", m, other, err)
			}
		}
	}
}

// It shows SEC-26 of deploy/SECURITY.md.
func TestVerify_RefusesEverythingElse(t *testing.T) {
	t.Parallel()
	good := with(vector(), "sig", signatures()[vonage.SHA256])
	for name, f := range map[string]vonage.Fields{
		"no signature":        vector(),
		"empty signature":     {"sig": "", "timestamp": "1795472109"},
		"no hex":              with(good, "sig", "xyz"),
		"cut":                 with(good, "sig", good["sig"][:62]),
		"longer":              with(good, "sig", good["sig"]+"00"),
		"other status":        with(good, "status", "failed"),
		"a field more":        with(good, "extra", "1"),
		"a field less":        with(good, "price", ""),
		"other person":        with(good, "msisdn", "34600111223"),
		"other account":       with(good, "api-key", "abcd1235"),
		"fields run together": with(good, "status", "", "scts", "2611232215&status=delivered"),
	} {
		err := verifier(vonage.SHA256).Verify(f, vectorNow())
		if !errors.Is(err, vonage.ErrSignature) {
			t.Errorf("%s was taken: %v", name, err)
		}
	}
	for name, v := range map[string]vonage.Verifier{
		"no secret":     {Method: vonage.SHA256, APIKey: "abcd1234"},
		"no method":     {Secrets: []config.Secret{config.NewSecret(secret)}},
		"other account": {Method: vonage.SHA256, Secrets: []config.Secret{config.NewSecret(secret)}, APIKey: "zzzz9999"},
		"other secret":  {Method: vonage.SHA256, Secrets: []config.Secret{config.NewSecret("x")}},
	} {
		err := v.Verify(good, vectorNow())
		if !errors.Is(err, vonage.ErrSignature) {
			t.Errorf("%s was taken: %v", name, err)
		}
	}
}

func TestVerify_TakesTwoSecretsAndAnyAccountWhenNoneIsNamed(t *testing.T) {
	t.Parallel()
	secrets, err := vonage.ParseSecrets("newer\r\n\n " + secret + " \n")
	if err != nil {
		t.Fatal(err)
	}
	v := vonage.Verifier{Method: vonage.SHA256, Secrets: secrets}
	err = v.Verify(with(vector(), "sig", signatures()[vonage.SHA256]), vectorNow())
	if err != nil {
		t.Error(err)
	}
	for _, text := range []string{"", "\n \n", "a\nb\nc"} {
		_, err = vonage.ParseSecrets(text)
		if err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestVerify_BoundsTheAge(t *testing.T) {
	t.Parallel()
	signed, good := time.Unix(1_795_472_109, 0), with(vector(), "sig", signatures()[vonage.SHA256])
	for now, want := range map[time.Time]bool{
		signed.Add(-5 * time.Minute):               true,
		signed.Add(-5*time.Minute - time.Second):   false,
		signed.Add(25 * time.Hour):                 true,
		signed.Add(25*time.Hour + time.Nanosecond): false,
	} {
		err := verifier(vonage.SHA256).Verify(good, now)
		if (err == nil) != want {
			t.Errorf("%s after it was signed: %v", now.Sub(signed), err)
		}
	}
}

// form writes fields as a query or a form.
func form(f vonage.Fields) string {
	v := url.Values{}
	for name, value := range f {
		v.Set(name, value)
	}
	return v.Encode()
}

func object(t testing.TB, f vonage.Fields) []byte {
	t.Helper()
	data, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

const formType = "application/x-www-form-urlencoded"

func TestDecode_TakesAllThreeWays(t *testing.T) {
	t.Parallel()
	want := with(vector(), "text", "a&b=c ü+%")
	for name, c := range map[string]struct {
		kind, query string
		body        []byte
	}{
		"query":                 {"", form(want), nil},
		"form":                  {formType, "", []byte(form(want))},
		"form with a charset":   {formType + "; charset=utf-8", "", []byte(form(want))},
		"form without a type":   {"", "", []byte(form(want))},
		"JSON":                  {"application/json", "", object(t, want)},
		"JSON with a charset":   {"application/json; charset=utf-8", "", object(t, want)},
		"JSON without a type":   {"", "", object(t, want)},
		"a body before a query": {"application/json", "status=failed", object(t, want)},
	} {
		got, err := vonage.Decode(c.kind, c.query, c.body)
		if err != nil || !cmp.Equal(got, want) {
			t.Errorf("%s: %v: %v", name, got, err)
		}
	}
	got, err := vonage.Decode("application/json", "", []byte(` {"a":0.050,"b":true,"c":"x"} `))
	if err != nil || !cmp.Equal(got, vonage.Fields{"a": "0.050", "b": "true", "c": "x"}) {
		t.Errorf("%v: %v", got, err)
	}
}

func TestDecode_RefusesWhatCouldBeSignedInTwoWays(t *testing.T) {
	t.Parallel()
	many := make([]string, 65)
	for i := range many {
		many[i] = fmt.Sprintf("f%d=1", i)
	}
	for _, c := range []struct{ kind, query, body string }{
		{"", "", ""},
		{"", "a=1&a=2", ""},
		{"", "a=%zz", ""},
		{"", "a=%ff", ""},
		{"", "a;b=1", ""},
		{"", "a%3D0%26b=1", ""}, // A name that holds another field: its signature would be the other's too.
		{"application/json", "", `{"a=0&b":"1"}`},
		{"", strings.Join(many, "&"), ""},
		{formType, "", "a=1&a=1"},
		{"application/json", "", `{"a":"1","a":"1"}`},
		{"application/json", "", `[]`},
		{"application/json", "", `{}`},
		{"application/json", "", `{"a":null}`},
		{"application/json", "", `{"a":{"b":"c"}}`},
		{"application/json", "", `{"a":["b"]}`},
		{"application/json", "", `{"a":"b"}x`},
		{"application/json", "", `{"a":"b"}{"c":"d"}`},
		{"application/json", "", `{"a":"b"`},
		{"application/json", "", `{"a"`},
		{"application/json", "", "{\"a\":\"\xff\"}"},
		{"application/json", "", `"a"`},
	} {
		_, err := vonage.Decode(c.kind, c.query, []byte(c.body))
		if !errors.Is(err, report.ErrUnreadable) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

const ref = "AAECAwQFBgcICQoLDA0ODw.2.AAECAwQFBgc"

func ours(pairs ...string) vonage.Fields { return with(with(vector(), "client-ref", ref), pairs...) }

func TestReport_SaysWhatEachStatusMeans(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status, code string
		want         delivery.Status
		reason       delivery.Reason
	}{
		{"accepted", "0", delivery.StatusAccepted, delivery.ReasonOther},
		{"buffered", "0", delivery.StatusDeferred, delivery.ReasonUnreachable},
		{"buffered", "2", delivery.StatusDeferred, delivery.ReasonUnreachable},
		{"delivered", "0", delivery.StatusDelivered, delivery.ReasonOther},
		{"expired", "", delivery.StatusFailed, delivery.ReasonUnreachable},
		{"expired", "3", delivery.StatusFailed, delivery.ReasonInvalidRecipient},
		{"rejected", "99", delivery.StatusFailed, delivery.ReasonRejected},
		{"rejected", "6", delivery.StatusFailed, delivery.ReasonRejected},
		{"failed", "1", delivery.StatusFailed, delivery.ReasonOther},
		{"failed", "4", delivery.StatusFailed, delivery.ReasonInvalidRecipient},
		{"failed", "5", delivery.StatusFailed, delivery.ReasonProviderError},
		{"failed", "7", delivery.StatusFailed, delivery.ReasonUnreachable},
		{"failed", "9", delivery.StatusFailed, delivery.ReasonSuppressed},
		{"failed", "12", delivery.StatusFailed, delivery.ReasonUnreachable},
		{"failed", "16", delivery.StatusFailed, delivery.ReasonRateLimited},
		{"failed", "52", delivery.StatusFailed, delivery.ReasonRejected},
		{"undelivered", "", delivery.StatusFailed, delivery.ReasonOther},
		{"deleted", "x", delivery.StatusFailed, delivery.ReasonOther},
	} {
		r, err := ours("status", c.status, "err-code", c.code).Report()
		if err != nil || r.Status != c.want || r.Reason != c.reason || !strings.Contains(r.Detail, c.status) {
			t.Errorf("%s %s: %+v: %v", c.status, c.code, r, err)
		}
	}
	r, err := ours().Report()
	at := time.Date(2026, 11, 23, 22, 15, 9, 0, time.UTC)
	if err != nil || r.Provider != "vonage" || r.Channel != delivery.SMS || r.Reference.String() != ref || !r.At.Equal(at) ||
		r.ProviderID != "0C000000A1B2C3D4" || r.Recipient != "34600111222" {
		t.Errorf("%+v: %v", r, err)
	}
	r, err = ours("message-timestamp", "").Report()
	if err != nil || !r.At.Equal(time.Date(2026, 11, 23, 22, 15, 0, 0, time.UTC)) {
		t.Errorf("by the carrier's time alone: %+v: %v", r, err)
	}
}

func TestReport_LeavesOutWhatSaysNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		f    vonage.Fields
		want error
	}{
		"no information":     {ours("status", "unknown"), report.ErrUnused},
		"no status":          {ours("status", ""), report.ErrUnused},
		"a later status":     {ours("status", "read"), report.ErrUnused},
		"another's message":  {vector(), report.ErrForeign},
		"without reference":  {ours("client-ref", ""), report.ErrForeign},
		"without a time":     {ours("message-timestamp", "", "scts", ""), report.ErrUnreadable},
		"with a broken time": {ours("message-timestamp", "yesterday", "scts", "9999999999"), report.ErrUnreadable},
	} {
		_, err := c.f.Report()
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A retry may be signed anew; parts of one message are told apart.
func TestReport_CopiesHaveOneCause(t *testing.T) {
	t.Parallel()
	cause := func(f vonage.Fields) string {
		r, err := f.Report()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(r.Cause, "|")
	}
	same := cause(ours())
	if cause(ours("nonce", "other", "timestamp", "1795472999", "sig", "00", "price", "1")) != same {
		t.Error("a copy that was signed anew has another cause")
	}
	for _, other := range []vonage.Fields{
		ours("messageId", "0C000000A1B2C3D5"), ours("status", "failed"), ours("message-timestamp", "2026-11-23 22:15:10"), ours("err-code", "1"),
	} {
		if cause(other) == same {
			t.Errorf("%v has the same cause", other)
		}
	}
}

// What is accepted reads the same in each of the three ways, and so is signed the same.
func FuzzDecode(f *testing.F) {
	f.Add("", "a=1&b=%20x", []byte(nil))
	f.Add(formType, "", []byte("a=1&b=2"))
	f.Add("application/json", "", []byte(`{"status":"delivered","price":0.05}`))
	f.Fuzz(func(t *testing.T, kind, query string, body []byte) {
		fields, err := vonage.Decode(kind, query, body)
		if err != nil {
			return
		}
		asQuery, err1 := vonage.Decode("", form(fields), nil)
		asForm, err2 := vonage.Decode(formType, "", []byte(form(fields)))
		asJSON, err3 := vonage.Decode("application/json", "", object(t, fields))
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
		for _, again := range []vonage.Fields{asQuery, asForm, asJSON} {
			if !cmp.Equal(fields, again) {
				t.Fatal("reads differently when it is written again")
			}
		}
		_, _ = fields.Report()
		if verifier(vonage.SHA256).Verify(fields, vectorNow()) == nil {
			t.Fatal("a signature out of nothing")
		}
	})
}

// FuzzParseSecrets holds that the file of secrets gives one or two, and that a refusal tells none.
func FuzzParseSecrets(f *testing.F) {
	for _, seed := range []string{"", "secret-of-the-account", "one\ntwo\n", "one\ntwo\nthree", " \r\n one \r\n", "\x00", strings.Repeat("x", 1000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		secrets, err := vonage.ParseSecrets(text)
		if err != nil {
			for _, line := range strings.Fields(text) {
				if len(line) > 20 && strings.Contains(err.Error(), line) {
					t.Errorf("the refusal %v tells a secret", err)
				}
			}
			return
		}
		if len(secrets) < 1 || len(secrets) > 2 {
			t.Errorf("%d secrets", len(secrets))
		}
		for _, s := range secrets {
			if s.IsZero() || !strings.Contains(text, s.Reveal()) || strings.Contains(fmt.Sprintf("%v %+v %#v", s, s, s), s.Reveal()) && len(s.Reveal()) > 12 {
				t.Errorf("the secret %q of %q", s.Reveal(), text)
			}
		}
	})
}
