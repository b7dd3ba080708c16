package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Loose reads the mode of commit inside a transaction of limits.
func (db *DB) Loose(ctx context.Context, mode *string) error {
	return db.loose(ctx, func(b *pgx.Batch) {
		b.Queue(`SHOW synchronous_commit`).QueryRow(func(row pgx.Row) error { return row.Scan(mode) })
	}, func(*pgx.Batch) {})
}
