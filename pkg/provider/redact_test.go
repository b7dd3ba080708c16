package provider_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"doorcode/pkg/provider"
)

// It shows SEC-32 of deploy/SECURITY.md.
func TestRedact_CutsOutAddressesDigitsAndKnownValues(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		known      []string
		want       string
	}{
		{name: "plain words", text: "too many requests", want: "too many requests"},
		{name: "an address", text: "to ada.lovelace@example.net failed", want: "to [address] failed"},
		{name: "an address in marks", text: `address <"ada"@example.net>, again`, want: "address [address] again"},
		{name: "an encoded address", text: "to=ada%40example.net ok", want: "[address] ok"},
		{name: "an escaped address", text: `ada\u0040example.net ada&#64;example.net`, want: "[address] [address]"},
		{name: "a fullwidth address", text: "ada＠example.net", want: "[address]"},
		{name: "a code", text: "code 804613 refused", want: "code [digits] refused"},
		{name: "four digits", text: "in 2026", want: "in [digits]"},
		{name: "three digits", text: "status 429", want: "status 429"},
		{name: "grouped digits", text: "code 804 613, 80-46-13", want: "code [digits], [digits]"},
		{name: "digits split unseen", text: "code 804\u200b613", want: "code [digits]"},
		{name: "digits of elsewhere", text: "code ٨٠٤٦١٣", want: "code [digits]"},
		{name: "a phone number", text: "+1 415 555-2671 is off", want: "+[digits] is off"},
		{name: "a key", text: "Bearer SG.ab.cd is bad", known: []string{"SG.ab.cd", ""}, want: "Bearer [redacted] is bad"},
		{name: "several lines", text: "one\r\ntwo\x00three", want: "one  two three"},
		{name: "not UTF-8", text: "a\xffb", want: "a b"},
	} {
		got := provider.Redact(c.text, c.known...)
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	long := provider.Redact(strings.Repeat("ä", 1000))
	if utf8.RuneCountInString(long) != 200 || !strings.HasSuffix(long, "…") {
		t.Errorf("a long text has %d characters", utf8.RuneCountInString(long))
	}
}

// secretsLeft finds, without the patterns that did the work, an at sign or
// four digits with at most one space or dash between them.
func secretsLeft(text string) string {
	if strings.ContainsAny(text, "@＠") {
		return "an at sign"
	}
	run, gap := 0, 0
	for _, r := range text {
		switch {
		case unicode.IsDigit(r):
			run, gap = run+1, 0
		case (r == ' ' || r == '-') && gap == 0:
			gap = 1
		default:
			run, gap = 0, 0
		}
		if run == 4 {
			return "four digits"
		}
	}
	return ""
}

func FuzzRedact(f *testing.F) {
	for _, seed := range []string{
		"ada@example.net 123456", "1 2 3 4", "12\u200b34", "%40%40", "1@2@3", "\xff4\xff5\xff6\xff7", "12%403456",
		strings.Repeat("9 x ", 300), `{"message":"Does not contain a valid address: ada@b"}`, "123-[x]-456",
	} {
		f.Add(seed, "secret")
	}
	f.Fuzz(func(t *testing.T, text, known string) {
		got := provider.Redact(text, known)
		if left := secretsLeft(got); left != "" {
			t.Fatalf("%s in %q", left, got)
		}
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > 200 || strings.ContainsAny(got, "\r\n\x00") {
			t.Fatalf("not one short line: %q", got)
		}
		again := provider.Redact(got)
		if again != got {
			t.Fatalf("redacting twice changes %q to %q", got, again)
		}
	})
}
