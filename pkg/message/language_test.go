package message

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/event"
)

// locked is the notice of a lock in a language.
func locked(locale string) Notice {
	return Notice{Kind: event.NoticeLoginLocked, At: facts().CreatedAt, Reference: "4F72KQ9R", Workspace: "Acme", Locale: locale}
}

// notify renders the e-mail of a notice.
func notify(t *testing.T, n Notice) Message {
	t.Helper()
	m, err := renderer(t, "Lanternbird").RenderNotice(n)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestLanguages_AreEnglishAndDutch(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff([]string{"en", "nl"}, Languages()); diff != "" {
		t.Errorf("languages (-want +got):\n%s", diff)
	}
}

// Every language says what English says, and no more: a key that is missing or
// misspelt is found here and not by the first person who reads that language.
func TestLanguages_HaveTheSameKeys(t *testing.T) {
	t.Parallel()
	all, err := read()
	if err != nil {
		t.Fatal(err)
	}
	keys := func(l language) []string {
		var keys []string
		for _, words := range l.words.Templates() {
			if words.Name() != l.tag+extension {
				keys = append(keys, words.Name())
			}
		}
		slices.Sort(keys)
		return keys
	}
	want := keys(all[fallback])
	if len(want) < 10+len(event.NoticeKinds())*8 {
		t.Fatalf("English has %d keys", len(want))
	}
	for tag, l := range all {
		if diff := cmp.Diff(want, keys(l)); diff != "" {
			t.Errorf("keys of %s (-English +%s):\n%s", tag, tag, diff)
		}
	}
}

// What a month is called is looked up for every month, because a golden file
// shows one.
func TestLanguages_NameTwelveMonths(t *testing.T) {
	t.Parallel()
	for _, tag := range Languages() {
		named := map[string]bool{}
		for month := time.January; month <= time.December; month++ {
			n := locked(tag)
			n.At = time.Date(2027, month, 28, 23, 59, 0, 0, time.UTC)
			name := strings.Fields(strings.SplitAfterN(notify(t, n).Text, " 28 ", 2)[1])[0]
			named[name] = true
		}
		if len(named) != 12 {
			t.Errorf("%s names %d months: %v", tag, len(named), slices.Sorted(maps.Keys(named)))
		}
	}
}

func TestLanguages_WriteTheMessagesOfTheGoldenFiles(t *testing.T) {
	t.Parallel()
	for _, tag := range Languages() {
		in := facts()
		in.Locale = tag
		m := render(t, in)
		golden(t, tag+"/sign_in.txt", m.Subject+"\n\n"+m.Text)
		golden(t, tag+"/sign_in.html", m.HTML)
		golden(t, tag+"/sms.txt", text(t, smsRenderer(t, "Lanternbird", host), in))
		for _, kind := range event.NoticeKinds() {
			n := locked(tag)
			n.Kind = kind
			m := notify(t, n)
			golden(t, tag+"/"+kind+".txt", m.Subject+"\n\n"+m.Text)
			golden(t, tag+"/"+kind+".html", m.HTML)
			sms, err := smsRenderer(t, "Lanternbird", host).RenderNotice(n)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, tag+"/"+kind+"_sms.txt", sms.Text)
			n.Owner = true
			m = notify(t, n)
			golden(t, tag+"/"+kind+"_owner.txt", m.Subject+"\n\n"+m.Text)
			golden(t, tag+"/"+kind+"_owner.html", m.HTML)
		}
	}
}

// No language puts the code where a locked phone shows it, and none writes
// anything else in one form of a mail than in the other.
func TestSEC35_NoLanguageShowsTheCodeInSubjectOrPreview(t *testing.T) {
	t.Parallel()
	for _, tag := range Languages() {
		f := facts()
		f.Locale = tag
		m := render(t, f)
		preview, visible := words(t, m.HTML)
		for place, s := range map[string]string{"subject": m.Subject, "title": title(m.HTML), "preview": preview} {
			if strings.Contains(s, f.Code) || s == "" {
				t.Errorf("%s: the %s is %q", tag, place, s)
			}
		}
		if !strings.HasPrefix(m.Subject, f.Label) {
			t.Errorf("%s: the subject %q does not begin with the label", tag, m.Subject)
		}
		if strings.Count(m.Text, f.Code) != 1 || !strings.Contains(m.HTML, `<html lang="`+tag+`"`) {
			t.Errorf("%s: the code does not stand there once, or the page says that it is in another language", tag)
		}
		if diff := cmp.Diff(strings.Join(strings.Fields(m.Text), " "), visible); diff != "" {
			t.Errorf("%s: text and HTML differ (-text +html):\n%s", tag, diff)
		}
	}
}

