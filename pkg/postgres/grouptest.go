package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/account"
	"doorcode/pkg/event"
)

// Refusals around tests of a group address.
var (
	// ErrNoTest says that there is no test of that id.
	ErrNoTest = errors.New("unknown test")
	// ErrTestClosed says that a test cannot be passed any more: its time is over, or the main address is another one.
	ErrTestClosed = errors.New("the test is over")
)

const groupTestColumns = `workspace, id, email, login, tested_by, handles, confirmed, created_at, passed_at, mac_key, mac`

// groupTestSQL: $1 workspace, $2 id.
const groupTestSQL = `SELECT ` + groupTestColumns + ` FROM group_tests WHERE workspace = $1 AND id = $2`

// scanGroupTest reads a row, or fails with ErrNoTest or an *IntegrityError.
func (d *Directory) scanGroupTest(row pgx.Row) (account.GroupTest, error) {
	var g account.GroupTest
	var handles []string
	var confirmed []bool
	var passed *time.Time
	var s rowSeal
	err := row.Scan(&g.Workspace, &g.ID, &g.Email, &g.Login, &g.By, &handles, &confirmed, &g.CreatedAt, &passed, &s.key, &s.mac)
	if errors.Is(err, pgx.ErrNoRows) {
		return g, ErrNoTest
	}
	if err != nil {
		return g, scrub(err)
	}
	copy(g.Handles[:], handles)
	copy(g.Confirmed[:], confirmed)
	g.CreatedAt, g.PassedAt = g.CreatedAt.UTC(), orZero(passed)
	if len(handles) > len(g.Handles) || len(confirmed) != len(g.Confirmed) || !s.fits(d.rows, TableGroupTests, groupTestPairs(g)) {
		return account.GroupTest{}, &IntegrityError{Table: TableGroupTests}
	}
	return g, nil
}

// StartGroupTest makes a test of the workspace's main address, with a budget for its codes; the test that ran before it
// ends. It fails with ErrNoWorkspace, ErrNotOwner or an *IntegrityError.
func (d *Directory) StartGroupTest(ctx context.Context, c Change, workspace, by string) (account.GroupTest, error) {
	var g account.GroupTest
	err := d.change(ctx, c, func(ctx context.Context, t *directoryTx) error {
		w, err := t.ownWorkspace(ctx, workspace, by)
		if err != nil {
			return err
		}
		rows, err := t.tx.Query(ctx, `DELETE FROM group_tests WHERE workspace = $1 RETURNING login`, workspace)
		if err != nil {
			return err
		}
		former, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		g = account.GroupTest{
			Workspace: workspace, ID: rand.Text(), Email: w.MainEmail, Login: "~" + rand.Text(), By: by, CreatedAt: t.at,
		}
		_, err = t.openBudget(ctx, account.Login{Workspace: workspace, ID: g.Login})
		if err == nil {
			err = t.retire(ctx, workspace, former...)
		}
		if err == nil {
			err = t.writeGroupTest(ctx, g)
		}
		if err == nil {
			err = t.recordAbout(ctx, event.GroupTestStarted, workspace, by, g.ID)
		}
		return err
	})
	if err != nil {
		return account.GroupTest{}, fmt.Errorf("start a test of a group address: %w", err)
	}
	return g, nil
}

