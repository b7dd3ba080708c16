package message

import (
	"errors"
	"html"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

func renderer(t *testing.T, brand string) *EmailRenderer {
	t.Helper()
	r, err := NewEmail(brand, "")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func render(t *testing.T, f Facts) Message {
	t.Helper()
	m, err := renderer(t, "Lanternbird").Render(f)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestEmailRenderer_WritesTheMessageOfTheGoldenFiles(t *testing.T) {
	t.Parallel()
	long := facts()
	long.Code = "0048291730"
	long.Workspace = strings.Repeat("Ä", 100)
	bare := facts()
	bare.Workspace, bare.UserAgent, bare.Locale = "", "", ""
	for _, c := range []struct {
		name, brand string
		facts       Facts
	}{
		{"sign_in", "Lanternbird", facts()},
		{"bare", "Lanternbird", bare},
		{"longest", strings.Repeat("W", maxBrand), long},
	} {
		m, err := renderer(t, c.brand).Render(c.facts)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "en/"+c.name+".txt", m.Subject+"\n\n"+m.Text)
		golden(t, "en/"+c.name+".html", m.HTML)
	}
}

func TestEmailRenderer_BeginsTheSubjectWithTheLabel(t *testing.T) {
	t.Parallel()
	m := render(t, facts())
	if m.Subject != "KTM – your Lanternbird sign-in code" {
		t.Errorf("subject is %q", m.Subject)
	}
	other := facts()
	other.Label = "BCD"
	if render(t, other).Subject == m.Subject {
		t.Error("two challenges share a subject, so mail programs fold them into one thread")
	}
}

// words returns the visible words of a HTML part, without the preview line.
func words(t *testing.T, page string) (preview, visible string) {
	t.Helper()
	_, body, found := strings.Cut(page, "<body")
	if !found {
		t.Fatal("no body")
	}
	body = "<body" + body
	hidden := regexp.MustCompile(`(?s)<div aria-hidden="true".*?</div>`)
	strip := regexp.MustCompile(`(?s)<[^>]*>`)
	inline := regexp.MustCompile(`</?span[^>]*>`)
	text := func(s string) string {
		s = inline.ReplaceAllString(s, "")
		return strings.Join(strings.Fields(html.UnescapeString(strip.ReplaceAllString(s, " "))), " ")
	}
	return text(hidden.FindString(body)), text(hidden.ReplaceAllString(body, ""))
}

func TestEmailRenderer_SaysTheSameWordsInBothForms(t *testing.T) {
	t.Parallel()
	m := render(t, facts())
	_, visible := words(t, m.HTML)
	if diff := cmp.Diff(strings.Join(strings.Fields(m.Text), " "), visible); diff != "" {
		t.Errorf("text and HTML differ (-text +html):\n%s", diff)
	}
}

// It shows SEC-35 of deploy/SECURITY.md.
func TestEmailRenderer_KeepsTheCodeOutOfSubjectAndPreview(t *testing.T) {
	t.Parallel()
	m := render(t, facts())
	preview, visible := words(t, m.HTML)
	for name, s := range map[string]string{"subject": m.Subject, "preview": preview, "title": title(m.HTML)} {
		if strings.Contains(s, "482917") {
			t.Errorf("the code stands in the %s", name)
		}
	}
	if strings.Count(m.HTML, "&zwnj;") < padding {
		t.Error("the preview line is not padded: the code would slip in behind it")
	}
	for name, s := range map[string]string{"text": m.Text, "HTML": visible} {
		if strings.Count(s, "482917") != 1 {
			t.Errorf("the %s does not show the code once and unbroken", name)
		}
		if regexp.MustCompile(`KTM.{0,2}482917|482917.{0,2}KTM`).MatchString(s) && !strings.Contains(s, "KTM: 482917") && !strings.Contains(s, "KTM:\n\n482917") {
			t.Errorf("the %s glues the label to the code", name)
		}
	}
}

// title is the title of a page.
func title(page string) string {
	_, rest, _ := strings.Cut(page, "<title>")
	before, _, _ := strings.Cut(rest, "</title>")
	return before
}

// It shows SEC-35 of deploy/SECURITY.md.
func TestEmailRenderer_HoldsNothingThatLoadsOrLeadsAway(t *testing.T) {
	t.Parallel()
	m := render(t, facts())
	for _, bad := range []string{"<a ", "<img", "http://", "https://", "href", "src=", "url(", "<script", "<style", "<link", "@import", "background:"} {
		if strings.Contains(strings.ToLower(m.HTML+m.Text), bad) {
			t.Errorf("the message holds %q", bad)
		}
	}
	for _, good := range []string{`<html lang="en"`, `content="light dark"`} {
		if !strings.Contains(m.HTML, good) {
			t.Errorf("the message lacks %q", good)
		}
	}
}

func TestEmailRenderer_SpellsTimesWithTheirZone(t *testing.T) {
	t.Parallel()
	m := render(t, facts())
	for _, want := range []string{"works until 08:12 (UTC), once, and only in the browser that asked for it", "Asked at 08:02 (UTC) from Firefox on Windows, to sign in to Acme.", "Tell support 4F72-KQ9R."} {
		if !strings.Contains(m.Text, want) {
			t.Errorf("the text lacks %q:\n%s", want, m.Text)
		}
	}
}

// hostileNames are workspace names that must not reach a message.
func hostileNames() []string {
	return []string{
		"x\r\nBcc: a@b", "<script>alert(1)</script>", "evil.example", "Call evil.example now", "http://evil", "a@b",
		"Your code: 999999", "٩٩٩٩٩٩", "name\x00", "line\u2028two", "\u202eemca", "zero\u200bwidth", "", "   ",
		strings.Repeat("x", 101), string([]byte{0xff, 0xfe}), "[click](x)",
	}
}

// It shows SEC-35 of deploy/SECURITY.md.
func TestEmailRenderer_LeavesHostileWorkspaceNamesOut(t *testing.T) {
	t.Parallel()
	plain := facts()
	plain.Workspace = ""
	want := render(t, plain)
	for _, name := range hostileNames() {
		f := facts()
		f.Workspace = name
		if diff := cmp.Diff(want.Text, render(t, f).Text); diff != "" {
			t.Errorf("the name %q reached the message:\n%s", name, diff)
		}
	}
}

// It shows SEC-35 of deploy/SECURITY.md.
func TestEmailRenderer_ShowsAndEscapesHonestWorkspaceNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Acme", "Smith & Sons", "O'Neill", "St. John", "Zürich AG", "東京", "Route 66", "Inc."} {
		f := facts()
		f.Workspace = name
		m := render(t, f)
		_, visible := words(t, m.HTML)
		if !strings.Contains(m.Text, name) || !strings.Contains(visible, name) {
			t.Errorf("the name %q is missing", name)
		}
		if strings.Contains(name, "&") && strings.Contains(m.HTML, name) {
			t.Errorf("the name %q is not escaped", name)
		}
	}
}

