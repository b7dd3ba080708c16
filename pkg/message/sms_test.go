package message

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/gsm7"
)

// host is the login page of most tests.
const host = "login.lanternbird.com"

// longestHost has as many characters as a host may have.
func longestHost() string { return strings.Repeat("w", maxHost-len(".example")) + ".example" }

func smsRenderer(t *testing.T, brand, host string) *SMSRenderer {
	t.Helper()
	r, err := NewSMS(brand, host)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// digitRun is what a phone takes for a code (providers.md 8).
func digitRun() *regexp.Regexp { return regexp.MustCompile(`[0-9]{4,}`) }

// text renders a text message.
func text(t *testing.T, r *SMSRenderer, f Facts) string {
	t.Helper()
	m, err := r.Render(f)
	if err != nil {
		t.Fatal(err)
	}
	if m.Subject != "" || m.HTML != "" {
		t.Error("a text message has more than a text")
	}
	return m.Text
}

// onePart fails unless a text is one part of GSM-7.
func onePart(t *testing.T, text string) {
	t.Helper()
	parts, units, alphabet := gsm7.Parts(text)
	if parts != 1 || alphabet != gsm7.GSM7 {
		t.Errorf("%d parts, %d units of %s:\n%s", parts, units, alphabet, text)
	}
}

func TestSMSRenderer_WritesTheMessageOfTheGoldenFiles(t *testing.T) {
	t.Parallel()
	long := facts()
	long.Code = "0048291730"
	for _, c := range []struct {
		name, brand, host string
		facts             Facts
		units             int
	}{
		{"en/sms.txt", "Lanternbird", host, facts(), 159},
		{"en/sms_short.txt", "Lanternbird", host, long, 104},
		{"en/sms_longest.txt", strings.Repeat("W", maxSMSBrand), longestHost(), long, 146},
	} {
		got := text(t, smsRenderer(t, c.brand, c.host), c.facts)
		golden(t, c.name, got)
		onePart(t, got)
		_, units, _ := gsm7.Parts(got)
		if units != c.units {
			t.Errorf("%s has %d units, want %d", c.name, units, c.units)
		}
	}
}

// TestSMSRenderer_FitsOnePartInEveryLanguage counts what R12.3 wants counted
// when a language is added: the longest brand, host and code, and around them.
func TestSMSRenderer_FitsOnePartInEveryLanguage(t *testing.T) {
	t.Parallel()
	longest := smsRenderer(t, strings.Repeat("W", maxSMSBrand), longestHost())
	usual := smsRenderer(t, "Lanternbird", host)
	if len(longest.languages) == 0 {
		t.Fatal("there is no language")
	}
	for name := range longest.languages {
		got := text(t, usual, func() Facts { f := facts(); f.Locale = name; return f }())
		if strings.Contains(got, "Reference on screen") || strings.Contains(got, "-code:") {
			t.Errorf("%s needs the short form for the usual brand, host and code", name)
		}
		for digits := 6; digits <= 10; digits++ {
			f := facts()
			f.Locale, f.Code = name, strings.Repeat("8", digits)
			onePart(t, text(t, longest, f))
			onePart(t, text(t, usual, f))
		}
	}
}

// TestSMSRenderer_PrefersTheLongForm finds the very length at which it changes.
func TestSMSRenderer_PrefersTheLongForm(t *testing.T) {
	t.Parallel()
	const room = 160 - 159 // of the golden message, which has a host of 21 characters
	for extra, long := range map[int]bool{0: true, room: true, room + 1: false} {
		got := text(t, smsRenderer(t, "Lanternbird", strings.Repeat("w", extra)+host), facts())
		onePart(t, got)
		if strings.Contains(got, "We never ask for it by phone.") != long {
			t.Errorf("with %d more characters: %s", extra, got)
		}
	}
}

// It shows SEC-35 of deploy/SECURITY.md.
func TestSMSRenderer_BindsTheCodeToTheHostInTheLastLine(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"482917", "0048291730"} {
		f := facts()
		f.Code = code
		got := text(t, smsRenderer(t, "Lanternbird", host), f)
		lines := strings.Split(got, "\n")
		if len(lines) != 2 || lines[1] != "@"+host+" #"+code {
			t.Errorf("lines are %q", lines)
		}
		if groups := digitRun().FindAllString(lines[0], -1); len(groups) != 1 || groups[0] != code {
			t.Errorf("a phone finds %q in the words", groups)
		}
		if !strings.Contains(lines[0], "reference KTM.") && !strings.Contains(lines[0], "Reference on screen: KTM.") {
			t.Errorf("the label has no sentence of its own: %s", lines[0])
		}
	}
}

func TestSMSRenderer_SaysHowManyMinutesAreLeft(t *testing.T) {
	t.Parallel()
	r := smsRenderer(t, "Lanternbird", host)
	for after, want := range map[time.Duration]string{
		-time.Hour:                     " 5 min.", // another clock than auth's
		0:                              " 5 min.",
		grace:                          " 5 min.",
		grace + time.Second:            " 4 min.",
		2*time.Minute + 10*time.Second: " 3 min.",
		4 * time.Minute:                " 1 min.",
		time.Hour:                      " 1 min.",
	} {
		f := facts()
		f.ExpiresAt = f.CreatedAt.Add(5 * time.Minute)
		f.WrittenAt = f.CreatedAt.Add(after)
		if got := text(t, r, f); !strings.Contains(got, "Valid"+want) {
			t.Errorf("after %v: %s", after, got)
		}
	}
}

