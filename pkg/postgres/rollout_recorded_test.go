package postgres_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/postgres"
	"doorcode/pkg/rollout"
)

// signIn is a row of sign_ins that began at a time.
func (r rollingOut) signIn(t *testing.T, login, challenge string, at time.Time, channel, outcome string, browser []byte) {
	t.Helper()
	r.db.Exec(t, `INSERT INTO sign_ins (workspace, login, ended_at, challenge_id, started_at, channel, outcome, browser)
		VALUES ('acme', $1, $2::timestamptz + interval '1 minute', $3, $2, $4, $5, $6)`, login, at, challenge, channel, outcome, browser)
}

// receipt is what the provider says of a challenge.
func (r rollingOut) receipt(t *testing.T, challenge string, at time.Time, status string) {
	t.Helper()
	r.db.Exec(t, `INSERT INTO audit (id, at, kind, challenge_id, actor, detail)
		VALUES ('receipt.' || $1, $2, 'receipt.v1.recorded', $1, 'receipts', jsonb_build_object('channel', 'email', 'status', $3::text))`, challenge, at, status)
}

// recorded reads all subjects by id.
func (r rollingOut) recorded(t *testing.T, texts bool) (map[string]rollout.Subject, postgres.Recorded) {
	t.Helper()
	all := map[string]rollout.Subject{}
	made, err := r.owner.RecordedSubjects(t.Context(), texts, func(s rollout.Subject) {
		for i := range s.Logins {
			if s.Logins[i].MadeAt.IsZero() {
				t.Errorf("%s is of no time", s.Logins[i].ID)
			}
			s.Logins[i].MadeAt = time.Time{}
		}
		_, twice := all[s.ID]
		if twice {
			t.Errorf("%s comes twice", s.ID)
		}
		all[s.ID] = s
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, made
}

// hourOfWeek is reckoned in another way than the statement does.
func hourOfWeek(at time.Time) int { return int(at.Weekday())*24 + at.Hour() }

func TestRecordedSubjects_AreThePastAsItIsOnRecord(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	r.workspaces(t, "acme")
	for _, l := range []account.Login{
		{ID: "bert", Email: "bert@example.com"},
		{ID: "carl"},
		{ID: "dora", Phone: "+31612345678", Channel: account.SMS},
		{ID: "emma", Email: "emma@example.com", Phone: "+31612345679"},
		{ID: "fred", Email: "fred@example.com"},
	} {
		l.Workspace, l.Role = "acme", account.Member
		_, err := r.directory.PutLogin(t.Context(), by(), l)
		if err != nil {
			t.Fatal(err)
		}
	}
	r.db.Exec(t, `UPDATE logins SET updated_at = now() - interval '20 days' WHERE workspace = 'acme'`)
	r.db.Exec(t, `UPDATE workspaces SET updated_at = now() - interval '20 days' WHERE id = 'acme'`)
	now := time.Now().UTC()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	one, two := []byte("one"), []byte("two")
	r.signIn(t, "anna", "a1", ago(5*time.Hour), "email", "approved", one)
	r.signIn(t, "anna", "a2", ago(5*time.Hour+7*day), "", "waived", one)
	r.signIn(t, "anna", "a3", ago(5*time.Hour+14*day), "email", "expired", one) // the browser is known all the same
	r.signIn(t, "anna", "a4", ago(5*time.Hour+21*day), "email", "approved", two)
	r.signIn(t, "anna", "a5", ago(50*time.Hour), "email", "approved", nil)
	r.signIn(t, "anna", "a6", ago(28*day+2*time.Hour), "email", "approved", one) // too long ago
	// The last code of bert and emma failed; that of fred did before his address was changed, and that of anna was typed.
	for login, was := range map[string]time.Duration{"bert": 3 * day, "emma": 3 * day, "fred": 21 * day} {
		r.signIn(t, login, login, ago(was), "email", "expired", nil)
		r.receipt(t, login, ago(was), "failed")
	}
	r.receipt(t, "a1", ago(5*time.Hour), "failed")

	all, made := r.recorded(t, true)
	if len(all) != 2 || made.Broken != 0 || made.At.Sub(made.Since) < 28*day {
		t.Errorf("%d workspaces, %+v", len(all), made)
	}
	hour := hourOfWeek(ago(5 * time.Hour))
	want := []rollout.SubjectLogin{
		{ID: "anna", MainOnly: true},
		{ID: "bert", Obstacle: rollout.Bounced, SignIns: []rollout.Hourly{{Hour: hourOfWeek(ago(3 * day)), New: 1}}},
		{ID: "carl", Obstacle: rollout.NoRoute},
		{ID: "dora", Text: true},
		{ID: "emma", SignIns: []rollout.Hourly{{Hour: hourOfWeek(ago(3 * day)), New: 1}}},
		{ID: "fred", SignIns: []rollout.Hourly{{Hour: hourOfWeek(ago(21 * day)), New: 1}}},
	}
	got := all["acme"].Logins
	profile := map[int]rollout.Hourly{}
	for _, h := range got[0].SignIns {
		profile[h.Hour] = h
	}
	got[0].SignIns = nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nand not\n%+v", got, want)
	}
	if len(profile) != 2 || profile[hour] != (rollout.Hourly{Hour: hour, Known: 3, New: 1}) || profile[hourOfWeek(ago(50*time.Hour))].New != 1 {
		t.Errorf("anna signs in at %+v", profile)
	}

	// Without text messages a phone is no way, and without an owner the main address leads to nobody.
	r.db.Exec(t, `UPDATE workspaces SET owner = NULL WHERE id = 'acme'`)
	all, _ = r.recorded(t, false)
	for i, obstacle := range map[int]rollout.Obstacle{0: rollout.NoOwner, 2: rollout.NoOwner, 3: rollout.NoOwner, 4: rollout.Bounced, 5: ""} {
		if l := all["acme"].Logins[i]; l.Obstacle != obstacle || l.Text {
			t.Errorf("without texts and owner: %+v", l)
		}
	}
}

func TestRecordedSubjects_StandWhereTheirSignInsDo(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	r.workspaces(t, "acme", "globex")
	w := r.put(t, "one")
	r.join(t, "one", "acme", "globex")
	given, err := r.owner.Exempt(t.Context(), robin(), "acme", "", exemption(), day)
	if err != nil {
		t.Fatal(err)
	}
	all, made := r.recorded(t, true)
	if p := all["acme"].Place; p.Wave == nil || *p.Wave != w || p.Exemption == nil || *p.Exemption != given || p.JoinedAt.IsZero() || made.Broken != 0 || !made.Since.IsZero() {
		t.Errorf("%+v, %+v", p, made)
	}
	r.db.Exec(t, `UPDATE rollout_places SET joined_at = joined_at + interval '1 day' WHERE workspace = 'acme'`)
	all, made = r.recorded(t, true)
	if all["acme"].Place != (rollout.Place{}) || all["globex"].Place.Wave == nil || made.Broken != 1 {
		t.Errorf("edited, %+v, %+v", all, made)
	}
}

// Pages neither lose nor repeat a workspace.
func TestRecordedSubjects_GoOverSeveralPages(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	r.db.Exec(t, `INSERT INTO workspaces (id, name, main_email, owner, mac_key, mac) SELECT 'w' || i, 'W', 'w@example.com', 'anna', 1, 'x' FROM generate_series(1, 2500) AS i`)
	r.db.Exec(t, `INSERT INTO logins (workspace, id, role, mac_key, mac) SELECT 'w' || i, 'anna', 'member', 1, 'x' FROM generate_series(1, 2500) AS i`)
	all, _ := r.recorded(t, true)
	if len(all) != 2501 {
		t.Errorf("%d workspaces", len(all))
	}
	for i := range 2500 {
		id := fmt.Sprint("w", i+1)
		if len(all[id].Logins) != 1 || !all[id].Logins[0].MainOnly {
			t.Errorf("%s is %+v", id, all[id])
		}
	}
}
