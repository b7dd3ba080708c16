package settings

import (
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"doorcode/services/auth/internal/hosted"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
			if strings.Contains(sentence, "  ") || strings.TrimSpace(sentence) != sentence || sentence == "" {
				t.Errorf("%s: %s is %q", l.Name(), key, sentence)
			}
		}
	}
	if !slices.Equal(names, []string{"en", "nl"}) {
		t.Errorf("languages %v", names)
	}
}