func TestEmailRenderer_NeverShowsAUserAgent(t *testing.T) {
	t.Parallel()
	for _, agent := range []string{"Firefox/1 on Windows <b>evil</b>", "x\r\nBcc: a@b", "evil Chrome/1 Linux evil.example"} {
		f := facts()
		f.UserAgent = agent
		m := render(t, f)
		for _, s := range []string{"evil", "Bcc", "\r"} {
			if strings.Contains(m.Text+m.HTML+m.Subject, s) {
				t.Errorf("%q of the user agent reached the message", s)
			}
		}
	}
}

func TestDescribe_KnowsTheClosedTable(t *testing.T) {
	t.Parallel()
	const webkit = " AppleWebKit/537.36 (KHTML, like Gecko) "
	for agent, want := range map[string]string{
		firefox: "Firefox on Windows",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64)" + webkit + "Chrome/126.0 Safari/537.36 Edg/126.0":                         "Edge on Windows",
		"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0)" + webkit + "Chrome/126.0 Safari/537.36":                                    "Chrome on ChromeOS",
		"Mozilla/5.0 (Linux; Android 10; K)" + webkit + "Chrome/126.0 Mobile Safari/537.36":                                   "Chrome on Android",
		"Mozilla/5.0 (Linux; Android 13; SM-S901B)" + webkit + "SamsungBrowser/25.0 Chrome/121.0 Safari/537.36":               "Samsung Internet on Android",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)" + webkit + "Version/17.5 Safari/605.1.15":                           "Safari on macOS",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Mobile/15E148 Safari/604.1": "Safari on iPhone",
		"Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 CriOS/126.0 Mobile/15E148 Safari/604.1":           "Chrome on iPad",
		"Mozilla/5.0 (X11; Linux x86_64)" + webkit + "Chrome/126.0 Safari/537.36 OPR/112.0":                                   "Opera on Linux",
		"curl/8.5.0":   " on ",
		"Firefox/128":  " on ",
		"Windows only": " on ",
		"":             " on ",
	} {
		browser, system := Describe(agent)
		if got := browser + " on " + system; got != want {
			t.Errorf("%q is %q, want %q", agent, got, want)
		}
	}
}

