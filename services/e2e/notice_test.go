package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/client"
	"doorcode/pkg/event"
)

// lockable starts an installation in which three wrong codes in a row lock a login.
func lockable(t *testing.T) *standalone {
	t.Helper()
	s, err := newStandalone(folder(t))
	if err != nil {
		t.Fatal(err)
	}
	s.settings["DOORCODE_AUTH_LOCK_AFTER"] = "3"
	err = s.start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.http.CloseIdleConnections()
		err := s.signal(syscall.SIGTERM)
		if err != nil {
			t.Error(err)
		}
	})
	return s
}

// lock asks for a code and types wrong ones until the login is locked.
func (s *standalone) lock(t *testing.T, workspace string) {
	t.Helper()
	ch := s.create(t, workspace)
	for range 3 {
		// No code is typed right: the right one has been seen by nobody, and another is as good as any.
		_, err := s.front.Check(t.Context(), ch.Handle, "000000")
		if e := refusal(t, err); e.Code != "wrong_code" {
			t.Fatalf("a wrong code: %v", e)
		}
	}
	_, err := s.front.Create(t.Context(), client.Request{Workspace: workspace, Login: "kim"})
	if e := refusal(t, err); e.Code != "login_locked" {
		t.Fatalf("after three wrong codes: %v", e)
	}
}

// unlock ends the lock by the audited call.
func (s *standalone) unlock(t *testing.T, workspace string) {
	t.Helper()
	a := s.raw(t, http.MethodDelete, "/v1/workspaces/"+workspace+"/logins/kim/lock", nil)
	if a.status != http.StatusNoContent {
		t.Fatalf("end of the lock: %d", a.status)
	}
}

// notices returns the notices among the messages to an address; codes may have gone there, too.
func (s *standalone) notices(t *testing.T, to string) []message {
	t.Helper()
	var found []message
	for _, m := range s.inbox(t, to) {
		if strings.Contains(m.Text, "geblokkeerd") || strings.Contains(m.Text, "locked") {
			found = append(found, m)
		}
	}
	return found
}

