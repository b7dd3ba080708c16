package pages

import (
	"slices"
	"strings"
	"testing"
	"unicode"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDigits_OfEveryScriptHaveTheirValue(t *testing.T) {
	t.Parallel()
	seen := 0
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if !unicode.Is(unicode.Nd, r) {
			continue
		}
		// Unicode puts the digits of a script in order: the one after nine is none, or the zero of the next.
		value := digit(r)
		if value > 0 && digit(r-1) != value-1 || value < 9 && digit(r+1) != value+1 {
			t.Errorf("%U is read as %d", r, value)
		}
		seen++
	}
	if seen < 600 || seen%10 != 0 {
		t.Errorf("%d digits", seen)
	}
	for typed, want := range map[string]string{
		"٠٤٢٩١٧": "042917", "０４２ ９１７": "042917", "042\u2212917": "042917", "𝟎𝟒𝟐𝟗𝟏𝟕": "042917", "04a": "04a", "4.2": "4.2", "": "",
		strings.Repeat("1", 200): strings.Repeat("1", maxTyped),
	} {
		if got := digits(typed); got != want {
			t.Errorf("%q is read as %q", typed, got)
		}
	}
}

func TestSpell_ReadsAReferenceOut(t *testing.T) {
	t.Parallel()
	if got := spell("4F72-KQ9R"); got != "4 Foxtrot 7 2 – Kilo Quebec 9 Romeo" {
		t.Error(got)
	}
	for _, c := range "ABCDEFGHJKMNPQRSTVWXYZ" {
		if spell(string(c)) == string(c) {
			t.Errorf("%c has no word", c)
		}
	}
}

func TestTexts_EveryLanguageHasEverySentence(t *testing.T) {
	t.Parallel()
	all, err := readLanguages()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range all {
		names = append(names, l.name)
		for key, sentence := range l.sentences {
			if strings.Contains(sentence, "  ") || strings.TrimSpace(sentence) != sentence || sentence == "" && !strings.HasPrefix(key, "advice.") {
				t.Errorf("%s: %s is %q", l.name, key, sentence)
			}
		}
	}
	if !slices.Equal(names, []string{"en", "nl"}) {
		t.Errorf("languages %v", names)
	}
	english := all[0]
	if err := english.complete(english); err != nil {
		t.Error(err)
	}
	for want, sentences := range map[string]map[string]string{
		"is missing":                     {},
		"other.key is no text":           with(english.sentences, "other.key", "x"),
		"code.sent.sms has other places": with(english.sentences, "code.sent.sms", "{reader}"),
	} {
		err := language{name: "xx", sentences: sentences}.complete(english)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// with returns a copy with one more or another sentence.
func with(sentences map[string]string, key, sentence string) map[string]string {
	other := map[string]string{key: sentence}
	for k, s := range sentences {
		if k != key {
			other[k] = s
		}
	}
	return other
}

func TestStrong_EscapesSentenceAndValues(t *testing.T) {
	t.Parallel()
	l := language{sentences: map[string]string{"k": "a < b {v}"}}
	if got := l.strong("k", "v", `<b onclick="x">{v}`); got != `a &lt; b <strong>&lt;b onclick=&#34;x&#34;&gt;{v}</strong>` {
		t.Error(got)
	}
}

func TestAccepts_ListsLanguagesByWeight(t *testing.T) {
	t.Parallel()
	for header, want := range map[string][]string{
		"nl-BE,en;q=0.5":            {"nl-BE", "en"},
		"en;q=0.2, nl;q=0.8, *;q=0": {"nl", "en"},
		";;,q=1;q=x, ":              nil,
	} {
		if got := accepts(header); !slices.Equal(got, want) {
			t.Errorf("%q: %v", header, got)
		}
	}
}

// The origin of a page is compared with what browsers send, and they leave the usual port out.
func TestParsePublicURL_WritesTheOriginAsBrowsersDo(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"https://Sign-in.Example.com:443/": "https://sign-in.example.com", "https://sign-in.example.com:80": "https://sign-in.example.com:80",
		"https://sign-in.example.com:8443": "https://sign-in.example.com:8443", "http://127.0.0.1:80": "http://127.0.0.1",
		"http://localhost:443": "http://localhost:443", "http://[::1]:80": "http://[::1]", "http://[::1]": "http://[::1]", "https://a.example:": "https://a.example",
	} {
		u, err := ParsePublicURL(given)
		if err != nil || u.String() != want {
			t.Errorf("%s: %v, %v", given, u, err)
		}
	}
}