func TestEmailRenderer_RefusesFactsThatAuthNeverDraws(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*Facts){
		"short code":         func(f *Facts) { f.Code = "48291" },
		"long code":          func(f *Facts) { f.Code = "48291748291" },
		"letters in code":    func(f *Facts) { f.Code = "48a917" },
		"broken code":        func(f *Facts) { f.Code = "482 917" },
		"lower-case label":   func(f *Facts) { f.Label = "ktm" },
		"label with a line":  func(f *Facts) { f.Label = "K\nM" },
		"empty label":        func(f *Facts) { f.Label = "" },
		"long label":         func(f *Facts) { f.Label = "KTMX" },
		"reference with tag": func(f *Facts) { f.Reference = "<b>72KQ9" },
		"short reference":    func(f *Facts) { f.Reference = "4F72" },
		"no time of asking":  func(f *Facts) { f.CreatedAt = time.Time{} },
		"expires before":     func(f *Facts) { f.ExpiresAt = f.CreatedAt },
	} {
		f := facts()
		spoil(&f)
		m, err := renderer(t, "Lanternbird").Render(f)
		if !errors.Is(err, ErrFacts) {
			t.Errorf("%s: error is %v", name, err)
			continue
		}
		if m != (Message{}) || strings.Contains(err.Error(), "4829") {
			t.Errorf("%s: something of the message came out", name)
		}
	}
}

func TestNewEmail_RefusesBrandsThatCannotStandInASubject(t *testing.T) {
	t.Parallel()
	for _, brand := range []string{"", " ", "a\r\nBcc: x@y", " padded", "padded ", strings.Repeat("x", maxBrand+1), "\u202eabc", "http://x"} {
		_, err := NewEmail(brand, "")
		if err == nil {
			t.Errorf("the brand %q is taken", brand)
		}
	}
}

func TestEmailRenderer_EscapesTheBrand(t *testing.T) {
	t.Parallel()
	m, err := renderer(t, "A&B <x>").Render(facts())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(m.HTML, "<x>") || !strings.Contains(m.HTML, "A&amp;B &lt;x&gt;") {
		t.Error("the brand is not escaped in HTML")
	}
	if !strings.Contains(m.Subject, "A&B <x>") {
		t.Errorf("the subject is escaped as if it were HTML: %q", m.Subject)
	}
}

func TestEmailRenderer_FallsBackToEnglish(t *testing.T) {
	t.Parallel()
	want := render(t, facts())
	for _, locale := range []string{"", "en", "EN-gb", "xx", "nlx", "n", "-", "../nl", "nl.tmpl"} {
		f := facts()
		f.Locale = locale
		if render(t, f) != want {
			t.Errorf("locale %q is not English", locale)
		}
	}
}

// It shows SEC-35 of deploy/SECURITY.md.
func FuzzEmailRenderer_SubjectIsOneLineWithoutCode(f *testing.F) {
	f.Add("482917", "KTM", "4F72KQ9R", "Acme", "en", firefox)
	for _, name := range hostileNames() {
		f.Add("482917", "KTM", "4F72KQ9R", name, name, name)
		f.Add(name, name, name, name, name, name)
	}
	r, err := NewEmail("Lanternbird", "")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, code, label, reference, workspace, locale, agent string) {
		in := facts()
		in.Code, in.Label, in.Reference, in.Workspace, in.Locale, in.UserAgent = code, label, reference, workspace, locale, agent
		m, err := r.Render(in)
		if err != nil {
			if !errors.Is(err, ErrFacts) {
				t.Fatalf("error is %v", err)
			}
			return
		}
		if strings.Contains(m.Subject, code) || strings.IndexFunc(m.Subject, unicode.IsControl) >= 0 {
			t.Errorf("subject is %q", m.Subject)
		}
		if strings.Count(m.HTML, "<p ") != 7 || strings.Contains(strings.ToLower(m.HTML), "<script") {
			t.Error("a fact changed the structure of the page")
		}
	})
}
