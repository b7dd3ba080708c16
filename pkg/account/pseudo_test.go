package account

import (
	"strings"
	"testing"
)

func TestNewPseudo_IsAnIDThatIsNoHosts(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 100 {
		id := NewPseudo()
		if ValidateID(id) != nil || !IsPseudo(id) || seen[id] {
			t.Fatalf("the id %s is drawn", id)
		}
		seen[id] = true
	}
	for _, id := range []string{"", "~", "~kim", "kim", "~" + strings.Repeat("a", 26), "~" + strings.Repeat("A", 25), "~" + strings.Repeat("A", 27), strings.Repeat("A", 27), "~" + strings.Repeat("1", 26)} {
		if IsPseudo(id) {
			t.Errorf("%q is taken for a pseudo id", id)
		}
	}
}
