package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/account"
	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
)

// FactorState is where a change of a factor stands.
type FactorState string

// The states. The first two are on the way; nothing has changed before the third.
const (
	FactorApproval FactorState = "approval" // waits for a fresh code on the present route
	FactorProof    FactorState = "proof"    // waits for a code to the new one
	FactorApplied  FactorState = "applied"
	FactorCanceled FactorState = "canceled"
	FactorExpired  FactorState = "expired"
	FactorReverted FactorState = "reverted"
)

// Pending reports whether the change is on its way.
func (s FactorState) Pending() bool { return s == FactorApproval || s == FactorProof }

const (
	// FactorLife is how long a change may be on its way (product.md R7.2).
	FactorLife = 30 * time.Minute
	// FactorUndo is how long after it took effect a change can be undone (product.md R5.3, R7.5).
	FactorUndo = 72 * time.Hour
	// factorKeep is how long what became of a change is kept; the audit keeps that there was one.
	factorKeep = 30 * 24 * time.Hour
	// MaxFactorsPerDay is how many changes of a login are begun within a day, whatever became of them.
	MaxFactorsPerDay = 20
	// maxFactors bounds how many changes of a login are listed.
	maxFactors = 20
)

// The refusals of a change of a factor.
var (
	// ErrNoFactorChange says that the login has no such change.
	ErrNoFactorChange = errors.New("unknown change of a factor")
	// ErrFactorPending says that another change of the login is on its way.
	ErrFactorPending = errors.New("a change of the login is on its way")
	// ErrFactorOver says that the change has ended, or that it is no more what the login has.
	ErrFactorOver = errors.New("the change of a factor is over")
)

// FactorChange is a change of where the codes of a login go.
type FactorChange struct {
	ID, Workspace, Login string
	Kind                 account.FactorKind
	State                FactorState
	// Channel and Destination are what has to be proved, and takes effect then.
	Channel, Destination string
	Former, Next         account.Reach
	Version              int64  // of the login when it began
	Handle               string // of the open challenge; empty: none was asked for yet
	Approval             string // handle of the challenge that approved it
	// Follows is the change that made what this one replaced when it took effect; empty: none did, or it did not yet.
	Follows string
	Round   int // challenges asked for in this state
	Locale  string
	Actor   string
	// ApprovedAt is when a fresh code approved it, and AppliedAt when it took effect; zero: not yet.
	ApprovedAt, CreatedAt, ExpiresAt, AppliedAt time.Time
}

// FactorRef names a change of a login.
type FactorRef struct{ Workspace, Login, ID string }

// FactorStart is what a change begins with.
type FactorStart struct {
	Workspace, Login string
	Kind             account.FactorKind
	// Destination is a valid address or a number in E.164, see account.FactorKind.Plan.
	Destination string
	// Version is the login's that the caller knows, as that of its session; any other is refused. 0: the present one.
	Version int64
	// Approved is when a fresh code approved changes of this login already; zero: it has to be asked for. How old it may
	// be is for the caller to judge.
	Approved time.Time
	Locale   string
	// Allowed refuses a route that no message may go to.
	Allowed func(r account.Route, stopped []string) error
}

// StartFactor begins a change, of which nothing takes effect yet. One that is on its way is in the way, until it expires or
// the login is changed otherwise. It fails with ErrNoWorkspace, ErrNoLogin, ErrFactorPending, an *IntegrityError, or a
// refusal of account.FactorKind.Plan or Allowed; with ErrNumberInUse, with ErrNoSession when the login has another version than the named one,
// and with a *WaitError when MaxFactorsPerDay were begun.
func (d *Directory) StartFactor(ctx context.Context, c Change, s FactorStart) (FactorChange, error) {
	var f FactorChange
	err := d.change(ctx, c, func(ctx context.Context, t *directoryTx) error {
		at, err := t.lockOf(ctx, s.Workspace, s.Login)
		if err != nil {
			return err
		}
		next, route, err := s.Kind.Plan(at.workspace, withRole(at.workspace, at.login), s.Destination)
		if err == nil {
			err = s.Allowed(route, at.stopped)
		}
		if err == nil && s.Version != 0 && s.Version != at.version {
			err = ErrNoSession
		}
		if err == nil && next.Phone != "" && next.Phone != at.login.Phone {
			err = t.takeNumber(ctx, at.login, next.Phone)
		}
		if err == nil {
			err = t.clearFactors(ctx, at)
		}
		if err == nil {
			err = t.mayStart(ctx, at)
		}
		if err != nil {
			return err
		}
		id, err := challenge.NewID()
		if err != nil {
			return err
		}
		f = FactorChange{
			ID: id, Workspace: s.Workspace, Login: s.Login, Kind: s.Kind, State: FactorApproval,
			Channel: route.Channel, Destination: route.Recipient, Former: s.Kind.ReachOf(at.workspace, at.login), Next: next,
			Version: at.version, Locale: s.Locale, Actor: c.By, CreatedAt: t.at, ExpiresAt: t.at.Add(FactorLife),
		}
		if !s.Approved.IsZero() {
			f.State, f.ApprovedAt = FactorProof, s.Approved
		}
		err = t.writeFactor(ctx, f)
		if err != nil {
			return err
		}
		return t.recordFactor(ctx, event.FactorRequested, f, at.version)
	})
	if err != nil {
		return FactorChange{}, fmt.Errorf("start a change of a factor: %w", err)
	}
	return f, nil
}

