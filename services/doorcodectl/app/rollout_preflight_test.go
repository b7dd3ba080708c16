package app_test

import (
	"strings"
	"testing"

	"doorcode/pkg/account"
	"doorcode/pkg/postgres"
	"doorcode/pkg/rollout"
)

// R4.4 and R4.5: who is not ready is listed with reasons, the counts add up, and blocked ones leave for a wave of their own.
func TestRolloutPreflight_ListsWhoIsNotReadyAndTakesBlockedOnesOut(t *testing.T) {
	t.Parallel()
	r := rollOut(t, "acme", "globex", "initech")
	_, err := r.directory.PutWorkspace(t.Context(), postgres.Change{By: "front"}, account.Workspace{ID: "globex", Name: "globex", MainEmail: "office@globex.example", Owner: "nobody"})
	if err != nil {
		t.Fatal(err)
	}
	for _, wave := range []string{"one", "work"} {
		r.says(t, "wave -id "+wave+" -announce "+in(2)+" -grace "+in(9)+" -enforce "+in(16))
	}
	r.says(t, "join -wave one -percent 100")
	said := r.do(t, "rollout", "preflight", "-wave", "one")
	contains(t, said, "acme at_risk: never_proven, group_address, single_user, owner_not_seen\n", "globex blocked: no_owner, no_route, group_address, single_user\n",
		"# ready 0\n# at_risk 2\n# blocked 1\n# all 3\n")
	contains(t, r.do(t, "rollout", "preflight", "-all", "-state", "ready"), "# ready 0\n")
	if got := r.do(t, "rollout", "preflight", "-all", "-state", "blocked"); strings.Contains(got, "acme") || !strings.HasPrefix(got, "globex blocked: ") {
		t.Errorf("blocked are %s", got)
	}
	contains(t, r.do(t, "rollout", "preflight", "-workspace", "initech"), "initech at_risk: ", "# all 1\n")
	r.refused(t, 1, "unknown workspace", "rollout", "preflight", "-workspace", "hooli")
	for why, words := range map[string]string{
		"takes one of -wave":      "preflight",
		"takes one of -wave, ":    "preflight -all -wave one",
		"-state is one of [ready": "preflight -all -state fine",
		"-move-to needs -wave":    "preflight -all -move-to work -reason r",
		"-reason is missing":      "preflight -wave one -move-to work",
		"-move-to: an id has 1 ":  "preflight -wave one -move-to a/b -reason r",
	} {
		r.refuses(t, 2, why, words)
	}
	r.refused(t, 2, "-operator is missing", "rollout", "preflight", "-wave", "one", "-move-to", "work", "-reason", "r")
	r.refuses(t, 1, "unknown wave", "preflight -wave one -move-to none -reason r")
	contains(t, r.says(t, "preflight -wave one -move-to work -reason", "before it is told"), "# 1 blocked workspaces went from one to work, SHA-256 ")
	contains(t, r.shows(t, "-workspace", "globex"), "globex: scheduled\nwave work: ")
	contains(t, r.says(t, "preflight -wave one -move-to work -reason again"), "# blocked 0\n")
	// Overruled, by name and with a reason.
	move := "move -wave work -to one -workspaces " + r.list(t, "globex\n")
	r.refuses(t, 2, "-reason is missing", move)
	r.refuses(t, 2, "-to is missing", "move -wave work -reason r")
	r.refuses(t, 2, "-workspaces is missing", "move -wave work -to one -reason r")
	contains(t, r.says(t, move+" -reason", "their owner comes next week"), "1 workspaces went from work to one, SHA-256 ")
	contains(t, r.shows(t, "-workspace", "globex"), "wave one: ")
	if d := r.decides(t, "globex"); d.Why != rollout.WhyNotYet {
		t.Errorf("auth decides %+v", d)
	}
}
