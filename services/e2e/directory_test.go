package e2e

import (
	"errors"
	"testing"

	"doorcode/pkg/client"
)

// An application that keeps its directory in step by the Go client changes a main address that it has read, and is told of one
// that it has not.
func TestDirectory_TheClientChangesTheMainAddressThatItHasRead(t *testing.T) {
	t.Parallel()
	s := sharedStandalone(t)
	id, email := s.workspace(t)
	read, err := s.front.ReadWorkspace(t.Context(), id)
	if err != nil || read.MainEmail != email || read.Owner != "kim" || read.ETag == "" {
		t.Fatalf("read: %+v, %v", read, err)
	}
	moved := read
	moved.MainEmail, moved.GroupAddress = "new."+email, true
	err = s.front.PutWorkspace(t.Context(), id, moved)
	if err != nil {
		t.Fatalf("what was read: %v", err)
	}
	refused := func(w client.Workspace) string {
		err := s.front.PutWorkspace(t.Context(), id, w)
		var e *client.Error
		if !errors.As(err, &e) {
			t.Fatalf("it is not refused: %v", err)
		}
		return e.Code
	}
	stale := read
	stale.ETag = ""
	if first, second := refused(stale), refused(read); first != "main_email_differs" || second != "changed" {
		t.Errorf("what was before is answered %s and %s", first, second)
	}
	err = s.front.PutWorkspace(t.Context(), id, client.Workspace{Name: "Acme", MainEmail: "new." + email, Owner: "kim"})
	now, lost := s.front.ReadWorkspace(t.Context(), id)
	if err != nil || lost != nil || now.MainEmail != "new."+email || !now.GroupAddress {
		t.Errorf("it stands at %+v, %v, %v", now, err, lost)
	}
	now.GroupAddress = false
	err = s.front.PutWorkspace(t.Context(), id, now)
	now, lost = s.front.ReadWorkspace(t.Context(), id)
	if err != nil || lost != nil || now.GroupAddress {
		t.Errorf("without the mark it stands at %+v, %v, %v", now, err, lost)
	}
	ch := s.create(t, id)
	s.code(t, "new."+email, 1)
	if ch.Recipient != "n•••@acme.example" {
		t.Errorf("a sign-in goes to %s", ch.Recipient)
	}
}
