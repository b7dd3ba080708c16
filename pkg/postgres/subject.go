package postgres

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/account"
	"doorcode/pkg/seal"
)

// The kinds of records about addresses, which stand in the audit alone.
const (
	AddressesRecorded = "addresses.v1.recorded" // where codes go from then on, sealed for the subject
	AddressesShown    = "addresses.v1.shown"    // an operator opened them
	AddressesErased   = "addresses.v1.erased"   // nobody can open them any more
)

// Refusals of an erasure.
var (
	// ErrInUse says that codes still go to the addresses that are to be erased.
	ErrInUse = errors.New("codes still go to these addresses: remove the login, or the workspace, first")
	// ErrNothingKept says that no address of the subject is kept, or none any more.
	ErrNothingKept = errors.New("no address of it is kept")
)

// Addresses is where the codes of a login go, or a workspace's main address.
type Addresses struct {
	Email   string `json:"email,omitempty"`
	Phone   string `json:"phone,omitempty"`
	Channel string `json:"channel,omitempty"`
	Group   bool   `json:"group,omitempty"` // several people read the main address
}

// subjectName stands in the audit where a challenge's id does, so that the records of a subject are found as fast. No id
// holds a slash.
func subjectName(s seal.Subject) string { return "addresses/" + s.Workspace + "/" + s.Login }

// keepAddresses puts on record where codes go from now on, unless that is on record already. What it writes opens with the
// subject's own half of a key alone, which lies in subjects until it is erased.
func (t *directoryTx) keepAddresses(ctx context.Context, s seal.Subject, a Addresses) error {
	plain, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("write addresses: %w", err)
	}
	half, err := seal.NewHalf()
	if err != nil {
		return err
	}
	key, known := t.rows.MAC("doorcode addresses v1", []byte(s.Workspace), []byte(s.Login), plain)
	err = t.tx.QueryRow(ctx, `
		INSERT INTO subjects AS s (workspace, login, half, known_key, known) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (workspace, login) DO UPDATE SET known_key = $4, known = $5 WHERE s.known <> $5
		RETURNING half`, s.Workspace, s.Login, half, key, known).Scan(&half)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	at := t.at.UTC().Truncate(time.Microsecond)
	sealed, err := s.Seal(t.rows, half, at, plain)
	if err != nil {
		return err
	}
	return recordSubject(ctx, t.tx, AddressesRecorded, s, t.by, at, map[string]any{"sealed": sealed})
}

// recordSubject writes a row of the audit about a subject.
func recordSubject(ctx context.Context, tx pgx.Tx, kind string, s seal.Subject, actor string, at time.Time, detail map[string]any) error {
	raw := make([]byte, 12)
	_, err := rand.Read(raw)
	if err != nil {
		return fmt.Errorf("draw the id of a record: %w", err)
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO audit (id, at, kind, workspace, login, challenge_id, actor, detail) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		"addresses."+base64.RawURLEncoding.EncodeToString(raw), at, kind, s.Workspace, orNull(s.Login), subjectName(s), actor, detail)
	return err
}

// AddressRecord is one line of the history of a subject's addresses.
type AddressRecord struct {
	At    time.Time
	Kind  string // AddressesRecorded, AddressesShown or AddressesErased
	Actor string // the front-end, process or operator
	// Addresses are those that hold from then on; nil when they were erased, or were changed by somebody who has not the key.
	Addresses *Addresses
	Reason    string // an operator's
}

// AddressOrder says who looks at addresses or erases them, and why, as the audit keeps it for good.
type AddressOrder struct{ Operator, Reason string }

// validate returns an error when the order does not say who and why.
func (o AddressOrder) validate() error {
	err := account.ValidateID(o.Operator)
	if err != nil {
		return fmt.Errorf("the operator: %w", err)
	}
	if o.Reason == "" {
		return errors.New("the reason is missing")
	}
	return nil
}

// Addresses tells where the codes of a login went and since when, or a workspace's main address when login is empty, in the
// order of time. Nobody looks unseen: that is on record before they are returned (product.md P-6). It fails with
// ErrNothingKept when there has never been one. It is for the owner's role.
func (d *Directory) Addresses(ctx context.Context, o AddressOrder, workspace, login string) ([]AddressRecord, error) {
	s := seal.Subject{Workspace: workspace, Login: login}
	var history []AddressRecord
	err := d.underOrder(ctx, o, func(tx pgx.Tx, now time.Time) error {
		var err error
		history, err = d.history(ctx, tx, s)
		if err != nil {
			return err
		}
		return recordSubject(ctx, tx, AddressesShown, s, o.Operator, now, map[string]any{"reason": o.Reason, "role": Operator})
	})
	if err != nil {
		return nil, fmt.Errorf("read addresses: %w", err)
	}
	return history, nil
}

