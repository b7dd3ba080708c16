package site

import (
	"crypto/rand"
	"net/http"
	"sync"
	"time"

	"doorcode/pkg/client"
)

// cookieName is the session cookie. The demo runs on plain http on one machine;
// a real front-end uses a `__Host-` name and Secure.
const cookieName = "lanternbird"

// sessionLife is how long a session is kept after its last change.
const sessionLife = 8 * time.Hour

// pending is a sign-in that waits for its code: half a session, without rights.
type pending struct {
	Handle    string
	Label     string
	Recipient string
	Reference string
	ExpiresAt time.Time
}

// session is what one browser has.
type session struct {
	pending *pending
	person  *client.Person
	until   time.Time
}

// sessions holds them in memory by the cookie's random id.
type sessions struct {
	mu  sync.Mutex
	all map[string]session
	now func() time.Time
}

// newSessions returns an empty set.
func newSessions(now func() time.Time) *sessions {
	return &sessions{all: map[string]session{}, now: now}
}

// find returns the browser's session and its id; the caller holds the lock.
func (s *sessions) find(r *http.Request) (string, session) {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return "", session{}
	}
	found, known := s.all[c.Value]
	if !known || s.now().After(found.until) {
		return "", session{}
	}
	return c.Value, found
}

// pending returns the browser's sign-in that waits for a code, or nil.
func (s *sessions) pending(r *http.Request) *pending {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, found := s.find(r)
	return found.pending
}

// person returns who is signed in at this browser, or nil.
func (s *sessions) person(r *http.Request) *client.Person {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, found := s.find(r)
	return found.person
}

// begin keeps a pending sign-in under a fresh id, so that no id from before the
// password counts (CWE-384).
func (s *sessions) begin(w http.ResponseWriter, r *http.Request, p pending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replace(w, r, session{pending: &p})
}

// finish turns the pending sign-in of that handle into a signed-in session, in
// one step and once: a second assertion for it finds nothing pending.
func (s *sessions) finish(w http.ResponseWriter, r *http.Request, handle string, p client.Person) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, found := s.find(r)
	if found.pending == nil || found.pending.Handle != handle {
		return false
	}
	s.replace(w, r, session{person: &p})
	return true
}

// admit makes a signed-in session for whoever never waited for a code.
func (s *sessions) admit(w http.ResponseWriter, r *http.Request, p client.Person) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replace(w, r, session{person: &p})
}

// end forgets the browser's session.
func (s *sessions) end(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, _ := s.find(r)
	delete(s.all, id)
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteLaxMode}) //nolint:gosec // plain http on one machine, see cookieName
}

// replace forgets the old id and keeps the session under a new one; the caller
// holds the lock. Sessions past their life go on the way.
func (s *sessions) replace(w http.ResponseWriter, r *http.Request, next session) {
	old, _ := s.find(r)
	delete(s.all, old)
	now := s.now()
	for id, other := range s.all {
		if now.After(other.until) {
			delete(s.all, id)
		}
	}
	next.until = now.Add(sessionLife)
	id := rand.Text()
	s.all[id] = next
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: id, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode}) //nolint:gosec // plain http on one machine, see cookieName
}
