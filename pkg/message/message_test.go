package message

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const firefox = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0"

// facts are those of a message in good order.
func facts() Facts {
	asked := time.Date(2026, 6, 3, 10, 2, 11, 0, time.FixedZone("CEST", 2*60*60))
	return Facts{
		Code: "482917", Label: "KTM", Reference: "4F72KQ9R", Workspace: "Acme", Locale: "en",
		CreatedAt: asked, ExpiresAt: asked.Add(10 * time.Minute), WrittenAt: asked.Add(2 * time.Second), UserAgent: firefox,
	}
}

// golden compares a message with a file, or writes that with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", filepath.FromSlash(name))
	if *update {
		err := os.MkdirAll(filepath.Dir(file), 0o750)
		if err != nil {
			t.Fatal(err)
		}
		err = os.WriteFile(file, []byte(got), 0o600)
		if err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func TestMessage_PrintsWithoutItsCode(t *testing.T) {
	t.Parallel()
	text, err := smsRenderer(t, "Lanternbird", host).Render(facts())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []Message{render(t, facts()), text} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			if s := fmt.Sprintf(verb, m); strings.Contains(s, "482917") || strings.Contains(s, "343832393137") {
				t.Errorf("%s shows the code", verb)
			}
		}
	}
}