// operator connects to the bus of the installation with the operator's credential.
func (s *standalone) operator(t *testing.T) *bus.Conn {
	t.Helper()
	conn, err := bus.Connect(t.Context(), bus.Config{
		URL: "nats://" + s.settings["DOORCODE_STANDALONE_NATS_LISTEN"], Name: "doorcodectl",
		KeyFile: filepath.Join(s.dir, "nats", "doorcodectl.nk"), Fatal: func(err error) { t.Errorf("operator: %v", err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		err := conn.Drain(ctx)
		if err != nil {
			t.Errorf("drain the operator's connection: %v", err)
		}
	})
	return conn
}

// settled waits until auth has answered to every lock that the bus holds.
func settled(t *testing.T, conn *bus.Conn) {
	t.Helper()
	settledOf(t, conn, event.LoginLocked)
}

// settledOf is settled for events of another type.
func settledOf(t *testing.T, conn *bus.Conn, kind event.Type) {
	t.Helper()
	all, err := conn.List(t.Context(), event.StreamDirectory, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var last uint64
	for _, m := range all {
		if m.Header["ce-type"] == string(kind) {
			last = max(last, m.Sequence)
		}
	}
	eventually(t, "every one is handled", func() bool {
		consumer, err := conn.Backlog(t.Context(), event.StreamDirectory, bus.Notices)
		if err != nil {
			t.Fatal(err)
		}
		return consumer.Settled >= last
	})
}

// ordered counts the notices of locks on the bus; that a login was made anew is told as well.
func ordered(t *testing.T, conn *bus.Conn) int {
	t.Helper()
	all, err := conn.List(t.Context(), event.StreamChallenges, 1000)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, m := range all {
		if m.Header["ce-type"] != string(event.NoticeRequested) {
			continue
		}
		var p event.Notice
		err := json.Unmarshal(m.Data, &p)
		if err != nil {
			t.Fatal(err)
		}
		if p.Kind == event.NoticeLoginLocked {
			n++
		}
	}
	return n
}

// repeat publishes the events of locks again, as a relay does that died before it deleted them, after the stream has
// forgotten their ids. It returns how many there are.
func repeat(t *testing.T, conn *bus.Conn) int {
	t.Helper()
	all, err := conn.List(t.Context(), event.StreamDirectory, 1000)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, m := range all {
		if m.Header["ce-type"] == string(event.LoginLocked) {
			n++
			_, err := conn.Publish(t.Context(), bus.Message{Subject: m.Subject, ID: "again " + m.ID, Header: m.Header, Data: m.Data})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return n
}

// Somebody who knows the password types wrong codes until the login is locked. The person is told at every proven
// address, once for each lock, in their language, and what became of it is on record.
func TestSEC17_ALockIsToldOnceToEveryProvenAddress(t *testing.T) {
	t.Parallel()
	s := lockable(t)
	conn, db := s.operator(t), s.database(t)
	const phone = "+31612345678"
	workspace, office := s.workspace(t)
	own := "kim." + office
	s.anew(t, workspace, client.Login{Role: "owner", Email: own, Phone: phone, Channel: "sms", Locale: "nl"})
	for round := 1; round <= 2; round++ {
		s.lock(t, workspace)
		for _, to := range []string{own, office, phone} {
			eventually(t, "a notice to every address", func() bool { return len(s.notices(t, to)) >= round })
		}
		if n := repeat(t, conn); n != 2*round-1 { // the locks, and the first one's copy
			t.Errorf("%d events of locks in round %d", n, round)
		}
		settled(t, conn)
		if n := ordered(t, conn); n != 3*round {
			t.Errorf("%d notices are ordered after %d locks", n, round)
		}
		for _, to := range []string{own, office, phone} {
			all := s.notices(t, to)
			if len(all) != round {
				t.Errorf("%d notices to %s after %d locks", len(all), to, round)
			}
			if owner := strings.Contains(all[0].Text, "de login van de eigenaar van"); owner != (to == office) {
				t.Errorf("to %s the login is the owner's: %t", to, owner)
			}
			if m := all[0]; !strings.Contains(m.Text, "geblokkeerd") || strings.Contains(m.Text+m.HTML, "http") || strings.Contains(m.Text, "000000") {
				t.Errorf("the notice says\n%s", m.Text)
			}
		}
		s.unlock(t, workspace)
	}
	eventually(t, "what became of the notices is on record, receipts included", func() bool {
		var attempts, receipts int
		db.Scan(t, `SELECT count(DISTINCT n.id) FILTER (WHERE a.kind = 'delivery.v1.attempted' AND a.detail ->> 'result' = 'accepted'),
			count(DISTINCT n.id) FILTER (WHERE a.kind = 'receipt.v1.recorded' AND a.detail ->> 'status' = 'delivered')
			FROM audit n JOIN audit a ON a.challenge_id = n.id WHERE n.kind = 'notice.v1.requested' AND n.detail ->> 'kind' = 'login_locked' AND n.workspace = $1`, []any{workspace}, &attempts, &receipts)
		return attempts == 6 && receipts == 6
	})
	s.edited(t, conn)
}

// edited shows that an address which was edited in the database is told nothing (SEC-09).
func (s *standalone) edited(t *testing.T, conn *bus.Conn) {
	t.Helper()
	const workspace, office = "edited", "edited@acme.example"
	s.put(t, workspace, office)
	ch := s.create(t, workspace)
	before := ordered(t, conn)
	for range 2 {
		_, _ = s.front.Check(t.Context(), ch.Handle, "000000")
	}
	if n := s.database(t).Exec(t, `UPDATE workspaces SET main_email = 'thief@evil.example' WHERE id = $1`, workspace); n != 1 {
		t.Fatalf("%d rows edited", n)
	}
	_, err := s.front.Check(t.Context(), ch.Handle, "000000")
	if e := refusal(t, err); e.Code != "wrong_code" {
		t.Fatalf("the third wrong code: %v", e)
	}
	eventually(t, "the alarm is raised", func() bool {
		return !strings.Contains(s.metrics(t), `doorcode_directory_mac_failures_total{table="workspaces"} 0`)
	})
	settled(t, conn)
	if n := ordered(t, conn); n != before || len(s.inbox(t, "thief@evil.example")) != 0 || len(s.notices(t, office)) != 0 {
		t.Errorf("%d notices are ordered on the word of an edited row", n-before)
	}
}

// What was ordered and not acknowledged comes again when the time for the ack is over, and is told once all the same.
func TestP5_ALockIsToldOnceThoughAuthDiesBetweenOrderAndAck(t *testing.T) {
	t.Parallel()
	err := armedBinaries()
	if err != nil {
		t.Fatal(err)
	}
	s := newApart(t)
	auth := s.named("auth")[0]
	s.start(t, "auth")
	workspace, office := s.workspace(t)
	s.stop(t, "auth")
	at := time.Now().UTC().Truncate(time.Microsecond)
	s.db.Exec(t, `UPDATE login_budgets SET locked_at = $2 WHERE workspace = $1`, workspace, at)
	e, err := event.New(event.LoginLocked, "x.locked.3", "doorcode/verifier", at, workspace, event.Directory{
		Workspace: workspace, Login: "kim", Version: 1, By: "doorcode/verifier", At: at,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.bus.Connect(t, "verifier").Publish(t.Context(), bus.Message{Subject: "doorcode.directory.login_locked", ID: e.ID, Header: e.Header(), Data: e.Data})
	if err != nil {
		t.Fatal(err)
	}
	err = s.launchArmed(t.Context(), auth, "notice.ordered:1")
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-auth.done:
	case <-time.After(patience):
		t.Fatal("auth never came to the end of an order")
	}
	if !auth.killed() || ordered(t, s.bus.Admin()) != 1 {
		t.Fatalf("auth ended with %v after %d orders\n%s", auth.err, ordered(t, s.bus.Admin()), auth.tail())
	}
	s.start(t, "auth", "email-dispatcher", "sandbox", "verifier")
	settled(t, s.bus.Admin())
	eventually(t, "the notice arrives", func() bool { return len(s.inbox(t, office)) > 0 })
	if n := ordered(t, s.bus.Admin()); n != 1 || len(s.inbox(t, office)) != 1 {
		t.Errorf("%d orders and %d mails of one lock", n, len(s.inbox(t, office)))
	}
}
