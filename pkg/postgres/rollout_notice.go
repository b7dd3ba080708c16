package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/account"
	"doorcode/pkg/event"
	"doorcode/pkg/rollout"
)

// noticePage is how many workspaces a pass looks at in one transaction.
const noticePage = 500

// NoticePass is what one step of a pass over all workspaces did.
type NoticePass struct {
	// After is where the next step goes on; empty: the pass is over.
	After string
	// Ordered counts the notices of this step.
	Ordered int
	// Busy says that another replica is at it, and Full that as many notices were ordered within a minute as may be.
	Busy, Full bool
	// Broken names the tables of which a row was not as it was written, each once. Nobody is told on the word of such a row.
	Broken []string
}

// toldPlacesSQL: $1 the last workspace of the step before, $2 limit. A wave is looked at from its announcement until nothing of it
// is news: a postponement and a week after its date, and as long as it stands still.
const toldPlacesSQL = `
SELECT a.workspace, ` + placeColumns + `
  FROM (SELECT q.workspace FROM rollout_places q JOIN rollout_waves u ON u.id = q.wave
         WHERE q.workspace > $1 AND u.announce_at <= clock_timestamp()
           AND (u.enforce_at > clock_timestamp() - interval '15 days' OR u.paused_at IS NOT NULL
                OR EXISTS (SELECT FROM rollout_holds k WHERE k.wave = u.id AND k.cleared_at IS NULL))
         ORDER BY q.workspace LIMIT $2) AS a ` + placeJoins + `
 ORDER BY a.workspace`

// hasUsedSQL tells of a login of l whether it has used a code since its wave v was announced, for a sign-in or to try one.
const hasUsedSQL = `(EXISTS (SELECT FROM sign_ins s WHERE s.workspace = l.workspace AND s.login = l.id AND s.outcome = 'approved' AND s.ended_at > v.announce_at)
        OR EXISTS (SELECT FROM rollout_practices t WHERE t.workspace = l.workspace AND t.login = l.id AND t.at > v.announce_at))`

// listenersSQL: $1 workspaces. Who runs a workspace is told: its owner and its administrators (product.md R4.6).
const listenersSQL = `
SELECT l.workspace, l.id, l.created_at, ` + hasUsedSQL + `,
       coalesce(n.number, 0), coalesce(n.notice, ''), coalesce(n.date, 'epoch'), coalesce(n.due_at, 'epoch')
  FROM logins l JOIN workspaces w ON w.id = l.workspace
  JOIN rollout_places p ON p.workspace = l.workspace
  JOIN rollout_waves v ON v.id = p.wave
  LEFT JOIN LATERAL (SELECT number, notice, date, due_at FROM rollout_notices
                      WHERE workspace = l.workspace AND login = l.id AND wave = p.wave ORDER BY number DESC LIMIT 1) AS n ON true
 WHERE l.workspace = ANY($1) AND (l.role = 'administrator' OR l.id = w.owner)
 ORDER BY l.workspace, l.id`

// listener is who may be told something of a wave.
type listener struct {
	workspace, login string
	rollout.Listener
}

// OrderNotices goes one step over the workspaces whose wave was told and orders what is due to the people who run them: a row
// that says so, an audit row and the event by which it is sent, in one transaction. A step begins after the workspace that
// the one before has returned. One replica is at it at a time, and what both find due is ordered once all the same, because
// the number of a notice is there once. perMinute bounds how many are ordered within a minute over all replicas.
func (d *Directory) OrderNotices(ctx context.Context, after string, perMinute int) (NoticePass, error) {
	pass := NoticePass{After: after}
	err := d.db.inTx(ctx, pgx.TxOptions{}, func(tx pgx.Tx) error {
		var locked bool
		err := tx.QueryRow(ctx, `SELECT pg_try_advisory_xact_lock($1::int, 0)`, int32(noticesLock)).Scan(&locked)
		if err != nil || !locked {
			pass.Busy = !locked
			return err
		}
		t := &directoryTx{tx: tx, rows: d.rows, by: Auth}
		room := perMinute
		err = tx.QueryRow(ctx, `
			SELECT clock_timestamp(), $1::int - count(*) FROM rollout_notices WHERE ordered_at > clock_timestamp() - interval '1 minute'`,
			perMinute).Scan(&t.at, &room)
		if err != nil {
			return err
		}
		return d.orderStep(ctx, t, room, &pass)
	})
	if err != nil {
		return NoticePass{}, fmt.Errorf("order notices of the roll-out: %w", scrub(err))
	}
	return pass, nil
}

// orderStep is OrderNotices under the lock, with room for so many notices.
func (d *Directory) orderStep(ctx context.Context, t *directoryTx, room int, pass *NoticePass) error {
	workspaces, places, err := d.toldPlaces(ctx, t.tx, pass)
	if err != nil {
		return err
	}
	all, err := t.listeners(ctx, workspaces)
	if err != nil {
		return err
	}
	last := ""
	for _, l := range all {
		due, is := places[l.workspace].Due(t.at, l.Listener)
		if !is {
			continue
		}
		if room <= 0 {
			pass.Full = true
			if last != "" {
				pass.After = last
			}
			return nil // From the last workspace that is done, or from where this step began.
		}
		err = t.orderNotice(ctx, l, places[l.workspace].Wave.ID, due)
		if err != nil {
			return err
		}
		room--
		pass.Ordered++
	}
	pass.After = ""
	if len(workspaces) == noticePage {
		pass.After = workspaces[len(workspaces)-1]
	}
	return nil
}

