package operator_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"doorcode/pkg/keyring"
	"doorcode/pkg/operator"
)

func ring(t *testing.T) *keyring.Ring {
	t.Helper()
	r, err := keyring.New()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The whole matrix of roles and acts, written down a second time: whoever widens a role changes it here too.
// It shows SEC-59 of deploy/SECURITY.md.
func TestMay_IsTheMatrixOfRolesAndActs(t *testing.T) {
	t.Parallel()
	want := map[operator.Role]string{
		operator.Operations: "search timeline advice send_again unlock",
		operator.Auditor:    "search timeline",
		operator.Support:    "search timeline advice send_again unlock",
		operator.Owner:      "search timeline",
		"":                  "",
		"administrator":     "",
	}
	for role, acts := range want {
		for _, act := range append(operator.Acts(), "", "everything") {
			may := operator.Operator{ID: "x", Role: role}.May(act)
			if may != slices.Contains(strings.Fields(acts), string(act)) {
				t.Errorf("%q may %q: %v", role, act, may)
			}
		}
	}
}

func TestSees_AnOwnerSeesTheirWorkspacesAlone(t *testing.T) {
	t.Parallel()
	owner := operator.Operator{Role: operator.Owner, Workspaces: []string{"acme"}}
	if !owner.Sees("acme") || owner.Sees("other") || owner.Sees("") {
		t.Error("an owner sees others, or not their own")
	}
	all := operator.Operator{Role: operator.Auditor, AllWorkspaces: true}
	if !all.Sees("acme") || !all.Sees("") {
		t.Error("who sees all does not")
	}
}

func TestValidate_RefusesAnOwnerOfNothing(t *testing.T) {
	t.Parallel()
	for want, o := range map[error]operator.Operator{
		operator.ErrNowhere: {Role: operator.Owner, AllWorkspaces: true, Workspaces: []string{"acme"}},
		operator.ErrRole:    {Role: "root", AllWorkspaces: true},
		nil:                 {Role: operator.Owner, Workspaces: []string{"acme"}},
	} {
		if err := o.Validate(); !errors.Is(err, want) {
			t.Errorf("%+v: %v, want %v", o, err, want)
		}
	}
}

func TestHolds_IsTrueOfTheSecretAlone(t *testing.T) {
	t.Parallel()
	r := ring(t)
	sue, secret := operator.Operator{ID: "sue", Role: operator.Support, AllWorkspaces: true}.WithNewSecret(r)
	if !sue.Holds(r, "sue", secret) {
		t.Error("the right secret is refused")
	}
	bob := sue
	bob.ID = "bob"
	for what, wrong := range map[string]bool{
		"another id":        sue.Holds(r, "bob", secret),
		"another's row":     bob.Holds(r, "bob", secret),
		"a cut secret":      sue.Holds(r, "sue", secret[1:]),
		"no secret":         sue.Holds(r, "sue", ""),
		"nobody":            operator.Operator{}.Holds(r, "", ""),
		"nobody by a name":  operator.Operator{}.Holds(r, "sue", secret),
		"another ring's":    sue.Holds(ring(t), "sue", secret),
		"a row without one": operator.Operator{ID: "sue"}.Holds(r, "sue", ""),
	} {
		if wrong {
			t.Errorf("%s is let in", what)
		}
	}
}
