package postgres

import (
	"context"
	"io/fs"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/config"
)

// MigrateFrom is Migrate with migrations of the test's own.
func MigrateFrom(ctx context.Context, adminURL string, passwords map[Role]config.Secret, files fs.FS) (int, error) {
	return migrateFrom(ctx, adminURL, passwords, files)
}

// ScramVerifier is what Migrate sends instead of a password.
func ScramVerifier(password string) (string, error) { return scramVerifier(password) }

// InTx is inTx for tests outside the package.
func (db *DB) InTx(ctx context.Context, fn func(pgx.Tx) error) error {
	return db.inTx(ctx, pgx.TxOptions{}, fn)
}

// MaxConns returns the size of the pool.
func (db *DB) MaxConns() int32 { return db.pool.Config().MaxConns }
