package postgres

import (
	"context"
	"errors"

	"doorcode/pkg/account"
)

// ErrNumberInUse says that a number serves account.MaxLoginsPerNumber other logins already.
var ErrNumberInUse = errors.New("the number serves as many logins as it may")

// $1 number, $2 workspace and $3 id of the login that is to get it.
const countNumberSQL = `SELECT count(*) FROM logins WHERE phone = $1 AND NOT (workspace = $2 AND id = $3)`

// lockKind is the first half of an advisory lock, so that no lock of another kind is the same.
type lockKind int32

// The kinds of names that are locked where there is no row to lock.
const (
	numberLock   lockKind = 0x6e756d62 // of a phone number
	addressLock  lockKind = 0x61646472 // of an invited address
	settingsLock lockKind = 0x73657474 // of a login's settings sessions
	gatesLock    lockKind = 0x67617465 // of the gates of the roll-out
)

// $1 kind, $2 name.
const lockNameSQL = `SELECT pg_advisory_xact_lock($1::int, hashtext($2))`

// lockName lets one transaction at a time act on a name until it ends. Two names that share a lock wait for each other, and no
// more.
func (t *directoryTx) lockName(ctx context.Context, kind lockKind, name string) error {
	_, err := t.tx.Exec(ctx, lockNameSQL, int32(kind), name)
	return err
}

// takeNumber fails with ErrNumberInUse when a login may not get a number, in whatever workspace those are that have it. Until
// the transaction ends no other login gets it, so that of two at once the second one counts the first; the lock is taken
// after those of workspace and logins, before a budget's, and a transaction takes one.
func (t *directoryTx) takeNumber(ctx context.Context, l account.Login, number string) error {
	err := t.lockName(ctx, numberLock, number)
	if err != nil {
		return err
	}
	var others int
	err = t.tx.QueryRow(ctx, countNumberSQL, number, l.Workspace, l.ID).Scan(&others) // In a statement of its own, which sees what was committed before the lock.
	if err == nil && others >= account.MaxLoginsPerNumber {
		err = ErrNumberInUse
	}
	return err
}

// takes reports the number that a change gives its login anew; empty: none.
func (f FactorChange) takes() string {
	if f.Next.Phone == f.Former.Phone {
		return ""
	}
	return f.Next.Phone
}
