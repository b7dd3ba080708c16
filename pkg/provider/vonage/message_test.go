package vonage_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/config"
	"doorcode/pkg/delivery"
	"doorcode/pkg/provider"
	"doorcode/pkg/provider/providertest"
	"doorcode/pkg/provider/vonage"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares a form, one sorted line for each value, with a file under
// testdata.
func golden(t *testing.T, name string, form map[string]string) {
	t.Helper()
	var lines bytes.Buffer
	for _, key := range slices.Sorted(maps.Keys(form)) {
		fmt.Fprintf(&lines, "%s=%q\n", key, form[key])
	}
	path := filepath.Join("testdata", name)
	if *update {
		err := os.WriteFile(path, lines.Bytes(), 0o600)
		if err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(lines.Bytes(), want) {
		t.Errorf("the form is not %s:\n%s", path, lines.String())
	}
}

func TestClient_WritesTheFormThatACodeNeeds(t *testing.T) {
	t.Parallel()
	s := providertest.NewServer(t)
	s.Use(providertest.Answer(taken()))
	cfg := configFor(s.URL())
	now := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	cfg.Clock = func() time.Time { return now }
	c := newClient(t, cfg)
	text := sample(1)
	unicode := sample(2)
	unicode.Recipient = "+4915123456789"
	unicode.Text = "804613 — ваш код & ключ 🔑.\n\n@lanternbird.example #804613"
	for name, m := range map[string]provider.Message{"text.form": text, "unicode.form": unicode} {
		m.NotAfter = now.Add(4 * time.Minute)
		_, err := c.Send(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		requests := s.Requests()
		last := requests[len(requests)-1]
		form, err := readForm(last)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, form)
		if last.Method != http.MethodPost || last.Path != "/sms/json" ||
			last.Header.Get("Content-Type") != "application/x-www-form-urlencoded" ||
			last.Header.Get("Content-Length") != fmt.Sprint(len(last.Body)) {
			t.Errorf("got %s %s %v", last.Method, last.Path, last.Header)
		}
	}
}

// TestClient_ChoosesTheAlphabetByTheText: with the wrong one characters are
// lost, or every message costs twice (providers.md 1, trap 19).
func TestClient_ChoosesTheAlphabetByTheText(t *testing.T) {
	t.Parallel()
	s, c := newPair(t)
	for text, want := range map[string]string{
		"Don't share it.": "text", "Für Sie: [1] € ~": "text", "à": "text",
		"Don’t share it.": "unicode", "même": "unicode", "код": "unicode", "🔑": "unicode", "tab\t": "unicode",
	} {
		m := sample(1)
		m.Text = text
		_, err := c.Send(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		requests := s.Requests()
		form, err := readForm(requests[len(requests)-1])
		if err != nil || form["type"] != want || form["text"] != text {
			t.Errorf("%q went as %s %q, %v", text, form["type"], form["text"], err)
		}
	}
}

func TestClient_PassesOnOnlyAnIDThatLooksLikeOne(t *testing.T) {
	t.Parallel()
	s, c := newPair(t)
	for id, want := range map[string]string{
		messageID:                              messageID,
		"aaaaaaaa-bbbb-4ccc-8ddd-0123456789ab": "aaaaaaaa-bbbb-4ccc-8ddd-0123456789ab",
		"":                                     "",
		"+12015550101":                         "",
		"12015550101":                          "",
		"two words":                            "",
		strings.Repeat("a", 101):               "",
		"<script>alert</script>":               "",
	} {
		s.Use(providertest.Answer(reply(`{"messages":[{"status":"0","message-id":"` + id + `"},{"status":"0","message-id":"second"}]}`)))
		accepted, err := c.Send(t.Context(), sample(1))
		if err != nil || accepted.ProviderID != want {
			t.Errorf("%q became %q, %v", id, accepted.ProviderID, err)
		}
	}
}

func TestClient_ReadsAPauseFromOneFormOfWordsAlone(t *testing.T) {
	t.Parallel()
	s, c := newPair(t)
	for words, want := range map[string]time.Duration{
		"Throughput Rate Exceeded - please wait [ 250 ] and retry":   time.Second,
		"Throughput Rate Exceeded - please wait [ 31000 ] and retry": time.Second,
		"throughput rate exceeded - PLEASE WAIT [0] and retry":       time.Second,
		"Throughput Rate Exceeded - please wait [ a while ]":         0,
		"please wait [ -5 ]": 0,
		"Exceeded maximum MT throughput[ MAX [ 30 ] INTERVAL [ 1000 ] COUNT [ 30 ] LAST INT-START [ 1 ] ]":           0,
		"You have exceeded the submission capacity allowed on this account, please back-off and retry in 30 seconds": 0,
		"": 0,
	} {
		s.Use(providertest.Answer(refusal(1, words)))
		_, err := c.Send(t.Context(), sample(1))
		f := providertest.MustFail(t, err, delivery.Temporary, delivery.ReasonRateLimited)
		if f.RetryAfter != want || f.Breaks {
			t.Errorf("%q: a pause of %s, want %s", words, f.RetryAfter, want)
		}
	}
	s.Use(providertest.Answer(refusal(7, "please wait [ 250 ]")))
	_, err := c.Send(t.Context(), sample(1))
	f := providertest.MustFail(t, err, delivery.Permanent, delivery.ReasonSuppressed)
	if f.RetryAfter != 0 {
		t.Error("a pause before what never mends")
	}
}

// mustRefuse proves that a message is refused without a call, in words that
// show no number.
func mustRefuse(t *testing.T, c *vonage.Client, m provider.Message, reason delivery.Reason) {
	t.Helper()
	_, err := c.Send(t.Context(), m)
	f := providertest.MustFail(t, err, delivery.Permanent, reason)
	if !f.NotCalled || f.Breaks || f.Status != 0 || strings.ContainsAny(f.Detail, "123456789") {
		t.Errorf("%q: got %+v", m.Recipient, f)
	}
}

func TestClient_RefusesWhatGetsNoCodeWithoutACall(t *testing.T) {
	t.Parallel()
	s, c := newPair(t)
	for _, recipient := range []string{
		"ada@example.net", "12025550101", "0012025550101", "+1 202 555 0101", "+1-202-555-0101", "＋12025550101", "+12025550101;ext=5",
		"+4401512345678", "+447700900123", "+19005551234", "+15005550123", "+18002345678", "+881612345678", "+88213300655", "+493012345678",
		"+1", "+", "+12025550101\n",
	} {
		m := sample(1)
		m.Recipient = recipient
		mustRefuse(t, c, m, delivery.ReasonInvalidRecipient)
	}
	for _, recipient := range []string{"+447911123456", "+18765551234", "+34600111222", "+16135550123"} {
		m := sample(1)
		m.Recipient = recipient // Good numbers, in countries without a sender.
		mustRefuse(t, c, m, delivery.ReasonRejected)
	}
	for _, text := range []string{strings.Repeat("a", 6*153+1), strings.Repeat("я", 6*67+1)} {
		m := sample(1)
		m.Text = text
		mustRefuse(t, c, m, delivery.ReasonRejected)
		m.Text = strings.TrimSuffix(strings.TrimSuffix(text, "a"), "я")
		_, err := c.Send(t.Context(), m)
		if err != nil {
			t.Errorf("six parts: %v", err)
		}
	}
	if len(s.Requests()) != 2 {
		t.Errorf("%d calls", len(s.Requests()))
	}
}

func TestClient_PrintsItsAddressAlone(t *testing.T) {
	t.Parallel()
	cfg := configFor("http://127.0.0.1:1")
	c := newClient(t, cfg)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		for _, value := range []any{c, *c, cfg, &cfg, []any{c, cfg}} {
			shown := fmt.Sprintf(verb, value)
			if strings.Contains(shown, key) || strings.Contains(shown, secret[:6]) {
				t.Errorf("%s of %T shows a credential", verb, value)
			}
		}
	}
}

func TestNew_RefusesWhatCouldNotSend(t *testing.T) {
	t.Parallel()
	senders := func(region, sender string) func(*vonage.Config) {
		return func(c *vonage.Config) { c.Senders = map[string]string{region: sender} }
	}
	for name, c := range map[string]struct {
		want  string
		spoil func(*vonage.Config)
	}{
		"a real host":       {"not set live", func(c *vonage.Config) { c.BaseURL = "https://rest.nexmo.com" }},
		"live without TLS":  {"https only", func(c *vonage.Config) { c.Live = true }},
		"no address":        {"must begin", func(c *vonage.Config) { c.BaseURL = "" }},
		"a path":            {"scheme and host alone", func(c *vonage.Config) { c.BaseURL += "/sms/json" }},
		"no key":            {"the key must have 8", func(c *vonage.Config) { c.Key = config.Secret{} }},
		"a short key":       {"the key must have 8", func(c *vonage.Config) { c.Key = config.NewSecret(key[1:]) }},
		"a line end":        {"the key must have 8", func(c *vonage.Config) { c.Key = config.NewSecret(key[1:] + "\n") }},
		"no secret":         {"the secret must have 6", func(c *vonage.Config) { c.Secret = config.Secret{} }},
		"a long secret":     {"the secret must have 6", func(c *vonage.Config) { c.Secret = config.NewSecret(strings.Repeat("x", 33)) }},
		"a space in it":     {"the secret must have 6", func(c *vonage.Config) { c.Secret = config.NewSecret("pass word") }},
		"no senders":        {"no country has a sender", func(c *vonage.Config) { c.Senders = nil }},
		"no connections":    {"connections must be positive", func(c *vonage.Config) { c.MaxConns = -1 }},
		"no clock":          {"clock is missing", func(c *vonage.Config) { c.Clock = nil }},
		"another proxy":     {"proxy must be", func(c *vonage.Config) { c.Proxy = "socks5://127.0.0.1" }},
		"a proxy's secret":  {"without a password", func(c *vonage.Config) { c.Proxy = "http://ada:secretword@127.0.0.1" }},
		"no country":        {"is no country", senders("UK", "Lanternbird")},
		"a small country":   {"is no country", senders("de", "Lanternbird")},
		"a calling code":    {"is no country", senders("1", "12025550199")},
		"satellites":        {"is no country", senders("001", "Lanternbird")},
		"an empty sender":   {"1 to 11 letters", senders("DE", "")},
		"a long name":       {"1 to 11 letters", senders("DE", "Lanternbirds")},
		"a space":           {"1 to 11 letters", senders("DE", "Lantern b")},
		"an umlaut":         {"1 to 11 letters", senders("DE", "Lümmel")},
		"a plus sign":       {"1 to 11 letters", senders("DE", "+4915123456")},
		"a long number":     {"no international number", senders("DE", "4915123456789012")},
		"two zeros":         {"no international number", senders("DE", "00491512345678")},
		"a name in the US":  {"must be a number", senders("US", "Lanternbird")},
		"a name in Canada":  {"must be a number", senders("CA", "Lanternbird")},
		"nothing in the US": {"must be a number", senders("US", "")},
	} {
		cfg := configFor("http://127.0.0.1:1")
		c.spoil(&cfg)
		_, err := vonage.New(cfg)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want %q, got %v", name, c.want, err)
			continue
		}
		if strings.Contains(err.Error(), key[1:]) || strings.Contains(err.Error(), secret[:6]) || strings.Contains(err.Error(), "secretword") {
			t.Errorf("%s: a secret shows in %v", name, err)
		}
	}
}

func TestNew_TakesTheRealHostWhenLive(t *testing.T) {
	t.Parallel()
	cfg := configFor("https://rest.nexmo.com/")
	cfg.Live = true
	cfg.Proxy = "http://proxy.internal:3128"
	cfg.Senders = map[string]string{"US": "12025550199", "CA": "16135550199", "DE": "Lanternbird", "GB": "447000", "FR": "36111"}
	_, err := vonage.New(cfg)
	if err != nil {
		t.Error(err)
	}
}

// TestNew_KeepsItsOwnSenders: a map that changes later changes nothing.
func TestNew_KeepsItsOwnSenders(t *testing.T) {
	t.Parallel()
	s := providertest.NewServer(t)
	s.Use(providertest.Answer(taken()))
	cfg := configFor(s.URL())
	c := newClient(t, cfg)
	cfg.Senders["ES"] = "Lanternbird"
	m := sample(1)
	m.Recipient = "+34600111222"
	mustRefuse(t, c, m, delivery.ReasonRejected)
}
