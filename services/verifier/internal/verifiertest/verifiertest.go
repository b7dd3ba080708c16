// Package verifiertest is what the tests of the verifier share: a database and a bus of their own, the keys of auth and
// verifier, and challenges as auth publishes them. Nothing but tests imports it.
package verifiertest

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"doorcode/pkg/assertion"
	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/keyring"
	"doorcode/pkg/otp"
	"doorcode/pkg/postgres"
	"doorcode/pkg/postgres/pgtest"
	"doorcode/pkg/seal"
)

// FrontEnd is the front-end of every challenge.
const FrontEnd = "web"

// Rig is one test's database, bus and keys. It has one login, `anna` of `acme`.
type Rig struct {
	t    testing.TB
	PG   *pgtest.Database
	Bus  *bustest.Bus
	Auth *bus.Conn

	Tags, Digests, Handles, CheckIDs *keyring.Ring
	// Channel and Texts are the rings of e-mail and of text messages.
	Channel, Texts *keyring.Ring
	Keys           *assertion.Keys
	// Seals are the keys of the audit's seals.
	Seals *assertion.Keys
}

// New opens a verifiertest.
func New(t testing.TB) *Rig {
	t.Helper()
	r := &Rig{t: t, PG: pgtest.Open(t), Bus: bustest.Start(t)}
	r.Auth = r.Bus.Connect(t, "auth")
	for _, ring := range []**keyring.Ring{&r.Tags, &r.Digests, &r.Handles, &r.CheckIDs, &r.Channel, &r.Texts} {
		fresh, err := keyring.New()
		r.must(err)
		*ring = fresh
	}
	for _, keys := range []**assertion.Keys{&r.Keys, &r.Seals} {
		fresh, err := assertion.New()
		r.must(err)
		*keys = fresh
	}
	r.PG.Exec(t, `INSERT INTO login_budgets (workspace, login) VALUES ('acme', 'anna')`)
	return r
}

// DB opens the database as the verifier does, with locks that are waited for as long as a slow machine needs.
func (r *Rig) DB() *postgres.DB {
	r.t.Helper()
	cfg := r.PG.VerifierConfig()
	cfg.Params = map[string]string{"lock_timeout": "20s", "statement_timeout": "30s"}
	db, err := postgres.Open(r.t.Context(), cfg)
	r.must(err)
	r.t.Cleanup(db.Close)
	return db
}

// Challenge is a challenge with what only auth and the person know of it.
type Challenge struct {
	Event    event.Issued
	Code     otp.Code
	Handle   string
	Sequence uint64
}

// ID returns the challenge's id.
func (c Challenge) ID() string { return c.Event.Challenge }

// Issue draws a code and publishes a challenge as auth does. change works on the facts before the digest binds them.
func (r *Rig) Issue(change ...func(*event.Issued)) Challenge {
	r.t.Helper()
	c := r.draw(change...)
	e := r.Envelope(c)
	ack, err := r.Auth.Publish(r.t.Context(), e)
	r.must(err)
	c.Sequence = ack.Sequence
	c.Handle, err = challenge.Handle{Challenge: c.ID(), Stream: bustest.Number, Sequence: ack.Sequence}.Encode(r.Handles)
	r.must(err)
	return c
}

// Envelope is the message that issues a challenge.
func (r *Rig) Envelope(c Challenge) bus.Message {
	r.t.Helper()
	e, err := event.New(event.ChallengeIssued, c.ID()+".issued", "doorcode/auth", c.Event.CreatedAt, c.ID(), c.Event)
	r.must(err)
	subject, err := event.SubjectOf(e.Type, c.Event.Channel)
	r.must(err)
	return bus.Message{Subject: subject, ID: e.ID, Header: e.Header(), Data: e.Data}
}

