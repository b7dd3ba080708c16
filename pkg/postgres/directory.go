package postgres

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/account"
	"doorcode/pkg/batch"
	"doorcode/pkg/event"
	"doorcode/pkg/frontend"
	"doorcode/pkg/keyring"
	"doorcode/pkg/seal"
)

// Auth is the name by which auth stands in what it records.
const Auth = "doorcode/auth"

// Refusals of a change of the directory; ErrNoLogin is a further one.
var (
	// ErrNoWorkspace says that there is no workspace of that id.
	ErrNoWorkspace = errors.New("unknown workspace")
	// ErrChanged says that a row is not the one that the caller read (If-Match).
	ErrChanged = errors.New("the row has changed")
	// ErrMainEmailKept says that a put would have changed the main address of a workspace, or its mark as a group's, and
	// named no state of it that has them.
	ErrMainEmailKept = errors.New("the workspace has another main address")
)

// Directory reads and changes workspaces, logins and front-ends, checks the MAC of every row that it reads and makes
// that of every row that it writes.
//
// A change, the version it raises, its audit rows and its outbox rows are one transaction. Rows are locked in the order
// workspace, logins, budgets, each by id; a check and a create lock budgets and never a workspace.
type Directory struct {
	db        *DB
	rows      *keyring.Ring
	facts     *batch.Group[creating, CreateFacts]
	frontEnds *batch.Group[string, frontend.FrontEnd]
}

// NewDirectory returns the directory in db, whose rows carry MACs under rows.
func NewDirectory(db *DB, rows *keyring.Ring) *Directory {
	d := &Directory{db: db, rows: rows}
	d.facts = group(shared().denser(), nil, reading(d.readCreateFacts))
	d.frontEnds = group(shared().denser(), nil, reading(d.readFrontEnds))
	return d
}

// Change says who changes what they last saw how.
type Change struct {
	By string // the front-end
	// Match holds the ETags one of which the row must have; empty asks for none, and "*" for any row.
	Match []string
	// Invitation is the accepted one that a login is made of; empty for none.
	Invitation string
	// KeepGroup says that a put of a workspace tells nothing of the mark of a group address: it stays with the address.
	KeepGroup bool
}

// Put is what a put did.
type Put[T any] struct {
	Row     T
	ETag    string
	Created bool
}

// Workspace returns a workspace and its ETag. It fails with ErrNoWorkspace or an *IntegrityError.
func (d *Directory) Workspace(ctx context.Context, id string) (account.Workspace, string, error) {
	w, seal, err := scanWorkspace(d.db.pool.QueryRow(ctx, workspaceSQL, id))
	if err != nil {
		return account.Workspace{}, "", fmt.Errorf("read workspace: %w", err)
	}
	if !seal.fits(d.rows, TableWorkspaces, workspacePairs(w)) {
		return account.Workspace{}, "", &IntegrityError{Table: TableWorkspaces}
	}
	return w, etag(seal, ""), nil
}

// Login returns a login, with the role that it has in its workspace, and its ETag. It fails with ErrNoWorkspace,
// ErrNoLogin or an *IntegrityError.
func (d *Directory) Login(ctx context.Context, workspace, id string) (account.Login, string, error) {
	w, _, err := d.Workspace(ctx, workspace)
	if err != nil {
		return account.Login{}, "", err
	}
	l, seal, err := scanLogin(d.db.pool.QueryRow(ctx, loginSQL, workspace, id))
	if err != nil {
		return account.Login{}, "", fmt.Errorf("read login: %w", err)
	}
	if !seal.fits(d.rows, TableLogins, loginPairs(l)) {
		return account.Login{}, "", &IntegrityError{Table: TableLogins}
	}
	return withRole(w, l), loginETag(w, l, seal), nil
}

// loginsSQL: $1 workspace, $2 owner, $3 limit.
const loginsSQL = loginColumns + ` FROM logins WHERE workspace = $1
 ORDER BY id <> $2, role <> 'administrator', id LIMIT $3`

