package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"doorcode/pkg/client"
)

// installation is a running doorcode as its front-ends and people meet it.
type installation struct {
	auth, sandbox string // addresses
	key           string // of a front-end with both scopes
	http          *http.Client
	front         *client.Client
}

// use makes the front-end of a key.
func (s *installation) use(key string) error {
	s.key = strings.TrimSpace(key)
	var err error
	s.front, err = client.New(client.Config{URL: "http://" + s.auth, Key: s.key, HTTP: s.http})
	return err
}

// message is what the inbox tells of one message.
type message struct {
	ID, Channel, To, From, Subject, Text, HTML string
}

// inbox returns the messages to an address, newest first.
func (s *installation) inbox(t testing.TB, to string) []message {
	t.Helper()
	all, err := s.messages(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// messages is inbox for goroutines of a test, which may not end it.
func (s *installation) messages(ctx context.Context, to string) ([]message, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.sandbox+"/api/messages?to="+url.QueryEscape(to), nil)
	if err != nil {
		return nil, err
	}
	res, err := s.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	var all []message
	err = json.NewDecoder(res.Body).Decode(&all)
	return all, err
}

// codeIn finds the code in a message: the one run of six digits on a line of
// its own.
func codeIn(t testing.TB, m message) string {
	t.Helper()
	code, found := findCode(m)
	if !found {
		t.Fatalf("no code in the message %q", m.Subject)
	}
	return code
}

// findCode is codeIn for goroutines of a test.
func findCode(m message) (string, bool) {
	code := regexp.MustCompile(`(?m)^\s*(\d{6})\s*$`).FindStringSubmatch(m.Text)
	if code == nil {
		return "", false
	}
	return code[1], true
}

// wrongFor is a code that is not the right one.
func wrongFor(code string) string {
	if code == "111111" {
		return "222222"
	}
	return "111111"
}

// code waits for the n-th message to an address and returns its code.
func (s *installation) code(t testing.TB, to string, n int) string {
	t.Helper()
	var all []message
	eventually(t, "a message to "+to, func() bool {
		all = s.inbox(t, to)
		return len(all) >= n
	})
	return codeIn(t, all[len(all)-n])
}

// workspace makes a workspace with one owner, named after the test, and returns
// its id and main e-mail address.
func (s *installation) workspace(t testing.TB) (id, email string) {
	t.Helper()
	id = strings.NewReplacer("/", ".", "_", "-").Replace(t.Name())
	id = id[:min(len(id), 60)]
	email = strings.ToLower(id) + "@acme.example"
	if len(id) > 50 {
		email = strings.ToLower(id[:50]) + "@acme.example"
	}
	s.put(t, id, email)
	return id, email
}

// put makes a workspace with one owner.
func (s *installation) put(t testing.TB, id, email string) {
	t.Helper()
	err := s.front.PutWorkspace(t.Context(), id, client.Workspace{Name: "Acme", MainEmail: email, Owner: "kim"})
	if err != nil {
		t.Fatal(err)
	}
	err = s.front.PutLogin(t.Context(), id, "kim", client.Login{Role: "owner"})
	if err != nil {
		t.Fatal(err)
	}
}

// move gives a workspace another main address.
func (s *installation) move(t testing.TB, id, email string) {
	t.Helper()
	w, err := s.front.ReadWorkspace(t.Context(), id)
	if err == nil {
		w.MainEmail = email
		err = s.front.PutWorkspace(t.Context(), id, w)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// anew makes the owner of a workspace again, as that: a login that is there keeps its phone and channel.
func (s *installation) anew(t testing.TB, workspace string, l client.Login) {
	t.Helper()
	gone := s.raw(t, http.MethodDelete, "/v1/workspaces/"+workspace+"/logins/kim", nil)
	if gone.status != http.StatusNoContent {
		t.Fatalf("the login is removed with %d", gone.status)
	}
	err := s.front.PutLogin(t.Context(), workspace, "kim", l)
	if err != nil {
		t.Fatal(err)
	}
}

// create asks for a challenge of the workspace's owner.
func (s *installation) create(t testing.TB, workspace string) client.Challenge {
	t.Helper()
	ch, err := s.front.Create(t.Context(), client.Request{Workspace: workspace, Login: "kim"})
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// refusal returns the code of a refused call.
func refusal(t testing.TB, err error) *client.Error {
	t.Helper()
	var e *client.Error
	if !errors.As(err, &e) {
		t.Fatalf("not a refusal: %v", err)
	}
	return e
}

// answer is what the API answers.
type answer struct {
	status     int
	retryAfter string
	Code       string `json:"code"`
	ChecksLeft *int   `json:"checks_left"`
	Outcome    string `json:"outcome"`
}

// raw makes a request of the API once, without the client's repeats.
func (s *installation) raw(t testing.TB, method, path string, body any) answer {
	t.Helper()
	var data []byte
	if body != nil {
		var err error
		data, err = json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.auth+path, bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := s.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	a := answer{status: res.StatusCode, retryAfter: res.Header.Get("Retry-After")}
	if res.StatusCode != http.StatusNoContent {
		err = json.NewDecoder(res.Body).Decode(&a)
		if err != nil {
			t.Fatalf("%s %s answered %d without JSON: %v", method, path, res.StatusCode, err)
		}
	}
	return a
}

// get reads a page.
func get(t testing.TB, hc *http.Client, address string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := hc.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var b strings.Builder
	_, err = bufio.NewReader(res.Body).WriteTo(&b)
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