// draw makes a challenge of anna by the database clock.
func (r *Rig) draw(change ...func(*event.Issued)) Challenge {
	r.t.Helper()
	id, err := challenge.NewID()
	r.must(err)
	code, err := otp.Draw(6)
	r.must(err)
	var now time.Time
	r.PG.Scan(r.t, `SELECT clock_timestamp()`, nil, &now)
	now = now.UTC()
	e := event.Issued{
		Challenge: id, Workspace: "acme", Login: "anna", LoginVersion: 1, FrontEnd: FrontEnd, Purpose: challenge.SignIn,
		Channel: "email", Label: "BCD", SupportReference: "4F72KQ9R", Locale: "en", Policy: challenge.DefaultPolicy(),
		CreatedAt: now, ExpiresAt: now.Add(10 * time.Minute), ResendAt: now.Add(30 * time.Second), Fingerprint: []byte("request"),
		Routes: []event.Route{{
			Channel: "email", Recipient: "a•••@example.com", Address: []byte("hash of the address"), PerHour: 20, PerDay: 60,
		}},
	}
	for _, f := range change {
		f(&e)
	}
	for i := range e.Routes {
		e.Routes[i].Envelope = r.seal(e, i, code)
	}
	var tag otp.Tag
	e.TagKey, tag = otp.NewTag(r.Tags, id, code)
	e.DigestKey, e.Digest = otp.Digest(r.Digests, otp.Binding{
		Challenge: id, Workspace: e.Workspace, Login: e.Login, LoginVersion: e.LoginVersion, FrontEnd: e.FrontEnd, Purpose: string(e.Purpose),
	}, tag)
	return Challenge{Event: e, Code: code}
}

// seal hides a code for the dispatcher of a route.
func (r *Rig) seal(e event.Issued, route int, code otp.Code) string {
	r.t.Helper()
	ring, recipient := r.Channel, "anna@example.com"
	if e.Routes[route].Channel == "sms" {
		ring, recipient = r.Texts, "+12025550148"
	}
	envelope, err := seal.Seal(ring, r.SealedRoute(e, route), seal.Content{
		Code: code.Reveal(), Recipient: recipient, Workspace: "Acme", Label: e.Label, Reference: e.SupportReference,
		Locale: e.Locale, CreatedAt: e.CreatedAt, ExpiresAt: e.ExpiresAt,
	})
	r.must(err)
	return envelope
}

// Sealed is the context in which the first route's envelope opens.
func (r *Rig) Sealed(e event.Issued) seal.Context { return r.SealedRoute(e, 0) }

// SealedRoute is the context in which a route's envelope opens.
func (r *Rig) SealedRoute(e event.Issued, route int) seal.Context {
	return seal.Context{
		Challenge: e.Challenge, Route: route, Channel: e.Routes[route].Channel, NotAfter: challenge.NotAfter(e.ExpiresAt),
	}
}

// Request names a challenge as its front-end does.
func (c Challenge) Request() event.HandleRequest {
	return event.HandleRequest{Handle: c.Handle, FrontEnd: FrontEnd}
}

// Right asks for the judgement of the right code.
func (r *Rig) Right(c Challenge, checkID string) event.CheckRequest {
	r.t.Helper()
	return r.typed(c, c.Code, checkID)
}

// Wrong asks for the judgement of a wrong code.
func (r *Rig) Wrong(c Challenge, checkID string) event.CheckRequest {
	r.t.Helper()
	digits := []byte(c.Code.Reveal())
	digits[0] = '0' + (digits[0]-'0'+1)%10
	code, err := otp.Parse(string(digits))
	r.must(err)
	return r.typed(c, code, checkID)
}

func (r *Rig) typed(c Challenge, code otp.Code, checkID string) event.CheckRequest {
	tags := map[uint8][]byte{}
	for id, tag := range otp.Tags(r.Tags, c.ID(), code) {
		tags[id] = tag
	}
	return event.CheckRequest{HandleRequest: c.Request(), Tags: tags, CheckID: checkID}
}

// Count returns the figure of a query.
func (r *Rig) Count(sql string, args ...any) int {
	r.t.Helper()
	var n int
	r.PG.Scan(r.t, sql, args, &n)
	return n
}

// Want fails unless a query's figure is the wanted one.
func (r *Rig) Want(want int, sql string, args ...any) {
	r.t.Helper()
	if got := r.Count(sql, args...); got != want {
		r.t.Errorf("%s %v: %d, not %d", sql, args, got, want)
	}
}

// Parallel runs f n times at the same moment.
func Parallel(n int, f func(i int)) {
	start := make(chan struct{})
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	running.Wait()
}

// Key is the request key number n.
func Key(n int) []byte { return []byte("key " + strconv.Itoa(n)) }

func (r *Rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}
