package pages

import (
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"doorcode/services/auth/internal/hosted"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
	all, err := hosted.ReadLanguages(files)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range all {
		names = append(names, l.Name())
		for key, sentence := range l.Sentences() {
			if strings.Contains(sentence, "  ") || strings.TrimSpace(sentence) != sentence || sentence == "" && !strings.HasPrefix(key, "advice.") {
				t.Errorf("%s: %s is %q", l.Name(), key, sentence)
			}
		}
	}
	if !slices.Equal(names, []string{"en", "nl"}) {
		t.Errorf("languages %v", names)
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
