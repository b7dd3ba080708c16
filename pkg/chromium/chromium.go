// Package chromium finds the Chromium that browser tests run, and installs Debian's when there is none. It is for tests
// and pictures alone: no process of doorcode needs a browser.
package chromium

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// ErrNotFound says that no Chromium is installed.
var ErrNotFound = errors.New("no chromium is installed")

// names lists what the program is called, the system's own first.
func names() []string {
	return []string{"chromium", "chromium-browser", "google-chrome-stable", "google-chrome"}
}

// Find returns the path of the program, or ErrNotFound.
func Find() (string, error) { return find(names()) }

func find(names []string) (string, error) {
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err == nil {
			return path, nil
		}
	}
	return "", ErrNotFound
}

// FindOrInstall is Find, and when nothing is found it installs the package chromium and looks again. It installs only
// with apt-get and only as root; elsewhere the error is a sentence that says what to install. What it does is told to w.
func FindOrInstall(ctx context.Context, w io.Writer) (string, error) {
	path, err := Find()
	if err == nil {
		return path, nil
	}
	_, err = exec.LookPath("apt-get")
	if err != nil || os.Geteuid() != 0 {
		return "", fmt.Errorf("%w: install the package chromium of your system, or run as root on Debian", ErrNotFound)
	}
	err = install(ctx, w)
	if err != nil {
		return "", err
	}
	return Find()
}

// install runs apt-get. When that fails it brings the package lists up to date and tries once more: a fresh machine has
// none. Test binaries that do so at the same time wait for one another.
func install(ctx context.Context, w io.Writer) error {
	apt := func(args ...string) error {
		cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-o", "DPkg::Lock::Timeout=300"}, args...)...) //nolint:gosec // constant arguments
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		cmd.Stdout, cmd.Stderr = w, w
		return cmd.Run()
	}
	_, _ = fmt.Fprintln(w, "no Chromium found, installing the package chromium with apt-get")
	packages := []string{"install", "--yes", "--no-install-recommends", "chromium", "fonts-dejavu-core"}
	err := apt(packages...)
	if err == nil {
		return nil
	}
	err = apt("update")
	if err != nil {
		return fmt.Errorf("bring package lists up to date: %w", err)
	}
	err = apt(packages...)
	if err != nil {
		return fmt.Errorf("install chromium: %w", err)
	}
	return nil
}
