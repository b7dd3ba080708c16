package account

import (
	"errors"
	"strings"
	"testing"
)

func TestValidateID_TakesUnreservedCharactersOnly(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"a", "jo", "A-Z_0.9~", strings.Repeat("x", 64)} {
		err := ValidateID(id)
		if err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, id := range []string{"", strings.Repeat("x", 65), "a b", "a/b", "a%b", "é", "a\x00b", "a\n", "x*x", "x>y", "a:b"} {
		err := ValidateID(id)
		if !errors.Is(err, ErrID) {
			t.Errorf("%q was taken", id)
		}
	}
}

// It shows SEC-09 of deploy/SECURITY.md.
func TestValidateEmail_LeavesNoRoomForAHeaderOrASecondRecipient(t *testing.T) {
	t.Parallel()
	for _, a := range []string{"jo@lanternbird.example", "jo+tag@acme.example", "O'Hara@a-b.example", "x@localhost", "a_b=c@x.y"} {
		err := ValidateEmail(a)
		if err != nil {
			t.Errorf("%q: %v", a, err)
		}
	}
	for _, a := range []string{
		"", "jo", "@x", "jo@", "jo@x@y", "a b@x.y", "jo@x.y,kim@x.y", "jo@x.y;kim@x.y", "jo@x.y\r\nBcc: k@x.y", `"jo k"@x.y`,
		"<jo@x.y>", "jo@[127.0.0.1]", "jo@x..y", "jo@-x.y", "jo@x-.y", ".jo@x.y", "jo.@x.y", "j..o@x.y", "jö@x.y", "jo@xö.y",
		"jo@x.y ", "jo(c)@x.y", strings.Repeat("x", 65) + "@x.y", "jo@" + strings.Repeat("x", 64) + ".y", "j@" + strings.Repeat("x.", 130) + "y", "jo@x_y.z",
	} {
		err := ValidateEmail(a)
		if !errors.Is(err, ErrEmail) {
			t.Errorf("%q was taken", a)
		}
	}
}

// SEC-35: names that people see are inert.
func TestValidateName_RefusesControlCharactersAndLinks(t *testing.T) {
	t.Parallel()
	for _, n := range []string{"Acme", "Café Łódź", "日本", "A & B <Ltd>", strings.Repeat("é", 100)} {
		err := ValidateName(n)
		if err != nil {
			t.Errorf("%q: %v", n, err)
		}
	}
	for _, n := range []string{"", "  ", "x\r\nBcc: a@b", "x\x00", "x\u0085y", "Win at http://evil", "a\u202eb", "a\u2028b", "\xff", strings.Repeat("x", 101)} {
		if ValidateName(n) == nil {
			t.Errorf("%q was taken", n)
		}
	}
}

func TestValidateLocale_TakesLanguageTags(t *testing.T) {
	t.Parallel()
	for _, l := range []string{"", "en", "nl-BE", "zh-Hant-TW", "es-419", "de-1996", "sl-rozaj-biske-1994", "frm-1606nict", "de-DE-u-co-phonebk"} {
		err := ValidateLocale(l)
		if err != nil {
			t.Errorf("%q: %v", l, err)
		}
	}
	for _, l := range []string{
		"en_US", "../x", "e n", strings.Repeat("x", 36), "é", "e", "en-", "-en", "en--US", "804613", "9147003115", "en-804613", "en-x804613", "en-804613x",
	} {
		if ValidateLocale(l) == nil {
			t.Errorf("%q was taken", l)
		}
	}
}

// It shows SEC-25 of deploy/SECURITY.md.
func TestMask_ShowsFirstLetterAndDomain(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"jo@acme.example": "j•••@acme.example", "k@x.y": "k•••@x.y", "broken": "•••", "@x": "•••",
	} {
		if got := Mask(address); got != want {
			t.Errorf("%s shown as %s", address, got)
		}
	}
}

func TestParseRole_IsAClosedSet(t *testing.T) {
	t.Parallel()
	for _, r := range []Role{Owner, Administrator, Member} {
		got, err := ParseRole(string(r))
		if err != nil || got != r {
			t.Errorf("%s: %v", r, err)
		}
	}
	_, err := ParseRole("root")
	if err == nil {
		t.Error("an unknown role was taken")
	}
}

// Where a code goes, case by case (product.md S5).
// It shows SEC-45 of deploy/SECURITY.md.
func TestRoutes_SayWhereACodeGoes(t *testing.T) {
	t.Parallel()
	w := Workspace{ID: "acme", MainEmail: "Office@acme.example", Owner: "jo"}
	group := w
	group.GroupAddress = true
	for _, c := range []struct {
		name      string
		workspace Workspace
		login     Login
		want      string
		group     bool
	}{
		{"owner without an address: the main address", w, Login{ID: "jo"}, "Office@acme.example", false},
		{"owner with an address: their own", w, Login{ID: "jo", Email: "jo@acme.example"}, "jo@acme.example", false},
		{"administrator: their own", w, Login{ID: "kim", Email: "kim@acme.example", Role: Administrator}, "kim@acme.example", false},
		{"administrator without an address: nowhere", w, Login{ID: "kim", Role: Administrator}, "", false},
		{"member without an address: nowhere, never the main address", w, Login{ID: "sam", Role: Member}, "", false},
		{"no owner put yet", Workspace{MainEmail: "x@y.z"}, Login{ID: "jo"}, "", false},
		{"an empty id is no owner", Workspace{MainEmail: "x@y.z", Owner: "jo"}, Login{}, "", false},
		{"group address", group, Login{ID: "jo"}, "Office@acme.example", true},
		{"group address as a person's own", group, Login{ID: "kim", Email: "office@ACME.example"}, "office@ACME.example", true},
		{"own address beside a group address", group, Login{ID: "kim", Email: "kim@acme.example"}, "kim@acme.example", false},
	} {
		routes := Routes(c.workspace, c.login, true)
		if c.want == "" {
			if len(routes) != 0 {
				t.Errorf("%s: got %d routes", c.name, len(routes))
			}
			continue
		}
		if len(routes) != 1 || routes[0].Recipient != c.want || routes[0].Group != c.group || routes[0].Channel != "email" || routes[0].Why == "" {
			t.Errorf("%s: got %+v", c.name, routes)
		}
	}
}

