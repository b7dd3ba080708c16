package app_test

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/frontend"
	"doorcode/pkg/keyring"
	"doorcode/pkg/postgres"
	"doorcode/pkg/postgres/pgtest"
	"doorcode/services/doorcodectl/app"
)

// registry is the front-ends of an installation as auth sees them.
type registry struct {
	*operator
	directory *postgres.Directory
	ring      *keyring.Ring
	db        *pgtest.Database
}

// newRegistry returns an installation with keys and a database.
func newRegistry(t *testing.T) *registry {
	t.Helper()
	o, db := newOperator(t), pgtest.Open(t)
	o.useDatabase(t, db.OwnerURL())
	o.do(t, "keys")
	ring := func(name string) *keyring.Ring {
		r, err := keyring.Read(app.KeyFile(filepath.Join(o.dir, "keys"), name))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	return &registry{operator: o, db: db, ring: ring(app.APIKeyKeys), directory: postgres.NewDirectory(db.Auth(t), ring(app.RowKeys))}
}

// create makes a key and returns it as a request carries it.
func (r *registry) create(t *testing.T, args ...string) frontend.Key {
	t.Helper()
	text, rest, found := strings.Cut(r.do(t, append([]string{"api-key", "create"}, args...)...), "\n")
	if !found || rest != "" {
		t.Fatalf("%v printed more than a key", args)
	}
	r.secrets = append(r.secrets, text)
	key, ok := frontend.ParseAuthorization("Bearer " + text)
	if !ok {
		t.Fatalf("%v printed no key", args)
	}
	return key
}

// frontEnd reads a front-end as auth does.
func (r *registry) frontEnd(t *testing.T, id string) frontend.FrontEnd {
	t.Helper()
	f, err := r.directory.FrontEnd(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestAPIKey_ANewFrontEndMayAskForChallengesEverywhere(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	key := r.create(t, "web")
	f := r.frontEnd(t, "web")
	if !f.Holds(r.ring, key) || f.Name != "web" || !slices.Equal(f.Scopes, []frontend.Scope{frontend.Challenges}) || !f.AllWorkspaces {
		t.Errorf("front-end %+v", f)
	}
}

func TestAPIKey_TakesNameScopesAndWorkspaces(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	// Flags stand before and behind the id.
	key := r.create(t, "-name", "Login page", "-scopes", "challenges, directory", "web-2", "-workspaces", "acme,globex")
	f := r.frontEnd(t, "web-2")
	if !f.Holds(r.ring, key) || f.Name != "Login page" || f.AllWorkspaces || !slices.Equal(f.Workspaces, []string{"acme", "globex"}) {
		t.Errorf("front-end %+v", f)
	}
	if !f.May(frontend.Directory, "acme") || !f.May(frontend.Challenges, "globex") || f.May(frontend.Challenges, "other") {
		t.Errorf("rights of %+v", f)
	}
}

func TestAPIKey_TakesReturnOriginsAndKeepsThemWhenNoneIsNamed(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	want := []string{"https://app.example.com", "http://127.0.0.1"}
	r.create(t, "web", "-return-origin", "https://APP.example.com:443/", "-return-origin", "http://127.0.0.1")
	for range 2 {
		if f := r.frontEnd(t, "web"); !slices.Equal(f.ReturnOrigins, want) || !f.Returns("http://127.0.0.1:8090/in") {
			t.Errorf("front-end %+v", f)
		}
		r.create(t, "web", "-name", "Login page")
	}
	r.create(t, "web", "-return-origin", "https://other.example.com")
	if f := r.frontEnd(t, "web"); !slices.Equal(f.ReturnOrigins, []string{"https://other.example.com"}) {
		t.Errorf("front-end %+v", f)
	}
	r.refused(t, 2, "return origin", "api-key", "create", "web", "-return-origin", "http://app.example.com")
	r.refused(t, 2, "exclude each other", "api-key", "create", "web", "-return-origin", "https://app.example.com", "-no-return-origins")
	r.create(t, "web", "-no-return-origins")
	if f := r.frontEnd(t, "web"); len(f.ReturnOrigins) != 0 {
		t.Errorf("front-end %+v", f)
	}
}

func TestAPIKey_AgainIsANewKeyWithTheSameRights(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	old := r.create(t, "web", "-name", "Login page", "-workspaces", "acme")
	key := r.create(t, "web")
	f := r.frontEnd(t, "web")
	if f.Holds(r.ring, old) || !f.Holds(r.ring, key) {
		t.Error("the former key is still good, or the new one is not")
	}
	if f.Name != "Login page" || f.AllWorkspaces || !slices.Equal(f.Workspaces, []string{"acme"}) {
		t.Errorf("a new key changed the rights: %+v", f)
	}
	r.create(t, "web", "-workspaces", "*", "-scopes", "directory")
	f = r.frontEnd(t, "web")
	if !f.AllWorkspaces || f.Workspaces != nil || !slices.Equal(f.Scopes, []frontend.Scope{frontend.Directory}) {
		t.Errorf("named rights were not given: %+v", f)
	}
}

func TestAPIKey_OutlivesARotationOfItsRing(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	key := r.create(t, "web")
	r.do(t, "keys", "-rotate", app.APIKeyKeys)
	r.do(t, "keys", "-rotate", app.RowKeys)
	ring, err := keyring.Read(app.KeyFile(filepath.Join(r.dir, "keys"), app.APIKeyKeys))
	if err != nil {
		t.Fatal(err)
	}
	if !r.frontEnd(t, "web").Holds(ring, key) {
		t.Error("the key from before the rotation is refused")
	}
	r.create(t, "web")
	var id int
	r.db.Scan(t, `SELECT key_id FROM front_ends WHERE id = 'web'`, nil, &id)
	if id != 2 {
		t.Errorf("a new key is kept under the ring's key %d", id)
	}
}

// It shows SEC-53 of deploy/SECURITY.md.
func TestAPIKey_RemoveEndsTheKeyAtOnce(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	r.create(t, "web")
	if out := r.do(t, "api-key", "remove", "web"); out != "web: removed\n" {
		t.Errorf("it says %q", out)
	}
	_, err := r.directory.FrontEnd(t.Context(), "web")
	if err == nil {
		t.Error("the front-end is still there")
	}
	r.refused(t, 1, "unknown front-end", "api-key", "remove", "web")
}

func TestAPIKey_BadInputMakesNothing(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	for _, id := range []string{"Web", "web_1", "", strings.Repeat("w", 33), "wéb"} {
		r.refused(t, 1, "a front-end's id", "api-key", "create", id)
	}
	r.refused(t, 2, "a scope is", "api-key", "create", "web", "-scopes", "challenges,root")
	var n int
	r.db.Scan(t, `SELECT count(*) FROM front_ends`, nil, &n)
	if n != 0 {
		t.Errorf("%d front-ends", n)
	}
}

// SEC-62: a key is power; who looks at the record sees since when it is whose. What changes nothing leaves no record.
func TestAPIKey_IsMadeChangedAndRemovedOnRecord(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	file := filepath.Join(r.dir, "web.key")
	r.create(t, "web", "-name", "Login page", "-workspaces", "acme")
	r.create(t, "web")
	r.do(t, "api-key", "create", "web", "-out", file)
	r.do(t, "api-key", "create", "web", "-out", file)
	r.do(t, "keys", "-rotate", app.RowKeys)
	r.do(t, "api-key", "create", "web", "-out", file) // The row gets another seal.
	r.do(t, "api-key", "create", "web", "-out", file, "-scopes", "challenges,directory", "-workspaces", "*")
	r.do(t, "api-key", "remove", "web")
	r.refused(t, 1, "unknown front-end", "api-key", "remove", "web")
	type record struct {
		Kind, Actor, Detail string
	}
	limited := `{"name": "Login page", "scopes": ["challenges"], "front_end": "web", "workspaces": ["acme"]}`
	all := `{"name": "Login page", "scopes": ["challenges", "directory"], "front_end": "web"}`
	want := []record{
		{"api_key.v1.made", "doorcodectl", limited},
		{"api_key.v1.made", "doorcodectl", limited},
		{"api_key.v1.made", "doorcodectl", limited},
		{"api_key.v1.changed", "doorcodectl", all},
		{"api_key.v1.removed", "doorcodectl", all},
	}
	var data []byte
	r.db.Scan(t, `SELECT json_agg(json_build_object('kind', kind, 'actor', actor, 'detail', detail::text) ORDER BY at) FROM audit`, nil, &data)
	var got []record
	err := json.Unmarshal(data, &got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("on record are other things (-want +got):\n%s", diff)
	}
}

// A row that somebody else wrote is not the base of a new key.
func TestAPIKey_AForeignRowIsRefusedUntilItIsRemoved(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	r.create(t, "web", "-workspaces", "acme")
	r.db.Exec(t, `UPDATE front_ends SET workspaces = NULL`)
	r.refused(t, 1, "front_ends", "api-key", "create", "web")
	r.do(t, "api-key", "remove", "web")
	r.create(t, "web", "-workspaces", "acme")
	if f := r.frontEnd(t, "web"); f.AllWorkspaces {
		t.Errorf("front-end %+v", f)
	}
}