// Logins lists the logins of a workspace, at most limit: the owner, then administrators, then members. It fails with an
// *IntegrityError when one is not as it was written.
func (d *Directory) Logins(ctx context.Context, w account.Workspace, limit int) ([]account.Login, error) {
	rows, err := d.db.pool.Query(ctx, loginsSQL, w.ID, w.Owner, limit)
	if err != nil {
		return nil, fmt.Errorf("list logins: %w", scrub(err))
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (account.Login, error) {
		l, seal, err := scanLogin(row)
		if err == nil && !seal.fits(d.rows, TableLogins, loginPairs(l)) {
			err = &IntegrityError{Table: TableLogins}
		}
		return withRole(w, l), err
	})
	if err != nil {
		return nil, fmt.Errorf("list logins: %w", scrub(err))
	}
	return all, nil
}

// withRole gives a stored login the role that its workspace says it has.
func withRole(w account.Workspace, l account.Login) account.Login {
	if w.Owner == l.ID {
		l.Role = account.Owner
	}
	return l
}

// etag names a state of a row: a hash of its MAC, which tells nothing of the key, and of what else is shown of it.
func etag(seal rowSeal, more string) string {
	sum := sha256.Sum256(append(append([]byte{}, seal.mac...), more...))
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
}

// loginETag counts the owner in, who stands in the workspace alone.
func loginETag(w account.Workspace, l account.Login, seal rowSeal) string {
	if w.Owner == l.ID {
		return etag(seal, string(account.Owner))
	}
	return etag(seal, "")
}

// matches reports whether a row of that ETag, empty for none, may be changed.
func (c Change) matches(etag string) bool {
	if len(c.Match) == 0 {
		return true
	}
	for _, m := range c.Match {
		if etag != "" && (m == "*" || m == etag) {
			return true
		}
	}
	return false
}

// saw reports whether the change names the state of that ETag: whoever does has read the row as it is.
func (c Change) saw(etag string) bool { return slices.Contains(c.Match, etag) }

const (
	workspaceSQL = `SELECT id, name, main_email, coalesce(owner, ''), group_address, mac_key, mac FROM workspaces WHERE id = $1`
	loginColumns = `SELECT workspace, id, coalesce(email, ''), coalesce(phone, ''), CASE WHEN channel <> 'email' THEN channel ELSE '' END, role, locale, mac_key, mac`
	loginSQL     = loginColumns + ` FROM logins WHERE workspace = $1 AND id = $2`
)

// scanWorkspace reads a row of workspaceSQL, or fails with ErrNoWorkspace.
func scanWorkspace(row pgx.Row) (account.Workspace, rowSeal, error) {
	var w account.Workspace
	var s rowSeal
	err := row.Scan(&w.ID, &w.Name, &w.MainEmail, &w.Owner, &w.GroupAddress, &s.key, &s.mac)
	if errors.Is(err, pgx.ErrNoRows) {
		return w, s, ErrNoWorkspace
	}
	return w, s, scrub(err)
}

// scanLogin reads a row of loginSQL, or fails with ErrNoLogin.
func scanLogin(row pgx.Row) (account.Login, rowSeal, error) {
	var l account.Login
	var s rowSeal
	err := row.Scan(&l.Workspace, &l.ID, &l.Email, &l.Phone, &l.Channel, &l.Role, &l.Locale, &s.key, &s.mac)
	if errors.Is(err, pgx.ErrNoRows) {
		return l, s, ErrNoLogin
	}
	return l, s, scrub(err)
}

// directoryTx is one change of the directory on its way.
type directoryTx struct {
	tx   pgx.Tx
	rows *keyring.Ring
	by   string    // the front-end that asked for it
	at   time.Time // of all its rows and records
}

// change runs fn in one transaction.
func (d *Directory) change(ctx context.Context, c Change, fn func(context.Context, *directoryTx) error) error {
	return d.db.inTx(ctx, pgx.TxOptions{}, func(tx pgx.Tx) error {
		return fn(ctx, &directoryTx{tx: tx, rows: d.rows, by: c.By})
	})
}

// lockWorkspace reads a workspace and keeps it. The time of the change is the one after the lock. intact tells whether
// its MAC fits.
func (t *directoryTx) lockWorkspace(ctx context.Context, id string) (w account.Workspace, seal rowSeal, intact bool, err error) {
	w, seal, err = scanWorkspace(t.tx.QueryRow(ctx, workspaceSQL+" FOR UPDATE", id))
	if err != nil {
		return w, seal, false, err
	}
	err = t.readClock(ctx)
	return w, seal, seal.fits(t.rows, TableWorkspaces, workspacePairs(w)), err
}

