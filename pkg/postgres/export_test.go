package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/config"
)

// MigrateFrom is Migrate with migrations of the test's own.
func MigrateFrom(ctx context.Context, adminURL string, passwords map[Role]config.Secret, files fs.FS) (int, error) {
	return migrateFrom(ctx, adminURL, passwords, files)
}

// ScramVerifier is what Migrate sends instead of a password.
func ScramVerifier(password string) (string, error) { return scramVerifier(password) }

// Lookup is a statement that runs all day and must read an index, whatever lies beside it.
type Lookup struct {
	SQL  string
	Args []any
}

// Settings returns the settings that every connection of the pool has.
func (db *DB) Settings() map[string]string { return db.pool.Config().ConnConfig.RuntimeParams }

// OfOne returns the statements about a single challenge or a few, which a quiet night may plan for a busy morning. Their
// arguments are for c1 and on.
func OfOne(n int) map[string]Lookup {
	var ids, workspaces, logins, frontEnds []string
	var digests, addresses [][]byte
	var low, high []int32
	for i := range n {
		ids, workspaces, logins = append(ids, fmt.Sprint("c", i+1)), append(workspaces, fmt.Sprint("ws", (i+1)%100)), append(logins, fmt.Sprint("l", i+1))
		frontEnds, digests = append(frontEnds, "web"), append(digests, []byte{byte(i)})
		addresses = append(addresses, fmt.Append(nil, "a", (i+1)%100))
		low, high = append(low, int32(i+1)), append(high, int32(i+1))
	}
	return map[string]Lookup{
		"check":    {checkSQL, []any{Verifier, 20, ids[:1], digests[:1], low[:1], high[:1], digests[:1]}},
		"checks":   {checkGroupSQL, []any{Verifier, 20, ids, digests, low, high, digests}},
		"facts":    {factsSQL, []any{ids}},
		"create":   {createFactsSQL, []any{frontEnds[:1], workspaces[:1], logins[:1]}},
		"live":     {liveSQL, []any{ids[0]}},
		"labels":   {liveLabelsSQL, []any{addresses}},
		"standing": {standingSQL, []any{ids[0]}},
		"used":     {usedCodeSQL, []any{ids[0], workspaces[0]}},
		"cancel":   {cancelSQL, []any{Verifier, ids[0]}},
		"resend": {resendSQL, []any{
			ids[0], digests[0], 0, digests[0], 20, 60, []int64{30, 60, 120, 240, 240}, Verifier, 0, []byte("all"), "",
		}},
		"mark outdated": {markOutdatedSQL, []any{ids}},
	}
}

// Lookups returns the statements of sweep, janitor and recorder with their arguments; handed is for that of the gaps.
func Lookups(handed []byte) map[string]Lookup {
	day := 24 * time.Hour
	return map[string]Lookup{
		"expired":          {endExpiredSQL, []any{Verifier, 200}},
		"outdated":         {endOutdatedSQL, []any{Verifier, 200}},
		"swept":            {markSweptSQL, []any{200}},
		"gaps":             {recordGapsSQL, []any{handed, Verifier}},
		"delivery":         {deliverySQL, []any{"c1", 1}},
		"clean challenges": {cleanChallengesSQL, []any{8 * day, 500}},
		"clean budgets":    {cleanBudgetsSQL, []any{day, 500}},
		"clean limits":     {cleanLimitsSQL, []any{day, 500}},
		"clean sign-ins":   {cleanSignInsSQL, []any{30 * day, 500}},
		"clean removed":    {cleanRemovedSQL, []any{2 * day, 500}},
		"clean minutes":    {cleanMinutesSQL, []any{90 * day, 500}},
		"clean rounds":     {cleanRoundsSQL, []any{90 * day, 500}},
		"ending":           {seenEndingSQL, []any{14 * day, 100}},
		"due minute":       {dueRoundSQL, []any{"60s"}},
		"health":           {healthOverSQL(), []any{[]time.Time{time.Now().Add(-10 * time.Minute)}, []time.Time{time.Now()}}},
		"used":             {usedCodeSQL, []any{"c1", "ws1"}},
		"sign-ins":         {signInsSQL, []any{"ws1", "l1", 20}},
		"memberships":      {membershipsSQL, []any{"ws1", "l1", maxMemberships + 1}},
		"of a login":       {ofLoginSQL, []any{"ws1", "l1", []byte("browser")}},
		"skip":             {skipSQL, []any{Verifier, "c1", 3, "grace", time.Now()}},
		"waive":            {waiveSQL, []any{Verifier, "new", "ws1", "l1", 1, "web", "4F72KQ9R", time.Now(), nil, nil, nil, "not_yet", time.Now().Add(time.Hour), ""}},
		"told by id":       {toldSQL, []any{"c1", nil, 20}},
		"told":             {toldSQL, []any{nil, "4F72KQ99", 20}},
		"placed":           {placedSQL, []any{[]string{"c1.approved", "c2.approved"}, []string{}}},
	}
}

