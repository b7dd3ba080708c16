package postgres

import (
	"context"
	"errors"

	"doorcode/pkg/account"
)

// ErrNumberInUse says that a number serves account.MaxLoginsPerNumber other logins already.
var ErrNumberInUse = errors.New("the number serves as many logins as it may")

const (
	// numberLock is the first half of the advisory lock of a number, so that no other kind of lock is the same.
	numberLock = 0x6e756d62 // "numb"

	// $1 numberLock, $2 number. Two numbers that share a lock wait for each other, and no more.
	lockNumberSQL = `SELECT pg_advisory_xact_lock($1::int, hashtext($2))`
	// $1 number, $2 workspace and $3 id of the login that is to get it.
	countNumberSQL = `SELECT count(*) FROM logins WHERE phone = $1 AND NOT (workspace = $2 AND id = $3)`
)

// takeNumber fails with ErrNumberInUse when a login may not get a number, in whatever workspace those are that have it. Until
// the transaction ends no other login gets it, so that of two at once the second one counts the first; the lock is taken
// after those of workspace and logins, before a budget's, and a transaction takes one.
func (t *directoryTx) takeNumber(ctx context.Context, l account.Login, number string) error {
	_, err := t.tx.Exec(ctx, lockNumberSQL, numberLock, number)
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
