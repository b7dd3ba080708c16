package postgres_test

import (
	"strings"
	"testing"

	"doorcode/pkg/postgres"
	"doorcode/pkg/postgres/pgtest"
)

// What each role must not do with the rows of others. A statement that is
// refused for another reason than a missing right would be no proof, hence the
// code.
// It shows SEC-48 of deploy/SECURITY.md.
func TestP10_EachRoleDoesItsJobAndNothingElse(t *testing.T) {
	t.Parallel()
	own := pgtest.Open(t)
	for role, job := range map[string]struct {
		cfg       postgres.Config
		forbidden []string
	}{
		"auth": {own.AuthConfig(), []string{
			"SELECT digest FROM challenges",
			"SELECT routes FROM challenges",
			"SELECT check_macs FROM challenges",
			"SELECT send_keys FROM challenges",
			"SELECT network FROM challenges",
			"SELECT browser FROM challenges",
			"UPDATE challenges SET state = 'approved'",
			"INSERT INTO challenges (id) VALUES ('x')",
			"DELETE FROM challenges",
			"UPDATE login_budgets SET failures = '{}'",
			"UPDATE login_budgets SET in_a_row = 0",
			"UPDATE login_budgets SET locked_at = NULL",
			"UPDATE login_budgets SET swept_version = version",
			"DELETE FROM login_budgets",
			"DELETE FROM limits",
			"SELECT * FROM audit",
			"SELECT * FROM outbox",
			"DELETE FROM outbox",
			"INSERT INTO sign_ins (workspace) VALUES ('x')",
			"DELETE FROM sign_ins",
			"INSERT INTO front_ends (id) VALUES ('x')",
			"UPDATE front_ends SET scopes = '{directory}'",
			"SELECT nextval('stream_numbers')",
			"SELECT ensure_audit_partitions()",
			"SELECT drop_audit_days()",
			"UPDATE audit_keep SET days = 30",
			"SELECT n FROM audit_seals",
			"INSERT INTO rollout_waves (id) VALUES ('x')",
			"UPDATE rollout_waves SET enforce_at = 'infinity'",
			"DELETE FROM rollout_waves",
			"INSERT INTO rollout_holds (wave) VALUES ('x')",
			"DELETE FROM rollout_holds",
			"SELECT hold_waves('{x}', '{x}', 'x', '{}')",
			"SELECT sentence FROM rollout_gates",
			"INSERT INTO rollout_places (workspace) VALUES ('x')",
			"UPDATE rollout_places SET joined_at = now()",
			"INSERT INTO rollout_exemptions (workspace) VALUES ('x')",
			"UPDATE rollout_exemptions SET until = 'infinity'",
			"SELECT sent FROM channel_minutes",
			"UPDATE channel_minutes SET verified = 0",
			"UPDATE rollout_notices SET notice = 'moved'",
			"UPDATE rollout_postponements SET enforce_at = 'infinity'",
		}},
		"verifier": {own.VerifierConfig(), []string{
			"SELECT main_email FROM workspaces",
			"UPDATE workspaces SET main_email = 'thief@evil.example'",
			"SELECT email FROM logins",
			"UPDATE logins SET email = 'thief@evil.example'",
			"SELECT key_hash FROM front_ends",
			"SELECT email FROM invitations",
			"UPDATE invitations SET email = 'thief@evil.example'",
			"SELECT email FROM join_requests",
			"SELECT handles FROM group_tests",
			"SELECT email FROM removed_logins",
			"UPDATE removed_logins SET email = 'thief@evil.example'",
			"UPDATE login_budgets SET version = version + 1",
			"UPDATE login_budgets SET removed_at = NULL",
			"INSERT INTO login_budgets (workspace, login) VALUES ('w', 'l')",
			"UPDATE outbox SET data = '{}'",
			"SELECT * FROM settings_sessions",
			"UPDATE sign_ins SET outcome = 'approved'",
			"SELECT nextval('stream_numbers')",
			"SELECT reason FROM rollout_waves",
			"UPDATE rollout_waves SET paused_at = now()",
			"INSERT INTO rollout_holds (wave) VALUES ('x')",
			"UPDATE rollout_holds SET cleared_at = now()",
			"DELETE FROM rollout_holds",
			"UPDATE audit_keep SET days = 30",
			"DELETE FROM audit_keep",
			"INSERT INTO audit_drops (day, at, rows) VALUES (now(), now(), 1)",
			"UPDATE audit_drops SET at = now()",
			"DELETE FROM audit_drops",
			"SELECT workspace FROM rollout_places",
			"DELETE FROM rollout_places",
			"SELECT workspace FROM rollout_exemptions",
			"DELETE FROM rollout_exemptions",
			"INSERT INTO rollout_exemptions (workspace) VALUES ('x')",
			"SELECT enforce_at FROM rollout_postponements",
			"INSERT INTO rollout_postponements (workspace) VALUES ('x')",
			"SELECT date FROM rollout_notices",
			"INSERT INTO rollout_practices (workspace) VALUES ('x')",
			"SELECT secret_hash FROM operators",
		}},
		"console": {own.ConsoleConfig(), []string{
			"SELECT * FROM challenges",
			"SELECT digest FROM challenges",
			"SELECT routes FROM challenges",
			"SELECT check_macs FROM challenges",
			"UPDATE told_challenges SET state = 'approved'",
			"DELETE FROM told_challenges",
			"SELECT main_email FROM workspaces",
			"SELECT email FROM logins",
			"SELECT key_hash FROM front_ends",
			"SELECT * FROM login_budgets",
			"UPDATE login_budgets SET locked_at = NULL",
			"SELECT * FROM outbox",
			"SELECT * FROM settings_sessions",
			"SELECT destination FROM factor_changes",
			"SELECT email FROM removed_logins",
			"INSERT INTO audit (id, at, kind, actor, detail) VALUES ('x', now(), 'challenge.v1.approved', 'x', '{}')",
			"UPDATE audit SET actor = 'nobody'",
			"DELETE FROM audit",
			"INSERT INTO operators (id) VALUES ('x')",
			"UPDATE operators SET role = 'operator'",
			"DELETE FROM operators",
			"SELECT ensure_audit_partitions()",
			"SELECT record_audit_export('x', 'began', 'x', '{}')",
			"UPDATE channel_minutes SET verified = 0",
			"UPDATE channel_rounds SET next_at = now()",
			"DELETE FROM rollout_places",
			"UPDATE rollout_holds SET cleared_at = now()",
			"SELECT name FROM workspaces",
			"SELECT network FROM sign_ins",
		}},
	} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			db, err := postgres.Open(t.Context(), job.cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(db.Close)
			for _, statement := range job.forbidden {
				err := db.InTx(t.Context(), execute(t, statement))
				if err == nil || !strings.Contains(err.Error(), "42501") {
					t.Errorf("%s: %v, want 42501", statement, err)
				}
			}
		})
	}
}