func TestSEC35_NoNoticeHasACodeALinkOrAnythingThatLoads(t *testing.T) {
	t.Parallel()
	r, err := NewEmail("Lanternbird", "https://help.lanternbird.example/sign-in")
	if err != nil {
		t.Fatal(err)
	}
	sms := smsRenderer(t, "Lanternbird", host)
	for _, tag := range Languages() {
		for _, kind := range event.NoticeKinds() {
			n := locked(tag)
			n.Kind = kind
			mail, err := r.RenderNotice(n)
			if err != nil {
				t.Fatal(err)
			}
			short, err := sms.RenderNotice(n)
			if err != nil {
				t.Fatal(err)
			}
			for _, bad := range []string{"<a ", "<img", "http://", "https://", "href", "src=", "url(", "<script", "lanternbird.", "@", "#8a8f98;font-size:32"} {
				if all := strings.ToLower(mail.Subject + mail.HTML + mail.Text + short.Text); strings.Contains(all, bad) {
					t.Errorf("%s of %s holds %q", kind, tag, bad)
				}
			}
			if len(digitRun().FindAllString(strings.ReplaceAll(mail.Text+short.Text, "2026", ""), -1)) > 0 {
				t.Errorf("%s of %s holds what a phone takes for a code", kind, tag)
			}
			if !strings.Contains(mail.Text, "Acme") || !strings.Contains(mail.Text, "4F72-KQ9R") || !strings.Contains(short.Text, "4F72-KQ9R") {
				t.Errorf("%s of %s lacks the workspace or the support reference", kind, tag)
			}
			if !strings.Contains(mail.Text, "08:02 (UTC)") || !strings.Contains(mail.Text, "2026") {
				t.Errorf("%s of %s does not say when, with the zone:\n%s", kind, tag, mail.Text)
			}
		}
	}
}

// The main address is told of the owner's login. Who reads it is not spoken to as if it were theirs, and gets
// nothing to give to support in the owner's name.
func TestSEC17_TheMainAddressReadsThatItIsTheOwnersLogin(t *testing.T) {
	t.Parallel()
	for tag, bad := range map[string][]string{"en": {"your password", "your sign-in", "your login"}, "nl": {"je wachtwoord", "je login", "jij"}} {
		n := locked(tag)
		n.Owner = true
		m := notify(t, n)
		all := strings.ToLower(m.Subject + m.Text + m.HTML)
		for _, words := range append(bad, "4f72", "kq9r", "http", "<a ") {
			if strings.Contains(all, words) {
				t.Errorf("%s holds %q", tag, words)
			}
		}
		if owner := map[string]string{"en": "owner", "nl": "eigenaar"}[tag]; !strings.Contains(m.Subject, owner) || !strings.Contains(m.Subject, "Acme") {
			t.Errorf("%s has the subject %q", tag, m.Subject)
		}
		n.Workspace = hostileNames()[0]
		if m := notify(t, n); !strings.Contains(m.Subject, "Lanternbird") || strings.Contains(m.Subject+m.Text, n.Workspace) {
			t.Errorf("%s has the subject %q", tag, m.Subject)
		}
	}
}

// R12.3: the longest brand and reference, for each alphabet of a brand. Only
// the short form may be needed for a brand of characters that count twice.
func TestSMSRenderer_TellsANoticeInOnePartInEveryLanguage(t *testing.T) {
	t.Parallel()
	for _, brand := range []string{strings.Repeat("W", maxSMSBrand), strings.Repeat("€", maxSMSBrand)} {
		r := smsRenderer(t, brand, longestHost())
		for _, tag := range Languages() {
			for _, kind := range event.NoticeKinds() {
				n := locked(tag)
				n.Kind = kind
				n.At = time.Date(2026, time.September, 30, 23, 59, 0, 0, time.UTC)
				m, err := r.RenderNotice(n)
				if err != nil {
					t.Fatalf("%s of %s: %v", kind, tag, err)
				}
				onePart(t, m.Text)
				if m.Subject+m.HTML != "" || strings.Contains(m.Text, "\n") {
					t.Errorf("%s of %s has more than one line", kind, tag)
				}
				if brand[0] == 'W' && (!strings.Contains(m.Text, "23:59 UTC") || !strings.Contains(m.Text, " 30 september ") && !strings.Contains(m.Text, " 30 September ")) {
					t.Errorf("%s of %s does not say when: %s", kind, tag, m.Text)
				}
			}
		}
	}
}

