package app_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/event"
)

// put is a put in workspace w.
func put(path string, body fields) request {
	return request{method: "PUT", path: "/v1/workspaces/w" + path, body: body}
}

// asRead is a put of workspace w that names the state which it has now.
func (h *harness) asRead(t *testing.T, body fields) request {
	t.Helper()
	r := put("", body)
	r.header = map[string]string{"If-Match": h.must(t, 200, request{method: "GET", path: "/v1/workspaces/w"}).Header.Get("ETag")}
	return r
}

// shown reads an entry of the directory.
func (h *harness) shown(t *testing.T, path string) map[string]any {
	t.Helper()
	var entry map[string]any
	h.must(t, 200, request{method: "GET", path: "/v1/workspaces/w" + path}).into(t, &entry)
	return entry
}

func TestDirectory_PutIsIdempotent(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	records, audit := h.count(t, `SELECT count(*) FROM outbox`), h.count(t, `SELECT count(*) FROM audit WHERE actor = 'front'`)
	body := fields{"role": "member", "email": "bert@example.com"}
	first := h.must(t, 200, put("/logins/bert", body))
	again := h.must(t, 200, put("/logins/bert", body))
	if first.Header.Get("ETag") == "" || first.Header.Get("ETag") != again.Header.Get("ETag") {
		t.Error("the ETag of an unchanged login changed")
	}
	h.must(t, 200, put("", fields{"name": "Lanternbird", "main_email": "office@example.com"}))
	if h.version(t, "bert") != 1 || h.count(t, `SELECT count(*) FROM outbox`) != records || h.count(t, `SELECT count(*) FROM audit WHERE actor = 'front'`) != audit {
		t.Error("a put that changes nothing left a trace")
	}
	route := map[string]any{"channel": "email", "recipient": "b•••@example.com", "why": "Your codes go to your own e-mail address."}
	if diff := cmp.Diff(map[string]any{
		"workspace": "w", "id": "bert", "email": "bert@example.com", "channel": "email", "role": "member", "route": route,
	}, h.shown(t, "/logins/bert")); diff != "" {
		t.Error(diff)
	}
}

func TestDirectory_ChangesOnlyWhatWasSeen(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	a := h.must(t, 200, request{method: "GET", path: "/v1/workspaces/w/logins/bert"})
	seen := map[string]string{"If-Match": a.Header.Get("ETag")}
	change := put("/logins/bert", fields{"role": "member", "email": "b@example.com"})
	change.header = seen
	h.must(t, 200, change)
	change.body = fields{"role": "member", "email": "c@example.com"}
	h.refused(t, 412, "changed", change)
	remove := request{method: "DELETE", path: "/v1/workspaces/w/logins/bert", header: seen}
	h.refused(t, 412, "changed", remove)
	fresh := put("/logins/carl", fields{"role": "member"})
	fresh.header = map[string]string{"If-Match": "*"}
	h.refused(t, 412, "changed", fresh)
	remove.header = fresh.header
	h.must(t, 204, remove)
	workspace := put("", fields{"name": "Other", "main_email": "office@example.com"})
	workspace.header = seen
	h.refused(t, 412, "changed", workspace)
	if h.shown(t, "")["name"] != "Lanternbird" {
		t.Error("a refused put changed the name")
	}
}

// What people did to their main address is not undone by an application that has not heard of it, and is changed by one
// that has. It shows SEC-37 of deploy/SECURITY.md.
func TestDirectory_AStalePutLeavesTheMainAddress(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	read := h.asRead(t, fields{"name": "Lanternbird", "main_email": "mine@example.com"})
	// The owner's change and the test of a group address, as the host application does not know of them.
	h.must(t, 200, h.asRead(t, fields{"name": "Lanternbird", "main_email": "theirs@example.com", "group_address": true}))
	version := h.version(t, "anna")
	for name, r := range map[string]request{
		"the former address": put("", fields{"name": "Other", "main_email": "office@example.com"}),
		"with an owner":      put("", fields{"name": "Other", "main_email": "office@example.com", "owner": "anna"}),
		"no group":           put("", fields{"name": "Other", "main_email": "theirs@example.com", "group_address": false}),
		"any state":          {method: "PUT", path: "/v1/workspaces/w", body: fields{"name": "Other", "main_email": "office@example.com"}, header: map[string]string{"If-Match": "*"}},
	} {
		h.refused(t, 409, "main_email_differs", r)
		if got := h.shown(t, ""); got["main_email"] != "theirs@example.com" || got["group_address"] != true || got["name"] != "Lanternbird" {
			t.Errorf("%s: it is %v", name, got)
		}
	}
	h.refused(t, 412, "changed", read) // It has read what there was before.
	if h.version(t, "anna") != version {
		t.Error("a refused put ended what is open")
	}
	h.must(t, 200, put("", fields{"name": "Other", "main_email": "theirs@example.com"}))
	if got := h.shown(t, ""); got["group_address"] != true || got["name"] != "Other" {
		t.Errorf("with the address that there is: %v", got)
	}
	h.must(t, 200, h.asRead(t, fields{"name": "Other", "main_email": "mine@example.com"}))
	if got := h.shown(t, ""); got["main_email"] != "mine@example.com" || got["group_address"] != false {
		t.Errorf("what was meant: %v", got)
	}
}

