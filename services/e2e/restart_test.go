package e2e

import (
	"strings"
	"syscall"
	"testing"

	"doorcode/pkg/client"
)

func TestStandalone_DataSurvivesAKill(t *testing.T) {
	t.Parallel()
	s := ownStandalone(t)
	workspace, email := s.workspace(t)
	ch := s.create(t, workspace)
	code := s.code(t, email, 1)
	key := s.key
	err := s.signal(syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	err = s.start()
	if err != nil {
		t.Fatal(err)
	}
	if s.key != key {
		t.Error("the development key changed")
	}
	person, err := s.front.Check(t.Context(), ch.Handle, code)
	if err != nil || person.Login != "kim" {
		t.Errorf("a code from before the kill: %v", err)
	}
	s.create(t, workspace)
	s.code(t, email, 1) // the sandbox's inbox is kept in memory and starts anew
}

func TestStandalone_ASecondStartOnTheFolderIsRefused(t *testing.T) {
	t.Parallel()
	s := sharedStandalone(t)
	out, err := runBinary("standalone", s.settings)
	if err == nil || !strings.Contains(out, "another standalone is running on the folder") {
		t.Errorf("second start: %v\n%s", err, out)
	}
	s.workspace(t) // the first one goes on
}

func TestStandalone_AnUnknownSettingStopsTheStart(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"DOORCODE_STANDALONE_COLOUR", "DOORCODE_AUTH_COLOUR", "DOORCODE_COLOUR"} {
		s, err := newStandalone(folder(t))
		if err != nil {
			t.Fatal(err)
		}
		s.settings[name] = "blue"
		out, err := runBinary("standalone", s.settings)
		if err == nil || !strings.Contains(out, name) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func TestStandalone_StopsInOrderOnSIGTERM(t *testing.T) {
	t.Parallel()
	s := ownStandalone(t)
	workspace, _ := s.workspace(t)
	_, err := s.front.Create(t.Context(), client.Request{Workspace: workspace, Login: "kim"})
	if err != nil {
		t.Fatal(err)
	}
	err = s.signal(syscall.SIGTERM)
	if err != nil {
		t.Fatal(err)
	}
	if s.err != nil {
		t.Errorf("exit: %v\n%s", s.err, s.tail())
	}
	if out := s.printed(); strings.Contains(out, "DATA RACE") || strings.Contains(out, "panic") {
		t.Errorf("the process reports:\n%s", s.tail())
	}
}
