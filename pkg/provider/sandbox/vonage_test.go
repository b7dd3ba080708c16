package sandbox

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// smsForm is the smallest request that is accepted, with some values changed;
// an empty one is left away.
func smsForm(changes map[string]string) url.Values {
	fields := map[string]string{
		"api_key": DefaultVonageKey, "api_secret": DefaultVonageSecret, "from": "ExampleCo", "to": phoneNumber, "text": "Hello",
	}
	maps.Copy(fields, changes)
	form := url.Values{}
	for name, value := range fields {
		if value != "" {
			form.Set(name, value)
		}
	}
	return form
}

// ask sends a raw body and returns the reply, which must be HTTP 200.
func (s *server) ask(t *testing.T, media, body string, header map[string]string) smsReply {
	t.Helper()
	all := map[string]string{"Content-Type": media}
	maps.Copy(all, header)
	got, text := s.do(t, http.MethodPost, smsPath, strings.NewReader(body), all)
	var reply smsReply
	err := json.Unmarshal([]byte(text), &reply)
	if err != nil || got.StatusCode != http.StatusOK || got.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("answer = %d %s (%v), want 200 and JSON", got.StatusCode, text, err)
	}
	return reply
}

// form sends a form.
func (s *server) form(t *testing.T, form url.Values) smsReply {
	t.Helper()
	return s.ask(t, "application/x-www-form-urlencoded", form.Encode(), nil)
}

func TestVonage_RefusesInTheDocumentedOrder(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", maxText+1)
	for name, row := range map[string]struct {
		changes map[string]string
		status  string
		text    string
	}{
		"nothing":                 {map[string]string{"api_key": "", "api_secret": "", "from": "", "to": "", "text": ""}, "2", "Missing api_key param"},
		"no secret, no sender":    {map[string]string{"api_secret": "", "from": ""}, "2", "Missing api_secret param"},
		"no sender, no number":    {map[string]string{"from": "", "to": ""}, "2", "Missing from param"},
		"no number, no text":      {map[string]string{"to": "", "text": ""}, "2", "Missing to param"},
		"no text, bad number":     {map[string]string{"text": "", "to": "x"}, "2", "Missing text param"},
		"bad number, wrong key":   {map[string]string{"to": "+447911123456", "api_key": "wrong"}, "3", "Invalid to param"},
		"short number":            {map[string]string{"to": "123456"}, "3", "Invalid to param"},
		"long number":             {map[string]string{"to": "1234567890123456"}, "3", "Invalid to param"},
		"unknown parameter":       {map[string]string{"clientRef": "a"}, "3", "Invalid clientRef param"},
		"type of the sandbox not": {map[string]string{"type": "binary"}, "3", "Invalid type param"},
		"ttl too short":           {map[string]string{"ttl": "19999"}, "3", "Invalid ttl param"},
		"ttl too long":            {map[string]string{"ttl": "604800001"}, "3", "Invalid ttl param"},
		"ttl in words":            {map[string]string{"ttl": "5m"}, "3", "Invalid ttl param"},
		"report not a truth":      {map[string]string{"status-report-req": "maybe"}, "3", "Invalid status-report-req param"},
		"long reference":          {map[string]string{"client-ref": strings.Repeat("r", 41)}, "3", "Invalid client-ref param"},
		"class":                   {map[string]string{"message-class": "4"}, "3", "Invalid message-class param"},
		"wrong key":               {map[string]string{"api_key": "abcd1235", "from": "no name!"}, "4", "Bad Credentials"},
		"wrong secret":            {map[string]string{"api_secret": "wrong"}, "4", "Bad Credentials"},
		"both secrets":            {map[string]string{"sig": "00"}, "32", "Signature And API Secret Disallowed"},
		"bad signature":           {map[string]string{"api_secret": "", "sig": "00"}, "14", "Invalid Signature"},
		"sender with a blank":     {map[string]string{"from": "Example Co", "text": long}, "15", "Illegal Sender Address - rejected"},
		"sender too long":         {map[string]string{"from": "ExampleCoLtd"}, "15", "Illegal Sender Address - rejected"},
		"number with a plus":      {map[string]string{"from": "+447911000000"}, "15", "Illegal Sender Address - rejected"},
		"number with zeros":       {map[string]string{"from": "00447911000000"}, "15", "Illegal Sender Address - rejected"},
		"name to North America":   {map[string]string{"to": "12025550123"}, "15", "Illegal Sender Address - rejected"},
		"too long, bad callback":  {map[string]string{"text": long, "callback": "nowhere"}, "12", "Message too long"},
		"callback":                {map[string]string{"callback": "ftp://example.com", "to": "447911123409"}, "23", "Invalid Callback URL"},
		"no credit by magic":      {map[string]string{"to": "447911123409"}, "9", "Quota Exceeded - rejected"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			diff := cmp.Diff(newReply(smsPart{Status: row.status, ErrorText: row.text}), s.form(t, smsForm(row.changes)))
			if diff != "" || s.Count() != 0 {
				t.Errorf("%d stored, reply differs (-want +got):\n%s", s.Count(), diff)
			}
		})
	}
}

