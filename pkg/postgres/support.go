package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/story"
)

// The kinds of records about what support asked for, which stand in the audit alone. What came of it follows them.
const (
	SupportResend = story.SentAgain
	SupportUnlock = story.Unlocked
)

// Supported is what auth knows of a challenge by its id: whose it is, and what its handle is made of.
type Supported struct {
	Challenge string
	Workspace string
	Login     string
	FrontEnd  string
	Stream    uint16
	Sequence  uint64
}

// SupportOrder is what somebody of support asks for, and why. It holds no address.
type SupportOrder struct {
	Kind     string // SupportResend or SupportUnlock
	Operator string
	Reason   string
	Channel  string // of a resend; empty: that of the first route
	FrontEnd string // whose key was used
}

// Supported reads the challenge of an id, or fails with ErrNoChallenge. It is for the role of auth.
func (db *DB) Supported(ctx context.Context, id string) (Supported, error) {
	s := Supported{Challenge: id}
	err := db.pool.QueryRow(ctx, `SELECT workspace, login, front_end, stream_number, stream_sequence FROM challenges WHERE id = $1`, id).
		Scan(&s.Workspace, &s.Login, &s.FrontEnd, &s.Stream, &s.Sequence)
	if errors.Is(err, pgx.ErrNoRows) {
		return Supported{}, ErrNoChallenge
	}
	if err != nil {
		return Supported{}, fmt.Errorf("read the challenge for support: %w", scrub(err))
	}
	return s, nil
}

// recordSupportSQL: $1 kind, $2 workspace, $3 login, $4 challenge, $5 operator, $6 reason, $7 channel, $8 front-end.
const recordSupportSQL = `
INSERT INTO audit (id, at, kind, workspace, login, challenge_id, actor, detail)
SELECT 'support.' || gen_random_uuid(), clock_timestamp(), $1, $2, $3, $4, $5,
       jsonb_strip_nulls(jsonb_build_object('reason', $6::text, 'channel', nullif($7::text, ''), 'front_end', $8::text))`

// RecordSupport puts on record who asked for something about a challenge, and why, before it is done (product.md R11.9).
// It is for the role of auth.
func (db *DB) RecordSupport(ctx context.Context, s Supported, o SupportOrder) error {
	_, err := db.pool.Exec(ctx, recordSupportSQL, o.Kind, s.Workspace, s.Login, s.Challenge, o.Operator, o.Reason, o.Channel, o.FrontEnd)
	if err != nil {
		return fmt.Errorf("record what support asked for: %w", scrub(err))
	}
	return nil
}
