package postgres

import (
	"context"
	"fmt"
)

// NextStreamNumber takes the number of a new challenge stream. It stands in
// every handle and is never given again, also when its stream was never made
// (nats-postgres.md 5). It is for the owner's role.
func (db *DB) NextStreamNumber(ctx context.Context, _ string) (uint16, error) {
	var n uint16
	err := db.pool.QueryRow(ctx, "SELECT nextval('stream_numbers')").Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("take stream number: %w", scrub(err))
	}
	return n, nil
}
