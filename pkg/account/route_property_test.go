package account

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// destination is DESIGN 3, "Where a code goes", sentence by sentence, without the order in which Routes is written. The
// empty text is nowhere.
func destination(w Workspace, l Login, texts bool) string {
	phoneProven := l.Phone != "" && texts
	primary := l.ID != "" && w.Owner == l.ID
	if l.Channel == SMS && phoneProven {
		return l.Phone // "the login's verified phone if it switched to SMS"
	}
	if l.Email != "" {
		return l.Email // "else the login's own e-mail address"
	}
	if primary && w.MainEmail != "" {
		return w.MainEmail // "else, for the primary login, the workspace's main e-mail address"
	}
	if phoneProven {
		return l.Phone // the one proven route that there is
	}
	return ""
}

// directory draws a workspace and a login. Few values are drawn from, so that they often meet.
func directory(t *rapid.T) (Workspace, Login) {
	some := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(t, label) }
	addresses := []string{"", "jo@acme.example", "JO@acme.example", "office@acme.example", "Office@Acme.example", "kim@elsewhere.example"}
	w := Workspace{
		ID: "acme", Name: "Acme", MainEmail: some("main", addresses...), Owner: some("owner", "", "jo", "kim"),
		GroupAddress: rapid.Bool().Draw(t, "group"),
	}
	l := Login{
		Workspace: "acme", ID: some("id", "", "jo", "kim", "sam"), Email: some("email", addresses...),
		Phone: some("phone", "", "+12025550148", "+31612345678"), Channel: some("channel", "", SMS, Email),
		Role: Role(some("role", string(Owner), string(Administrator), string(Member))), Locale: some("locale", "", "en"),
	}
	return w, l
}

// SEC-09, SEC-45: a code goes where the rule says, and to one recipient; every further route is proven, too, and of this
// login.
func TestRoutes_FollowTheRuleWhateverTheDirectoryHolds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w, l := directory(t)
		texts := rapid.Bool().Draw(t, "texts")
		routes := Routes(w, l, texts)
		want := destination(w, l, texts)
		if want == "" && len(routes) > 0 || want != "" && (len(routes) == 0 || routes[0].Recipient != want) {
			t.Fatalf("%+v of %+v: %+v, and the rule says %q", l, w, routes, want)
		}
		var channels []string
		for _, r := range routes {
			proven := r.Channel == SMS && r.Recipient == l.Phone && texts ||
				r.Channel == Email && r.Recipient == l.Email ||
				r.Channel == Email && r.Recipient == w.MainEmail && l.Email == "" && w.Owner == l.ID
			if r.Recipient == "" || !proven || strings.ContainsAny(r.Recipient, ",; ") || r.Why == "" {
				t.Fatalf("%+v of %+v: %+v is not proven", l, w, r)
			}
			if r.Group != (r.Channel == Email && w.GroupAddress && strings.EqualFold(r.Recipient, w.MainEmail)) {
				t.Fatalf("%+v of %+v: %+v has the wrong limits", l, w, r)
			}
			channels = append(channels, r.Channel)
		}
		if slices.Sort(channels); len(slices.Compact(channels)) != len(routes) {
			t.Fatalf("%+v of %+v: %+v names a channel twice", l, w, routes)
		}
	})
}

// What decides is the directory's alone: a role, a locale and a name change no route.
func TestRoutes_HangOnNothingElse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w, l := directory(t)
		before := Routes(w, l, true)
		w.Name = rapid.String().Draw(t, "name")
		l.Role, l.Locale = Role(rapid.String().Draw(t, "role")), rapid.String().Draw(t, "locale")
		if after := Routes(w, l, true); !slices.Equal(before, after) {
			t.Fatalf("%+v became %+v", before, after)
		}
	})
}
