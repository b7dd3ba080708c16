package postgres_test

import (
	"context"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/postgres"
)

// crowd fills the tables with what a busy day leaves behind, little of which is due.
func (s *stage) crowd() {
	s.t.Helper()
	for _, sql := range []string{
		`INSERT INTO login_budgets (workspace, login) SELECT 'ws' || i % 100, 'l' || i FROM generate_series(1, 20000) i`,
		`INSERT INTO challenges (id, stream_number, stream_sequence, workspace, login, login_version, front_end, purpose, label,
		        support_reference, tag_key, digest_key, digest, routes, wrong_limit, hour_limit, day_limit, lock_limit,
		        send_limit, state, created_at, resend_at, expires_at, ended_at, address)
		 SELECT 'c' || i, 1, i, 'ws' || i % 100, 'l' || i, 1, 'web', 'sign_in', 'BCD', '4F72KQ9R', 1, 1,
		        CASE WHEN i <= 2000 THEN 'x'::bytea END, '[{"channel": "email"}]', 5, 10, 20, 50, 5,
		        CASE WHEN i <= 2000 THEN 'pending' ELSE 'approved' END, now(), now(), now() + interval '5 minutes',
		        CASE WHEN i > 2000 THEN now() END, ('a' || i % 100)::bytea FROM generate_series(1, 20000) i`,
		`INSERT INTO audit (id, at, kind, challenge_id, actor, detail)
		 SELECT 'a' || i, now(), 'delivery.v1.attempted', 'c' || i, 'd', '{"send": 1, "number": 1}' FROM generate_series(1, 20000) i`,
		`INSERT INTO sign_ins (workspace, login, ended_at, challenge_id, started_at, channel, outcome)
		 SELECT 'ws' || i % 100, 'l' || i % 10000, now(), 'c' || i, now(), 'email', 'approved' FROM generate_series(1, 20000) i`,
		`INSERT INTO outbox (id, type, source, subject, at, data)
		 SELECT 'c' || i || '.approved', 'challenge.v1.approved', 'v', 'c' || i, now(), '{"channel": "email"}' FROM generate_series(1, 20000) i`,
		`INSERT INTO removed_logins (id, workspace, login, removed_at, mac_key, mac)
		 SELECT 'r' || i, 'ws' || i % 100, 'l' || i, now(), 1, 'x' FROM generate_series(1, 20000) i`,
		`INSERT INTO workspaces (id, name, main_email, owner, mac_key, mac)
		 SELECT 'ws' || i, 'W', 'office' || i || '@example.com', 'l' || i, 1, 'x' FROM generate_series(1, 20000) i`,
		`INSERT INTO logins (workspace, id, email, role, mac_key, mac)
		 SELECT 'ws' || i, 'l' || i, 'p' || i / 2 || '@example.com', 'member', 1, 'x' FROM generate_series(1, 20000) i`,
		`INSERT INTO rollout_waves (id, announce_at, grace_at, enforce_at, skips, mac_key, mac) VALUES ('w', now(), now(), now(), 3, 1, 'x')`,
		`INSERT INTO rollout_places (workspace, wave, joined_at, mac_key, mac) SELECT 'ws' || i, 'w', now(), 1, 'x' FROM generate_series(1, 20000) i`,
		`INSERT INTO channel_rounds (minute, counted_at, next_at) SELECT now() - i * interval '1 minute', now(), CASE WHEN i < 20 THEN now() END FROM generate_series(1, 20000) i`,
		`INSERT INTO channel_minutes (minute, channel, provider, destination, sent, accepted, delivered, failed, codes, verified, accepted_in, delivered_in)
		 SELECT now() - i * interval '1 minute', 'sms', 'vonage', 'ES', 1, 1, 1, 0, 1, 1, '{1}', '{1}' FROM generate_series(1, 20000) i`,
		`INSERT INTO limits (dimension, key) SELECT 'client', i::text::bytea FROM generate_series(1, 20000) i`,
		`ANALYZE`,
	} {
		s.pg.Exec(s.t, sql)
	}
}

