package postgres

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrNoSession says that there is no such session, or no more: it was never opened, was opened by another, has ended, or
// its login has changed. It says no more.
var ErrNoSession = errors.New("unknown session")

// SettingsSession is one opening of the Security settings page. Its link is good until it is opened, and then its
// cookie until the session ends.
type SettingsSession struct {
	ID string
	// Secret is the SHA-256 of what the link holds, and of what the cookie holds once the link was opened.
	Secret    []byte
	Workspace string
	Login     string
	// Version is the login's when the session was made: a change of the login ends the session.
	Version   int64
	FrontEnd  string // that asked for it
	ReturnURL string
	Locale    string // empty: the browser's
	Client    string // JSON, what the front-end said about the browser; empty: nothing
	Opened    bool
	// ApprovedAt is when a fresh code was typed last; zero: never.
	ApprovedAt time.Time
	// Asked is the handle of the challenge that asks for such a code; empty: none does.
	Asked     string
	ExpiresAt time.Time
}

// The kinds of records about settings sessions.
const (
	SettingsMade     = "settings_session.v1.made"
	SettingsOpened   = "settings_session.v1.opened"
	SettingsApproved = "settings_session.v1.approved"
	SettingsEnded    = "settings_session.v1.ended" // by the person
	SettingsCrowded  = "settings_session.v1.crowded_out"
)

// MaxSettings is how many settings sessions of a login live at once, links that nobody has opened among them. One more ends
// the oldest.
const MaxSettings = 20

// settingsColumns are what scanSettings reads.
const settingsColumns = `s.id, s.secret_hash, s.workspace, s.login, s.version, s.front_end, s.return_url, s.locale, s.client, s.opened,
       s.approved_at, s.asked, s.expires_at, s.mac_key, s.mac, clock_timestamp() < s.expires_at, clock_timestamp()`

// openSettingsSQL returns the session when its login is still as it was: $1 id. A removed login has another version.
const openSettingsSQL = `SELECT ` + settingsColumns + ` FROM settings_sessions s
  JOIN login_budgets b ON b.workspace = s.workspace AND b.login = s.login AND b.version = s.version AND b.removed_at IS NULL
 WHERE s.id = $1`

// settingsRow is a row of settings_sessions with the time it was read at.
type settingsRow struct {
	SettingsSession
	seal rowSeal
	now  time.Time
}

// scanSettings reads one row of openSettingsSQL, or fails with ErrNoSession or an *IntegrityError.
func (d *Directory) scanSettings(row pgx.Row) (settingsRow, error) {
	var s settingsRow
	var approved *time.Time
	var current bool
	err := row.Scan(&s.ID, &s.Secret, &s.Workspace, &s.Login, &s.Version, &s.FrontEnd, &s.ReturnURL, &s.Locale, &s.Client, &s.Opened,
		&approved, &s.Asked, &s.ExpiresAt, &s.seal.key, &s.seal.mac, &current, &s.now)
	if errors.Is(err, pgx.ErrNoRows) {
		return s, ErrNoSession
	}
	if err != nil {
		return s, scrub(err)
	}
	if approved != nil {
		s.ApprovedAt = *approved
	}
	if !s.seal.fits(d.rows, TableSettings, settingsPairs(s.SettingsSession)) {
		return s, &IntegrityError{Table: TableSettings}
	}
	if !current {
		return s, ErrNoSession
	}
	return s, nil
}

// settingsPairs covers the whole row: who the page acts for, and what it was approved for, is all in it.
func settingsPairs(s SettingsSession) pairs {
	p := pairs{}.with("id", s.ID).with("secret_hash", string(s.Secret)).with("workspace", s.Workspace).with("login", s.Login).
		with("version", strconv.FormatInt(s.Version, 10)).with("front_end", s.FrontEnd).with("return_url", s.ReturnURL).
		with("locale", s.Locale).with("client", s.Client).with("expires_at", stamp(s.ExpiresAt))
	if s.Opened {
		p = p.with("opened", "true")
	}
	return p.with("approved_at", stamp(s.ApprovedAt)).with("asked", s.Asked)
}

