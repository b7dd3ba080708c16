package hosted

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
		if got := Digits(typed); got != want {
			t.Errorf("%q is read as %q", typed, got)
		}
	}
}

func TestComplete_ComparesWithEnglish(t *testing.T) {
	t.Parallel()
	english := Language{name: "en", sentences: map[string]string{"code.sent": "To {recipient}.", "code.title": "Code"}}
	if err := english.complete(english); err != nil {
		t.Error(err)
	}
	for want, sentences := range map[string]map[string]string{
		"is missing":                 {},
		"other.key is no text":       with(english.sentences, "other.key", "x"),
		"code.sent has other places": with(english.sentences, "code.sent", "{reader}"),
	} {
		err := Language{name: "xx", sentences: sentences}.complete(english)
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
	l := Language{sentences: map[string]string{"k": "a < b {v}"}}
	if got := l.Strong("k", "v", `<b onclick="x">{v}`); got != `a &lt; b <strong>&lt;b onclick=&#34;x&#34;&gt;{v}</strong>` {
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