// Erase destroys what opens the addresses of a login, or of a workspace and all its logins when login is empty: what the
// audit, its exports and copies of both hold of them stays there and opens no more, and the seals of the audit stay good
// (security.md 5.7). What else has an address of the login goes with it: notes of its removal, requests, invitations and
// sign-ins. It returns how many subjects it erased. It fails with ErrInUse while the login, or the workspace, is there, and
// with ErrNothingKept. It is for the owner's role.
func (d *Directory) Erase(ctx context.Context, o AddressOrder, workspace, login string) (int, error) {
	erased := 0
	err := d.underOrder(ctx, o, func(tx pgx.Tx, now time.Time) error {
		logins, err := lockSubjects(ctx, tx, workspace, login)
		if err != nil {
			return err
		}
		for _, l := range logins {
			s := seal.Subject{Workspace: workspace, Login: l}
			gone, err := d.forgetAddresses(ctx, tx, s)
			if err != nil {
				return err
			}
			if gone == 0 {
				continue
			}
			erased++
			err = recordSubject(ctx, tx, AddressesErased, s, o.Operator, now, map[string]any{"reason": o.Reason, "role": Operator})
			if err != nil {
				return err
			}
		}
		if erased == 0 {
			return ErrNothingKept
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("erase addresses: %w", err)
	}
	return erased, nil
}

// underOrder runs fn in a transaction with the time to look through the audit.
func (d *Directory) underOrder(ctx context.Context, o AddressOrder, fn func(tx pgx.Tx, now time.Time) error) error {
	err := o.validate()
	if err != nil {
		return err
	}
	return d.db.inTx(ctx, pgx.TxOptions{}, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, storySettingsSQL)
		if err != nil {
			return err
		}
		var now time.Time
		err = tx.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&now)
		if err != nil {
			return err
		}
		return fn(tx, now)
	})
}

// lockSubjects keeps the subjects that are to be erased, one login's or those of all of a workspace, and returns their
// logins. Whoever puts the workspace or login meanwhile waits here or is seen: ErrInUse.
func lockSubjects(ctx context.Context, tx pgx.Tx, workspace, login string) ([]string, error) {
	rows, err := tx.Query(ctx, `
		SELECT login FROM subjects WHERE workspace = $1 AND ($2 = '' OR login = $2) ORDER BY login FOR UPDATE`, workspace, login)
	if err != nil {
		return nil, err
	}
	logins, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	var used bool
	err = tx.QueryRow(ctx, `
		SELECT CASE WHEN $2 = '' THEN EXISTS (SELECT FROM workspaces WHERE id = $1)
		       ELSE EXISTS (SELECT FROM logins WHERE workspace = $1 AND id = $2) END`, workspace, login).Scan(&used)
	if err == nil && used {
		err = ErrInUse
	}
	if !slices.Contains(logins, login) { // Of before addresses were kept.
		logins = append(logins, login)
	}
	return logins, err
}

// forgetSQL: $1 workspace, $2 login, $3 its addresses in lower case. It tells how many rows are gone.
const forgetSQL = `
WITH n AS (DELETE FROM removed_logins WHERE workspace = $1 AND login = $2 RETURNING 1),
     j AS (DELETE FROM join_requests WHERE workspace = $1 AND (login = $2 OR lower(email) = ANY($3)) RETURNING 1),
     i AS (DELETE FROM invitations WHERE workspace = $1 AND lower(email) = ANY($3) RETURNING 1),
     s AS (DELETE FROM sign_ins WHERE workspace = $1 AND login = $2 RETURNING 1),
     h AS (DELETE FROM subjects WHERE workspace = $1 AND login = $2 RETURNING 1)
SELECT (SELECT count(*) FROM n) + (SELECT count(*) FROM j) + (SELECT count(*) FROM i) + (SELECT count(*) FROM s) +
       (SELECT count(*) FROM h)`

// forgetAddresses removes a subject's own half of its key, and the rows that hold an address of it; it tells how many.
func (d *Directory) forgetAddresses(ctx context.Context, tx pgx.Tx, s seal.Subject) (int, error) {
	history, err := d.history(ctx, tx, s)
	if err != nil && !errors.Is(err, ErrNothingKept) {
		return 0, err
	}
	emails := []string{}
	for _, r := range history {
		if r.Addresses != nil && r.Addresses.Email != "" && s.Login != "" {
			emails = append(emails, account.CompareForm(r.Addresses.Email))
		}
	}
	slices.Sort(emails)
	gone := 0
	err = tx.QueryRow(ctx, forgetSQL, s.Workspace, s.Login, slices.Compact(emails)).Scan(&gone)
	return gone, err
}

// history reads the records of a subject and opens what can be opened.
func (d *Directory) history(ctx context.Context, tx pgx.Tx, s seal.Subject) ([]AddressRecord, error) {
	var half []byte
	err := tx.QueryRow(ctx, `SELECT half FROM subjects WHERE workspace = $1 AND login = $2`, s.Workspace, s.Login).Scan(&half)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, err
	}
	rows, err := tx.Query(ctx, `
		SELECT at, kind, actor, coalesce(detail ->> 'sealed', ''), coalesce(detail ->> 'reason', '') FROM audit
		 WHERE challenge_id = $1 ORDER BY at, id`, subjectName(s))
	if err != nil {
		return nil, err
	}
	history, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (AddressRecord, error) {
		var r AddressRecord
		var sealed string
		err := row.Scan(&r.At, &r.Kind, &r.Actor, &sealed, &r.Reason)
		if err != nil {
			return r, err
		}
		plain, err := s.Open(d.rows, half, r.At, sealed)
		var a Addresses
		if err == nil && json.Unmarshal(plain, &a) == nil {
			r.Addresses = &a
		}
		return r, nil
	})
	if err == nil && len(history) == 0 {
		err = ErrNothingKept
	}
	return history, err
}
