package local

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestIdentity_ReachesOnlyWhatTheBitsAllow(t *testing.T) {
	t.Parallel()
	root := tempDir(t)
	me, ok := ownerOf(root)
	if !ok {
		t.Fatal("the folder has no owner")
	}
	stranger := &identity{uid: me.uid + 4242, gid: me.gid + 4242}
	kin := &identity{uid: me.uid + 4242, gid: me.gid}
	for _, c := range []struct {
		mode os.FileMode
		who  *identity
		want bool
	}{
		{0o700, nil, true},
		{0o700, me, true},
		{0o700, kin, false},
		{0o710, kin, true},
		{0o710, stranger, false},
		{0o701, stranger, true},
		{0o701, kin, false}, // the group's bits count for the group, not the others'
	} {
		err := os.Chmod(root, c.mode)
		if err != nil {
			t.Fatal(err)
		}
		got := c.who.reaches(filepath.Join(root, "not", "made", "yet"))
		if got != c.want {
			t.Errorf("mode %o, user %+v: %v, want %v", c.mode, c.who, got, c.want)
		}
	}
}

func TestPlace_MovesOnlyWhatCannotBeReached(t *testing.T) {
	t.Parallel()
	root := tempDir(t)
	me, _ := ownerOf(root)
	stranger := &identity{uid: me.uid + 4242, gid: me.gid + 4242}
	open, shut := filepath.Join(root, "data"), filepath.Join(root, "home", "data")
	err := os.Mkdir(filepath.Dir(shut), 0o700)
	if err != nil {
		t.Fatal(err)
	}
	if place(open, "/moved", stranger) != open {
		t.Error("a folder within reach was moved")
	}
	got := place(shut, "/moved", stranger)
	if !strings.HasPrefix(got, "/moved/") || got != place(shut, "/moved", stranger) || got == place(shut+"2", "/moved", stranger) {
		t.Errorf("a folder out of reach went to %s, want a place of its own that stays the same", got)
	}
}

func TestServerIdentity_StepsDownFromRootOnly(t *testing.T) {
	t.Parallel()
	who, err := serverIdentity(filepath.Join(t.TempDir(), "none"))
	if err != nil {
		t.Fatal(err)
	}
	if (who != nil) != (os.Geteuid() == 0) || who != nil && who.uid == 0 {
		t.Errorf("as user %d the server would run as %+v", os.Geteuid(), who)
	}
}

func TestRealPath_FollowsLinksOfThePartThatExists(t *testing.T) {
	t.Parallel()
	root := tempDir(t)
	real, link := filepath.Join(root, "real"), filepath.Join(root, "link")
	err := os.Mkdir(real, 0o700)
	if err != nil {
		t.Fatal(err)
	}
	err = os.Symlink(real, link)
	if err != nil {
		t.Fatal(err)
	}
	got, err := realPath(filepath.Join(link, "not", "yet"))
	if err != nil || got != filepath.Join(real, "not", "yet") {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestReadPostmaster_UnderstandsEveryForm(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, ok := readPostmaster(dir)
	if ok {
		t.Error("read a file that is not there")
	}
	for content, want := range map[string]postmaster{
		"":           {},
		"nonsense\n": {},
		"1\n":        {}, // never a server
		"77\n":       {pid: 77},
		"77\n/d\n1\n2\n\n127.0.0.1\n 5 6\nready   \n": {pid: 77},
		"77\n/d\n1\n2\n\n127.0.0.1\n 5 6\nstopping\n": {pid: 77, stopping: true},
	} {
		err := os.WriteFile(filepath.Join(dir, "postmaster.pid"), []byte(content), 0o600)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := readPostmaster(dir)
		if got != want || ok != (want.pid != 0) {
			t.Errorf("%q: %+v, %v, want %+v", content, got, ok, want)
		}
	}
}