// MakeSettings stores a session for a login as it is now, whose link is good for life, and returns it. Sessions that
// have ended are removed on the way, and the oldest ones of the login beyond MaxSettings end. It fails with ErrNoWorkspace, ErrNoLogin or an *IntegrityError.
func (d *Directory) MakeSettings(ctx context.Context, s SettingsSession, life time.Duration) (SettingsSession, error) {
	err := d.change(ctx, Change{By: s.FrontEnd}, func(ctx context.Context, t *directoryTx) error {
		err := t.lockName(ctx, settingsLock, s.Workspace+"/"+s.Login)
		if err == nil {
			err = t.readClock(ctx)
		}
		if err != nil {
			return err
		}
		s.ExpiresAt = micros(t.at.Add(life))
		s.Version, err = t.intactVersion(ctx, s.Workspace, s.Login)
		if err != nil {
			return err
		}
		_, err = t.tx.Exec(ctx, `
			DELETE FROM settings_sessions WHERE id IN (
			       SELECT id FROM settings_sessions WHERE expires_at < $1 ORDER BY expires_at LIMIT 100 FOR UPDATE SKIP LOCKED)`, t.at)
		if err != nil {
			return err
		}
		err = t.writeSettings(ctx, s, SettingsMade)
		if err != nil {
			return err
		}
		return t.crowdOut(ctx, s)
	})
	if err != nil {
		return SettingsSession{}, fmt.Errorf("make settings session: %w", err)
	}
	return s, nil
}

// crowdOut ends the oldest live sessions of a login beyond MaxSettings, and puts each on record.
func (t *directoryTx) crowdOut(ctx context.Context, s SettingsSession) error {
	gone, err := t.tx.Exec(ctx, `
		DELETE FROM settings_sessions WHERE id IN (
		       SELECT id FROM settings_sessions WHERE workspace = $1 AND login = $2 AND expires_at > $3 ORDER BY made_at DESC, id OFFSET $4)`,
		s.Workspace, s.Login, t.at, MaxSettings)
	if err != nil {
		return err
	}
	for range gone.RowsAffected() {
		err = t.noteSettings(ctx, s, SettingsCrowded)
		if err != nil {
			return err
		}
	}
	return nil
}

// intactVersion returns the version of a login whose row is as it was written.
func (t *directoryTx) intactVersion(ctx context.Context, workspace, login string) (int64, error) {
	w, seal, err := scanWorkspace(t.tx.QueryRow(ctx, workspaceSQL, workspace))
	if err != nil {
		return 0, err
	}
	if !seal.fits(t.rows, TableWorkspaces, workspacePairs(w)) {
		return 0, &IntegrityError{Table: TableWorkspaces}
	}
	l, seal, err := scanLogin(t.tx.QueryRow(ctx, loginSQL, workspace, login))
	if err != nil {
		return 0, err
	}
	if !seal.fits(t.rows, TableLogins, loginPairs(l)) {
		return 0, &IntegrityError{Table: TableLogins}
	}
	return t.version(ctx, l)
}

// writeSettings stores a session with a fresh MAC and puts on record what happened to it.
func (t *directoryTx) writeSettings(ctx context.Context, s SettingsSession, kind string) error {
	seal := sealRow(t.rows, TableSettings, settingsPairs(s))
	var approved *time.Time
	if !s.ApprovedAt.IsZero() {
		approved = &s.ApprovedAt
	}
	_, err := t.tx.Exec(ctx, `
		INSERT INTO settings_sessions (id, secret_hash, workspace, login, version, front_end, return_url, locale, client, opened,
		       approved_at, expires_at, mac_key, mac, asked)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
		ON CONFLICT (id) DO UPDATE SET secret_hash = $2, version = $5, opened = $10, approved_at = $11, expires_at = $12, mac_key = $13,
		       mac = $14, asked = $15`,
		s.ID, s.Secret, s.Workspace, s.Login, s.Version, s.FrontEnd, s.ReturnURL, s.Locale, s.Client, s.Opened, approved, s.ExpiresAt,
		seal.key, seal.mac, s.Asked)
	if err != nil || kind == "" {
		return err
	}
	return t.noteSettings(ctx, s, kind)
}

// noteSettings puts on record what happened to a session; no event tells of it.
func (t *directoryTx) noteSettings(ctx context.Context, s SettingsSession, kind string) error {
	_, err := t.tx.Exec(ctx, `
		INSERT INTO audit (id, at, kind, workspace, login, actor, detail)
		VALUES ('settings.' || gen_random_uuid(), $1, $2, $3, $4, $5, '{}')`, t.at, kind, s.Workspace, s.Login, s.FrontEnd)
	return err
}

// Settings returns an open session and the database clock, or fails with ErrNoSession or an *IntegrityError. Whether the
// caller holds its secret is for the caller to see.
func (d *Directory) Settings(ctx context.Context, id string) (SettingsSession, time.Time, error) {
	s, err := d.scanSettings(d.db.pool.QueryRow(ctx, openSettingsSQL, id))
	if err == nil && !s.Opened {
		err = ErrNoSession
	}
	if err != nil {
		return SettingsSession{}, time.Time{}, fmt.Errorf("read settings session: %w", err)
	}
	return s.SettingsSession, s.now, nil
}

