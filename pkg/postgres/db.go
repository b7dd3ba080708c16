package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"doorcode/pkg/batch"
	"doorcode/pkg/config"
)

// Settings of every pool, nats-postgres.md 10. The sum of MaxConns over all
// replicas has to stay below the server's max_connections less 20.
const (
	defaultMaxConns = 16
	minConns        = 2
	connectTimeout  = 5 * time.Second
)

// Config says where Postgres is and as whom to speak to it.
type Config struct {
	URL         string            // postgres://host:port/database; it need not name a user and should carry no password
	User        string            // role of the process; empty leaves the one of URL
	Password    config.Secret     // empty leaves the one of URL
	Application string            // application_name, seen by the database's administrator
	MaxConns    int32             // largest number of connections; 0 means 16
	Params      map[string]string // run-time parameters, stronger than ours
}

// DB is a pool of connections with the statements of doorcode. It is safe for
// concurrent use.
type DB struct {
	pool    *pgxpool.Pool
	checks  *batch.Group[Check, judged]
	facts   *batch.Group[string, Facts]
	missing *batch.Group[Issued, bool]
	takes   *batch.Group[CreateTake, Taken]
}

// over puts the statements over a pool.
func over(pool *pgxpool.Pool, s sharing) *DB {
	db := &DB{pool: pool}
	db.checks = group(s, Check.keys, db.checkGroup)
	db.facts = group(s.denser(), nil, reading(db.readFacts))
	db.missing = group(s.denser(), nil, reading(db.materialise))
	db.takes = group(s.denser(), nil, db.takeGroup)
	return db
}

// Open connects to Postgres and asks it once. An error never carries the
// password; IsUnavailable tells whether trying again later makes sense.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	pc, err := poolConfig(cfg)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, fmt.Errorf("open database pool: %w", scrub(err))
	}
	db := over(pool, shared())
	err = db.Ping(ctx)
	if err != nil {
		pool.Close()
		return nil, err
	}
	return db, nil
}

// Ping asks the server for an answer.
func (db *DB) Ping(ctx context.Context) error {
	err := db.pool.Ping(ctx)
	if err != nil {
		return fmt.Errorf("ping database: %w", scrub(err))
	}
	return nil
}

// Close takes no more calls that share statements, waits until every connection is given back and closes all.
func (db *DB) Close() {
	db.checks.Close()
	db.facts.Close()
	db.missing.Close()
	db.takes.Close()
	db.pool.Close()
}

// inTx runs fn in one transaction: it commits when fn returns nil and rolls back
// otherwise. A failed commit may still have taken place when the connection was
// lost, so what fn does has to bear a repetition.
func (db *DB) inTx(ctx context.Context, opts pgx.TxOptions, fn func(pgx.Tx) error) error {
	err := pgx.BeginTxFunc(ctx, db.pool, opts, fn)
	if err != nil {
		return scrub(err)
	}
	return nil
}

// poolConfig turns a Config into the pool's settings.
func poolConfig(cfg Config) (*pgxpool.Config, error) {
	pc, err := pgxpool.ParseConfig(cfg.URL)
	if err != nil {
		return nil, errURL // the parser's error may quote the address with its password
	}
	override(pc.ConnConfig, cfg)
	pc.MaxConns = cfg.MaxConns
	if pc.MaxConns <= 0 {
		pc.MaxConns = defaultMaxConns
	}
	pc.MinConns = min(minConns, pc.MaxConns)
	pc.MaxConnLifetime = 30 * time.Minute
	pc.MaxConnLifetimeJitter = 5 * time.Minute
	pc.MaxConnIdleTime = 5 * time.Minute
	pc.HealthCheckPeriod = 30 * time.Second
	pc.AfterConnect = timesInUTC
	pc.ConnConfig.Tracer = tracer{}
	return pc, nil
}

// errURL says no more about a wrong address than that it is wrong.
var errURL = errors.New("the database address is not a valid postgres URL")