// many makes challenges of that state, from a number to another.
func (s *stage) many(state string, from, to int) {
	s.t.Helper()
	s.pg.Exec(s.t, `
		INSERT INTO challenges (id, stream_number, stream_sequence, workspace, login, login_version, front_end, purpose, label,
		       support_reference, tag_key, digest_key, digest, routes, wrong_limit, hour_limit, day_limit, lock_limit,
		       send_limit, state, created_at, resend_at, expires_at, ended_at, address)
		SELECT 'c' || i, 1, i, 'ws' || i % 100, 'l' || i, 1, 'web', 'sign_in', 'BCD', '4F72KQ9R', 1, 1,
		       CASE WHEN $1 = 'pending' THEN 'x'::bytea END, '[{"channel": "email"}]', 5, 10, 20, 50, 5,
		       $1, now(), now(), now() + interval '5 minutes', CASE WHEN $1 <> 'pending' THEN now() END, ('a' || i % 100)::bytea
		  FROM generate_series($2::int, $3::int) AS i`, state, from, to)
}

// A pool plans each statement once and keeps the plan: it must be one for the morning, also when it was made on a night on
// which nothing was open.
func TestLookups_KeepTheirIndexThroughAMorningAfterAQuietNight(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.pg.Exec(t, `INSERT INTO login_budgets (workspace, login) SELECT 'ws' || i % 100, 'l' || i FROM generate_series(1, 10000) i`)
	s.many("approved", 30001, 50000)
	s.pg.Exec(t, `ANALYZE`)
	cfg, err := pgx.ParseConfig(s.pg.OwnerURL())
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range s.db.Settings() {
		cfg.RuntimeParams[name] = value
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol // EXECUTE takes no parameters of the protocol.
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	statements := postgres.OfOne(16)
	execute := func(l postgres.Lookup, name string) string {
		places := make([]string, len(l.Args))
		for i := range places {
			places[i] = "$" + strconv.Itoa(i+1)
		}
		return "EXECUTE " + name + "(" + strings.Join(places, ", ") + ")"
	}
	named := func(name string) string { return "kept_" + strings.ReplaceAll(name, " ", "_") }
	for name, l := range statements {
		_, err = conn.Exec(t.Context(), "PREPARE "+named(name)+" AS "+l.SQL)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, err = conn.Exec(t.Context(), execute(l, named(name)), l.Args...)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	s.many("pending", 1, 10000)
	for name, l := range statements {
		rows, err := conn.Query(t.Context(), "EXPLAIN ANALYZE "+execute(l, named(name)), l.Args...)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		readsFew(t, name, strings.Join(plan, "\n"))
	}
}

// readsFew fails when a step of a plan reads a thousand rows or more.
func readsFew(t *testing.T, name, plan string) {
	t.Helper()
	read := regexp.MustCompile(`(?:actual time=\S+ rows=|Rows Removed by [A-Za-z ]+: )(\d+)`)
	for _, step := range read.FindAllStringSubmatch(plan, -1) {
		if len(step[1]) > 3 {
			t.Errorf("%s reads %s rows:\n%s", name, step[1], plan)
		}
	}
}

// plan runs a statement and returns its plan with the rows that each step read.
func (s *stage) plan(conn *pgx.Conn, l postgres.Lookup) string {
	s.t.Helper()
	rows, err := conn.Query(s.t.Context(), "EXPLAIN ANALYZE "+l.SQL, l.Args...)
	if err != nil {
		s.t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

func TestLookups_ReadAnIndexHoweverMuchLiesBesideIt(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.crowd()
	handed, err := json.Marshal([]map[string]any{
		{"challenge": "c1", "send": 1, "number": 3, "channel": "email", "requested_at": s.now()},
	})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), s.pg.OwnerURL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	for name, l := range postgres.Lookups(handed) {
		readsFew(t, name, s.plan(conn, l))
	}
}