// It shows SEC-45 of deploy/SECURITY.md.
func TestDirectory_OwnerStandsInOnePlace(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	if h.shown(t, "")["owner"] != "anna" || h.shown(t, "/logins/anna")["role"] != "owner" {
		t.Fatal("anna is not the owner")
	}
	etag := h.must(t, 200, request{method: "GET", path: "/v1/workspaces/w/logins/anna"}).Header.Get("ETag")
	h.must(t, 200, put("/logins/bert", fields{"role": "owner", "email": "bert@example.com"}))
	if h.shown(t, "")["owner"] != "bert" || h.shown(t, "/logins/anna")["role"] != "administrator" || h.shown(t, "/logins/bert")["role"] != "owner" {
		t.Error("the ownership did not pass to bert")
	}
	if h.must(t, 200, request{method: "GET", path: "/v1/workspaces/w/logins/anna"}).Header.Get("ETag") == etag {
		t.Error("the ETag of the former owner did not change")
	}
	if h.version(t, "anna") != 2 || h.version(t, "bert") != 2 {
		t.Errorf("the versions are %d and %d", h.version(t, "anna"), h.version(t, "bert"))
	}
	h.must(t, 200, put("", fields{"name": "Lanternbird", "main_email": "office@example.com", "owner": "carl"}))
	if h.shown(t, "/logins/bert")["role"] != "administrator" || h.version(t, "bert") != 3 {
		t.Error("the former owner is not an administrator")
	}
	h.must(t, 201, put("/logins/carl", fields{"role": "owner"}))
	h.must(t, 201, create("carl"))
	h.must(t, 200, put("/logins/carl", fields{"role": "member"}))
	if owner, there := h.shown(t, "")["owner"]; there {
		t.Errorf("the owner is %v", owner)
	}
	h.refused(t, 409, "no_route", create("carl"))
}

// It shows SEC-39 of deploy/SECURITY.md.
func TestDirectory_RaisesTheVersionOfWhomAChangeIsAbout(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	for _, c := range []struct {
		what       string
		put        request
		anna, bert int64
	}{
		{"a name", put("", fields{"name": "Other", "main_email": "office@example.com"}), 1, 1},
		{"the group flag", put("", fields{"name": "Other", "main_email": "office@example.com", "group_address": true}), 1, 1},
		{"the main address, the owner's route", put("", fields{"name": "Other", "main_email": "new@example.com"}), 2, 1},
		{"an address", put("/logins/bert", fields{"role": "member", "email": "b@example.com"}), 2, 2},
		{"a locale", put("/logins/bert", fields{"role": "member", "email": "b@example.com", "locale": "nl"}), 2, 2},
		{"a role", put("/logins/bert", fields{"role": "administrator", "email": "b@example.com", "locale": "nl"}), 2, 3},
		{"an own address for the owner", put("/logins/anna", fields{"role": "owner", "email": "anna@example.com"}), 3, 3},
		{"the main address, nobody's route", put("", fields{"name": "Other", "main_email": "newer@example.com"}), 3, 3},
	} {
		if c.put.path == "/v1/workspaces/w" {
			c.put = h.asRead(t, c.put.body.(fields))
		}
		h.must(t, 200, c.put)
		if h.version(t, "anna") != c.anna || h.version(t, "bert") != c.bert {
			t.Errorf("after %s the versions are %d and %d", c.what, h.version(t, "anna"), h.version(t, "bert"))
		}
	}
}

// It shows SEC-11 of deploy/SECURITY.md.
func TestP3_ALoginPutAgainKeepsWhatItSpent(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	h.db.Exec(t, `UPDATE login_budgets SET failures = array_fill(clock_timestamp(), ARRAY[10]) WHERE login = 'bert'`)
	h.must(t, 204, request{method: "DELETE", path: "/v1/workspaces/w/logins/bert"})
	h.refused(t, 404, "unknown_login", request{method: "DELETE", path: "/v1/workspaces/w/logins/bert"})
	h.refused(t, 404, "unknown_login", create("bert"))
	h.must(t, 201, put("/logins/bert", fields{"role": "member", "email": "bert@example.com"}))
	h.refused(t, 429, "too_many", create("bert"))
	if h.version(t, "bert") != 3 || h.count(t, `SELECT count(*) FROM login_budgets WHERE login = 'bert' AND removed_at IS NULL`) != 1 {
		t.Errorf("the version is %d", h.version(t, "bert"))
	}
}

