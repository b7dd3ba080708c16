package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// What runs in production holds nothing that is for tests and development: no stand-in of a provider, no test bus or
// database, no test runner, no debug listener. It is built as the Dockerfile does, and the stand-in itself is the control.
// It shows SEC-32 of deploy/SECURITY.md.
func TestSEC70_ReleasedBinariesHoldNothingForTests(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	released := []string{"auth", "verifier", "receipts", "console", "email-dispatcher", "sms-dispatcher", "doorcodectl"}
	args := []string{"build", "-trimpath", "-ldflags=-s -w", "-o", dir, "./services/sandbox"}
	for _, name := range released {
		args = append(args, "./services/"+name)
	}
	build := exec.CommandContext(t.Context(), "go", args...)
	build.Dir = repository(t)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	out, err := build.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	// The names of functions stay in a binary without symbols: a panic has to tell where it was.
	const standIn = "doorcode/pkg/provider/sandbox."
	if !bytes.Contains(read("sandbox"), []byte(standIn)) {
		t.Fatal("the stand-in is not seen in its own binary")
	}
	for _, name := range released {
		binary := read(name)
		if !bytes.Contains(binary, []byte("doorcode/services/"+name+"/app.")) {
			t.Errorf("%s is not seen in its own binary", name)
		}
		for _, foreign := range []string{
			standIn, "doorcode/pkg/provider/providertest.", "doorcode/pkg/bus/bustest.", "doorcode/pkg/bus/embedded.",
			"doorcode/pkg/postgres/pgtest.", "doorcode/pkg/postgres/local.", "doorcode/services/demo/", "testing.(*T).", "net/http/pprof.",
		} {
			if bytes.Contains(binary, []byte(foreign)) {
				t.Errorf("%s holds %s", name, foreign)
			}
		}
	}
}
