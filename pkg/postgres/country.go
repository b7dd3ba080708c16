package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// StoppedCountry is a country to whose numbers nothing is sent for now.
type StoppedCountry struct {
	Region string // ISO 3166-1, two letters
	At     time.Time
	Reason string
}

// stopCountrySQL: $1 region, $2 reason, $3 actor, $4 kind. A country that is stopped keeps its first reason and the
// record has one row.
const stopCountrySQL = `
WITH s AS (
    INSERT INTO sms_countries (region, stopped_at, reason) VALUES ($1, clock_timestamp(), $2)
    ON CONFLICT (region) DO NOTHING RETURNING region, stopped_at, reason
)
INSERT INTO audit (id, at, kind, actor, detail)
SELECT 'country.' || gen_random_uuid(), stopped_at, $4, $3, jsonb_build_object('region', region, 'reason', reason) FROM s`

// allowCountrySQL: $1 region, $2 reason, $3 actor, $4 kind.
const allowCountrySQL = `
WITH s AS (
    DELETE FROM sms_countries WHERE region = $1 RETURNING region
)
INSERT INTO audit (id, at, kind, actor, detail)
SELECT 'country.' || gen_random_uuid(), clock_timestamp(), $4, $3, jsonb_build_object('region', region, 'reason', $2::text) FROM s`

// StopCountry stops a country: from now on create offers no route to its numbers. Messages that are under way still go.
// false means that it was stopped before, with the reason of then. It is for the owner's role.
func (db *DB) StopCountry(ctx context.Context, region, reason string) (bool, error) {
	return db.setCountry(ctx, "stop", stopCountrySQL, region, reason, "country.v1.stopped")
}

// AllowCountry takes a stop away; the settings decide then. false means that there was none. It is for the owner's role.
func (db *DB) AllowCountry(ctx context.Context, region, reason string) (bool, error) {
	return db.setCountry(ctx, "allow", allowCountrySQL, region, reason, "country.v1.allowed")
}

func (db *DB) setCountry(ctx context.Context, verb, sql, region, reason, kind string) (bool, error) {
	tag, err := db.pool.Exec(ctx, sql, region, reason, Operator, kind)
	if err != nil {
		return false, fmt.Errorf("%s country: %w", verb, scrub(err))
	}
	return tag.RowsAffected() == 1, nil
}

// StoppedCountries returns the countries that are stopped, by region.
func (db *DB) StoppedCountries(ctx context.Context) ([]StoppedCountry, error) {
	rows, err := db.pool.Query(ctx, `SELECT region, stopped_at, reason FROM sms_countries ORDER BY region`)
	if err != nil {
		return nil, fmt.Errorf("list stopped countries: %w", scrub(err))
	}
	countries, err := pgx.CollectRows(rows, pgx.RowToStructByPos[StoppedCountry])
	if err != nil {
		return nil, fmt.Errorf("list stopped countries: %w", scrub(err))
	}
	return countries, nil
}
