package message

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/account"
	"doorcode/pkg/event"
)

// locked is the notice of a lock in a language.
func locked(locale string) Notice {
	return Notice{Kind: event.NoticeLoginLocked, At: facts().CreatedAt, Reference: "4F72KQ9R", Workspace: "Acme", Locale: locale}
}

// sample is a notice of a kind with all that it can say.
func sample(kind, locale string) Notice {
	n := locked(locale)
	form, _ := FormOf(kind)
	n.Kind, n.Name, n.Browser, n.System = kind, "Kim de Vries", "Firefox", "Windows"
	if form.Labeled {
		n.Label = "KTM"
	}
	if form.Routed {
		n.To, n.Ending = "sms", "48"
	}
	if form.Dated {
		n.Date = n.At.AddDate(0, 0, 14)
	}
	if form.Counted {
		n.Used, n.People = 4, 5
	}
	if form.Link {
		n.Link, n.Until = "https://sign-in.lanternbird.com/page?of=AQEjRWeJq83vEjRWeJq83vEjRWeJq83v", n.At.AddDate(0, 0, 7)
	}
	return n
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
	if len(want) < 10+len(event.NoticeKinds())*7 {
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
			n := sample(kind, tag)
			form, _ := FormOf(kind)
			m := notify(t, n)
			golden(t, tag+"/"+kind+".txt", m.Subject+"\n\n"+m.Text)
			golden(t, tag+"/"+kind+".html", m.HTML)
			if form.Owner {
				n.Owner = true
				m = notify(t, n)
				golden(t, tag+"/"+kind+"_owner.txt", m.Subject+"\n\n"+m.Text)
				golden(t, tag+"/"+kind+"_owner.html", m.HTML)
				n.Owner = false
			}
			if !form.Texted {
				continue
			}
			sms, err := smsRenderer(t, "Lanternbird", host).RenderNotice(n)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, tag+"/"+kind+"_sms.txt", sms.Text)
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
	for _, tag := range Languages() {
		for _, kind := range event.NoticeKinds() {
			n := sample(kind, tag)
			all := []Message{}
			for _, link := range []string{n.Link, ""} {
				form, _ := FormOf(kind)
				if link == "" && form.Linked {
					continue
				}
				n.Link = link
				mail, err := r.RenderNotice(n)
				if err != nil {
					t.Fatal(err)
				}
				if link != "" {
					mail = unlinked(t, mail, link)
				}
				all = append(all, mail)
				if !strings.Contains(mail.Text, "Acme") || !strings.Contains(mail.Text, "4F72-KQ9R") {
					t.Errorf("%s of %s lacks the workspace or the support reference", kind, tag)
				}
				// Beside the word code, a year passes for one.
				if !strings.Contains(mail.Text, "08:02 (UTC)") || strings.Contains(mail.Text, "2026") != (kind != event.NoticeCodeUsed) {
					t.Errorf("%s of %s does not say when, with the zone:\n%s", kind, tag, mail.Text)
				}
			}
			if form, _ := FormOf(kind); form.Texted {
				n.Link = "https://sign-in.lanternbird.com/page?of=x"
				if !form.Link {
					n.Link = ""
				}
				short, err := smsRenderer(t, "Lanternbird", host).RenderNotice(n)
				if err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(short.Text, "4F72-KQ9R") {
					t.Errorf("the text message %s of %s lacks the support reference", kind, tag)
				}
				all = append(all, short)
			}
			for _, m := range all {
				inertNotice(t, kind+" of "+tag, m)
			}
		}
	}
}

// inertNotice fails when a message holds something to press, to load or to type.
func inertNotice(t *testing.T, name string, m Message) {
	t.Helper()
	for _, bad := range []string{"<a ", "<img", "http://", "https://", "href", "src=", "url(", "<script", "lanternbird.example", "lanternbird.com", "@", "#8a8f98;font-size:32"} {
		if strings.Contains(strings.ToLower(m.Subject+m.HTML+m.Text), bad) {
			t.Errorf("%s holds %q", name, bad)
		}
	}
	if len(digitRun().FindAllString(strings.ReplaceAll(m.Text, "2026", ""), -1)) > 0 {
		t.Errorf("%s holds what a phone takes for a code", name)
	}
}

// unlinked takes the one link out of a mail, which stands in it to press once and to read once in each form, and never
// in what a list of mails shows.
func unlinked(t *testing.T, m Message, link string) Message {
	t.Helper()
	button := regexp.MustCompile(`<a href="` + regexp.QuoteMeta(link) + `" style="[^"]*">`)
	if len(button.FindAllString(m.HTML, -1)) != 1 || strings.Count(m.HTML, link) != 2 || strings.Count(m.Text, link) != 1 {
		t.Errorf("the link does not stand there once:\n%s", m.Text)
	}
	if preview, _ := words(t, m.HTML); strings.Contains(m.Subject+preview+title(m.HTML), "http") {
		t.Errorf("the link is in the subject or the preview")
	}
	m.HTML = strings.ReplaceAll(button.ReplaceAllString(m.HTML, ""), link, "")
	m.Text = strings.ReplaceAll(m.Text, link, "")
	return m
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
				form, _ := FormOf(kind)
				if !form.Texted {
					continue
				}
				n := sample(kind, tag)
				n.At, n.Link = time.Date(2026, time.September, 30, 23, 59, 0, 0, time.UTC), ""
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
	for _, kind := range []string{event.NoticeInvited, event.NoticeJoinRequested, event.NoticeCodeUsed} {
		m, err := smsRenderer(t, "Lanternbird", host).RenderNotice(sample(kind, "en"))
		if !errors.Is(err, ErrFacts) || m != (Message{}) {
			t.Errorf("a text message for %s: %v", kind, err)
		}
	}
}

