package archtest_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/archtest"
)

// content reads a file of our tree.
func content(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root(t), filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Dependencies are few, come under their own names in one version each, and have their checksums beside them; what is
// downloaded for the tests and the image is named by its version.
func TestSEC69_DependenciesAreFewAndPinned(t *testing.T) {
	t.Parallel()
	module, sums := content(t, "go.mod"), content(t, "go.sum")
	if regexp.MustCompile(`(?m)^(replace|exclude|toolchain)\b`).MatchString(module) {
		t.Error("go.mod takes a module from elsewhere than its name says")
	}
	direct := 0
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+) (v\S+)( // indirect)?$`).FindAllStringSubmatch(module, -1) {
		if m[3] == "" {
			direct++
		}
		if !strings.Contains(sums, "\n"+m[1]+" "+m[2]+"/go.mod h1:") && !strings.HasPrefix(sums, m[1]+" "+m[2]+"/go.mod h1:") {
			t.Errorf("%s %s has no checksum", m[1], m[2])
		}
	}
	if direct == 0 || direct > 30 {
		t.Errorf("%d direct dependencies", direct)
	}
	for name, pattern := range map[string]string{
		"Makefile": `golangci-lint@v\d+\.\d+\.\d+\b`, "deploy/Dockerfile": `FROM \S+ golang:1\.26\.\d+ AS`,
	} {
		if !regexp.MustCompile(pattern).MatchString(content(t, name)) {
			t.Errorf("%s does not say which version it takes", name)
		}
	}
}

// NATS has the fixes for what let one account reach the streams of another, embedded and in its container.
func TestSEC31_NATSIsNewEnough(t *testing.T) {
	t.Parallel()
	for name, pattern := range map[string]string{
		"go.mod": `nats-server/v2 v(2)\.(\d+)\.(\d+)`, "docker-compose.yml": `image: nats:(2)\.(\d+)\.(\d+)`,
	} {
		found := regexp.MustCompile(pattern).FindAllStringSubmatch(content(t, name), -1)
		if len(found) == 0 {
			t.Errorf("%s names no version of NATS", name)
		}
		for _, m := range found {
			var version []int
			for _, part := range m[1:] {
				n, err := strconv.Atoi(part)
				if err != nil {
					t.Fatal(err)
				}
				version = append(version, n)
			}
			if slices.Compare(version, []int{2, 12, 6}) < 0 {
				t.Errorf("%s has %s", name, m[0])
			}
		}
	}
}

// Only these packages ask another server over HTTP, each of them one that its operator configured: no address that a
// front-end, a workspace or a person names is ever visited. A further package is a further way inside. Of the services
// those count that run in production.
func TestSEC56_FewPackagesCallOut(t *testing.T) {
	t.Parallel()
	want := []string{
		"pkg/client",            // the front-end's own library, which asks auth
		"pkg/provider",          // the transport of the adapters
		"pkg/provider/sandbox",  // the stand-in's webhooks, to this machine alone
		"pkg/provider/sendgrid", // the adapter
		"pkg/provider/vonage",   // the adapter
		"services/console/app",  // asks auth, by the front-end's own library
	}
	released := []string{"auth", "verifier", "receipts", "console", "email-dispatcher", "sms-dispatcher", "doorcodectl"}
	calls := regexp.MustCompile(`\bhttp\.Client\{|\bhttp\.NewRequest|\bNewHTTPClient\(|\.Dial(Context)?\(`)
	got := map[string]bool{}
	files, err := archtest.Scan(root(t))
	if err != nil {
		t.Fatal(err)
	}
	tree := os.DirFS(root(t))
	for _, file := range files {
		folder := filepath.ToSlash(filepath.Dir(file.Path))
		name, service := strings.CutPrefix(folder, "services/")
		name, _, _ = strings.Cut(name, "/")
		if file.Test || strings.HasSuffix(folder, "test") || service && !slices.Contains(released, name) {
			continue
		}
		source, err := fs.ReadFile(tree, file.Path)
		if err != nil {
			t.Fatal(err)
		}
		if calls.Match(source) {
			got[folder] = true
		}
	}
	var folders []string
	for folder := range got {
		folders = append(folders, folder)
	}
	slices.Sort(folders)
	if diff := cmp.Diff(want, folders); diff != "" {
		t.Errorf("packages that call out:\n%s", diff)
	}
}
