package postgres_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"doorcode/pkg/account"
	"doorcode/pkg/postgres"
)

// session is a settings session of anna that is not stored yet.
func session(id string) postgres.SettingsSession {
	return postgres.SettingsSession{
		ID: id, Secret: digest("link"), Workspace: "w", Login: "anna", FrontEnd: "front", ReturnURL: "https://app.example/", Client: `{"address":"192.0.2.1"}`,
	}
}

func TestSettings_LastAsLongAsTheyMay(t *testing.T) {
	t.Parallel()
	k := keep(t)
	ctx := t.Context()
	_, err := k.directory.MakeSettings(ctx, session("late"), -time.Second)
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.directory.OpenSettings(ctx, "late", digest("link"), digest("cookie"), time.Hour)
	if !errors.Is(err, postgres.ErrNoSession) {
		t.Errorf("a link past its time: %v", err)
	}
	_, err = k.directory.MakeSettings(ctx, session("short"), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = k.directory.Settings(ctx, "short")
	if !errors.Is(err, postgres.ErrNoSession) {
		t.Errorf("a link that was not opened is a session: %v", err)
	}
	_, err = k.directory.OpenSettings(ctx, "short", digest("wrong"), digest("cookie"), time.Hour)
	if !errors.Is(err, postgres.ErrNoSession) {
		t.Errorf("another link: %v", err)
	}
	_, err = k.directory.OpenSettings(ctx, "short", digest("link"), digest("cookie"), -time.Second)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = k.directory.Settings(ctx, "short")
	if !errors.Is(err, postgres.ErrNoSession) {
		t.Errorf("a session past its time: %v", err)
	}
	_, err = k.directory.ApproveSettings(ctx, "short", time.Now())
	if !errors.Is(err, postgres.ErrNoSession) {
		t.Errorf("a session past its time is approved: %v", err)
	}
	// The next one removes what has ended.
	_, err = k.directory.MakeSettings(ctx, session("next"), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	var left int
	k.db.Scan(t, `SELECT count(*) FROM settings_sessions`, nil, &left)
	if left != 1 {
		t.Errorf("%d sessions are kept", left)
	}
}

func TestSettings_GoOnAfterTheirOwnChangeAndNoOther(t *testing.T) {
	t.Parallel()
	k := keep(t)
	ctx := t.Context()
	_, err := k.directory.MakeSettings(ctx, session("s"), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	s, err := k.directory.OpenSettings(ctx, "s", digest("link"), digest("cookie"), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	at := s.ExpiresAt.Add(-59 * time.Minute)
	s, err = k.directory.ApproveSettings(ctx, "s", at)
	if err != nil || !s.ApprovedAt.Equal(at) {
		t.Fatalf("%+v, %v", s, err)
	}
	s, err = k.directory.ApproveSettings(ctx, "s", at.Add(-time.Minute))
	if err != nil || !s.ApprovedAt.Equal(at) {
		t.Errorf("an earlier approval counts: %+v, %v", s, err)
	}
	raise := func() { k.db.Exec(t, `UPDATE login_budgets SET version = version + 1 WHERE login = 'anna'`) }
	_, err = k.directory.FollowSettings(ctx, s)
	if !errors.Is(err, postgres.ErrNoSession) {
		t.Errorf("it follows no change: %v", err)
	}
	raise()
	_, _, err = k.directory.Settings(ctx, "s")
	if !errors.Is(err, postgres.ErrNoSession) {
		t.Errorf("a change of its login leaves it open: %v", err)
	}
	s, err = k.directory.FollowSettings(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := k.directory.Settings(ctx, "s")
	if diff := cmp.Diff(s, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if !got.ApprovedAt.IsZero() { // That code came by the way that was replaced (SEC-36).
		t.Errorf("a code of before approves what follows: %v", got.ApprovedAt)
	}
	raise()
	raise()
	_, err = k.directory.FollowSettings(ctx, s)
	if !errors.Is(err, postgres.ErrNoSession) {
		t.Errorf("it follows the change of another: %v", err)
	}
	err = errors.Join(k.directory.EndSettings(ctx, s), k.directory.EndSettings(ctx, s))
	if err != nil {
		t.Error(err)
	}
}

// Of the sessions of a login the newest twenty live, also when more are made at once; those of another login are its own.
func TestMakeSettings_EndsTheOldest(t *testing.T) {
	t.Parallel()
	k := keep(t)
	ctx := t.Context()
	_, err := k.directory.PutLogin(ctx, factorBy(), account.Login{Workspace: "w", ID: "bert", Role: account.Member, Email: "bert@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	other := session("other")
	other.Login = "bert"
	_, err = k.directory.MakeSettings(ctx, other, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for i := range postgres.MaxSettings {
		id := fmt.Sprint("s", i)
		_, err = k.directory.MakeSettings(ctx, session(id), time.Minute)
		if err == nil { // An opened one lasts longer than a link, and is no newer by that.
			_, err = k.directory.OpenSettings(ctx, id, digest("link"), digest("cookie"), time.Hour)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	live := func(id string) bool {
		_, _, err := k.directory.Settings(ctx, id)
		if err != nil && !errors.Is(err, postgres.ErrNoSession) {
			t.Fatal(err)
		}
		return err == nil
	}
	if !live("s0") {
		t.Error("the oldest of twenty has ended")
	}
	_, err = k.directory.MakeSettings(ctx, session("one more"), time.Minute)
	if err != nil || live("s0") || !live("s1") {
		t.Errorf("with one more the oldest lives: %t, the next: %t, %v", live("s0"), live("s1"), err)
	}
	_, err = k.directory.OpenSettings(ctx, "one more", digest("link"), digest("cookie"), time.Hour)
	if err != nil {
		t.Errorf("the newest: %v", err)
	}
	_, err = k.directory.OpenSettings(ctx, "other", digest("link"), digest("cookie"), time.Hour)
	if err != nil {
		t.Errorf("another login's: %v", err)
	}
	const more = 8
	together(t, more, nil, func(i int) error {
		_, err := k.directory.MakeSettings(ctx, session(fmt.Sprint("m", i)), time.Minute)
		for postgres.IsContended(err) && ctx.Err() == nil {
			_, err = k.directory.MakeSettings(ctx, session(fmt.Sprint("m", i)), time.Minute)
		}
		return err
	})
	if n := k.count(t, `SELECT count(*) FROM settings_sessions WHERE login = 'anna'`); n != postgres.MaxSettings {
		t.Errorf("%d live", n)
	}
	err = k.auth.InTx(ctx, func(tx pgx.Tx) error { // While somebody else makes one, nobody counts them.
		err := postgres.LockSettings(ctx, tx, "w", "anna")
		if err != nil {
			return err
		}
		_, err = k.directory.MakeSettings(ctx, session("waits"), time.Minute)
		if !postgres.IsContended(err) {
			t.Errorf("it does not wait: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := k.count(t, `SELECT count(*) FROM audit WHERE kind = 'settings_session.v1.crowded_out' AND login = 'anna'`); n != more+1 {
		t.Errorf("%d are on record", n)
	}
}