// The lookup of RFC 4647 §3.4.
func TestCatalogue_ChoosesByTheLanguageTag(t *testing.T) {
	t.Parallel()
	c := catalogue{"en": {tag: "en"}, "nl": {tag: "nl"}, "zh-hant": {tag: "zh-hant"}}
	for locale, want := range map[string]string{
		"": "en", "en": "en", "en-GB": "en", "nl": "nl", "NL": "nl", "nl-BE": "nl", "nl-Latn-BE-x-y": "nl",
		"zh-Hant-TW": "zh-hant", "zh-Hans": "en", "zh": "en", "fr-NL": "en", "nld": "en", "-nl": "en", "-": "en", "nl-": "nl",
	} {
		if got := c.choose(locale).tag; got != want {
			t.Errorf("the language of %q is %s, not %s", locale, got, want)
		}
	}
}

func TestRenderNotice_RefusesWhatAuthNeverHas(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*Notice){
		"no kind":         func(n *Notice) { n.Kind = "" },
		"an unknown kind": func(n *Notice) { n.Kind = "code" },
		"no reference":    func(n *Notice) { n.Reference = "" },
		"a line":          func(n *Notice) { n.Reference = "4F72\nKQ9" },
		"no time":         func(n *Notice) { n.At = time.Time{} },
	} {
		n := locked("en")
		spoil(&n)
		m, err := renderer(t, "Lanternbird").RenderNotice(n)
		if !errors.Is(err, ErrFacts) || m != (Message{}) {
			t.Errorf("an e-mail with %s: %v", name, err)
		}
		m, err = smsRenderer(t, "Lanternbird", host).RenderNotice(n)
		if !errors.Is(err, ErrFacts) || m != (Message{}) {
			t.Errorf("a text message with %s: %v", name, err)
		}
	}
	n := locked("en")
	n.Owner = true // a main address is no phone
	m, err := smsRenderer(t, "Lanternbird", host).RenderNotice(n)
	if !errors.Is(err, ErrFacts) || m != (Message{}) {
		t.Errorf("a text message to a main address: %v", err)
	}
}

func TestRenderNotice_LeavesHostileWorkspaceNamesOut(t *testing.T) {
	t.Parallel()
	plain := locked("nl")
	plain.Workspace = ""
	want := notify(t, plain)
	for _, name := range hostileNames() {
		n := locked("nl")
		n.Workspace = name
		if notify(t, n) != want {
			t.Errorf("the name %q reached the notice", name)
		}
	}
}

func TestNewEmail_ShowsWhereSupportIsAsWords(t *testing.T) {
	t.Parallel()
	for support, shown := range map[string]string{
		"":                                 "",
		"https://help.example.com":         "help.example.com",
		"https://help.example.com/":        "help.example.com",
		"https://example.com/help/sign-in": "example.com/help/sign-in",
		"support@example.com":              "support@example.com",
	} {
		r, err := NewEmail("Lanternbird", support)
		if err != nil {
			t.Errorf("%q: %v", support, err)
			continue
		}
		for _, tag := range Languages() {
			f := facts()
			f.Locale = tag
			m, err := r.Render(f)
			if err != nil {
				t.Fatal(err)
			}
			last := strings.TrimSpace(m.Text[strings.LastIndex(strings.TrimSpace(m.Text), "\n"):])
			if !strings.HasSuffix(last, " "+shown) && shown != "" || strings.Contains(m.HTML, "<a") || strings.Contains(m.HTML, "https") {
				t.Errorf("%s ends with %q", tag, last)
			}
			if shown == "" && !strings.HasSuffix(last, "4F72-KQ9R.") {
				t.Errorf("%s ends with %q without a support address", tag, last)
			}
		}
	}
	for _, support := range []string{
		"http://help.example.com", "help.example.com", "https://", "https://localhost", "https://help.example.com/?a=b", "https://u@example.com",
		"https://example.com:8443", "https://Example.com", "javascript:alert(1)", "jo@x@y", "a b", "https://example.com/a b", "https://example.com/\n",
		"https://example.com/" + strings.Repeat("x", maxSupport),
	} {
		_, err := NewEmail("Lanternbird", support)
		if !errors.Is(err, ErrSupport) {
			t.Errorf("%q is taken: %v", support, err)
		}
	}
}