func TestDirectory_RemovesAWorkspaceWithItsLogins(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	h.must(t, 204, request{method: "DELETE", path: "/v1/workspaces/w"})
	h.refused(t, 404, "unknown_workspace", request{method: "GET", path: "/v1/workspaces/w"})
	h.refused(t, 404, "unknown_workspace", request{method: "GET", path: "/v1/workspaces/w/logins/bert"})
	h.refused(t, 404, "unknown_workspace", put("/logins/bert", fields{"role": "member"}))
	h.refused(t, 404, "unknown_workspace", create("bert"))
	if h.count(t, `SELECT count(*) FROM logins`) != 0 || h.count(t, `SELECT count(*) FROM login_budgets WHERE removed_at IS NOT NULL AND version > 1`) != 2 {
		t.Error("a login or an open budget is left")
	}
}

func TestDirectory_RemovedOwnerDoesNotComeBackAsOne(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	h.must(t, 204, request{method: "DELETE", path: "/v1/workspaces/w/logins/anna"})
	h.must(t, 201, put("/logins/anna", fields{"role": "member"}))
	if h.shown(t, "/logins/anna")["role"] != "member" {
		t.Error("anna is the owner again")
	}
	h.refused(t, 409, "no_route", create("anna"))
}

// It shows SEC-62 and SEC-64 of deploy/SECURITY.md.
func TestP11_EveryChangeIsOnRecordOnce(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	h.must(t, 200, put("/logins/bert", fields{"role": "owner", "email": "bert@example.com"}))
	h.must(t, 204, request{method: "DELETE", path: "/v1/workspaces/w"})
	for kind, n := range map[event.Type]int{
		// Two for each ownership that passed, one for the first put.
		"directory.v1.workspace_put": 3,
		// anna, bert, bert as owner, anna as administrator.
		"directory.v1.login_put":         4,
		"directory.v1.login_removed":     2,
		"directory.v1.workspace_removed": 1,
	} {
		if got := h.count(t, `SELECT count(*) FROM outbox WHERE type = $1`, kind); got != n {
			t.Errorf("%d of %s are in the outbox", got, kind)
		}
		var data []byte
		h.db.Scan(t, `SELECT data FROM outbox WHERE type = $1 LIMIT 1`, []any{kind}, &data)
		produced(t, kind, data)
	}
	same := h.count(t, `SELECT count(*) FROM audit a JOIN outbox o ON o.id = a.id AND o.type = a.kind AND o.at = a.at AND o.data = a.detail
		WHERE a.actor = 'front' AND o.source = 'doorcode/auth' AND o.subject = 'w' AND o.id LIKE 'ws.w.%'`)
	if same != 10 || h.count(t, `SELECT count(*) FROM audit WHERE kind LIKE 'directory.%'`) != 10 {
		t.Errorf("%d records are in both places", same)
	}
	if h.count(t, `SELECT count(*) FROM audit WHERE detail::text LIKE '%@%'`) != 0 {
		t.Error("a record carries an address")
	}
}

func TestSEC09_AChangedRowIsMendedOnlyByAPutThatReplacesIt(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	h.db.Exec(t, `UPDATE workspaces SET main_email = 'thief@example.org'`)
	for _, r := range []request{
		{method: "GET", path: "/v1/workspaces/w"},
		{method: "GET", path: "/v1/workspaces/w/logins/bert"},
		put("/logins/bert", fields{"role": "owner"}), // It would sign the thief's address.
		put("", fields{"name": "Lanternbird", "main_email": "office@example.com"}),
		{method: "DELETE", path: "/v1/workspaces/w/logins/anna"},
	} {
		h.refused(t, 503, "directory_integrity", r)
	}
	h.must(t, 200, put("", fields{"name": "Lanternbird", "main_email": "office@example.com", "owner": "anna"}))
	if h.version(t, "anna") != 2 || h.version(t, "bert") != 2 {
		t.Error("a code that was opened meanwhile stays good")
	}
	h.db.Exec(t, `UPDATE logins SET email = 'thief@example.org' WHERE id = 'bert'`)
	h.refused(t, 503, "directory_integrity", request{method: "GET", path: "/v1/workspaces/w/logins/bert"})
	h.must(t, 200, put("/logins/bert", fields{"role": "member", "email": "bert@example.com"}))
	h.must(t, 201, create("bert"))
	if h.version(t, "bert") != 3 {
		t.Error("a code that was opened meanwhile stays good")
	}
}

func TestDirectory_ParallelPutsLeaveOneOwner(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	names := []string{"anna", "bert"}
	for _, a := range together(t, h, 16, func(i int) request {
		return put("/logins/"+names[i%2], fields{"role": "owner", "email": names[i%2] + "@example.com"})
	}) {
		if a.Status != 200 && a.Status != 503 {
			t.Errorf("answered %d: %s", a.Status, a.Body)
		}
	}
	owner, _ := h.shown(t, "")["owner"].(string)
	roles := map[string]any{}
	for _, name := range names {
		roles[name] = h.shown(t, "/logins/"+name)["role"]
	}
	if roles[owner] != "owner" || (roles["anna"] == "owner") == (roles["bert"] == "owner") {
		t.Errorf("the owner is %s, the roles are %v", owner, roles)
	}
}
