package app_test

import (
	"strings"
	"testing"

	"doorcode/pkg/account"
	"doorcode/pkg/postgres"
)

// An auditor asks where the codes of a login went; then the person asks to be forgotten.
// It shows SEC-64 of deploy/SECURITY.md.
func TestAddresses_AreShownOnRecordAndErased(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	by := postgres.Change{By: "host"}
	_, err := r.directory.PutWorkspace(t.Context(), by, account.Workspace{ID: "acme", Name: "Acme", MainEmail: "office@acme.example", Owner: "kim"})
	if err == nil {
		_, err = r.directory.PutLogin(t.Context(), by, account.Login{
			Workspace: "acme", ID: "jo", Role: account.Member, Email: "jo@acme.example", Phone: "+31612345678", Channel: account.SMS,
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	of := []string{"-workspace", "acme", "-login", "jo", "-operator", "sue"}
	got := r.do(t, append([]string{"addresses", "show", "-reason", "audit 7"}, of...)...)
	contains(t, got, "Z  set by host: jo@acme.example, +31612345678, codes by sms\n")
	contains(t, r.do(t, "addresses", "show", "-workspace", "acme", "-operator", "sue", "-reason", "audit 7"), "Z  set by host: office@acme.example\n")

	r.refused(t, 1, "remove the login", append([]string{"addresses", "erase", "-reason", "asked on 3 June"}, of...)...)
	err = r.directory.RemoveLogin(t.Context(), by, "acme", "jo")
	if err != nil {
		t.Fatal(err)
	}
	contains(t, r.do(t, append([]string{"addresses", "erase", "-reason", "asked on 3 June"}, of...)...), "erased: 1;")
	got = r.do(t, append([]string{"addresses", "show", "-reason", "audit 8"}, of...)...)
	contains(t, got, "Z  set by host: it opens no more")
	contains(t, got, "Z  shown to sue: audit 7\n")
	contains(t, got, "Z  erased by sue: asked on 3 June\n")
	if strings.Contains(got, "jo@") || strings.Contains(got, "+31") {
		t.Errorf("after the erasure it shows %s", got)
	}
	for _, missing := range []string{"-workspace", "-operator", "-reason"} {
		args := append([]string{"addresses", "show", "-reason", "why"}, of...)
		for i, arg := range args {
			if arg == missing {
				args = append(args[:i:i], args[i+2:]...)
				break
			}
		}
		r.refused(t, 2, missing+" is missing", args...)
	}
}
