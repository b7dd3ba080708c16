package postgres_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/postgres"
	"doorcode/pkg/rollout"
)

// checked is what is on record of workspaces by id.
func (r rollingOut) checked(t *testing.T, wave, workspace string) map[string]postgres.Checked {
	t.Helper()
	all := map[string]postgres.Checked{}
	err := r.owner.Preflight(t.Context(), wave, workspace, false, func(c postgres.Checked) { all[c.Workspace] = c })
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestPreflight_IsOfWhatIsOnRecord(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	r.workspaces(t, "acme", "globex")
	for _, l := range []account.Login{{ID: "bert", Email: "bert@example.com"}, {ID: "carl"}} {
		l.Workspace, l.Role = "acme", account.Member
		_, err := r.directory.PutLogin(t.Context(), by(), l)
		if err != nil {
			t.Fatal(err)
		}
	}
	r.db.Exec(t, `UPDATE workspaces SET updated_at = '2020-01-01'`)
	r.db.Exec(t, `UPDATE logins SET updated_at = '2020-01-01'`)
	r.put(t, "one")
	r.join(t, "one", "acme")
	want := rollout.Checkup{HasOwner: true, Logins: 3, Unreached: 1, Group: true}
	look := func(why string) {
		t.Helper()
		got := r.checked(t, "one", "")
		if len(got) != 1 || got["acme"].Wave != "one" || !reflect.DeepEqual(got["acme"].Checkup, want) {
			t.Errorf("%s: %+v, not %+v", why, got, want)
		}
	}
	look("nothing is on record")
	at := time.Now().Add(-2 * time.Hour)
	r.signIn(t, "anna", "c1", at, "email", "expired", nil)
	want.SignIns = 1
	look("a sign-in without a code")
	r.receipt(t, "c1", at, "delivered")
	want.Proven = true
	look("the mail has arrived")
	r.db.Exec(t, `DELETE FROM audit WHERE challenge_id = 'c1'`)
	r.signIn(t, "anna", "c0", at.Add(-time.Hour), "email", "approved", []byte{1})
	want.SignIns, want.OwnerSeen = 2, true
	look("a former code was typed")
	r.db.Exec(t, `UPDATE workspaces SET updated_at = clock_timestamp() - interval '150 minutes' WHERE id = 'acme'`)
	want.Proven = false
	look("but the address has changed since")
	r.db.Exec(t, `UPDATE workspaces SET updated_at = '2020-01-01'`)
	r.receipt(t, "c1", at, "failed")
	want.Proven, want.Bounced = true, true
	look("the last mail bounced")
	r.db.Exec(t, `DELETE FROM audit WHERE challenge_id = 'c1'`)
	want.Bounced = false
	look("as before")
	// A late report names the address alone, as the challenge has it.
	r.db.Exec(t, `INSERT INTO challenges (id, stream_number, stream_sequence, workspace, login, login_version, front_end, purpose, label, support_reference,
		       tag_key, digest_key, routes, wrong_limit, hour_limit, day_limit, lock_limit, send_limit, state, created_at, resend_at, expires_at, ended_at, address)
		VALUES ('c1', 1, 1, 'acme', 'anna', 1, 'web', 'sign_in', 'BCD', '4F72KQ9R', 1, 1, '[]', 5, 10, 20, 50, 5, 'expired', $1, $1, $1, $1, sha256('x'))`, at)
	r.db.Exec(t, `INSERT INTO audit (id, at, kind, actor, detail) VALUES ('late', $1::timestamptz + interval '1 hour', 'receipt.v1.recorded', 'receipts',
		jsonb_build_object('channel', 'email', 'status', 'failed', 'reason', 'invalid_recipient', 'address_hash', encode(sha256('x'), 'base64')))`, at)
	want.Bounced = true
	look("it bounced late")
	r.signIn(t, "anna", "c2", at.Add(time.Hour), "email", "approved", []byte{1})
	want.Bounced, want.SignIns = false, 3
	look("it was typed since")
	for i := range 4 {
		r.signIn(t, "bert", fmt.Sprint("s", i), at.Add(time.Duration(i)*time.Second), "email", "waived", []byte{2, byte(i)})
		r.db.Exec(t, `UPDATE sign_ins SET network = 'n' || $1::text WHERE challenge_id = 's' || $1::text`, fmt.Sprint(i))
	}
	want.SignIns, want.Shared = 7, true
	look("many browsers and networks")
	r.db.Exec(t, `UPDATE sign_ins SET browser = NULL, network = 'n' WHERE login = 'bert'`)
	want.Shared, want.Scripts = false, 4
	look("the client is named and no browser")
	all := r.checked(t, "", "")
	if len(all) != 3 || all["globex"].Wave != "" || all["w"].Checkup.Logins != 1 || len(r.checked(t, "", "globex")) != 1 {
		t.Errorf("all are %+v", all)
	}
	err := r.owner.Preflight(t.Context(), "", "none", false, func(postgres.Checked) {})
	if !errors.Is(err, postgres.ErrNoWorkspace) {
		t.Errorf("an unknown one: %v", err)
	}
}

// R4.5: blocked workspaces go to another wave, stay where they stand, and let nobody new in by that.
func TestMoveToWave_LetsNobodyNewIn(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	r.workspaces(t, "acme", "globex")
	r.put(t, "one")
	r.put(t, "work")
	r.join(t, "one", "acme", "globex")
	_, err := r.directory.PutLogin(t.Context(), by(), account.Login{Workspace: "acme", ID: "new", Email: "new@example.com", Role: account.Member})
	if err != nil {
		t.Fatal(err)
	}
	m, err := r.owner.MoveToWave(t.Context(), robin(), "one", "work", []string{"acme"})
	if err != nil || !slices.Equal(m.Workspaces, []string{"acme"}) || m.Wave.ID != "work" {
		t.Fatalf("%+v, %v", m, err)
	}
	for login, want := range map[string]rollout.Kind{"anna": rollout.NotRequired, "new": rollout.Required} {
		f, err := r.facts(t, "acme", login)
		if err != nil || f.Home.Place.Wave == nil || f.Home.Place.Wave.ID != "work" || rollout.Decide(f).Kind != want {
			t.Errorf("%s: %+v, %v", login, rollout.Decide(f), err)
		}
	}
	got, err := r.owner.Rollout(t.Context())
	if err != nil || got.Stages[rollout.Scheduled] != 2 || got.Stages[rollout.Enforced] != 1 || got.Broken != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	want := []string{"wave_made", "wave_made", "workspaces_joined", "joined acme", "joined globex", "workspaces_left", "left acme", "workspaces_joined", "joined acme"}
	slices.Sort(want)
	if all := r.records(t); !slices.Equal(slices.Sorted(slices.Values(all)), want) {
		t.Errorf("on record %q", all)
	}
	for name, one := range map[string]struct {
		from, to, workspace string
		want                error
	}{
		"not there":       {"one", "work", "acme", postgres.ErrNotHere},
		"to the same":     {"one", "one", "globex", postgres.ErrSameWave},
		"to an unknown":   {"one", "none", "globex", postgres.ErrNoWave},
		"from an unknown": {"none", "one", "globex", postgres.ErrNoWave},
	} {
		_, err := r.owner.MoveToWave(t.Context(), robin(), one.from, one.to, []string{one.workspace})
		if !errors.Is(err, one.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.db.Exec(t, `UPDATE rollout_places SET joined_at = joined_at + interval '1 day' WHERE workspace = 'globex'`)
	var broken *postgres.IntegrityError
	_, err = r.owner.MoveToWave(t.Context(), robin(), "one", "work", []string{"globex"})
	if !errors.As(err, &broken) || broken.Table != postgres.TablePlaces {
		t.Errorf("an edited place moves: %v", err)
	}
	r.age(t, "work", 8*day)
	_, err = r.owner.MoveToWave(t.Context(), robin(), "work", "one", []string{"acme"})
	if !errors.Is(err, rollout.ErrTold) {
		t.Errorf("out of a wave whose people were told: %v", err)
	}
}
