package chromium

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestFind_TakesTheFirstNameThatIsAProgram(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	_, err := find(names())
	if !errors.Is(err, ErrNotFound) {
		t.Fatalf("in an empty folder: %v", err)
	}
	for _, name := range []string{"google-chrome", "chromium-browser"} {
		err = os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"), 0o700)
		if err != nil {
			t.Fatal(err)
		}
	}
	path, err := find(names())
	if err != nil || path != filepath.Join(dir, "chromium-browser") {
		t.Errorf("found %s, %v", path, err)
	}
}
