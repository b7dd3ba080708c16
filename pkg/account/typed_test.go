package account_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"doorcode/pkg/account"
)

func TestInertName_KeepsNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"Kim", "Kim de Vries", "Anne-Marie O'Neill", "D’Arcy (Sales & Co.)", "St. John, Jr.", "Zoë Åström", "東京 太郎", "Đặng Thị", "Łukasz 2",
		"नमस्ते", "محمد", "e\u0301a\u0302\u0301",
	} {
		if got := account.InertName(name); got != name {
			t.Errorf("%q became %q", name, got)
		}
	}
}

// It shows SEC-35 of deploy/SECURITY.md.
func TestInertName_TakesAwayWhatDoesSomething(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{
		"  Kim \t de\r\nVries ":           "Kim de Vries",
		"x\r\nBcc: a@b.example":           "x Bcc a b example",
		"<script>alert(1)</script>":       "script alert(1) script",
		"http://evil.example/a?b=1":       "http evil example a b 1",
		"Go to evil.example now":          "Go to evil example now",
		"evil\u200b.\u200bexample":        "evil example",
		"ｅｖｉｌ．ｅｘａｍｐｌｅ":                    "ｅｖｉｌ ｅｘａｍｐｌｅ",
		"evil。example":                    "evil example",
		"[click](https://evil.example)":   "click (https evil example)",
		"code 482917":                     "code",
		"+1 202 555 0148 Kim":             "Kim",
		"٤٨٢٩١٧ Kim":                      "Kim",
		"4.8.2917.com":                    "com",
		"\u202eemca":                      "emca",
		"a\u0301\u0301\u0301\u0301b":      "a\u0301\u0301b",
		"\u3164\u115f":                    "",
		"1 2":                             "",
		"":                                "",
		"😀 Kim\x00":                       "Kim",
		string([]byte{0xff, 'K', 0xfe}):   "K",
		strings.Repeat("x", 61):           strings.Repeat("x", 60),
		strings.Repeat("é", 59) + " abc":  strings.Repeat("é", 59),
		strings.Repeat("ab ", 40) + "end": strings.TrimSpace(strings.Repeat("ab ", 20)),
	} {
		if got := account.InertName(typed); got != want {
			t.Errorf("%q became %q, not %q", typed, got, want)
		}
	}
}

func FuzzInertName(f *testing.F) {
	for _, s := range []string{"Kim", "a.b", "a\u0301\u0301\u0301.b", "1234", "<b>x", ".1.a", "a.\u0300b", "\u0300.b", "x@y.z", strings.Repeat("1a", 90)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		name := account.InertName(typed)
		if again := account.InertName(name); again != name {
			t.Errorf("%q became %q, and that %q", typed, name, again)
		}
		digits := 0
		for i, r := range name {
			next, _ := utf8.DecodeRuneInString(name[i+utf8.RuneLen(r):])
			if unicode.IsDigit(r) {
				digits++
			}
			if unicode.IsControl(r) || strings.ContainsRune("<>@:/\\\"[]{}|`%#?=", r) || r == '.' && (unicode.IsLetter(next) || unicode.IsDigit(next)) && next != utf8.RuneError {
				t.Errorf("%q became %q", typed, name)
			}
		}
		if digits > 3 || utf8.RuneCountInString(name) > account.MaxTypedName || strings.TrimSpace(name) != name {
			t.Errorf("%q became %q", typed, name)
		}
	})
}
