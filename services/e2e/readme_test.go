package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"doorcode/pkg/config"
	auth "doorcode/services/auth/app"
	console "doorcode/services/console/app"
	demo "doorcode/services/demo/app"
	ctl "doorcode/services/doorcodectl/app"
	email "doorcode/services/email-dispatcher/app"
	receipts "doorcode/services/receipts/app"
	sandbox "doorcode/services/sandbox/app"
	sms "doorcode/services/sms-dispatcher/app"
	alone "doorcode/services/standalone/app"
	verifier "doorcode/services/verifier/app"
)

var update = flag.Bool("update", false, "write the README's generated parts")

// readme returns the path and the text of the README.
func readme(t *testing.T) (path, text string) {
	t.Helper()
	path = filepath.Join(repository(t), "README.md")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, string(data)
}

// settingsTable writes the settings of every process, those that several share
// first.
func settingsTable() string {
	processes := []struct {
		name     string
		settings []config.Setting
	}{
		{"auth", config.Describe[auth.Config]()},
		{"verifier", config.Describe[verifier.Config]()},
		{"receipts", config.Describe[receipts.Config]()},
		{"console", config.Describe[console.Config]()},
		{"email-dispatcher", config.Describe[email.Config]()},
		{"sms-dispatcher", config.Describe[sms.Config]()},
		{"sandbox", config.Describe[sandbox.Config]()},
		{"demo", config.Describe[demo.Config]()},
		{"standalone", config.Describe[alone.Config]()},
		{"doorcodectl", config.Describe[ctl.Config]()},
	}
	var b strings.Builder
	b.WriteString("| Setting | Default | Meaning |\n|---|---|---|\n")
	seen := map[string]bool{}
	for _, p := range processes {
		fmt.Fprintf(&b, "| **%s** | | |\n", p.name)
		for _, s := range p.settings {
			shown := "–"
			switch {
			case s.Default != "":
				shown = "`" + s.Default + "`"
			case s.Required:
				shown = "*required*"
			}
			help := s.Help
			if seen[s.Name] {
				help = "As above."
			}
			seen[s.Name] = true
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.Name, shown, strings.ReplaceAll(help, "|", `\|`))
		}
	}
	return b.String()
}

func TestREADME_SettingsAreThoseOfTheProcesses(t *testing.T) {
	t.Parallel()
	path, text := readme(t)
	begin, end := "-update` -->\n", "<!-- end of settings -->"
	i, j := strings.Index(text, begin), strings.Index(text, end)
	if i < 0 || j < i {
		t.Fatal("the README has no place for the settings")
	}
	want := text[:i+len(begin)] + settingsTable() + text[j:]
	if *update {
		err := os.WriteFile(path, []byte(want), 0o644)
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	if text != want {
		t.Error("the README's settings are not current; run go test ./services/e2e -run README -update")
	}
}

// The curl part of the README is run as it stands, but for the addresses and
// the folder of the test's installation.
func TestREADME_TheCurlSignInWorksAsPasted(t *testing.T) {
	t.Parallel()
	s := sharedStandalone(t)
	_, text := readme(t)
	_, text, found := strings.Cut(text, "## A first sign-in with curl")
	text, _, end := strings.Cut(text, "## Integration in Go")
	if !found || !end {
		t.Fatal("the README has no sign-in with curl")
	}
	var script strings.Builder
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(text, -1) {
		script.WriteString(block[1])
	}
	pasted := strings.NewReplacer(
		"127.0.0.1:8080", s.auth, "127.0.0.1:8025", s.sandbox, ".doorcode/front-end.key", filepath.Join(s.dir, "front-end.key"),
	).Replace(script.String())
	cmd := exec.CommandContext(t.Context(), "sh", "-eu")
	cmd.Stdin, cmd.Dir = strings.NewReader(pasted), t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"outcome":"approved","assertion":"`) || !strings.Contains(string(out), `name="assertion" value="eyJ`) ||
		!strings.Contains(string(out), `/settings?link=`) || !strings.Contains(string(out), `"state":"applied"`) {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestREADME_TheGoExampleHasUnderTwentyLines(t *testing.T) {
	t.Parallel()
	_, text := readme(t)
	example := regexp.MustCompile("(?s)```go\n(.*?)```").FindStringSubmatch(text)
	if example == nil {
		t.Fatal("the README has no example in Go")
	}
	if n := strings.Count(strings.TrimSpace(example[1]), "\n") + 1; n >= 20 {
		t.Errorf("the example has %d lines", n)
	}
}