// ApproveFactor takes a change to its second half, as a fresh code at that time allows. One that is there already stays as
// it is. A change that has ended, by time as well, is returned as it stands. It fails with ErrNoWorkspace, ErrNoLogin,
// ErrNoFactorChange or an *IntegrityError.
func (d *Directory) ApproveFactor(ctx context.Context, c Change, ref FactorRef, approved time.Time) (FactorChange, error) {
	return d.step(ctx, c, ref, func(_ context.Context, _ *directoryTx, _ *factorLock, f *FactorChange) error {
		if f.State == FactorApproval {
			f.State, f.ApprovedAt, f.Approval, f.Handle, f.Round = FactorProof, approved, f.Handle, "", 0
		}
		return nil
	})
}

// AskedFactor notes the challenge that was asked for in a state under the number of the round, unless the change has gone
// on meanwhile. It answers as ApproveFactor does.
func (d *Directory) AskedFactor(ctx context.Context, c Change, ref FactorRef, state FactorState, round int, handle string) (FactorChange, error) {
	return d.step(ctx, c, ref, func(_ context.Context, _ *directoryTx, _ *factorLock, f *FactorChange) error {
		if f.State == state && f.Round == round {
			f.Handle, f.Round = handle, round+1
		}
		return nil
	})
}

// ApplyFactor lets a change take effect whose proof the challenge of that handle gave: the row of the directory with its
// MAC, the login's new version, audit and outbox in one transaction. One that took effect already stays as it is. When
// others got its number meanwhile it is canceled, and returned so with ErrNumberInUse. It answers as ApproveFactor does.
func (d *Directory) ApplyFactor(ctx context.Context, c Change, ref FactorRef, handle string) (FactorChange, error) {
	var refused error
	f, err := d.step(ctx, c, ref, func(ctx context.Context, t *directoryTx, at *factorLock, f *FactorChange) error {
		if f.State != FactorProof || f.Handle != handle || handle == "" {
			return nil
		}
		if number := f.takes(); number != "" {
			err := t.takeNumber(ctx, at.login, number)
			if errors.Is(err, ErrNumberInUse) {
				f.State, refused = FactorCanceled, err
				return t.recordFactor(ctx, event.FactorCanceled, *f, at.version)
			}
			if err != nil {
				return err
			}
		}
		line, err := t.factorLine(ctx, *f)
		if err != nil {
			return err
		}
		f.State, f.AppliedAt, f.Follows = FactorApplied, t.at, at.madeBy(line)
		return t.give(ctx, at, *f, f.Next, event.FactorChanged)
	})
	if err == nil {
		err = refused
	}
	return f, err
}

// CurrentFactor returns a change as it stands, and ends it when it cannot take effect any more. It answers as ApproveFactor
// does.
func (d *Directory) CurrentFactor(ctx context.Context, c Change, ref FactorRef) (FactorChange, error) {
	return d.step(ctx, c, ref, func(context.Context, *directoryTx, *factorLock, *FactorChange) error { return nil })
}

// CancelFactor ends a change that is on its way. It answers as ApproveFactor does.
func (d *Directory) CancelFactor(ctx context.Context, c Change, ref FactorRef) (FactorChange, error) {
	return d.step(ctx, c, ref, func(ctx context.Context, t *directoryTx, at *factorLock, f *FactorChange) error {
		if !f.State.Pending() {
			return nil
		}
		f.State = FactorCanceled
		return t.recordFactor(ctx, event.FactorCanceled, *f, at.version)
	})
}

// Factor returns a change of a workspace, or fails with ErrNoFactorChange or an *IntegrityError.
func (d *Directory) Factor(ctx context.Context, workspace, id string) (FactorChange, error) {
	all, err := d.factors(ctx, `workspace = $1 AND id = $2`, workspace, id)
	if err == nil && len(all) == 0 {
		err = ErrNoFactorChange
	}
	if err != nil {
		return FactorChange{}, err
	}
	return all[0], nil
}

// Factors lists the changes of a login, the newest first, or fails with an *IntegrityError. One whose time has passed on
// its way is expired.
func (d *Directory) Factors(ctx context.Context, workspace, login string) ([]FactorChange, error) {
	return d.factors(ctx, `workspace = $1 AND login = $2`, workspace, login)
}

// factors reads rows by a condition.
func (d *Directory) factors(ctx context.Context, condition string, args ...any) ([]FactorChange, error) {
	rows, err := d.db.pool.Query(ctx, `SELECT `+factorColumns+`, clock_timestamp() FROM factor_changes WHERE `+condition+
		` ORDER BY created_at DESC LIMIT `+fmt.Sprint(maxFactors), args...)
	if err != nil {
		return nil, fmt.Errorf("read changes of factors: %w", scrub(err))
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (FactorChange, error) {
		var now time.Time
		f, seal, err := scanFactor(row, &now)
		if err != nil {
			return f, err
		}
		if !seal.fits(d.rows, TableFactors, factorPairs(f)) {
			return f, &IntegrityError{Table: TableFactors}
		}
		if f.State.Pending() && !now.Before(f.ExpiresAt) {
			f.State = FactorExpired
		}
		return f, nil
	})
	if err != nil {
		return nil, fmt.Errorf("read changes of factors: %w", scrub(err))
	}
	return all, nil
}
