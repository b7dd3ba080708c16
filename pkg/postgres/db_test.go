package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"doorcode/pkg/config"
	"doorcode/pkg/postgres"
	"doorcode/pkg/postgres/pgtest"
)

// silent is a password that must appear nowhere.
const silent = "sw0rdfish-must-not-show"

// show returns the value of a run-time parameter as the pool's connections see it.
func show(t *testing.T, db *postgres.DB, name string) string {
	t.Helper()
	var value string
	err := db.InTx(t.Context(), func(tx pgx.Tx) error {
		return tx.QueryRow(t.Context(), `SELECT current_setting($1)`, name).Scan(&value)
	})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestOpen_SetsLimitsAndLetsParamsOverride(t *testing.T) {
	t.Parallel()
	cfg := pgtest.Open(t).AuthConfig()
	cfg.MaxConns = 0
	cfg.Params = map[string]string{"statement_timeout": "7s"}
	db, err := postgres.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	for name, want := range map[string]string{
		"statement_timeout": "7s", "lock_timeout": "250ms", "idle_in_transaction_session_timeout": "5s",
		"application_name": "auth", "timezone": "UTC",
	} {
		got := show(t, db, name)
		if got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if db.MaxConns() != 16 {
		t.Errorf("the pool holds %d connections, want 16", db.MaxConns())
	}
}

func TestOpen_ReturnsTimesInUTC(t *testing.T) {
	t.Parallel()
	db := pgtest.Open(t).Verifier(t)
	var (
		one  time.Time
		many []time.Time
	)
	err := db.InTx(t.Context(), func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `SET LOCAL timezone = 'Asia/Tokyo'`)
		if err != nil {
			return err
		}
		return tx.QueryRow(t.Context(), `SELECT t, ARRAY[t, t] FROM (SELECT timestamptz '2026-01-02 03:04:05+02') AS s(t)`).Scan(&one, &many)
	})
	if err != nil {
		t.Fatal(err)
	}
	want := time.Date(2026, 1, 2, 1, 4, 5, 0, time.UTC)
	for _, got := range append(many, one) {
		if got != want { // the location counts, so not Equal
			t.Errorf("got %v, want %v", got, want)
		}
	}
	if len(many) != 2 {
		t.Errorf("the array came with %d entries", len(many))
	}
}

func TestOpen_NeverShowsThePassword(t *testing.T) {
	t.Parallel()
	db := pgtest.Open(t)
	wrong := db.AuthConfig()
	wrong.Password = config.NewSecret(silent)
	for name, cfg := range map[string]postgres.Config{
		"wrong password": wrong,
		"nobody there":   {URL: "postgres://u:" + silent + "@127.0.0.1:1/x?connect_timeout=1"},
		"not a URL":      {URL: "postgres://u:" + silent + "@host:port:9/x"},
		"bad parameter":  {URL: "postgres://u:" + silent + "@127.0.0.1/x?sslmode=perhaps"},
		"keyword form":   {URL: "host=127.0.0.1 port=x password=" + silent},
		"no host":        {URL: "postgres://u:" + silent + "@127.0.0.1:1,127.0.0.1:2/x?target_session_attrs=" + silent},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opened, err := postgres.Open(t.Context(), cfg)
			if err == nil {
				opened.Close()
				t.Fatal("opened")
			}
			_, migrated := postgres.Migrate(t.Context(), cfg.URL, nil)
			for _, e := range []error{err, migrated} {
				var settings *pgconn.ConnectError
				if strings.Contains(fmt.Sprintf("%v %+v %#v", e, e, e), silent) || errors.As(e, &settings) {
					t.Errorf("the error holds the password or the settings: %v", e)
				}
			}
		})
	}
}

func TestOpen_TellsUnavailableFromWrong(t *testing.T) {
	t.Parallel()
	_, err := postgres.Open(t.Context(), postgres.Config{URL: "postgres://u@127.0.0.1:1/x?sslmode=disable"})
	if !postgres.IsUnavailable(err) {
		t.Errorf("nobody listens: %v is not unavailable", err)
	}
	_, err = postgres.Open(t.Context(), postgres.Config{URL: "::"})
	if err == nil || postgres.IsUnavailable(err) {
		t.Errorf("a wrong address: %v is unavailable", err)
	}
}

