package client

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
)

// kept answers for one workspace as doorcode does, whose own tests show that it does.
type kept struct {
	mu    sync.Mutex
	mail  string
	group bool
	etag  string
}

// ServeHTTP shows it, and changes its address for whoever has read it.
func (k *kept) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if r.Method == http.MethodPut {
		body, _ := io.ReadAll(r.Body)
		var put struct {
			MainEmail    string `json:"main_email"`
			GroupAddress *bool  `json:"group_address"`
		}
		if json.Unmarshal(body, &put) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		group := put.GroupAddress != nil && *put.GroupAddress || put.GroupAddress == nil && k.group
		differs := put.MainEmail != k.mail || group != k.group
		match := r.Header.Get("If-Match")
		if match != "" && match != k.etag {
			w.WriteHeader(http.StatusPreconditionFailed)
			_, _ = io.WriteString(w, `{"code":"changed"}`)
			return
		}
		if differs && match == "" {
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, `{"code":"main_email_differs"}`)
			return
		}
		if differs {
			k.mail, k.group, k.etag = put.MainEmail, group, `"next"`
		}
	}
	w.Header().Set("ETag", k.etag)
	_ = json.NewEncoder(w).Encode(map[string]any{"id": "acme", "name": "Acme", "main_email": k.mail, "owner": "kim", "group_address": k.group})
}

// The main address is changed by whoever has read it, and by nobody else.
func TestPutWorkspace_ChangesTheMainAddressThatWasRead(t *testing.T) {
	t.Parallel()
	k := &kept{mail: "theirs@acme.example", group: true, etag: `"first"`}
	c := (&doorcode{answer: k.ServeHTTP}).start(t, approvedAt())
	code := func(err error) string {
		var refused *Error
		if errors.As(err, &refused) {
			return refused.Code
		}
		return ""
	}
	if got := code(c.PutWorkspace(t.Context(), "acme", Workspace{Name: "Acme", MainEmail: "office@acme.example"})); got != "main_email_differs" {
		t.Errorf("what was not read: %q", got)
	}
	err := c.PutWorkspace(t.Context(), "acme", Workspace{Name: "Acme", MainEmail: "theirs@acme.example"})
	if err != nil || !k.group {
		t.Errorf("without a word of the mark: %t, %v", k.group, err)
	}
	w, err := c.ReadWorkspace(t.Context(), "acme")
	if err != nil || w != (Workspace{Name: "Acme", MainEmail: "theirs@acme.example", Owner: "kim", GroupAddress: true, ETag: `"first"`}) {
		t.Fatalf("read: %+v, %v", w, err)
	}
	w.MainEmail, w.GroupAddress = "office@acme.example", false
	err = c.PutWorkspace(t.Context(), "acme", w)
	if err != nil || k.mail != "office@acme.example" || k.group {
		t.Errorf("what was read: %s, %t, %v", k.mail, k.group, err)
	}
	if got := code(c.PutWorkspace(t.Context(), "acme", w)); got != "changed" {
		t.Errorf("what was read before: %q", got)
	}
}
