// Package postgres holds the statements of doorcode and the pool that runs them.
// No other package imports pgx, but for the private cluster in local and the
// databases for tests in pgtest.
//
// It promises that no error carries a password, that every timestamp comes back
// in UTC, that no statement waits for ever (the limits of nats-postgres.md 10),
// and that IsUnavailable tells "Postgres cannot be asked" from every other
// failure, so that a caller can answer 503 and skip nothing (P7, SEC-67).
//
// It refuses to change the schema while running: that is Migrate, called by the
// deployment with the credential of the database's owner.
package postgres
