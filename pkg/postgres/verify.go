package postgres

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/auditlog"
)

// The kinds of what a verification finds.
const (
	FoundEdited  = "edited"  // a row has another content than when it was sealed
	FoundMissing = "missing" // a row was sealed and is not there
	FoundAdded   = "added"   // a row belongs to a seal that does not have it
	FoundSeal    = "seal"    // a seal is not signed, does not follow the one before it, or contradicts its own tree
	FoundList    = "list"    // the list of a seal's rows is not the one that was sealed
	FoundDrop    = "drop"    // a day is gone in another way than by retention
	FoundHead    = "head"    // a head outside the database is not there, or says something else
)

// AuditFinding is one thing that is wrong with the audit.
type AuditFinding struct {
	Kind    string
	Seal    int64
	At      time.Time // of the row; zero when it is about no row
	ID      string
	RowKind string
	Why     string // what else there is to say
}

// AuditVerification is what a verification of the audit came to.
type AuditVerification struct {
	ID       string             `json:"verification"` // random
	Operator string             `json:"operator"`
	Seals    int64              `json:"seals"`
	Rows     int64              `json:"rows"`     // that were sealed and compared
	Dropped  int64              `json:"dropped"`  // that were sealed, and went with their day
	Unsealed int64              `json:"unsealed"` // that no seal has yet
	Oldest   time.Time          `json:"-"`        // of those; zero when there is none
	Last     auditlog.Head      `json:"-"`        // the last head
	Findings map[string]int64   `json:"findings"` // by kind
	Reported func(AuditFinding) `json:"-"`        // is told each finding up to a thousand of a kind

	mu sync.Mutex
}

// maxFindings is how many findings of a kind are told one by one.
const maxFindings = 1000

// found counts a finding and tells it.
func (v *AuditVerification) found(f AuditFinding) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.Findings[f.Kind]++
	if v.Findings[f.Kind] <= maxFindings {
		v.Reported(f)
	}
}

// Good reports whether nothing was found.
func (v *AuditVerification) Good() bool { return len(v.Findings) == 0 }

// verifySettingsSQL lets a verification read as long as the audit takes, in the order in which it lies on the disk.
const verifySettingsSQL = `
SELECT set_config('statement_timeout', '0', true), set_config('idle_in_transaction_session_timeout', '10min', true),
       set_config('enable_seqscan', 'on', true), set_config('cursor_tuple_fraction', '1', true),
       set_config('plan_cache_mode', 'auto', true)`

// VerifyAudit compares every row of the audit, or those that were sealed in a span, with what was sealed. Every hash is
// worked out here, of the rows as they are: nothing that the database says of itself is believed but the public keys that
// the caller brings. It holds the hashes of at most a few thousand groups of seals, however many rows there are.
//
// All rows are read once, in the order in which they lie, by two workers. Rows and lists are first compared as sums of
// keyed hashes, a sum for each group of seals, under a key that is drawn for this run; only a group whose sums differ is
// compared row by row. That it began is on record before the first row is read, that it ended with what it found before it
// returns. It is for the roles of auditor and owner, and takes three connections of the pool.
func (db *DB) VerifyAudit(ctx context.Context, operator string, keys auditlog.Verifier, from, to time.Time, reported func(AuditFinding)) (*AuditVerification, error) {
	v := &AuditVerification{ID: rand.Text(), Operator: operator, Findings: map[string]int64{}, Reported: reported}
	err := db.recordVerification(ctx, v, "began")
	if err != nil {
		return v, err
	}
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = db.inTx(ctx, snapshot, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, verifySettingsSQL)
		if err != nil {
			return err
		}
		run := &verification{AuditVerification: v, db: db, tx: tx, keys: keys, from: from, to: to}
		err = run.prepare(ctx)
		if err != nil {
			return err
		}
		if !from.IsZero() || !to.IsZero() {
			return run.span(ctx)
		}
		return run.whole(ctx)
	})
	if err != nil {
		return v, fmt.Errorf("verify the audit: %w", err)
	}
	return v, nil
}

// EndVerification puts on record what a verification came to, after the caller has compared the heads as well.
func (db *DB) EndVerification(ctx context.Context, v *AuditVerification) error {
	return db.recordVerification(ctx, v, "ended")
}

// recordVerification puts a step of a verification on record.
func (db *DB) recordVerification(ctx context.Context, v *AuditVerification, step string) error {
	about := []byte(`{}`)
	if step == "ended" {
		var err error
		about, err = json.Marshal(v)
		if err != nil {
			return fmt.Errorf("record a verification of the audit: %w", err)
		}
	}
	_, err := db.pool.Exec(ctx, `SELECT record_audit_verification($1, $2, $3, $4)`, v.ID, step, v.Operator, about)
	if err != nil {
		return fmt.Errorf("record a verification of the audit: %w", scrub(err))
	}
	return nil
}