func TestVonage_AcceptsWhatIsAllowed(t *testing.T) {
	t.Parallel()
	s := start(t)
	for name, changes := range map[string]map[string]string{
		"least ttl": {"ttl": "20000"}, "most ttl": {"ttl": "604800000"}, "no report": {"status-report-req": "false"},
		"number as a sender": {"from": "447911000000", "to": "12025550123"}, "class": {"message-class": "0"},
		"India": {"entity-id": "1", "content-id": "2"}, "unicode": {"type": "unicode"}, "callback": {"callback": "https://example.com/dlr"},
		"longest reference": {"client-ref": strings.Repeat("é", 40)}, "longest text": {"text": strings.Repeat("a", maxText)},
	} {
		reply := s.form(t, smsForm(changes))
		if reply.Messages[0].Status != "0" || reply.Messages[0].ClientRef != changes["client-ref"] {
			t.Errorf("%s: %+v", name, reply)
		}
	}
}

func TestVonage_ChecksASignedRequest(t *testing.T) {
	t.Parallel()
	s := start(t)
	form := smsForm(map[string]string{"api_secret": "", "timestamp": "1795472109"})
	fields := map[string]string{}
	for name := range form {
		fields[name] = form.Get(name)
	}
	form.Set("sig", strings.ToLower(signature(SHA256HMAC, DefaultVonageSignatureSecret, fields)))
	if reply := s.form(t, form); reply.Messages[0].Status != "0" {
		t.Errorf("signed = %+v", reply)
	}
	form.Set("text", "Another")
	if reply := s.form(t, form); reply.Messages[0].Status != "14" {
		t.Errorf("changed = %+v", reply)
	}
}

func TestVonage_TakesJSONWithBasicAuthentication(t *testing.T) {
	t.Parallel()
	basic := func(key, secret string) map[string]string {
		return map[string]string{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(key+":"+secret))}
	}
	right := basic(DefaultVonageKey, DefaultVonageSecret)
	plain := `{"from":"ExampleCo","to":"447911123456","text":"Hello"}`
	for name, row := range map[string]struct {
		header map[string]string
		body   string
		status string
	}{
		"kebab case":      {right, `{"from":"ExampleCo","to":"447911123456","text":"Hello","client-ref":"r","ttl":300000,"status-report-req":true,"message-class":0}`, "0"},
		"number":          {right, `{"from":"ExampleCo","to":447911123456,"text":"Hello"}`, "0"},
		"in the body":     {nil, `{"api_key":"abcd1234","api_secret":"sandbox-secret","from":"ExampleCo","to":"447911123456","text":"Hello"}`, "0"},
		"nobody":          {nil, plain, "2"},
		"wrong secret":    {basic(DefaultVonageKey, "wrong"), plain, "4"},
		"wrong key":       {basic("abcd1235", DefaultVonageSecret), plain, "4"},
		"camel case":      {right, `{"from":"ExampleCo","to":"447911123456","text":"Hello","clientRef":"r"}`, "3"},
		"null":            {right, `{"from":"ExampleCo","to":"447911123456","text":"Hello","ttl":null}`, "3"},
		"list":            {right, `{"from":"ExampleCo","to":["447911123456"],"text":"Hello"}`, "2"},
		"broken":          {right, `{"from":`, "2"},
		"twice":           {right, `{"from":"ExampleCo","to":"447911123456","text":"Hello","text":"Bye"}`, "2"},
		"no object":       {right, `[]`, "2"},
		"no text at all":  {right, ``, "2"},
		"broken surrogat": {right, `{"from":"ExampleCo","to":"447911123456","text":"\ud800"}`, "0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			reply := s.ask(t, "application/json", row.body, row.header)
			if reply.Messages[0].Status != row.status {
				t.Errorf("reply = %+v, want status %s", reply, row.status)
			}
		})
	}
}

