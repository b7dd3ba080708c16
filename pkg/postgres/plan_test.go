package postgres_test

import (
	"encoding/json"
	"regexp"
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
		        send_limit, state, created_at, resend_at, expires_at, ended_at)
		 SELECT 'c' || i, 1, i, 'ws' || i % 100, 'l' || i, 1, 'web', 'sign_in', 'BCD', '4F72KQ9R', 1, 1,
		        CASE WHEN i <= 2000 THEN 'x'::bytea END, '[{"channel": "email"}]', 5, 10, 20, 50, 5,
		        CASE WHEN i <= 2000 THEN 'pending' ELSE 'approved' END, now(), now(), now() + interval '5 minutes',
		        CASE WHEN i > 2000 THEN now() END FROM generate_series(1, 20000) i`,
		`INSERT INTO audit (id, at, kind, challenge_id, actor, detail)
		 SELECT 'a' || i, now(), 'delivery.v1.attempted', 'c' || i, 'd', '{"send": 1, "number": 1}' FROM generate_series(1, 20000) i`,
		`INSERT INTO limits (dimension, key) SELECT 'client', i::text::bytea FROM generate_series(1, 20000) i`,
		`ANALYZE`,
	} {
		s.pg.Exec(s.t, sql)
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
	read := regexp.MustCompile(`(?:actual time=\S+ rows=|Rows Removed by [A-Za-z ]+: )(\d+)`)
	for name, l := range postgres.Lookups(handed) {
		plan := s.plan(conn, l)
		for _, step := range read.FindAllStringSubmatch(plan, -1) {
			if len(step[1]) > 3 {
				t.Errorf("%s reads %s rows:\n%s", name, step[1], plan)
			}
		}
	}
}