// readClock sets the time of the change: the database's, after the lock, not that of the transaction's begin.
func (t *directoryTx) readClock(ctx context.Context) error {
	return t.tx.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&t.at)
}

// lockLogin reads a login and keeps it.
func (t *directoryTx) lockLogin(ctx context.Context, workspace, id string) (l account.Login, seal rowSeal, intact bool, err error) {
	l, seal, err = scanLogin(t.tx.QueryRow(ctx, loginSQL+" FOR UPDATE", workspace, id))
	return l, seal, seal.fits(t.rows, TableLogins, loginPairs(l)), err
}

// writeWorkspace stores a workspace with a fresh MAC.
func (t *directoryTx) writeWorkspace(ctx context.Context, w account.Workspace) (rowSeal, error) {
	s := sealRow(t.rows, TableWorkspaces, workspacePairs(w))
	_, err := t.tx.Exec(ctx, `
		INSERT INTO workspaces (id, name, main_email, owner, group_address, mac_key, mac, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (id) DO UPDATE SET name = $2, main_email = $3, owner = $4, group_address = $5, mac_key = $6,
		       mac = $7, updated_at = $8`,
		w.ID, w.Name, w.MainEmail, orNull(w.Owner), w.GroupAddress, s.key, s.mac, t.at)
	if err != nil {
		return s, err
	}
	return s, t.keepAddresses(ctx, seal.Subject{Workspace: w.ID}, Addresses{Email: w.MainEmail, Group: w.GroupAddress})
}

// writeLogin stores a login with a fresh MAC.
func (t *directoryTx) writeLogin(ctx context.Context, l account.Login) (rowSeal, error) {
	s := sealRow(t.rows, TableLogins, loginPairs(l))
	_, err := t.tx.Exec(ctx, `
		INSERT INTO logins (workspace, id, email, role, locale, mac_key, mac, updated_at, phone, channel)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT (workspace, id) DO UPDATE SET email = $3, role = $4, locale = $5, mac_key = $6, mac = $7,
		       updated_at = $8, phone = $9, channel = $10`,
		l.Workspace, l.ID, orNull(l.Email), string(storedRole(l.Role)), l.Locale, s.key, s.mac, t.at, orNull(l.Phone),
		cmp.Or(l.Channel, account.Email))
	if err != nil {
		return s, err
	}
	return s, t.keepAddresses(ctx, seal.Subject{Workspace: l.Workspace, Login: l.ID},
		Addresses{Email: l.Email, Phone: l.Phone, Channel: cmp.Or(l.Channel, account.Email)})
}

// record writes the audit row and the outbox row of one change.
func (t *directoryTx) record(ctx context.Context, kind event.Type, workspace, login string, version int64) error {
	return t.write(ctx, kind, event.Directory{Workspace: workspace, Login: login, Version: version})
}

// write is record for what a change is about besides; who and when are filled in.
func (t *directoryTx) write(ctx context.Context, kind event.Type, about event.Directory) error {
	id, err := changeID(about.Workspace)
	if err != nil {
		return err
	}
	return t.writeAs(ctx, id, kind, about)
}

// writeAs is write for an event whose id follows from its cause.
func (t *directoryTx) writeAs(ctx context.Context, id string, kind event.Type, about event.Directory) error {
	about.By, about.At = t.by, t.at.UTC()
	e, err := event.New(kind, id, Auth, t.at, about.Workspace, about)
	if err != nil {
		return err
	}
	_, err = t.tx.Exec(ctx, `
		WITH a AS (
		    INSERT INTO audit (id, at, kind, workspace, login, actor, detail) VALUES ($1, $2, $3, $4, $5, $6, $7)
		)
		INSERT INTO outbox (id, type, source, subject, at, data) VALUES ($1, $3, $8, $4, $2, $7)`,
		e.ID, e.Time, string(e.Type), about.Workspace, orNull(about.Login), t.by, e.Data, e.Source)
	return err
}
