package sandbox

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/vonage/vonage-go-sdk"
)

func TestConfig_NamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	err := Config{}.Validate()
	if err != nil {
		t.Errorf("the zero value: %v", err)
	}
	for want, cfg := range map[string]Config{
		"receipt method":   {VonageReceiptMethod: "post"},
		"signature method": {VonageSignatureMethod: "crc"},
		"layout":           {BatchLayout: "none"},
		"receipt URL":      {VonageReceiptURL: "example.com"},
		"Vonage key":       {VonageKey: "abc"},
		"Vonage secret":    {VonageSecret: "short"},
		"interval":         {BatchInterval: 2 * time.Hour},
		"below zero":       {BatchBytes: -1},
	} {
		err := cfg.Validate()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// runSeeded sends the same things to a sandbox of that seed and tells all ids.
func runSeeded(t *testing.T, seed string) []string {
	t.Helper()
	h := receive(t, nil)
	s := startWith(t, Config{Seed: seed, VonageReceiptURL: h.url})
	id, key, err := s.EventWebhook("http://127.0.0.1:1/")
	if err != nil {
		t.Fatal(err)
	}
	ids := []string{id, key, s.accept(t, "ada@example.net", "1"), s.accept(t, "ada@example.net", "2")}
	ids = append(ids, s.texted(t, phoneNumber, "Hello", vonage.SMSOpts{}))
	_ = s.Flush(t.Context()) // nobody takes the events
	return append(ids, receiptIn(t, h.got()[0])["nonce"], receiptIn(t, h.got()[0])["sig"])
}

func TestSeed_MakesEveryRunTheSame(t *testing.T) {
	t.Parallel()
	first, second, other := runSeeded(t, "a"), runSeeded(t, "a"), runSeeded(t, "b")
	none, again := runSeeded(t, ""), runSeeded(t, "")
	seen := map[string]bool{}
	for i := range first {
		if first[i] != second[i] || first[i] == other[i] || none[i] == again[i] {
			t.Errorf("id %d: %s, %s; other seed %s; no seed %s, %s", i, first[i], second[i], other[i], none[i], again[i])
		}
		if seen[first[i]] {
			t.Errorf("id %d comes twice", i)
		}
		seen[first[i]] = true
	}
	if id := newSource("a").uuid("x"); id[14] != '4' || !strings.ContainsRune("89ab", rune(id[19])) {
		t.Errorf("uuid = %s", id)
	}
}

func TestHelp_ListsPathsKeysAndMagic(t *testing.T) {
	t.Parallel()
	s := startWith(t, Config{Seed: "a", VonageReceiptURL: "http://127.0.0.1:1/dlr", VonageKey: "wxyz9876"})
	header, text := s.page(t, "/_sandbox", http.StatusOK)
	holds(t, text, "wxyz9876", DefaultVonageSecret, DefaultSendGridKey, DefaultVonageSignatureSecret, "DOORCODE_SANDBOX_VONAGE_KEY",
		"<code>&#43;late-accept</code>", "<code>79</code>", "/sms/json", "http://127.0.0.1:1/dlr", "made from the seed",
		"No event webhook is set up", "<code>late-accept</code>", "<code>duplicate-new-id</code>")
	lacks(t, text, "<script")
	if header.Get("Content-Security-Policy") != pagePolicy {
		t.Errorf("headers = %v", header)
	}
	for _, p := range helpPaths() {
		holds(t, text, p.Path)
	}
	_, key, err := s.EventWebhook("http://127.0.0.1:1/events")
	if err != nil {
		t.Fatal(err)
	}
	_, text = s.page(t, "/_sandbox", http.StatusOK)
	holds(t, text, strings.ReplaceAll(key, "+", "&#43;"), "http://127.0.0.1:1/events")
	plain := start(t)
	_, text = plain.page(t, "/_sandbox", http.StatusOK)
	holds(t, text, "random; set DOORCODE_SANDBOX_SEED")
}

func TestHelp_NamesPathsThatExist(t *testing.T) {
	t.Parallel()
	s := start(t)
	id, _, err := s.EventWebhook("http://127.0.0.1:1/")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range helpPaths() {
		for method := range strings.SplitSeq(p.Method, ", ") {
			path := strings.Replace(p.Path, "{id}", id, 1)
			got, text := s.do(t, method, path, nil, map[string]string{"Authorization": "Bearer " + DefaultSendGridKey})
			if got.StatusCode == http.StatusMethodNotAllowed || (got.StatusCode == http.StatusNotFound && method != http.MethodGet && method != http.MethodPatch && method != http.MethodDelete) {
				t.Errorf("%s %s = %d %s", method, path, got.StatusCode, text)
			}
		}
	}
}
