package local

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// movedRoot is where data goes that the server's user could not reach at the
// wanted place.
const movedRoot = "/var/lib/doorcode"

// identity is the user that the server runs as. Nil means: as we are.
type identity struct {
	uid, gid uint32
}

// serverIdentity says who runs the server. Only root has to step down: to the
// owner of an existing data folder, else to the user postgres, else to nobody.
func serverIdentity(dir string) (*identity, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // nil is the documented answer for "as we are"
	}
	who, ok := ownerOf(filepath.Join(dir, "PG_VERSION"))
	if ok && who.uid != 0 {
		return who, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			continue
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			continue
		}
		return &identity{uid: uint32(uid), gid: uint32(gid)}, nil
	}
	return nil, errors.New("postgres refuses to run as root, and there is neither a user postgres nor a user nobody")
}

// ownerOf returns who owns a file.
func ownerOf(path string) (*identity, bool) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, false
	}
	return &identity{uid: st.Uid, gid: st.Gid}, true
}

// own gives a path to the server's user.
func (who *identity) own(path string) error {
	if who == nil {
		return nil
	}
	err := os.Chown(path, int(who.uid), int(who.gid))
	if err != nil {
		return fmt.Errorf("give the data folder to the user of the server: %w", err)
	}
	return nil
}

// reaches reports whether the user may pass every existing folder above path.
// Folders that do not exist yet are ours to make.
func (who *identity) reaches(path string) bool {
	if who == nil {
		return true
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false
		}
		if err == nil && !who.passes(info) {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}

// passes reports whether the permission bits let the user through a folder.
func (who *identity) passes(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	bit := fs.FileMode(0o001)
	switch {
	case st.Uid == who.uid:
		bit = 0o100
	case st.Gid == who.gid:
		bit = 0o010
	}
	return info.Mode().Perm()&bit != 0
}

// place says where the data of the wanted folder really lives: there, or in a
// folder of its own below root when the user cannot get there, as with anything
// below a home of mode 0700.
func place(wanted, root string, who *identity) string {
	if who.reaches(wanted) {
		return wanted
	}
	sum := sha256.Sum256([]byte(wanted))
	return filepath.Join(root, hex.EncodeToString(sum[:6]))
}

// realPath makes a path absolute and follows the links of the part that exists,
// so that two names of one folder are one folder.
func realPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("make path absolute: %w", err)
	}
	resolved, err := filepath.EvalSymlinks(abs)
	if err == nil {
		return resolved, nil
	}
	if !errors.Is(err, fs.ErrNotExist) || abs == filepath.Dir(abs) {
		return "", fmt.Errorf("follow links: %w", err)
	}
	parent, err := realPath(filepath.Dir(abs))
	if err != nil {
		return "", err
	}
	return filepath.Join(parent, filepath.Base(abs)), nil
}