// A phone is a route of its own, and its place is the person's choice.
// It shows SEC-42 of deploy/SECURITY.md.
func TestRoutes_PutThePhoneWhereThePersonChose(t *testing.T) {
	t.Parallel()
	w := Workspace{ID: "acme", MainEmail: "office@acme.example", Owner: "jo"}
	const phone = "+12025550148"
	for _, c := range []struct {
		name  string
		login Login
		texts bool
		want  string
	}{
		{"switched: phone, then the own address", Login{ID: "kim", Email: "kim@acme.example", Phone: phone, Channel: SMS}, true, "sms +12025550148, email kim@acme.example"},
		{"not switched: own address, then phone", Login{ID: "kim", Email: "kim@acme.example", Phone: phone}, true, "email kim@acme.example, sms +12025550148"},
		{"switched owner without an address: phone, then main", Login{ID: "jo", Phone: phone, Channel: SMS}, true, "sms +12025550148, email office@acme.example"},
		{"owner without an address: main, then phone", Login{ID: "jo", Phone: phone}, true, "email office@acme.example, sms +12025550148"},
		{"switched member without an address: phone alone", Login{ID: "sam", Phone: phone, Channel: SMS}, true, "sms +12025550148"},
		{"member with a phone alone", Login{ID: "sam", Phone: phone}, true, "sms +12025550148"},
		{"country not allowed: own address", Login{ID: "kim", Email: "kim@acme.example", Phone: phone, Channel: SMS}, false, "email kim@acme.example"},
		{"country not allowed, switched owner: main", Login{ID: "jo", Phone: phone, Channel: SMS}, false, "email office@acme.example"},
		{"country not allowed, nothing else: nowhere", Login{ID: "sam", Phone: phone, Channel: SMS}, false, ""},
		{"switched without a phone", Login{ID: "kim", Email: "kim@acme.example", Channel: SMS}, true, "email kim@acme.example"},
	} {
		var got []string
		for _, r := range Routes(w, c.login, c.texts) {
			if r.Why == "" || r.Group {
				t.Errorf("%s: %+v", c.name, r)
			}
			got = append(got, r.Channel+" "+r.Recipient)
		}
		if s := strings.Join(got, ", "); s != c.want {
			t.Errorf("%s: got %s", c.name, s)
		}
	}
}

// What happens to a login is told at every proven address, each once, and at none that is not one.
func TestAddresses_ListEveryProvenAddressOnce(t *testing.T) {
	t.Parallel()
	w := Workspace{ID: "acme", MainEmail: "office@acme.example", Owner: "jo"}
	const phone = "+12025550148"
	for _, c := range []struct {
		name  string
		login Login
		texts bool
		want  string
	}{
		{"owner with everything", Login{ID: "jo", Email: "jo@acme.example", Phone: phone, Channel: SMS}, true, "sms +12025550148, email jo@acme.example, email office@acme.example"},
		{"owner without a phone", Login{ID: "jo", Email: "jo@acme.example"}, true, "email jo@acme.example, email office@acme.example"},
		{"owner at the main address", Login{ID: "jo", Email: "Office@ACME.example"}, true, "email Office@ACME.example"},
		{"owner without an address", Login{ID: "jo", Phone: phone}, true, "email office@acme.example, sms +12025550148"},
		{"country not allowed", Login{ID: "jo", Phone: phone}, false, "email office@acme.example"},
		{"member, never the main address", Login{ID: "sam", Email: "sam@acme.example"}, true, "email sam@acme.example"},
		{"member without an address", Login{ID: "sam"}, true, ""},
		{"an empty id is no owner", Login{Email: "x@y.z"}, true, "email x@y.z"},
	} {
		var got []string
		for _, r := range Addresses(w, c.login, c.texts) {
			got = append(got, r.Channel+" "+r.Recipient)
			// Codes of the login go to the main address only when it has none of its own; else that address reads of another's login.
			if r.Owner != (r.Recipient == w.MainEmail && c.login.Email != "") || r.Owner && strings.Contains(r.Why, "no address of its own") {
				t.Errorf("%s: %+v", c.name, r)
			}
		}
		if s := strings.Join(got, ", "); s != c.want {
			t.Errorf("%s: got %s", c.name, s)
		}
	}
	if got := Addresses(Workspace{}, Login{ID: "jo", Email: "jo@x.y"}, true); len(got) != 1 {
		t.Errorf("without a workspace: %+v", got)
	}
}
