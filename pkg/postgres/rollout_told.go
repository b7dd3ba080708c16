package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/account"
	"doorcode/pkg/rollout"
)

// Told is a notice of the roll-out that was ordered.
type Told struct {
	Login     string
	Said      rollout.Said
	OrderedAt time.Time
}

// NoticesOf lists what the people who run a workspace were told of its way to codes, the newest first, at most limit.
func (d *Directory) NoticesOf(ctx context.Context, workspace string, limit int) ([]Told, error) {
	rows, err := d.db.pool.Query(ctx, `
		SELECT login, number, notice, date, due_at, ordered_at FROM rollout_notices WHERE workspace = $1
		 ORDER BY ordered_at DESC, login, number DESC LIMIT $2`, workspace, limit)
	if err != nil {
		return nil, fmt.Errorf("list notices of the roll-out: %w", scrub(err))
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Told, error) {
		var t Told
		err := row.Scan(&t.Login, &t.Said.Number, &t.Said.Notice, &t.Said.Date, &t.Said.DueAt, &t.OrderedAt)
		return t, err
	})
	if err != nil {
		return nil, fmt.Errorf("list notices of the roll-out: %w", scrub(err))
	}
	return all, nil
}

// Mailing is how many mails the notices of a wave are, if everybody stays as they are.
type Mailing struct {
	Wave rollout.Wave
	// Workspaces counts those of the wave, and Silent those of them in which nobody can be told: they have neither an owner nor
	// an administrator with an address.
	Workspaces, Silent int
	// People are told, by so many Mails: one to each address, and the owner also at the main one.
	People, Mails int
	// Reminded are those of them who have used no code since the announcement, and Reminders the mails of one reminder to all of
	// these.
	Reminded, Reminders int
}

// mailingSQL: $1 wave. Each workspace has a row, also without anybody to tell.
const mailingSQL = `
SELECT p.workspace, coalesce(w.main_email, ''), coalesce(w.owner, ''), coalesce(l.id, ''), coalesce(l.email, ''),
       l.id IS NOT NULL AND ` + hasUsedSQL + `
  FROM rollout_places p JOIN rollout_waves v ON v.id = p.wave JOIN workspaces w ON w.id = p.workspace
  LEFT JOIN logins l ON l.workspace = p.workspace AND (l.role = 'administrator' OR l.id = w.owner)
 WHERE p.wave = $1
 ORDER BY p.workspace`

// PreviewMailing counts the mails that a wave means, exactly. It fails with ErrNoWave or, when the row of the wave is not as it
// was written, an *IntegrityError.
func (d *Directory) PreviewMailing(ctx context.Context, wave string) (Mailing, error) {
	var m Mailing
	err := d.db.inTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		w, intact, err := scanWave(d.rows, tx.QueryRow(ctx, `SELECT `+readWaveColumns+` FROM rollout_waves WHERE id = $1`, wave))
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return ErrNoWave
		case err != nil:
			return err
		case !intact:
			return &IntegrityError{Table: TableWaves}
		}
		m.Wave = w
		rows, err := tx.Query(ctx, mailingSQL, wave)
		if err != nil {
			return err
		}
		var of account.Workspace
		var l account.Login
		var used bool
		last, heard := "", 0
		_, err = pgx.ForEachRow(rows, []any{&of.ID, &of.MainEmail, &of.Owner, &l.ID, &l.Email, &used}, func() error {
			if of.ID != last {
				m.close(last, heard)
				last, heard = of.ID, 0
			}
			heard += m.add(len(account.Mailboxes(of, l)), used)
			return nil
		})
		m.close(last, heard)
		return err
	})
	if err != nil {
		return Mailing{}, fmt.Errorf("preview the notices: %w", scrub(err))
	}
	return m, nil
}

// add counts somebody who is told by so many mails, and returns these.
func (m *Mailing) add(mails int, used bool) int {
	if mails == 0 {
		return 0
	}
	m.People++
	m.Mails += mails
	if !used {
		m.Reminded++
		m.Reminders += mails
	}
	return mails
}

// close counts a workspace to which so many mails go; without an id there is none.
func (m *Mailing) close(workspace string, mails int) {
	if workspace == "" {
		return
	}
	m.Workspaces++
	if mails == 0 {
		m.Silent++
	}
}
