package postgres

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/account"
)

// ErrNoRemoval says that no removal of that id is on record, or not any more.
var ErrNoRemoval = errors.New("unknown removal")

// RemovedLogin is where a login could be reached that was removed, for the notice that tells so (product.md R9.5).
type RemovedLogin struct {
	ID        string
	Workspace string
	Login     string
	// Email and Phone are its own; both are empty when its row was not as auth wrote it.
	Email, Phone string
	Locale       string
	Owned        bool      // it was the owner of the workspace
	At           time.Time // UTC, to the microsecond as its event says it
}

// Removal is a removed login with its workspace as that is now.
type Removal struct {
	RemovedLogin

	Of account.Workspace
	// StoppedCountries are those to whose numbers nothing is sent for now.
	StoppedCountries []string
}

func removedPairs(r RemovedLogin) pairs {
	p := pairs{}.with("id", r.ID).with("workspace", r.Workspace).with("login", r.Login).with("email", r.Email).
		with("phone", r.Phone).with("locale", r.Locale).with("removed_at", stamp(r.At))
	if r.Owned {
		p = p.with("owned", "true")
	}
	return p
}

// keepRemoved notes where a login that is removed now could be reached, and returns the id of the note. Of a row that is
// not as auth wrote it no address is kept.
func (t *directoryTx) keepRemoved(ctx context.Context, l account.Login, intact, owned bool) (string, error) {
	raw := make([]byte, 16)
	_, err := rand.Read(raw)
	if err != nil {
		return "", fmt.Errorf("draw the id of a removal: %w", err)
	}
	r := RemovedLogin{
		ID: base64.RawURLEncoding.EncodeToString(raw), Workspace: l.Workspace, Login: l.ID, Owned: owned, At: t.at.UTC(),
	}
	if intact {
		r.Email, r.Phone, r.Locale = l.Email, l.Phone, l.Locale
	}
	s := sealRow(t.rows, TableRemoved, removedPairs(r))
	_, err = t.tx.Exec(ctx, `
		INSERT INTO removed_logins (id, workspace, login, email, phone, locale, owned, removed_at, mac_key, mac)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		r.ID, r.Workspace, r.Login, r.Email, r.Phone, r.Locale, r.Owned, r.At, s.key, s.mac)
	return r.ID, err
}

// Removal reads a removed login with its workspace. It fails with ErrNoWorkspace, ErrNoRemoval or an *IntegrityError.
func (d *Directory) Removal(ctx context.Context, workspace, id string) (Removal, error) {
	var r Removal
	err := d.reading(ctx, workspace, func(tx pgx.Tx, w account.Workspace, _ time.Time) error {
		var s rowSeal
		err := tx.QueryRow(ctx, `
			SELECT id, workspace, login, email, phone, locale, owned, removed_at, mac_key, mac, ARRAY(SELECT region FROM sms_countries)
			  FROM removed_logins WHERE workspace = $1 AND id = $2`, workspace, id).Scan(
			&r.ID, &r.Workspace, &r.Login, &r.Email, &r.Phone, &r.Locale, &r.Owned, &r.At, &s.key, &s.mac, &r.StoppedCountries)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNoRemoval
		}
		if err != nil {
			return scrub(err)
		}
		r.Of, r.At = w, r.At.UTC()
		if !s.fits(d.rows, TableRemoved, removedPairs(r.RemovedLogin)) {
			return &IntegrityError{Table: TableRemoved}
		}
		return nil
	})
	if err != nil {
		return Removal{}, fmt.Errorf("read a removal: %w", err)
	}
	return r, nil
}
