package postgres

import (
	"context"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/config"
)

// MigrateFrom is Migrate with migrations of the test's own.
func MigrateFrom(ctx context.Context, adminURL string, passwords map[Role]config.Secret, files fs.FS) (int, error) {
	return migrateFrom(ctx, adminURL, passwords, files)
}

// ScramVerifier is what Migrate sends instead of a password.
func ScramVerifier(password string) (string, error) { return scramVerifier(password) }

// Lookup is a statement that runs all day and must read an index, whatever lies beside it.
type Lookup struct {
	SQL  string
	Args []any
}

// Lookups returns the statements of sweep, janitor and recorder with their arguments; handed is for that of the gaps.
func Lookups(handed []byte) map[string]Lookup {
	day := 24 * time.Hour
	return map[string]Lookup{
		"expired":          {endExpiredSQL, []any{Verifier, 200}},
		"outdated":         {endOutdatedSQL, []any{Verifier, 200}},
		"swept":            {markSweptSQL, []any{200}},
		"gaps":             {recordGapsSQL, []any{handed, Verifier}},
		"clean challenges": {cleanChallengesSQL, []any{8 * day, 500}},
		"clean budgets":    {cleanBudgetsSQL, []any{day, 500}},
		"clean limits":     {cleanLimitsSQL, []any{day, 500}},
	}
}

// InTx is inTx for tests outside the package.
func (db *DB) InTx(ctx context.Context, fn func(pgx.Tx) error) error {
	return db.inTx(ctx, pgx.TxOptions{}, fn)
}

// MaxConns returns the size of the pool.
func (db *DB) MaxConns() int32 { return db.pool.Config().MaxConns }
