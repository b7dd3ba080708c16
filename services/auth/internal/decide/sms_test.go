package decide_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/problem"
	"doorcode/services/auth/internal/decide"
)

// inJamaica and inAmerica share their calling code and are two countries.
const (
	inAmerica = "+12025550148"
	inJamaica = "+18765551234"
)

// DESIGN 7: no text message without an allowed country and a daily cap.
// It shows SEC-42 of deploy/SECURITY.md.
func TestDecide_OffersThePhoneOnlyWhereTextMessagesMayGo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		phone     string
		switched  bool
		noEmail   bool
		countries []string
		ceiling   int
		stopped   []string
		want      string
	}{
		"switched":                          {inAmerica, true, false, []string{"US"}, 200, nil, "sms email"},
		"not switched":                      {inAmerica, false, false, []string{"US"}, 200, nil, "email sms"},
		"no country allowed":                {inAmerica, true, false, nil, 200, nil, "email"},
		"another country allowed":           {inJamaica, true, false, []string{"US", "CA"}, 200, nil, "email"},
		"the calling code decides nothing":  {inJamaica, true, false, []string{"JM"}, 200, []string{"US"}, "sms email"},
		"no cap set":                        {inAmerica, true, false, []string{"US"}, 0, nil, "email"},
		"country stopped":                   {inAmerica, true, false, []string{"US"}, 200, []string{"NL", "US"}, "email"},
		"country stopped, nothing else":     {inAmerica, true, true, []string{"US"}, 200, []string{"US"}, ""},
		"country not allowed, nothing else": {inAmerica, true, true, []string{"DE"}, 200, nil, ""},
		"a phone alone":                     {inAmerica, true, true, []string{"US"}, 200, nil, "sms"},
		"a number that no plan has":         {"+447700900123", true, false, []string{"GB", "GG"}, 200, nil, "email"},
		"no phone":                          {"", false, false, []string{"US"}, 200, nil, "email"},
	} {
		s := settings()
		s.Countries, s.TextsPerDay = c.countries, c.ceiling
		l := account.Login{Workspace: "w", ID: "anna", Email: "anna@example.com", Phone: c.phone}
		if c.switched {
			l.Channel = account.SMS
		}
		if c.noEmail {
			l.Email = ""
		}
		d, err := decide.Decide(decide.Facts{
			Now: now, Workspace: &account.Workspace{ID: "w", MainEmail: "office@example.com"}, Login: &l, Stopped: c.stopped,
		}, s)
		if c.want == "" {
			var p *problem.Problem
			if !errors.As(err, &p) || p.Code != decide.CodeNoRoute {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		var got []string
		for _, r := range d.Routes {
			got = append(got, r.Channel)
			figures := [3]int{r.PerHour, r.PerDay, r.Cap}
			if r.Channel == account.SMS && figures != [3]int{5, 10, c.ceiling} || r.Channel == account.Email && figures != [3]int{20, 60, 0} {
				t.Errorf("%s: the limits of %s are %v", name, r.Channel, figures)
			}
		}
		if strings.Join(got, " ") != c.want || err != nil {
			t.Errorf("%s: the routes are %v, %v", name, got, err)
			continue
		}
		life := 10 * time.Minute
		if got[0] == account.SMS {
			life = 5 * time.Minute
		}
		if d.ExpiresAt.Sub(now) != life || d.ResendAt.Sub(now) != 30*time.Second {
			t.Errorf("%s: a code lives %s", name, d.ExpiresAt.Sub(now))
		}
	}
}
