package front_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/assertion"
	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/event/eventtest"
	"doorcode/pkg/frontend"
	"doorcode/pkg/keyring"
	"doorcode/pkg/postgres"
	"doorcode/pkg/postgres/pgtest"
	"doorcode/pkg/problem"
	"doorcode/pkg/telemetry"
	"doorcode/services/auth/internal/authtest"
	"doorcode/services/auth/internal/decide"
	"doorcode/services/auth/internal/front"
	"doorcode/services/auth/internal/watch"
)

func TestMain(m *testing.M) { os.Exit(authtest.Main(m)) }

// set is a front door with everything around it.
type set struct {
	*front.Front
	*authtest.World
	db        *pgtest.Database
	bus       *bustest.Bus
	directory *postgres.Directory
	keys      front.Keys
	rows      *keyring.Ring
	call      front.Call // of a front-end
}

// start puts workspace w with the owner anna, who has no address of her own, and bert, who has a phone as well.
func start(t *testing.T) *set {
	t.Helper()
	s := &set{db: pgtest.Open(t), bus: bustest.Start(t)}
	dir := t.TempDir()
	ring := func(name string) *keyring.Ring {
		r, err := keyring.New()
		if err != nil {
			t.Fatal(err)
		}
		data, err := r.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		err = os.WriteFile(filepath.Join(dir, name), data, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	authtest.Keys(t, dir)
	s.keys = front.Keys{
		Tag: ring("TAG"), Digest: ring(authtest.Digest), Handle: ring(authtest.Handle), Address: ring("ADDRESS"), APIKey: ring("API_KEY"),
		Idempotency: ring("IDEMPOTENCY"),
		Channels:    map[string]*keyring.Ring{account.Email: ring(authtest.EmailChannel), account.SMS: ring(authtest.SMSChannel)},
	}
	jwks, err := os.ReadFile(filepath.Join(dir, authtest.JWKS))
	if err != nil {
		t.Fatal(err)
	}
	s.keys.Assertion, err = assertion.ParseJWKS(jwks)
	if err != nil {
		t.Fatal(err)
	}
	s.rows = ring("ROW")
	s.World = authtest.Start(t, s.bus, s.db, dir)
	tel, err := telemetry.New("auth", "debug", t.Output())
	if err != nil {
		t.Fatal(err)
	}
	db := s.db.Auth(t)
	s.directory = postgres.NewDirectory(db, s.rows)
	s.Front, err = front.New(front.Config{
		Database: db, Directory: s.directory, Bus: s.bus.Open(t, bus.Config{Name: "auth", Log: tel.Log, Fatal: func(err error) { t.Error(err) }}),
		Watches: watch.NewHub(10), Keys: s.keys, Clock: time.Now, Telemetry: tel,
		Settings: front.Settings{
			Settings: decide.Settings{
				Policy: challenge.DefaultPolicy(), Life: 10 * time.Minute, TextLife: 5 * time.Minute, PerHour: 20, PerDay: 60, GroupPerHour: 60,
				GroupPerDay: 200, NumberPerHour: 5, NumberPerDay: 10, Countries: []string{"US"}, TextsPerDay: 100,
			},
			CodeDigits: 6, LivePerLogin: 5, CreatesPerClient: 30, CreatesPerSecond: 200, VerifierTimeout: 10 * time.Second,
			StreamNumber: bustest.Number, PublicURL: "https://sign-in.example.com",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.settle(t)
	return s
}

// settle puts a front-end, a workspace and two logins.
func (s *set) settle(t *testing.T) {
	t.Helper()
	fe, key, err := frontend.FrontEnd{
		ID: "web", Scopes: []frontend.Scope{frontend.Challenges, frontend.Directory}, AllWorkspaces: true,
	}.WithNewKey(s.keys.APIKey)
	if err != nil {
		t.Fatal(err)
	}
	parsed, ok := frontend.ParseAuthorization("Bearer " + key)
	if !ok {
		t.Fatal("no key")
	}
	s.call = front.Call{Key: parsed}
	err = postgres.NewDirectory(s.db.Owner(t), s.rows).PutFrontEnd(t.Context(), fe)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.PutWorkspace(t.Context(), s.call, "w", front.WorkspaceRequest{Name: "Acme", MainEmail: "office@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	for id, r := range map[string]front.LoginRequest{
		"anna": {Role: "owner"}, "bert": {Role: "member", Email: "bert@example.com", Phone: "+12025550148", Channel: "sms"},
	} {
		_, err = s.PutLogin(t.Context(), s.call, "w", id, r)
		if err != nil {
			t.Fatal(err)
		}
	}
}

// refused returns the code of the problem that an error is.
func refused(t *testing.T, err error) string {
	t.Helper()
	var p *problem.Problem
	if !errors.As(err, &p) {
		t.Fatalf("no refusal: %v", err)
	}
	return p.Code
}

// approval asks for a code of a login about its number.
func approval(login string) front.Question {
	return front.Question{Workspace: "w", Login: login, Purpose: challenge.Approval, About: challenge.AboutNumber}
}

// proof asks for a code to an address.
func proof(login, address string) front.Question {
	return front.Question{
		Workspace: "w", Login: login, Purpose: challenge.Proof, About: challenge.AboutMainEmail,
		Route: &account.Route{Channel: account.Email, Recipient: address},
	}
}

func TestAsk_AnApprovalGoesByThePresentRouteAndLetsNobodyIn(t *testing.T) {
	t.Parallel()
	s := start(t)
	created, err := s.Ask(t.Context(), approval("bert"))
	if err != nil || created.Channel != account.SMS || len(created.Routes) != 1 {
		t.Fatalf("asked: %+v, %v", created, err)
	}
	m := s.Messages(t, "+12025550148", 1)[0]
	if !strings.Contains(m.Text, " approves a change of your phone number at Lanternbird.") || !strings.Contains(m.Text, created.Label) {
		t.Errorf("the message is\n%s", m.Text)
	}
	stored := s.bus.Messages(t, event.StreamChallenges)
	if len(stored) != 1 {
		t.Fatalf("the bus holds %d messages", len(stored))
	}
	eventtest.ValidateData(t, event.ChallengeIssued, stored[0].Data)
	code := s.Code(t, "+12025550148", 1)
	for _, ask := range []func() error{
		func() error { _, err := s.State(t.Context(), s.call, created.Handle); return err },
		func() error {
			_, err := s.Check(t.Context(), s.call, created.Handle, front.CheckRequest{Code: code})
			return err
		},
		func() error {
			_, err := s.Resend(t.Context(), s.call, created.Handle, front.ResendRequest{})
			return err
		},
		func() error { _, err := s.Cancel(t.Context(), s.call, created.Handle); return err },
	} {
		if got := refused(t, ask()); got != front.CodeUnknownChallenge {
			t.Errorf("a front-end that asks about an own challenge is told %s", got)
		}
	}
	_, err = s.Confirm(t.Context(), created.Handle, authtest.Wrong(code), "first")
	if got := refused(t, err); got != "wrong_code" {
		t.Errorf("a wrong code is refused with %s", got)
	}
	for range 2 { // A repeat of a check gets its answer.
		c, err := s.Confirm(t.Context(), created.Handle, code, "second")
		if err != nil || c.Workspace != "w" || c.Login != "bert" || c.Purpose != challenge.Approval || time.Since(c.At) > authtest.Patience {
			t.Fatalf("confirmed: %+v, %v", c, err)
		}
	}
	_, err = s.Confirm(t.Context(), created.Handle, code, "third")
	if got := refused(t, err); got != "used" {
		t.Errorf("the code once more is refused with %s", got)
	}
	view, err := s.Look(t.Context(), created.Handle)
	if err != nil || view.State != "approved" {
		t.Errorf("it stands at %+v, %v", view, err)
	}
}

func TestAsk_AProofGoesToThatOnePlaceAlone(t *testing.T) {
	t.Parallel()
	s := start(t)
	pseudo := account.NewPseudo()
	_, err := s.Ask(t.Context(), proof(pseudo, "kim@example.org"))
	if got := refused(t, err); got != decide.CodeUnknownLogin {
		t.Errorf("somebody without a budget is refused with %s", got)
	}
	s.db.Exec(t, `INSERT INTO login_budgets (workspace, login) VALUES ('w', $1)`, pseudo)
	for login, address := range map[string]string{"bert": "new@example.org", pseudo: "kim@example.org"} {
		created, err := s.Ask(t.Context(), proof(login, address))
		if err != nil || created.Channel != account.Email || len(created.Routes) != 0 {
			t.Fatalf("asked: %+v, %v", created, err)
		}
		m := s.Messages(t, address, 1)[0]
		if !strings.Contains(m.Text, "It confirms this address as the main e-mail of the workspace.") {
			t.Errorf("the message is\n%s", m.Text)
		}
		c, err := s.Confirm(t.Context(), created.Handle, s.Code(t, address, 1), "")
		if err != nil || c.Login != login || c.Purpose != challenge.Proof {
			t.Errorf("confirmed: %+v, %v", c, err)
		}
	}
	if n := s.Box.Count(); n != 2 {
		t.Errorf("%d messages were sent", n)
	}
	_, err = s.Ask(t.Context(), approval(pseudo))
	if got := refused(t, err); got != decide.CodeUnknownLogin {
		t.Errorf("an approval of nobody is refused with %s", got)
	}
}

// SEC-05: a code is good for its own challenge and purpose alone, whatever else of the login is open.
func TestSEC05_ACodeOfOnePurposeDoesNothingElse(t *testing.T) {
	t.Parallel()
	s := start(t)
	approve, err := s.Ask(t.Context(), approval("anna"))
	if err != nil {
		t.Fatal(err)
	}
	old := s.Code(t, "office@example.com", 1)
	prove, err := s.Ask(t.Context(), proof("anna", "new@example.org"))
	if err != nil {
		t.Fatal(err)
	}
	fresh := s.Code(t, "new@example.org", 1)
	signIn, err := s.Create(t.Context(), s.call, front.CreateRequest{Workspace: "w", Login: "anna"})
	if err != nil {
		t.Fatal(err)
	}
	entry := s.Code(t, "office@example.com", 2)
	for handle, codes := range map[string][]string{approve.Handle: {fresh, entry}, prove.Handle: {old, entry}} {
		right := map[string]string{approve.Handle: old, prove.Handle: fresh}[handle]
		for _, code := range codes {
			if code == right { // drawn twice, by chance
				continue
			}
			_, err = s.Confirm(t.Context(), handle, code, "")
			if got := refused(t, err); got != "wrong_code" {
				t.Errorf("a code of another purpose is refused with %s", got)
			}
		}
	}
	_, err = s.Confirm(t.Context(), signIn.Handle, entry, "")
	if got := refused(t, err); got != front.CodeUnknownChallenge {
		t.Errorf("a sign-in is confirmed as an own challenge: %s", got)
	}
	_, err = s.Confirm(t.Context(), prove.Handle, fresh, "")
	if err != nil {
		t.Error(err)
	}
}

func TestAsk_TheSameKeyIsTheSameChallenge(t *testing.T) {
	t.Parallel()
	s := start(t)
	q := approval("anna")
	q.Key = "change.1"
	first, err := s.Ask(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.Ask(t.Context(), q)
	if err != nil || again.Handle != first.Handle {
		t.Errorf("the question once more: %v", err)
	}
	q.About = challenge.AboutSMS
	_, err = s.Ask(t.Context(), q)
	if got := refused(t, err); got != front.CodeIdempotencyMismatch {
		t.Errorf("another question with the key is refused with %s", got)
	}
	s.Messages(t, "office@example.com", 1)
	if n := s.Box.Count(); n != 1 {
		t.Errorf("%d messages were sent", n)
	}
}

func TestAsk_IsRefusedAsASignInIs(t *testing.T) {
	t.Parallel()
	s := start(t)
	number := proof("anna", "")
	number.About, number.Route = challenge.AboutNumber, &account.Route{Channel: account.SMS, Recipient: "+31612345678"}
	_, err := s.Ask(t.Context(), number)
	if got := refused(t, err); got != decide.CodeNoRoute { // Its country is not allowed.
		t.Errorf("a number that may not be texted is refused with %s", got)
	}
	s.db.Exec(t, `UPDATE login_budgets SET locked_at = now() WHERE login = 'bert'`)
	for _, q := range []front.Question{approval("bert"), proof("bert", "new@example.org")} {
		_, err = s.Ask(t.Context(), q)
		if got := refused(t, err); got != decide.CodeLoginLocked {
			t.Errorf("a locked login is refused with %s", got)
		}
	}
	s.db.Exec(t, `UPDATE logins SET email = 'thief@example.org' WHERE id = 'bert'`)
	_, err = s.Ask(t.Context(), approval("bert"))
	if got := refused(t, err); got != front.CodeDirectoryIntegrity {
		t.Errorf("a login that was tampered with is refused with %s", got)
	}
	for _, q := range []front.Question{
		{Workspace: "w", Login: "anna", Purpose: challenge.SignIn},
		{Workspace: "w", Login: "anna", Purpose: challenge.Approval},
		{Workspace: "w", Login: "anna", Purpose: challenge.Proof, About: challenge.AboutSMS},
	} {
		_, err = s.Ask(t.Context(), q)
		if err == nil {
			t.Errorf("%+v is asked", q)
		}
	}
	if n := len(s.bus.Messages(t, event.StreamChallenges)); n != 0 {
		t.Errorf("%d challenges were issued", n)
	}
}

// Nobody but doorcode can be doorcode, and no host can name whoever is no login yet.
func TestOwn_IdsAreReserved(t *testing.T) {
	t.Parallel()
	_, ok := frontend.ParseAuthorization("Bearer dck_" + frontend.Own + "_" + strings.Repeat("x", 43))
	_, _, err := frontend.FrontEnd{ID: frontend.Own}.WithNewKey(newRing(t))
	if ok || err == nil {
		t.Error("a key can have doorcode's own id")
	}
	s := start(t)
	_, err = s.PutLogin(t.Context(), s.call, "w", account.NewPseudo(), front.LoginRequest{Role: "member"})
	if got := refused(t, err); got != problem.CodeInvalidRequest {
		t.Errorf("a pseudo login is refused with %s", got)
	}
}

func newRing(t *testing.T) *keyring.Ring {
	t.Helper()
	r, err := keyring.New()
	if err != nil {
		t.Fatal(err)
	}
	return r
}