// toldPlaces reads the places of one step. That of a workspace of which a row is broken is empty.
func (d *Directory) toldPlaces(ctx context.Context, tx pgx.Tx, pass *NoticePass) ([]string, map[string]rollout.Place, error) {
	rows, err := tx.Query(ctx, toldPlacesSQL, pass.After, noticePage)
	if err != nil {
		return nil, nil, err
	}
	var workspaces []string
	places := map[string]rollout.Place{}
	for rows.Next() {
		var id string
		var r placeRow
		err := rows.Scan(append([]any{&id}, r.fields()...)...)
		if err != nil {
			return nil, nil, err
		}
		place, err := r.check(d, id)
		var broken *IntegrityError
		if errors.As(err, &broken) {
			place = rollout.Place{}
			if !slices.Contains(pass.Broken, broken.Table) {
				pass.Broken = append(pass.Broken, broken.Table)
			}
		}
		workspaces, places[id] = append(workspaces, id), place
	}
	return workspaces, places, rows.Err()
}

// listeners reads who may be told something in some workspaces, workspace by workspace.
func (t *directoryTx) listeners(ctx context.Context, workspaces []string) ([]listener, error) {
	rows, err := t.tx.Query(ctx, listenersSQL, workspaces)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (listener, error) {
		var l listener
		var said rollout.Said
		err := row.Scan(&l.workspace, &l.login, &l.MadeAt, &l.Passed, &said.Number, &said.Notice, &said.Date, &said.DueAt)
		if said.Number > 0 {
			l.Last = &said
		}
		return l, err
	})
}

// noticeOf names a notice: whoever orders it again makes the same name, and a login that was made again has others.
func noticeOf(l listener, wave string, number int) string {
	h := sha256.New()
	for _, part := range []string{"doorcode rollout notice v1", l.workspace, l.login, moment(l.MadeAt), wave, fmt.Sprint(number)} {
		_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part)))) // A hash takes everything.
		_, _ = h.Write([]byte(part))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}

// noticeEvent is the id of the event that orders a notice.
func noticeEvent(id string) string { return "rollout." + id }

// orderNotice writes the row of a notice, its record and the event by which it is sent.
func (t *directoryTx) orderNotice(ctx context.Context, l listener, wave string, due rollout.Said) error {
	id := noticeOf(l, wave, due.Number)
	_, err := t.tx.Exec(ctx, `
		INSERT INTO rollout_notices (id, workspace, login, wave, number, notice, date, due_at, ordered_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		id, l.workspace, l.login, wave, due.Number, string(due.Notice), due.Date, due.DueAt, t.at)
	if err != nil {
		return err
	}
	return t.writeAs(ctx, noticeEvent(id), event.RolloutOrdered, event.Directory{
		Workspace: l.workspace, Login: l.login, About: id, Kind: event.RolloutNotice(string(due.Notice)),
	})
}

// ErrNoRolloutNotice says that no such notice was ordered, or not any more.
var ErrNoRolloutNotice = errors.New("unknown notice of the roll-out")

// RolloutNotice is a notice of the roll-out as it was ordered, with where its workspace stands now.
type RolloutNotice struct {
	ID, Workspace, Login, Wave string
	Said                       rollout.Said
	OrderedAt                  time.Time // UTC, to the microsecond as its event says it
	Place                      rollout.Place
	Now                        time.Time // the database's
	// Used is how many of the People of the workspace have used a code since the announcement.
	Used, People int
}

// Event is the id of the event that orders the notice, and Kind what it tells, as events have it.
func (n RolloutNotice) Event() (id, kind string) {
	return noticeEvent(n.ID), event.RolloutNotice(string(n.Said.Notice))
}

// Holds reports whether the notice tells of where the workspace stands now.
func (n RolloutNotice) Holds() bool {
	return n.Place.Wave != nil && n.Place.Wave.ID == n.Wave && n.Place.Holds(n.Said, n.Now)
}

// RolloutNotice reads an ordered notice. It fails with ErrNoWorkspace, ErrNoRolloutNotice or an *IntegrityError.
func (d *Directory) RolloutNotice(ctx context.Context, workspace, id string) (RolloutNotice, error) {
	var n RolloutNotice
	err := d.reading(ctx, workspace, func(tx pgx.Tx, _ account.Workspace, now time.Time) error {
		n.Now = now
		var r placeRow
		err := tx.QueryRow(ctx, `
			SELECT n.id, n.workspace, n.login, n.wave, n.number, n.notice, n.date, n.due_at, n.ordered_at, `+placeColumns+`
			  FROM rollout_notices n JOIN LATERAL (SELECT n.workspace) AS a ON true `+placeJoins+`
			 WHERE n.id = $2 AND n.workspace = $1`, workspace, id).Scan(append([]any{
			&n.ID, &n.Workspace, &n.Login, &n.Wave, &n.Said.Number, &n.Said.Notice, &n.Said.Date, &n.Said.DueAt, &n.OrderedAt,
		}, r.fields()...)...)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNoRolloutNotice
		}
		if err != nil {
			return scrub(err)
		}
		n.OrderedAt = n.OrderedAt.UTC()
		n.Place, err = r.check(d, workspace)
		if err != nil {
			return err
		}
		err = tx.QueryRow(ctx, `
			SELECT count(*), count(*) FILTER (WHERE `+hasUsedSQL+`)
			  FROM logins l JOIN rollout_places p ON p.workspace = l.workspace JOIN rollout_waves v ON v.id = p.wave
			 WHERE l.workspace = $1`, workspace).Scan(&n.People, &n.Used)
		return scrub(err)
	})
	if err != nil {
		return RolloutNotice{}, fmt.Errorf("read a notice of the roll-out: %w", err)
	}
	return n, nil
}
