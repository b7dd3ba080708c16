package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
)

// OldestVersion is the oldest major version of Postgres that doorcode runs on.
const OldestVersion = 14

// ErrNotFound says that no usable Postgres is installed.
var ErrNotFound = fmt.Errorf("no postgres of version %d or newer is installed", OldestVersion)

// Find returns the folder that holds initdb and postgres: the given folder when
// the setting is not empty, else the one on PATH, else the newest version in the
// usual places of packages. A setting that names an unusable folder is an error
// of its own; when nothing is found the error is ErrNotFound.
func Find(ctx context.Context, setting string) (string, error) {
	return find(ctx, setting, []string{
		"/usr/lib/postgresql/*/bin",          // Debian, Ubuntu
		"/usr/pgsql-*/bin",                   // packages of postgresql.org for RPM systems
		"/opt/homebrew/opt/postgresql@*/bin", // Homebrew on Apple silicon
		"/usr/local/opt/postgresql@*/bin",    // Homebrew on Intel
	})
}

// find is Find with the usual places as glob patterns.
func find(ctx context.Context, setting string, places []string) (string, error) {
	if setting != "" {
		_, err := version(ctx, setting)
		if err != nil {
			return "", fmt.Errorf("use postgres of the given folder %s: %w", setting, err)
		}
		return setting, nil
	}
	dir, ok := onPath(ctx)
	if ok {
		return dir, nil
	}
	best, newest := "", 0
	for _, pattern := range places {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			return "", fmt.Errorf("look for postgres: %w", err)
		}
		for _, match := range matches {
			major, err := version(ctx, match)
			if err == nil && major > newest {
				best, newest = match, major
			}
		}
	}
	if best == "" {
		return "", ErrNotFound
	}
	return best, nil
}

// onPath looks for a usable folder through PATH. Links are followed, because the
// binaries look for their libraries beside their own place.
func onPath(ctx context.Context) (string, bool) {
	link, err := exec.LookPath("postgres")
	if err != nil {
		return "", false
	}
	target, err := filepath.EvalSymlinks(link)
	if err != nil {
		return "", false
	}
	for _, file := range []string{target, link} {
		_, err = version(ctx, filepath.Dir(file))
		if err == nil {
			return filepath.Dir(file), true
		}
	}
	return "", false
}

// versionPattern takes the major version out of `postgres (PostgreSQL) 15.18 …`.
const versionPattern = `\(PostgreSQL\) (\d+)`

// version returns the major version of the Postgres in a folder. It fails when
// initdb or postgres is missing there, or when the version is too old.
func version(ctx context.Context, dir string) (int, error) {
	_, err := os.Stat(filepath.Join(dir, "initdb"))
	if err != nil {
		return 0, fmt.Errorf("look for initdb: %w", err)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version") //nolint:gosec // the folder is the operator's or the system's
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("ask postgres for its version: %w", err)
	}
	match := regexp.MustCompile(versionPattern).FindSubmatch(out)
	if match == nil {
		return 0, errors.New("postgres tells no version")
	}
	major, err := strconv.Atoi(string(match[1]))
	if err != nil {
		return 0, fmt.Errorf("read the version of postgres: %w", err)
	}
	if major < OldestVersion {
		return 0, fmt.Errorf("postgres %d is too old, %d or newer is needed", major, OldestVersion)
	}
	return major, nil
}