// OpenSettings turns the link of a session into its cookie, once: from here next is the hash that counts, and the
// session lasts for life. Of several at once, one opens it. It fails with ErrNoSession or an *IntegrityError.
func (d *Directory) OpenSettings(ctx context.Context, id string, link, next []byte, life time.Duration) (SettingsSession, error) {
	return d.changeSettings(ctx, id, SettingsOpened, func(s *SettingsSession, now time.Time) bool {
		if s.Opened || subtle.ConstantTimeCompare(s.Secret, link) != 1 {
			return false
		}
		s.Opened, s.Secret, s.ExpiresAt = true, next, micros(now.Add(life))
		return true
	})
}

// AskSettings notes the challenge that asks for a fresh code in a session, in place of the one before; an empty handle
// notes that none does. It fails with ErrNoSession or an *IntegrityError.
func (d *Directory) AskSettings(ctx context.Context, id, handle string) (SettingsSession, error) {
	return d.changeSettings(ctx, id, "", func(s *SettingsSession, _ time.Time) bool {
		s.Asked = handle
		return s.Opened
	})
}

// ApproveSettings notes when a fresh code was typed for a session, and that none is asked for any more; an earlier time
// changes nothing. It fails with ErrNoSession or an *IntegrityError.
func (d *Directory) ApproveSettings(ctx context.Context, id string, at time.Time) (SettingsSession, error) {
	return d.changeSettings(ctx, id, SettingsApproved, func(s *SettingsSession, _ time.Time) bool {
		if at.After(s.ApprovedAt) {
			s.ApprovedAt = micros(at)
		}
		s.Asked = ""
		return s.Opened
	})
}

// changeSettings locks an open session, lets f change it, and stores it. f reports false for one that it does not want.
func (d *Directory) changeSettings(ctx context.Context, id, kind string, f func(*SettingsSession, time.Time) bool) (SettingsSession, error) {
	var s settingsRow
	err := d.change(ctx, Change{}, func(ctx context.Context, t *directoryTx) error {
		_, err := t.tx.Exec(ctx, `SELECT FROM settings_sessions WHERE id = $1 FOR UPDATE`, id)
		if err != nil {
			return err
		}
		s, err = d.scanSettings(t.tx.QueryRow(ctx, openSettingsSQL, id))
		if err != nil {
			return err
		}
		t.at = s.now
		if !f(&s.SettingsSession, s.now) {
			return ErrNoSession
		}
		return t.writeSettings(ctx, s.SettingsSession, kind)
	})
	if err != nil {
		return SettingsSession{}, fmt.Errorf("change settings session: %w", err)
	}
	return s.SettingsSession, nil
}

// FollowSettings lets a session go on after a change of its own login that raised the version by one, and by no other
// change. What a code approved before is not approved any more: that code came by the way that was replaced (SEC-36). It fails with ErrNoSession when there was one, or an *IntegrityError.
func (d *Directory) FollowSettings(ctx context.Context, s SettingsSession) (SettingsSession, error) {
	err := d.change(ctx, Change{}, func(ctx context.Context, t *directoryTx) error {
		var there bool
		err := t.tx.QueryRow(ctx, `
			SELECT true FROM settings_sessions s JOIN login_budgets b ON b.workspace = s.workspace AND b.login = s.login
			 WHERE s.id = $1 AND s.version = $2 AND b.version = $2 + 1 AND b.removed_at IS NULL FOR UPDATE OF s`, s.ID, s.Version).Scan(&there)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNoSession
		}
		if err != nil {
			return err
		}
		s.Version++
		s.ApprovedAt = time.Time{}
		return t.writeSettings(ctx, s, "")
	})
	if err != nil {
		return SettingsSession{}, fmt.Errorf("follow a change in a settings session: %w", err)
	}
	return s, nil
}

// EndSettings ends a session. One that has ended stays as it is.
func (d *Directory) EndSettings(ctx context.Context, s SettingsSession) error {
	err := d.change(ctx, Change{}, func(ctx context.Context, t *directoryTx) error {
		gone, err := t.tx.Exec(ctx, `DELETE FROM settings_sessions WHERE id = $1`, s.ID)
		if err != nil || gone.RowsAffected() == 0 {
			return err
		}
		err = t.readClock(ctx)
		if err != nil {
			return err
		}
		return t.noteSettings(ctx, s, SettingsEnded)
	})
	if err != nil {
		return fmt.Errorf("end settings session: %w", err)
	}
	return nil
}