func TestVonage_CountsPartsAndCharges(t *testing.T) {
	t.Parallel()
	s := startWith(t, Config{VonageBalance: 1})
	for _, row := range []struct {
		text, kind, shown string
		parts             int
	}{
		{strings.Repeat("a", 160), "text", strings.Repeat("a", 160), 1},
		{strings.Repeat("a", 161), "text", strings.Repeat("a", 161), 2},
		{strings.Repeat("€", 81), "text", strings.Repeat("€", 81), 2},
		{strings.Repeat("a", 70), "unicode", strings.Repeat("a", 70), 1},
		{strings.Repeat("a", 71), "unicode", strings.Repeat("a", 71), 2},
		{strings.Repeat("🔑", 36), "unicode", strings.Repeat("🔑", 36), 2},
		{"Don’t say code: “código”", "text", "Don?t say code: ?c?digo?", 1},
		{strings.Repeat("я", 160), "", strings.Repeat("?", 160), 1},
	} {
		reply := s.form(t, smsForm(map[string]string{"text": row.text, "type": row.kind}))
		stored := s.Messages("")[0]
		if len(reply.Messages) != row.parts || stored.Parts != row.parts || stored.Text != row.shown {
			t.Errorf("%.10s as %s: %d parts, stored %+v; want %d and %q", row.text, row.kind, len(reply.Messages), stored, row.parts, row.shown)
		}
	}
	// 12 parts are paid: 18 fit into one euro.
	reply := s.form(t, smsForm(map[string]string{"text": strings.Repeat("a", 900)}))
	if len(reply.Messages) != 6 || reply.Messages[5].Balance != "0.01000000" || reply.Messages[0].Price != "0.05500000" {
		t.Errorf("the last of the credit = %+v", reply)
	}
	reply = s.form(t, smsForm(nil))
	if reply.Messages[0].Status != "9" {
		t.Errorf("without credit = %+v", reply)
	}
}

func TestVonage_KeepsTheLifeOfAMessage(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.form(t, smsForm(map[string]string{"ttl": "300000"}))
	if got := s.Messages(phoneNumber); len(got) != 1 || got[0].TTL != 5*time.Minute {
		t.Errorf("stored %+v", got)
	}
}

func TestVonage_AnswersTheRestByHTTP(t *testing.T) {
	t.Parallel()
	s := start(t)
	got, text := s.do(t, http.MethodGet, smsPath, nil, nil)
	if got.StatusCode != http.StatusMethodNotAllowed || text != `{"error-code":"405","error-code-label":"Method Not Allowed"}` {
		t.Errorf("GET = %d %s", got.StatusCode, text)
	}
	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	got, _ = s.do(t, http.MethodPost, smsPath, strings.NewReader(strings.Repeat("a", maxSMSRequest+1)), form)
	if got.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("too large = %d", got.StatusCode)
	}
	got, text = s.do(t, http.MethodPost, smsXMLPath, strings.NewReader(smsForm(nil).Encode()), form)
	id := s.Messages("")[0].ID
	want := `<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<mt-submission-response><messages count="1"><message><to>447911123456</to><messageId>` + id +
		`</messageId><status>0</status><remainingBalance>999999.94500000</remainingBalance><messagePrice>0.05500000</messagePrice><network>23410</network></message></messages></mt-submission-response>`
	if got.Header.Get("Content-Type") != "text/xml" || text != want {
		t.Errorf("XML = %s\nwant %s", text, want)
	}
}

func TestVonage_DoublesAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	form := smsForm(nil)
	form.Add("to", "447911123457")
	if reply := s.form(t, form); reply.Messages[0].ErrorText != "Invalid to param" {
		t.Errorf("two numbers = %+v", reply)
	}
	if reply := s.ask(t, "text/plain", smsForm(nil).Encode(), nil); reply.Messages[0].Status != "2" {
		t.Errorf("plain text = %+v", reply)
	}
	if reply := s.ask(t, "application/x-www-form-urlencoded", "%zz", nil); reply.Messages[0].Status != "2" {
		t.Errorf("broken form = %+v", reply)
	}
	s.form(t, smsForm(map[string]string{"to": "99912345678"}))
	if s.Count() != 1 || network("99912345678") != "99999" || amount(-smsPrice) != "-0.05500000" {
		t.Error("an unknown country has no network")
	}
}

func FuzzReadSMS(f *testing.F) {
	for _, seed := range []string{
		smsForm(nil).Encode(), `{"from":"a","to":"447911123456","text":"x"}`, `{}`, `[]`, `null`, "%", "a=b&a=c", "text=%ff",
	} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	s := New(Config{Clock: noon})
	f.Fuzz(func(t *testing.T, body string, isForm bool) {
		media := map[bool]string{true: "application/x-www-form-urlencoded", false: "application/json"}[isForm]
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, smsPath, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", media)
		r.SetBasicAuth(DefaultVonageKey, DefaultVonageSecret)
		request, err := readSMS(r)
		if err != nil {
			return
		}
		part, refused := s.sms.refusal(request)
		if refused == (part.Status == "") || (refused && part.ErrorText == "") {
			t.Errorf("refusal = %+v, %v", part, refused)
		}
		if !refused && (!patterns().to.MatchString(request.fields["to"]) || request.fields["text"] == "") {
			t.Errorf("accepted %v", request.fields)
		}
	})
}
