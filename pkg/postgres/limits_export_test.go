package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Loose reads the mode of commit inside a transaction of limits.
func (db *DB) Loose(ctx context.Context, mode *string) error {
	return db.inTx(ctx, pgx.TxOptions{BeginQuery: beginLoose}, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `SHOW synchronous_commit`).Scan(mode)
	})
}