// writeGroupTest stores a test with a fresh MAC.
func (t *directoryTx) writeGroupTest(ctx context.Context, g account.GroupTest) error {
	s := sealRow(t.rows, TableGroupTests, groupTestPairs(g))
	_, err := t.tx.Exec(ctx, `
		INSERT INTO group_tests (`+groupTestColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
		ON CONFLICT (workspace, id) DO UPDATE SET handles = $6, confirmed = $7, passed_at = $9, mac_key = $10, mac = $11`,
		g.Workspace, g.ID, g.Email, g.Login, g.By, g.Handles[:], g.Confirmed[:], g.CreatedAt, orNone(g.PassedAt), s.key, s.mac)
	return err
}

// GroupTest returns a test, or fails with ErrNoWorkspace, ErrNoTest or an *IntegrityError.
func (d *Directory) GroupTest(ctx context.Context, workspace, id string) (account.GroupTest, error) {
	var g account.GroupTest
	err := d.reading(ctx, workspace, func(tx pgx.Tx, _ account.Workspace, _ time.Time) error {
		var err error
		g, err = d.scanGroupTest(tx.QueryRow(ctx, groupTestSQL, workspace, id))
		return err
	})
	if err != nil {
		return account.GroupTest{}, fmt.Errorf("read a test of a group address: %w", err)
	}
	return g, nil
}

// SentGroupTest notes the challenges whose codes went to the group. It fails with ErrTestClosed when another test has
// begun meanwhile.
func (d *Directory) SentGroupTest(ctx context.Context, c Change, g account.GroupTest) error {
	_, err := d.changeGroupTest(ctx, c, g.Workspace, g.ID, func(t *directoryTx, w account.Workspace, stored *account.GroupTest) error {
		stored.Handles = g.Handles
		return t.writeGroupTest(ctx, *stored)
	})
	if errors.Is(err, ErrNoTest) {
		return ErrTestClosed
	}
	return err
}

// ConfirmGroupTest notes which codes came back. Once both did, the main address is a group address. A test that is passed
// stays so. It fails with ErrTestClosed when its time is over or the main address or the owner is another one, and
// otherwise as GroupTest does.
func (d *Directory) ConfirmGroupTest(ctx context.Context, c Change, workspace, id string, confirmed [2]bool) (account.GroupTest, error) {
	return d.changeGroupTest(ctx, c, workspace, id, func(t *directoryTx, w account.Workspace, g *account.GroupTest) error {
		if !g.PassedAt.IsZero() {
			return nil
		}
		if !t.at.Before(g.CreatedAt.Add(account.GroupTestLife)) || g.Email != w.MainEmail || g.By != w.Owner {
			return ErrTestClosed
		}
		for i, now := range confirmed {
			g.Confirmed[i] = g.Confirmed[i] || now
		}
		if g.Confirmed[0] && g.Confirmed[1] {
			g.PassedAt = t.at
			err := t.proveGroup(ctx, w, *g)
			if err != nil {
				return err
			}
		}
		return t.writeGroupTest(ctx, *g)
	})
}

// proveGroup marks the main address as one that several people read.
func (t *directoryTx) proveGroup(ctx context.Context, w account.Workspace, g account.GroupTest) error {
	err := t.retire(ctx, w.ID, g.Login)
	if err == nil && !w.GroupAddress {
		w.GroupAddress = true
		_, err = t.writeWorkspace(ctx, w)
		if err == nil {
			err = t.record(ctx, event.WorkspacePut, w.ID, "", 0)
		}
	}
	if err != nil {
		return err
	}
	return t.recordAbout(ctx, event.GroupAddressProven, w.ID, g.By, g.ID)
}

// changeGroupTest changes a test under the locks of its workspace and itself.
func (d *Directory) changeGroupTest(
	ctx context.Context, c Change, workspace, id string, fn func(*directoryTx, account.Workspace, *account.GroupTest) error,
) (account.GroupTest, error) {
	var g account.GroupTest
	err := d.change(ctx, c, func(ctx context.Context, t *directoryTx) error {
		w, _, intact, err := t.lockWorkspace(ctx, workspace)
		if err != nil {
			return err
		}
		if !intact {
			return &IntegrityError{Table: TableWorkspaces}
		}
		g, err = d.scanGroupTest(t.tx.QueryRow(ctx, groupTestSQL+" FOR UPDATE", workspace, id))
		if err != nil {
			return err
		}
		return fn(t, w, &g)
	})
	if err != nil {
		return account.GroupTest{}, fmt.Errorf("change a test of a group address: %w", err)
	}
	return g, nil
}