func TestDB_CommitsAndRollsBack(t *testing.T) {
	t.Parallel()
	own := pgtest.Open(t)
	db := own.Owner(t)
	refused := errors.New("refused")
	insert := func(key string, result error) error {
		return db.InTx(t.Context(), func(tx pgx.Tx) error {
			_, err := tx.Exec(t.Context(), `INSERT INTO limits (dimension, key) VALUES ('client', $1)`, []byte(key))
			return errors.Join(err, result)
		})
	}
	err := insert("kept", nil)
	if err != nil {
		t.Fatal(err)
	}
	err = insert("dropped", refused)
	if !errors.Is(err, refused) {
		t.Errorf("the function's error came back as %v", err)
	}
	var keys string
	own.Scan(t, `SELECT string_agg(convert_from(key, 'UTF8'), ',') FROM limits`, nil, &keys)
	if keys != "kept" {
		t.Errorf("the table holds %q, want the committed row alone", keys)
	}
}

func TestIsUnavailable_WhenAStatementOrALockTakesTooLong(t *testing.T) {
	t.Parallel()
	own := pgtest.Open(t)
	own.Exec(t, `INSERT INTO limits (dimension, key) VALUES ('client', 'x')`)
	cfg := own.AuthConfig()
	cfg.Params = map[string]string{"statement_timeout": "300ms", "lock_timeout": "20ms"}
	db, err := postgres.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	slow := db.InTx(t.Context(), func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `SELECT pg_sleep(60)`)
		return err
	})
	const grab = `SELECT 1 FROM limits FOR UPDATE`
	locked := db.InTx(t.Context(), func(holder pgx.Tx) error {
		_, err := holder.Exec(t.Context(), grab)
		if err != nil {
			return err
		}
		return db.InTx(t.Context(), func(tx pgx.Tx) error {
			_, err := tx.Exec(t.Context(), grab)
			return err
		})
	})
	for want, err := range map[string]error{"57014": slow, "55P03": locked} {
		var reported *pgconn.PgError
		if !errors.As(err, &reported) || reported.Code != want || !postgres.IsUnavailable(err) {
			t.Errorf("got %v, want %s and unavailable", err, want)
		}
	}
}

func TestIsUnavailable_WhenTheConnectionIsCutAndNotAfterwards(t *testing.T) {
	t.Parallel()
	own := pgtest.Open(t)
	db := own.Auth(t)
	err := db.InTx(t.Context(), func(tx pgx.Tx) error {
		own.Exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'doorcode_auth'`)
		_, err := tx.Exec(t.Context(), `SELECT 1`)
		return err
	})
	if !postgres.IsUnavailable(err) {
		t.Errorf("a cut connection: %v is not unavailable", err)
	}
	// Each connection that was cut with it may fail one more call.
	for range db.MaxConns() + 1 {
		err = db.Ping(t.Context())
		if err == nil {
			return
		}
		if !postgres.IsUnavailable(err) {
			t.Errorf("a cut connection: %v is not unavailable", err)
		}
	}
	t.Error("the pool did not recover:", err)
}

func TestIsUnavailable_JudgesEveryKind(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"08006", "08P01", "53300", "53100", "57P01", "57P03", "57014", "55P03", "40001", "40P01", "25006", "25P03"} {
		err := fmt.Errorf("check code: %w", &pgconn.PgError{Code: code})
		if !postgres.IsUnavailable(err) {
			t.Errorf("%s is not unavailable", code)
		}
	}
	for _, code := range []string{"23505", "23514", "42501", "42P01", "22P02", "57000", "25P02", "XX000", ""} {
		if postgres.IsUnavailable(&pgconn.PgError{Code: code}) {
			t.Errorf("%s is unavailable", code)
		}
	}
	for _, err := range []error{
		context.DeadlineExceeded, context.Canceled, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, pgconn.ErrConnClosed,
		&net.OpError{Op: "read", Err: errors.New("reset")},
	} {
		if !postgres.IsUnavailable(fmt.Errorf("wrapped: %w", err)) {
			t.Errorf("%v is not unavailable", err)
		}
	}
	for _, err := range []error{nil, errors.New("something else"), pgx.ErrNoRows} {
		if postgres.IsUnavailable(err) {
			t.Errorf("%v is unavailable", err)
		}
	}
}
