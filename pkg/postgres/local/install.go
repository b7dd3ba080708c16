package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// FindOrInstall is Find, and when nothing is found it installs the system's own
// package and looks again. What it does is told to w, one sentence a line.
//
// It installs only with apt-get and only as root; elsewhere the error is a
// sentence that says what to install.
func FindOrInstall(ctx context.Context, setting string, w io.Writer) (string, error) {
	dir, err := Find(ctx, setting)
	if !errors.Is(err, ErrNotFound) {
		return dir, err
	}
	i := installer{root: os.Geteuid() == 0, dropIns: "/etc/postgresql-common/createcluster.d", out: w}
	err = i.install(ctx)
	if err != nil {
		return "", err
	}
	return Find(ctx, setting)
}

// installer installs the Postgres package of the system.
type installer struct {
	root    bool      // whether we may install
	dropIns string    // where Debian's package reads how to make its first cluster
	out     io.Writer // what is being done, for people
}

// dropIn tells Debian's package to make and start no cluster of its own. The
// package asks for it in its post-installation script.
const dropIn = "# The package shall not make and start a cluster of its own.\ncreate_main_cluster = false\n"

// advice says what to install by hand, by package manager.
func advice() [][2]string {
	return [][2]string{
		{"apt-get", "apt-get install postgresql"},
		{"dnf", "dnf install postgresql-server"},
		{"apk", "apk add postgresql"},
		{"brew", "brew install postgresql@17"},
	}
}

// install runs apt-get as root or explains what a person has to do.
func (i installer) install(ctx context.Context) error {
	manager, command := "", ""
	for _, a := range advice() {
		_, err := exec.LookPath(a[0])
		if err == nil {
			manager, command = a[0], a[1]
			break
		}
	}
	switch {
	case manager == "":
		return fmt.Errorf("%w: install the PostgreSQL server of your system, then start again", ErrNotFound)
	case manager != "apt-get":
		return fmt.Errorf("%w: install it with `%s`, then start again", ErrNotFound, command)
	case !i.root:
		return fmt.Errorf("%w: install it as root with `%s`, then start again", ErrNotFound, command)
	}
	remove, err := i.keepQuiet()
	if err != nil {
		return err
	}
	return errors.Join(i.aptGet(ctx), remove())
}

// keepQuiet puts the drop-in in place and returns its removal, so that a later
// installation by the administrator behaves as the administrator expects.
func (i installer) keepQuiet() (func() error, error) {
	err := os.MkdirAll(i.dropIns, 0o755) //nolint:gosec // configuration of the system, read by all
	if err != nil {
		return nil, fmt.Errorf("make folder for the setting of the postgres package: %w", err)
	}
	path := filepath.Join(i.dropIns, "doorcode.conf")
	err = os.WriteFile(path, []byte(dropIn), 0o644) //nolint:gosec // configuration of the system, read by all
	if err != nil {
		return nil, fmt.Errorf("write setting of the postgres package: %w", err)
	}
	return func() error { return os.Remove(path) }, nil
}

// aptGet installs the package. When that fails it brings the package lists up to
// date and tries once more: a fresh machine has none.
func (i installer) aptGet(ctx context.Context) error {
	args := []string{"install", "--yes", "--no-install-recommends", "postgresql"}
	i.say("no Postgres found, installing the package postgresql with apt-get")
	first := i.run(ctx, args...)
	if first == nil {
		return nil
	}
	i.say("not possible yet, bringing the package lists up to date with apt-get update")
	err := i.run(ctx, "update")
	if err != nil {
		return fmt.Errorf("bring package lists up to date: %w", err)
	}
	i.say("installing the package postgresql with apt-get again")
	err = i.run(ctx, args...)
	if err != nil {
		return fmt.Errorf("install postgres: %w", err)
	}
	return nil
}

// run runs apt-get without questions; its output goes to the people watching.
func (i installer) run(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", args...) //nolint:gosec // constant arguments
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	cmd.Stdout, cmd.Stderr = i.out, i.out
	err := cmd.Run()
	if err != nil {
		return fmt.Errorf("run apt-get %s: %w", args[0], err)
	}
	return nil
}

// say writes one sentence; a broken writer does not stop an installation.
func (i installer) say(sentence string) {
	_, _ = fmt.Fprintln(i.out, sentence)
}
