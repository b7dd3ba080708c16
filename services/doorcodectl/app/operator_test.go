package app_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/keyring"
	"doorcode/pkg/postgres"
	"doorcode/pkg/postgres/pgtest"
	"doorcode/services/doorcodectl/app"
)

func TestOperator_IsAddedListedAndRemoved(t *testing.T) {
	t.Parallel()
	o, db := newOperator(t), pgtest.Open(t)
	o.useDatabase(t, db.OwnerURL())
	o.do(t, "keys")
	if out := o.do(t, "operator", "list"); out != "operators: 0\n" {
		t.Errorf("a fresh installation lists %q", out)
	}
	secret := strings.TrimSpace(o.do(t, "operator", "add", "sue", "-email", "sue@example.com", "-role", "support"))
	o.secrets = append(o.secrets, secret)
	o.do(t, "operator", "add", "olga", "-email", "olga@example.com", "-role", "owner", "-workspaces", "acme, other")
	contains(t, o.do(t, "operator", "list"), "support    sue  *\n", "owner      olga  acme,other\n", "operators: 2\n")

	ring, err := keyring.Read(app.KeyFile(o.env["DOORCODE_DOORCODECTL_KEYS_DIR"], app.ConsoleKeys))
	if err != nil {
		t.Fatal(err)
	}
	console := postgres.NewOperators(db.Console(t), ring)
	sue, err := console.Operator(t.Context(), "sue", "", time.Now())
	if err != nil || !sue.Holds(ring, "sue", secret) || sue.Role != "support" {
		t.Errorf("%+v: %v", sue, err)
	}
	// Their codes go to the address that was named.
	var email string
	db.Scan(t, `SELECT email FROM logins WHERE workspace = 'doorcode-console' AND id = 'sue'`, nil, &email)
	if email != "sue@example.com" {
		t.Errorf("codes go to %s", email)
	}
	o.do(t, "operator", "remove", "sue")
	o.refused(t, 1, "unknown operator", "operator", "remove", "sue")
	var logins int
	db.Scan(t, `SELECT count(*) FROM logins WHERE id = 'sue'`, nil, &logins)
	if logins != 0 {
		t.Error("a removed operator still gets codes")
	}
	contains(t, o.do(t, "operator", "list"), "operators: 1\n")
}

func TestOperator_AFileKeepsASecretThatIsValid(t *testing.T) {
	t.Parallel()
	o, db := newOperator(t), pgtest.Open(t)
	o.useDatabase(t, db.OwnerURL())
	o.do(t, "keys")
	file := filepath.Join(o.dir, "secret")
	add := func(role string) string {
		o.do(t, "operator", "add", "sue", "-email", "sue@example.com", "-role", role, "-out", file)
		return string(read(t, file))
	}
	first := add("support")
	if add("support") != first {
		t.Error("a second run renewed a valid secret")
	}
	if add("auditor") == first {
		t.Error("another role kept the secret, and so the sessions")
	}
	o.do(t, "operator", "remove", "sue")
	if again := add("auditor"); len(again) != 26 || again == first {
		t.Errorf("after a removal the secret has %d characters, or is the first", len(again))
	}
}

func TestOperator_RefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	for args, why := range map[string]string{
		"operator add sue -role support":                                       "not an e-mail address",
		"operator add sue -email sue@example.com":                              "a role is",
		"operator add sue -email sue@example.com -role root":                   "a role is",
		"operator add sue -email sue@example.com -role owner":                  "an owner sees",
		"operator add s@e -email sue@example.com -role support":                "an id has",
		"operator add sue -email sue@example.com -role owner -workspaces a,,b": "an id has",
		"operator remove": "takes 1 words",
	} {
		o.refused(t, 2, why, strings.Fields(args)...)
	}
}
