package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/account"
)

// Addressee is a login with its workspace, as far as both are as auth wrote them: nothing is sent on the word of a row
// that is not, and what is told to the other addresses is told nevertheless.
type Addressee struct {
	// Workspace and Login are empty but for their ids when their row is broken.
	Workspace account.Workspace
	Login     account.Login
	// LockedAt is when the lock began that the login is under now, to the microsecond as its event says it; zero: none.
	LockedAt time.Time
	// StoppedCountries are those to whose numbers nothing is sent for now.
	StoppedCountries []string
	// Broken names the tables whose row's MAC does not fit.
	Broken []string
}

// Addressee reads where a person can be told something, or fails with ErrNoWorkspace or ErrNoLogin.
func (d *Directory) Addressee(ctx context.Context, workspace, login string) (Addressee, error) {
	a := Addressee{Workspace: account.Workspace{ID: workspace}, Login: account.Login{Workspace: workspace, ID: login}}
	err := pgx.BeginTxFunc(ctx, d.db.pool, pgx.TxOptions{AccessMode: pgx.ReadOnly, IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		w, seal, err := scanWorkspace(tx.QueryRow(ctx, workspaceSQL, workspace))
		if err != nil {
			return err
		}
		if seal.fits(d.rows, TableWorkspaces, workspacePairs(w)) {
			a.Workspace = w
		} else {
			a.Broken = append(a.Broken, TableWorkspaces)
		}
		l, seal, err := scanLogin(tx.QueryRow(ctx, loginSQL, workspace, login))
		if err != nil {
			return err
		}
		if seal.fits(d.rows, TableLogins, loginPairs(l)) {
			a.Login = withRole(a.Workspace, l)
		} else {
			a.Broken = append(a.Broken, TableLogins)
		}
		var locked *time.Time
		err = tx.QueryRow(ctx, `
			SELECT (SELECT locked_at FROM login_budgets WHERE workspace = $1 AND login = $2 AND removed_at IS NULL),
			       ARRAY(SELECT region FROM sms_countries)`, workspace, login).Scan(&locked, &a.StoppedCountries)
		if locked != nil {
			a.LockedAt = *locked
		}
		return err
	})
	if errors.Is(err, ErrNoWorkspace) || errors.Is(err, ErrNoLogin) {
		return Addressee{}, err
	}
	if err != nil {
		return Addressee{}, fmt.Errorf("read an addressee: %w", scrub(err))
	}
	return a, nil
}