// CompareHeads compares heads that were kept outside the database with those in it. next gives them, by their numbers at
// best, of which some may be left out, and whether there was another one.
func (db *DB) CompareHeads(ctx context.Context, v *AuditVerification, keys auditlog.Verifier, next func() (auditlog.Head, bool, error)) error {
	var page []auditlog.Head
	for {
		kept, more, err := next()
		if err != nil || !more {
			return err
		}
		for len(page) > 0 && page[0].Number < kept.Number {
			page = page[1:]
		}
		if len(page) == 0 || page[0].Number > kept.Number { // Those of a stream may be out of their order.
			page, err = db.AuditHeads(ctx, kept.Number-1, sealsPage)
			if err != nil {
				return err
			}
		}
		var why string
		switch {
		case !kept.Signed(keys):
			why = "the head that was kept is not signed by a known key"
		case len(page) == 0 || page[0].Number != kept.Number:
			why = "the seal is not in the database"
		case !page[0].Same(kept):
			why = "the seal in the database says something else"
		default:
			continue
		}
		v.found(AuditFinding{Kind: FoundHead, Seal: kept.Number, Why: why})
	}
}

// verification is a verification that is under way, in a transaction of its own.
type verification struct {
	*AuditVerification
	db       *DB
	tx       pgx.Tx
	keys     auditlog.Verifier
	from, to time.Time
	drops    map[string]time.Time // when the rows of a day went, by the day
	groups   groups
	secret   [32]byte
}

// prepare reads what else has to be known: how far the seals go, and which days are gone.
func (v *verification) prepare(ctx context.Context) error {
	_, err := rand.Read(v.secret[:])
	if err != nil {
		return fmt.Errorf("draw the key of the sums: %w", err)
	}
	err = v.tx.QueryRow(ctx, `SELECT count(*) FROM audit_seals`).Scan(&v.Seals)
	if err != nil {
		return err
	}
	v.groups, err = readGroups(ctx, v.tx, v.Seals)
	if err != nil {
		return err
	}
	return v.readDrops(ctx)
}

// dropFloor is how long the rows of a day are kept at least, as drop_audit_days has it.
const dropFloor = 30 * 24 * time.Hour

// readDrops reads which days are gone. Each has to be on record, unless that record went with its own day.
func (v *verification) readDrops(ctx context.Context) error {
	rows, err := v.tx.Query(ctx, `
		SELECT d.day, d.at, EXISTS (SELECT FROM audit a WHERE a.at = d.at AND a.id = 'audit-retention.' || d.day AND a.kind = 'audit_retention.v1.dropped')
		       OR EXISTS (SELECT FROM audit_drops o WHERE o.day = (d.at AT TIME ZONE 'UTC')::date)
		  FROM audit_drops d`)
	if err != nil {
		return err
	}
	v.drops = map[string]time.Time{}
	var day, at time.Time
	var recorded bool
	_, err = pgx.ForEachRow(rows, []any{&day, &at, &recorded}, func() error {
		if !recorded || at.Sub(day) < dropFloor {
			v.found(AuditFinding{Kind: FoundDrop, At: day, Why: "the day is gone, and that retention dropped it is not on record, or it was too young"})
			return nil
		}
		v.drops[day.Format(time.DateOnly)] = at
		return nil
	})
	return err
}

// gone reports whether a row of a seal went with its day: the day was dropped, after the seal was made.
func (v *verification) gone(head auditlog.Head, at int64) bool {
	if len(v.drops) == 0 {
		return false
	}
	dropped, is := v.drops[time.UnixMicro(at).UTC().Format(time.DateOnly)]
	return is && head.At.Before(dropped)
}

// whole compares everything.
func (v *verification) whole(ctx context.Context) error {
	var name string
	err := v.tx.QueryRow(ctx, `SELECT pg_export_snapshot()`).Scan(&name)
	if err != nil {
		return err
	}
	chunks, err := v.chunks(ctx)
	if err != nil {
		return err
	}
	listed := newSums(v.groups)
	scans := [2]*scan{v.newScan(), v.newScan()}
	wctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var workers sync.WaitGroup
	var errs [2]error
	for i, s := range scans {
		workers.Go(func() {
			if i == 0 {
				errs[i] = v.heads(wctx, listed)
			}
			if errs[i] == nil {
				errs[i] = v.reads(wctx, name, chunks, s)
			}
			if errs[i] != nil {
				cancel()
			}
		})
	}
	workers.Wait()
	err = errors.Join(errs[:]...)
	if err != nil {
		return err
	}
	there := scans[0].sums
	for _, s := range scans {
		v.Unsealed += s.unsealed
		if s.unsealed > 0 && (v.Oldest.IsZero() || s.oldest < v.Oldest.UnixMicro()) {
			v.Oldest = time.UnixMicro(s.oldest).UTC()
		}
	}
	there.add(scans[1].sums)
	for i := range there {
		if there[i] != listed[i] {
			err = v.diffGroup(ctx, i)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// span compares the seals that were made in a span of time, one after the other, and of the others the heads alone.
func (v *verification) span(ctx context.Context) error {
	err := v.heads(ctx, newSums(v.groups))
	if err != nil {
		return err
	}
	err = v.tx.QueryRow(ctx, `SELECT count(*), coalesce(min(at), 'epoch') FROM audit WHERE tx >= $1`, v.Last.ToTx).Scan(&v.Unsealed, &v.Oldest)
	if err != nil {
		return err
	}
	for after := int64(0); ; {
		page, err := sealsAfter(ctx, v.tx, after, sealsPage)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, s := range page {
			after = s.Number
			if s.At.Before(v.from) || !v.to.IsZero() && !s.At.Before(v.to) {
				continue
			}
			err = v.diffSeal(ctx, s.Head)
			if err != nil {
				return err
			}
		}
	}
}