// It shows SEC-35 of deploy/SECURITY.md.
func TestSMSRenderer_HoldsNothingThatAStrangerTyped(t *testing.T) {
	t.Parallel()
	r := smsRenderer(t, "Lanternbird", host)
	want := text(t, r, facts())
	for _, name := range append(hostileNames(), "Acme") {
		f := facts()
		f.Workspace, f.UserAgent = name, name
		if text(t, r, f) != want {
			t.Errorf("%q reached the message", name)
		}
	}
}

func TestSMSRenderer_RefusesFactsThatAuthNeverDraws(t *testing.T) {
	t.Parallel()
	r := smsRenderer(t, "Lanternbird", host)
	for name, spoil := range map[string]func(*Facts){
		"a code of letters":        func(f *Facts) { f.Code = "48a917" },
		"a code that is too long":  func(f *Facts) { f.Code = "48291748291" },
		"a label with a line":      func(f *Facts) { f.Label = "K\nM" },
		"no time of asking":        func(f *Facts) { f.CreatedAt = time.Time{} },
		"an end before the asking": func(f *Facts) { f.ExpiresAt = f.CreatedAt },
		"no time of writing":       func(f *Facts) { f.WrittenAt = time.Time{} },
	} {
		f := facts()
		spoil(&f)
		m, err := r.Render(f)
		if !errors.Is(err, ErrFacts) || m != (Message{}) || strings.Contains(err.Error(), "4829") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSMSRenderer_RefusesMoreThanOnePart(t *testing.T) {
	t.Parallel()
	// A life beyond every policy, so that the number of minutes alone fills the text.
	r := smsRenderer(t, strings.Repeat("€", maxSMSBrand), longestHost())
	f := facts()
	f.Code = "0048291730"
	f.ExpiresAt = f.CreatedAt.Add(2_000_000 * time.Minute)
	m, err := r.Render(f)
	if !errors.Is(err, ErrFacts) || m.Text != "" {
		t.Errorf("error is %v for\n%s", err, m.Text)
	}
}

func TestNewSMS_RefusesBrandsThatCostMoreOrMislead(t *testing.T) {
	t.Parallel()
	for _, brand := range []string{
		"", " ", "padded ", "a\nb", strings.Repeat("x", maxSMSBrand+1), "Bird’s", "Łódź", "Ação", "東京", "no\u00a0break",
		"Club 1234", "482917", "zero\u200bw",
	} {
		_, err := NewSMS(brand, host)
		if !errors.Is(err, ErrBrand) || errors.Is(err, ErrHost) {
			t.Errorf("the brand %q: %v", brand, err)
		}
	}
	for _, brand := range []string{"L", "Lanternbird", "Zürich AG", "Bird's", "[Bird]", "365 Bird", strings.Repeat("€", maxSMSBrand)} {
		_, err := NewSMS(brand, longestHost())
		if err != nil {
			t.Errorf("the brand %q: %v", brand, err)
		}
	}
}

// It shows SEC-35 of deploy/SECURITY.md.
func TestNewSMS_RefusesWhatIsNoHost(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"", "localhost", ".", "a.", ".a", "a..b", "-a.example", "a-.example", "Login.example", "lögin.example", "a b.example",
		"https://login.example", "login.example:443", "login.example/", "login.example\n", "192.0.2.1", "[::1]", "a_b.example",
		"x@y.example", "x.example #1", "w" + longestHost(),
	} {
		_, err := NewSMS("Lanternbird", bad)
		if !errors.Is(err, ErrHost) {
			t.Errorf("the host %q: %v", bad, err)
		}
	}
	for _, good := range []string{"a.example", "xn--lgin-6qa.example", "1.a-b.example", longestHost()} {
		_, err := NewSMS("Lanternbird", good)
		if err != nil {
			t.Errorf("the host %q: %v", good, err)
		}
	}
}

func FuzzNewSMS_TakesOnlyWhatFitsOnePart(f *testing.F) {
	for _, brand := range hostileNames() {
		f.Add(brand, host)
		f.Add("Lanternbird", brand)
	}
	f.Add(strings.Repeat("€", maxSMSBrand), longestHost())
	f.Fuzz(func(t *testing.T, brand, host string) {
		r, err := NewSMS(brand, host)
		if err != nil {
			if !errors.Is(err, ErrBrand) && !errors.Is(err, ErrHost) {
				t.Fatalf("error is %v", err)
			}
			return
		}
		in := facts()
		in.Code = "0048291730"
		m, err := r.Render(in)
		if err != nil {
			t.Fatal(err)
		}
		parts, _, alphabet := gsm7.Parts(m.Text)
		if parts != 1 || alphabet != gsm7.GSM7 || !strings.HasSuffix(m.Text, "\n@"+host+" #0048291730") {
			t.Errorf("%q", m.Text)
		}
	})
}