// override applies user, password and run-time parameters to one connection's
// settings.
func override(cc *pgx.ConnConfig, cfg Config) {
	if cfg.User != "" {
		cc.User = cfg.User
	}
	if !cfg.Password.IsZero() {
		cc.Password = cfg.Password.Reveal()
	}
	if cc.ConnectTimeout == 0 {
		cc.ConnectTimeout = connectTimeout
	}
	params := map[string]string{
		"application_name":                    cfg.Application,
		"timezone":                            "UTC",
		"statement_timeout":                   "2s",
		"lock_timeout":                        "250ms",
		"idle_in_transaction_session_timeout": "5s",
		// Every statement finds its rows by an index, one after the other, and keeps the plan of its first run: planning
		// anew takes longer than most take to run. A plan that is kept is one that was made on a quiet night, too: what is
		// looked up by its id must have no index to be found by but that of the ids (see checkHead).
		"plan_cache_mode":  "force_generic_plan",
		"enable_seqscan":   "off",
		"enable_hashjoin":  "off",
		"enable_mergejoin": "off",
		"jit":              "off", // it would take the price of a scan that cannot be avoided for a long statement
	}
	for name, value := range cfg.Params {
		params[name] = value
	}
	for name, value := range params {
		cc.RuntimeParams[name] = value
	}
}

// timesInUTC makes a connection return timestamps, also those in arrays, in UTC;
// the driver's own choice is the zone of the machine.
func timesInUTC(_ context.Context, conn *pgx.Conn) error {
	stamp := &pgtype.Type{
		Name: "timestamptz", OID: pgtype.TimestamptzOID,
		Codec: &pgtype.TimestamptzCodec{ScanLocation: time.UTC},
	}
	conn.TypeMap().RegisterType(stamp)
	conn.TypeMap().RegisterType(&pgtype.Type{
		Name: "_timestamptz", OID: pgtype.TimestamptzArrayOID,
		Codec: &pgtype.ArrayCodec{ElementType: stamp},
	})
	return nil
}

// scrub takes the settings of a failed connection, which hold the password, out
// of an error. The cause stays.
func scrub(err error) error {
	var failed *pgconn.ConnectError
	if errors.As(err, &failed) {
		return connectError{cause: failed.Unwrap()}
	}
	return err
}

// connectError is a failed connection without its settings.
type connectError struct {
	cause error
}

// Error names the operation and the cause.
func (e connectError) Error() string { return "connect to database: " + e.cause.Error() }

// Unwrap returns the cause.
func (e connectError) Unwrap() error { return e.cause }

// IsUnavailable reports whether an error means that Postgres could not be asked,
// or that its answer is not known: no connection, a lost one, a server that is
// full, starting, stopping or read-only, a time-out of statement or lock, a
// deadlock or a serialization failure. The caller answers 503 with Retry-After
// (P7).
func IsUnavailable(err error) bool {
	var reported *pgconn.PgError
	if errors.As(err, &reported) && unavailableState(reported.Code) {
		return true
	}
	for _, known := range []error{
		context.DeadlineExceeded, context.Canceled, pgconn.ErrConnClosed,
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, batch.ErrClosed,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	var (
		scrubbed connectError
		failed   *pgconn.ConnectError
		network  net.Error
	)
	return errors.As(err, &scrubbed) || errors.As(err, &failed) || errors.As(err, &network)
}

// unavailableState is IsUnavailable for an SQLSTATE (PostgreSQL manual, appendix A).
func unavailableState(code string) bool {
	switch code {
	case
		"25006", // read-only: this is a standby
		"25P03", // idle in transaction too long, the connection is gone
		"55P03", // lock not available in time
		"57014": // canceled, also by statement_timeout
		return true
	}
	for _, class := range []string{
		"08",  // connection
		"40",  // serialization failure, deadlock
		"53",  // too many connections, out of memory, disk full
		"57P", // shutting down, starting up, crashed
	} {
		if strings.HasPrefix(code, class) {
			return true
		}
	}
	return false
}
