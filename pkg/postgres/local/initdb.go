package local

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Owner is the superuser of a private cluster.
const Owner = "doorcode"

// password returns the owner's password from the file beside the data folder and
// makes a fresh one when neither file nor cluster exists. 26 characters of base32
// carry 130 bits.
func (c *Cluster) password(made bool) (string, error) {
	path := c.dir + ".password"
	data, err := os.ReadFile(path) //nolint:gosec // our own file beside the folder
	if err == nil {
		secret := strings.TrimSpace(string(data))
		if secret == "" {
			return "", fmt.Errorf("the file with the password of the database owner is empty: %s", path)
		}
		return secret, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the password of the database owner: %w", err)
	}
	if made {
		return "", fmt.Errorf("the file with the password of the database owner is missing: %s", path)
	}
	secret := rand.Text()
	err = writeWhole(path, secret+"\n")
	if err != nil {
		return "", fmt.Errorf("write the password of the database owner: %w", err)
	}
	return secret, nil
}

// writeWhole writes a file of mode 0600 that is there completely or not at all.
func writeWhole(path, content string) error {
	err := os.WriteFile(path+".new", []byte(content), 0o600)
	if err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// initialize makes the cluster beside its place and moves it there when it is
// complete, so that a crash in between leaves nothing half made.
func (c *Cluster) initialize(ctx context.Context) error {
	draft := c.dir + ".new"
	err := os.RemoveAll(draft)
	if err != nil {
		return fmt.Errorf("remove an unfinished data folder: %w", err)
	}
	err = os.Mkdir(draft, 0o700)
	if err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	err = errors.Join(c.who.own(draft), c.who.own(c.dir+".password"))
	if err != nil {
		return err
	}
	err = c.runInitdb(ctx, draft)
	if err != nil {
		return errors.Join(err, os.RemoveAll(draft))
	}
	err = os.Remove(c.dir) // an empty folder made by hand is welcome, any other is not ours
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("the data folder holds something that is no cluster: %w", err), os.RemoveAll(draft))
	}
	err = os.Rename(draft, c.dir)
	if err != nil {
		return fmt.Errorf("move the data folder to its place: %w", err)
	}
	return nil
}

// runInitdb calls initdb for one folder: checksums on, UTF-8, byte order, SCRAM
// for everybody.
func (c *Cluster) runInitdb(ctx context.Context, dir string) error {
	args := []string{
		"--pgdata=" + dir, "--username=" + Owner, "--pwfile=" + c.dir + ".password",
		"--auth-host=scram-sha-256", "--auth-local=scram-sha-256",
		"--data-checksums", "--encoding=UTF8", "--no-locale", "--no-instructions",
	}
	if c.settings["fsync"] == "off" {
		args = append(args, "--no-sync")
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(c.binDir, "initdb"), args...) //nolint:gosec // paths of the operator
	cmd.Dir, cmd.Env = "/", environment()
	cmd.SysProcAttr = attributes(c.who)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := startAndWait(cmd)
	if err != nil {
		return fmt.Errorf("make the cluster with initdb: %w: %s", err, lastLines(out.Bytes()))
	}
	return nil
}

// environment is all that the binaries see of ours: nothing, so that no setting
// of libpq and no secret of this process gets there.
func environment() []string {
	return []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
}

// lastLines returns the end of an output, at most ten lines, as one line.
func lastLines(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) > 10 {
		lines = lines[len(lines)-10:]
	}
	return strings.Join(lines, " | ")
}