// CountMinute is the statement that counts a minute.
func CountMinute(minute time.Time) Lookup {
	return Lookup{countMinuteSQL(), []any{minute, boundSeconds()}}
}

// InTx is inTx for tests outside the package.
func (db *DB) InTx(ctx context.Context, fn func(pgx.Tx) error) error {
	return db.inTx(ctx, pgx.TxOptions{}, fn)
}

// LockNumber takes the lock of whoever gives a login a number.
func LockNumber(ctx context.Context, tx pgx.Tx, number string) error {
	return (&directoryTx{tx: tx}).lockName(ctx, numberLock, number)
}

// LockSettings takes the lock of whoever makes a settings session of a login.
func LockSettings(ctx context.Context, tx pgx.Tx, workspace, login string) error {
	return (&directoryTx{tx: tx}).lockName(ctx, settingsLock, workspace+"/"+login)
}

// MaxConns returns the size of the pool.
func (db *DB) MaxConns() int32 { return db.pool.Config().MaxConns }

// Age moves the times of an invitation, a request or a test back and makes its MAC again, as if it had been written then.
func (d *Directory) Age(ctx context.Context, workspace, id string, by time.Duration) error {
	return d.change(ctx, Change{By: "test"}, func(ctx context.Context, t *directoryTx) error {
		i, err := d.scanInvitation(t.tx.QueryRow(ctx, invitationSQL, workspace, id))
		if err == nil {
			_, err = t.tx.Exec(ctx, `DELETE FROM invitations WHERE id = $1`, id)
			i.CreatedAt, i.SentAt, i.ExpiresAt = i.CreatedAt.Add(-by), i.SentAt.Add(-by), i.ExpiresAt.Add(-by)
			return errors.Join(err, t.writeInvitation(ctx, i))
		}
		r, err := d.scanJoin(t.tx.QueryRow(ctx, joinSQL, workspace, id))
		if err == nil {
			_, err = t.tx.Exec(ctx, `DELETE FROM join_requests WHERE id = $1`, id)
			r.CreatedAt = r.CreatedAt.Add(-by)
			return errors.Join(err, t.writeJoin(ctx, r))
		}
		g, err := d.scanGroupTest(t.tx.QueryRow(ctx, groupTestSQL, workspace, id))
		if err == nil {
			_, err = t.tx.Exec(ctx, `DELETE FROM group_tests WHERE id = $1`, id)
			g.CreatedAt = g.CreatedAt.Add(-by)
			return errors.Join(err, t.writeGroupTest(ctx, g))
		}
		return err
	})
}

// AgeFactor makes a change of a factor older, with the MAC that auth would have given it then.
func (d *Directory) AgeFactor(ctx context.Context, ref FactorRef, by time.Duration) error {
	return d.change(ctx, Change{By: Auth}, func(ctx context.Context, t *directoryTx) error {
		f, err := t.lockFactor(ctx, ref)
		if err != nil {
			return err
		}
		f.CreatedAt, f.ExpiresAt = f.CreatedAt.Add(-by), f.ExpiresAt.Add(-by)
		if !f.AppliedAt.IsZero() {
			f.AppliedAt = f.AppliedAt.Add(-by)
		}
		_, err = t.tx.Exec(ctx, `DELETE FROM factor_changes WHERE id = $1`, f.ID)
		if err != nil {
			return err
		}
		return t.writeFactor(ctx, f)
	})
}

// AuditPage is how many rows of an export are in memory at once.
const AuditPage = auditPage
