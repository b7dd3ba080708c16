package postgres

import (
	"fmt"

	"doorcode/pkg/account"
	"doorcode/pkg/frontend"
	"doorcode/pkg/keyring"
)

// The tables whose rows carry a MAC, and the budget that must stand beside a login. They double as the closed set of a
// metric label.
const (
	TableWorkspaces = "workspaces"
	TableLogins     = "logins"
	TableFrontEnds  = "front_ends"
	TableBudgets    = "login_budgets"
	TableFactors    = "factor_changes"
	TableSettings   = "settings_sessions"
	TableRemoved    = "removed_logins"

	TableInvitations  = "invitations"
	TableJoinRequests = "join_requests"
	TableGroupTests   = "group_tests"

	TableWaves      = "rollout_waves"
	TablePlaces     = "rollout_places"
	TableExemptions = "rollout_exemptions"

	TableOperators = "operators"
)

// GuardedTables lists the tables that an IntegrityError can name.
func GuardedTables() []string {
	return []string{
		TableWorkspaces, TableLogins, TableFrontEnds, TableBudgets, TableFactors, TableSettings, TableInvitations, TableJoinRequests, TableGroupTests,
		TableRemoved, TableWaves, TablePlaces, TableExemptions, TableOperators,
	}
}

// IntegrityError says that a row which decides who may ask or where a code goes is not as auth wrote it: its MAC does
// not fit, or the budget of a login is missing. Nothing may be sent on its word (SEC-09).
type IntegrityError struct {
	Table string
}

// Error names the table.
func (e *IntegrityError) Error() string {
	return fmt.Sprintf("a row of %s is not as it was written", e.Table)
}

// rowSeal is the MAC of a row with the id of its key.
type rowSeal struct {
	key uint8
	mac []byte
}

// pairs are the names and values of the deciding columns that are not empty, in a fixed order. A column that is added
// later leaves the MACs of rows that do not use it valid.
type pairs [][]byte

// with appends a column, unless it is empty.
func (p pairs) with(name, value string) pairs {
	if value == "" {
		return p
	}
	return append(p, []byte(name), []byte(value))
}

// workspacePairs covers the whole row but its time: every column of it decides something.
func workspacePairs(w account.Workspace) pairs {
	p := pairs{}.with("id", w.ID).with("name", w.Name).with("main_email", w.MainEmail).with("owner", w.Owner)
	if w.GroupAddress {
		p = p.with("group_address", "true")
	}
	return p
}

// loginPairs takes the role as the table has it: the owner stands in workspaces alone.
func loginPairs(l account.Login) pairs {
	return pairs{}.with("workspace", l.Workspace).with("id", l.ID).with("email", l.Email).
		with("role", string(storedRole(l.Role))).with("locale", l.Locale).
		with("phone", l.Phone).with("channel", l.Channel)
}

// frontEndPairs covers the hash of the key as well, so that nobody can give a front-end another one.
func frontEndPairs(f frontend.FrontEnd) pairs {
	p := pairs{}.with("id", f.ID).with("name", f.Name).with("key_hash", string(f.KeyHash)).
		with("key_id", fmt.Sprint(f.KeyID))
	for _, scope := range f.Scopes {
		p = p.with("scope", string(scope))
	}
	for _, workspace := range f.Workspaces {
		p = p.with("workspace", workspace)
	}
	if f.AllWorkspaces { // No list and an empty one are not the same.
		p = p.with("all_workspaces", "true")
	}
	for _, origin := range f.ReturnOrigins {
		p = p.with("return_origin", origin)
	}
	return p
}

// sealRow makes the MAC of a row under the active row key.
func sealRow(ring *keyring.Ring, table string, p pairs) rowSeal {
	key, mac := ring.MAC("doorcode row "+table+" v1", p...)
	return rowSeal{key: key, mac: mac}
}

// fits reports in constant time whether the seal is the row's.
func (s rowSeal) fits(ring *keyring.Ring, table string, p pairs) bool {
	return ring.Verify(s.key, s.mac, "doorcode row "+table+" v1", p...)
}

// storedRole is a role as the logins table has it.
func storedRole(r account.Role) account.Role {
	if r == account.Owner {
		return account.Administrator
	}
	return r
}
