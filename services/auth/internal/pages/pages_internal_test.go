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