// What is not as auth makes it never reaches a message: no word that anybody typed but a name made inert, no browser
// outside the tables, and no link that is not of the form of our own pages (R8.2, SEC-35).
func TestSEC35_ANoticeRefusesFactsOfNoClosedForm(t *testing.T) {
	t.Parallel()
	spoil := map[string]func(*Notice){
		"a name of two lines":     func(n *Notice) { n.Name = "Kim\r\nBcc: a@b" },
		"a name with a link":      func(n *Notice) { n.Name = "evil.example" },
		"a name with markup":      func(n *Notice) { n.Name = "<b>Kim</b>" },
		"a long name":             func(n *Notice) { n.Name = strings.Repeat("x", account.MaxTypedName+1) },
		"an unknown browser":      func(n *Notice) { n.Browser = "evil.example" },
		"an unknown system":       func(n *Notice) { n.System = "<b>" },
		"an unknown channel":      func(n *Notice) { n.To = "pigeon" },
		"a whole number":          func(n *Notice) { n.To, n.Ending = "sms", "12025550148" },
		"no ending":               func(n *Notice) { n.To, n.Ending = "sms", "" },
		"an address":              func(n *Notice) { n.To, n.Ending = "email", "a@b.example" },
		"letters for an ending":   func(n *Notice) { n.To, n.Ending = "sms", "4x" },
		"an ending of no channel": func(n *Notice) { n.To, n.Ending = "", "48" },
	}
	for _, link := range []string{
		"http://sign-in.lanternbird.com/undo?of=x", "javascript:alert(1)?of=x", "https://u:p@lanternbird.com/undo?of=x", "//lanternbird.com/undo?of=x",
		"https://lanternbird.com/undo", "https://lanternbird.com/undo?of=x#y", "https://lanternbird.com/undo?of=\"><b>", "https://lanternbird.com/undo?of=x\n",
		"https://lanternbird.com/un do?of=x", "https:///undo?of=x", "https://lanternbird.com/undo?of=" + strings.Repeat("x", maxLink), "undo?of=x",
	} {
		spoil["the link "+link] = func(n *Notice) { n.Link = link }
	}
	spoil["a link that has ended"] = func(n *Notice) { n.Until = n.At }
	for name, change := range spoil {
		for _, kind := range []string{event.NoticeFactorChanged, event.NoticeInvited} {
			n := sample(kind, "en")
			change(&n)
			m, err := renderer(t, "Lanternbird").RenderNotice(n)
			if !errors.Is(err, ErrFacts) || m != (Message{}) {
				t.Errorf("%s with %s: %v", kind, name, err)
			}
		}
	}
	for name, n := range map[string]Notice{
		"a lock with a label":    func() Notice { n := sample(event.NoticeLoginLocked, "en"); n.Label = "KTM"; return n }(),
		"a used code of none":    func() Notice { n := sample(event.NoticeCodeUsed, "en"); n.Label = ""; return n }(),
		"a label of digits":      func() Notice { n := sample(event.NoticeCodeUsed, "en"); n.Label = "482"; return n }(),
		"a label like a code":    func() Notice { n := sample(event.NoticeCodeUsed, "en"); n.Label = "482917"; return n }(),
		"a label of two lines":   func() Notice { n := sample(event.NoticeCodeUsed, "en"); n.Label = "K\nM"; return n }(),
		"a lock with a link":     func() Notice { n := sample(event.NoticeInvited, "en"); n.Kind = event.NoticeLoginLocked; return n }(),
		"a request of nobody":    func() Notice { n := sample(event.NoticeJoinRequested, "en"); n.Name = ""; return n }(),
		"a change to nowhere":    func() Notice { n := sample(event.NoticeFactorChanged, "en"); n.To, n.Ending = "", ""; return n }(),
		"an invitation alone":    func() Notice { n := sample(event.NoticeInvited, "en"); n.Link = ""; return n }(),
		"a reminder of no date":  func() Notice { n := sample(event.NoticeRolloutReminded, "en"); n.Date = time.Time{}; return n }(),
		"a lock with a date":     func() Notice { n := sample(event.NoticeLoginLocked, "en"); n.Date = n.At; return n }(),
		"a reminder that counts": func() Notice { n := sample(event.NoticeRolloutReminded, "en"); n.People = 2; return n }(),
		"more than all of them":  func() Notice { n := sample(event.NoticeRolloutEnforced, "en"); n.Used = 6; return n }(),
		"fewer than nobody":      func() Notice { n := sample(event.NoticeRolloutEnforced, "en"); n.Used = -1; return n }(),
		"an owner's invitation":  func() Notice { n := sample(event.NoticeInvited, "en"); n.Owner = true; return n }(),
	} {
		m, err := renderer(t, "Lanternbird").RenderNotice(n)
		if !errors.Is(err, ErrFacts) || m != (Message{}) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, link := range []string{"http://127.0.0.1:8080/undo?of=x", "http://[::1]:8080/undo?of=x", "http://localhost/undo?of=x", "https://sign-in.example.com:8443/a/b?of=x-_"} {
		n := sample(event.NoticeInvited, "en")
		n.Link = link
		unlinked(t, notify(t, n), link)
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
