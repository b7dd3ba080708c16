package message

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/challenge"
)

// own returns the facts of each code that is doorcode's own, in a language.
func own(locale string) map[string]Facts {
	all := map[string]Facts{}
	for _, p := range challenge.Purposes() {
		for _, about := range p.Abouts() {
			f := facts()
			f.Locale, f.Purpose, f.About = locale, p, about
			all[string(p)+"_"+string(about)] = f
		}
	}
	return all
}

func TestPurposes_AreWrittenAsTheGoldenFilesHaveThem(t *testing.T) {
	t.Parallel()
	for _, tag := range Languages() {
		for name, f := range own(tag) {
			m := render(t, f)
			golden(t, tag+"/"+name+".txt", m.Subject+"\n\n"+m.Text)
			if f.Purpose != challenge.Proof || f.About == challenge.AboutNumber { // No address is proved by a text message.
				golden(t, tag+"/"+name+"_sms.txt", text(t, smsRenderer(t, "Lanternbird", host), f))
			}
		}
	}
}

// A code that approves or proves says so, in words that no sign-in code has: who is asked for it on the phone, or on
// another page, can see what it does (product.md 5.2).
func TestPurposes_SayWhatTheCodeDoes(t *testing.T) {
	t.Parallel()
	r := smsRenderer(t, "Lanternbird", host)
	for _, tag := range Languages() {
		signIn := facts()
		signIn.Locale = tag
		seen := map[string]string{render(t, signIn).Text: "sign_in"}
		for name, f := range own(tag) {
			m, sms := render(t, f), text(t, r, f)
			if m.Subject == render(t, signIn).Subject || sms == text(t, r, signIn) {
				t.Errorf("%s: %s reads like a code to sign in with", tag, name)
			}
			preview, visible := words(t, m.HTML)
			if strings.Contains(m.Subject+preview, f.Code) || strings.Count(m.Text, f.Code) != 1 || !strings.HasPrefix(m.Subject, f.Label) {
				t.Errorf("%s: %s shows its code in %q or %q, or not once in the text", tag, name, m.Subject, preview)
			}
			if diff := cmp.Diff(strings.Join(strings.Fields(m.Text), " "), visible); diff != "" {
				t.Errorf("%s: %s differs (-text +html):\n%s", tag, name, diff)
			}
			if strings.Contains(m.HTML+m.Text, "<a ") || strings.Contains(m.HTML+m.Text, "://") {
				t.Errorf("%s: %s holds a link beside a code", tag, name)
			}
			if seen[m.Text] != "" && name != "proof_sms" && name != "proof_number" { // Both prove a number.
				t.Errorf("%s: %s and %s read alike", tag, name, seen[m.Text])
			}
			seen[m.Text] = name
		}
	}
}

// R12.3, as for a code to sign in with.
func TestPurposes_FitOnePartInEveryLanguage(t *testing.T) {
	t.Parallel()
	for _, brand := range []string{"Lanternbird", strings.Repeat("W", maxSMSBrand), strings.Repeat("€", maxSMSBrand)} {
		for _, at := range []string{host, longestHost()} {
			r := smsRenderer(t, brand, at)
			for _, tag := range Languages() {
				for _, f := range own(tag) {
					for digits := 6; digits <= 10; digits++ {
						f.Code = strings.Repeat("8", digits)
						onePart(t, text(t, r, f))
					}
				}
			}
		}
	}
	usual := smsRenderer(t, "Lanternbird", host)
	for _, tag := range Languages() {
		for name, f := range own(tag) {
			got := text(t, usual, f)
			if f.Purpose == challenge.Approval && strings.HasPrefix(got, "Lanternbird: ") {
				t.Errorf("%s: %s does not say what it approves: %s", tag, name, got)
			}
		}
	}
}

func TestPurposes_RefuseWhatIsAboutNothingThatTheyKnow(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*Facts){
		"a sign-in about something": func(f *Facts) { f.About = challenge.AboutSMS },
		"an approval of nothing":    func(f *Facts) { f.Purpose = challenge.Approval },
		"an approval of a proof":    func(f *Facts) { f.Purpose, f.About = challenge.Approval, challenge.AboutInvitation },
		"typed words":               func(f *Facts) { f.Purpose, f.About = challenge.Proof, "call +1 900" },
		"another purpose":           func(f *Facts) { f.Purpose = "door" },
	} {
		f := facts()
		spoil(&f)
		m, err := renderer(t, "Lanternbird").Render(f)
		if !errors.Is(err, ErrFacts) || m != (Message{}) {
			t.Errorf("an e-mail with %s: %v", name, err)
		}
		m, err = smsRenderer(t, "Lanternbird", host).Render(f)
		if !errors.Is(err, ErrFacts) || m != (Message{}) {
			t.Errorf("a text message with %s: %v", name, err)
		}
	}
}
