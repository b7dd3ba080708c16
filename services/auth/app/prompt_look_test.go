package app_test

import (
	"flag"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"doorcode/pkg/chromium/browsertest"
	"doorcode/pkg/event"
	pkgproblem "doorcode/pkg/problem"
)

// pictures is where the pictures of the pages go; without it none is taken.
var pictures = flag.String("pictures", "", "folder for pictures of the hosted pages") //nolint:gochecknoglobals // a flag of the test

// look is one state of a page and how to come there.
type look struct {
	name string
	set  func(*scene)
	act  func(*browsertest.Tab)
}

// delivery lets the newest message stand so.
func delivery(status, text string) func(*scene) {
	return func(s *scene) { s.state.Deliveries[0].Status, s.state.Deliveries[0].Text = status, text }
}

// other offers a second way.
func other(s *scene) {
	s.state.Routes = []event.OfferedRoute{{Channel: "sms", Recipient: "•••48"}}
}

// texts sends the code by SMS first.
func textsFirst(s *scene) {
	s.state.Channel, s.state.Recipient = "sms", "•••48"
	s.state.Routes = []event.OfferedRoute{{Channel: "email", Recipient: "b•••@example.com"}}
	s.state.Deliveries[0] = event.DeliveryState{
		Send: 1, Channel: "sms", Recipient: "•••48", Status: "delivered", At: s.state.Deliveries[0].At,
		Text: "Delivered to the phone, as far as its network reports.",
	}
}

// ended ends the challenge.
func ended(state string) func(*scene) {
	return func(s *scene) { s.state.State, s.state.ResendAt = state, nil }
}

// refusing lets checks be refused.
func refusing(status int, code string, left int, after time.Duration) func(*scene) {
	return func(s *scene) {
		s.judge = func(event.CheckRequest) (event.CheckReply, *pkgproblem.Problem) {
			p := pkgproblem.New(status, code, "Refused.")
			p.RetryAfter, p.ChecksLeft = after, &left
			return event.CheckReply{}, p
		}
	}
}

func typing(code string) func(*browsertest.Tab) {
	return func(b *browsertest.Tab) {
		b.Type("#code", code)
		b.Press("form.code button")
	}
}

func help(b *browsertest.Tab) { b.Press("a[href$='/help']") }

// looks lists every state in which a person can meet the pages.
func looks() []look {
	again := func(s *scene) {
		s.state.ResendAt = new(time.Now().Add(5 * time.Minute))
		s.state.Deliveries = append(s.state.Deliveries, event.DeliveryState{
			Send: 2, Channel: "email", Recipient: "b•••@example.com", Status: "queued", At: time.Now(), Text: "Your message is on its way.",
		})
	}
	const deferred = "example.com asked to come back later; the message is tried again by itself."
	const refused = "Refused by example.com: this recipient does not exist there."
	return []look{
		{"queued", delivery("queued", "Your message is on its way."), nil},
		{"sending", delivery("sending", "Sending takes longer than usual; we keep trying."), nil},
		{"accepted", nil, nil},
		{"waiting", func(s *scene) { s.state.Waiting = 2 }, nil},
		{"skippable", offered(3, new(time.Date(2026, time.October, 6, 7, 0, 0, 0, time.UTC))), nil},
		{"skippable-last", offered(1, nil), nil},
		{"skipped", offered(1, nil), func(b *browsertest.Tab) { b.Press("form.skip button") }},
		{"waived", ended("waived"), nil},
		{"delivered", delivery("delivered", "Accepted by example.com; if it is not in the inbox, look for it in the spam folder."), nil},
		{"deferred", func(s *scene) { delivery("deferred", deferred)(s); other(s) }, nil},
		{"failed", delivery("failed", refused), nil},
		{"unknown", delivery("unknown", "We cannot tell whether the message was sent; it may still arrive."), nil},
		{"abandoned", delivery("abandoned", "We could not confirm that the message was sent, and we no longer try to."), nil},
		{"again", again, nil},
		{"nomore", func(s *scene) { s.state.ResendAt = nil }, nil},
		{"sms", textsFirst, nil},
		{"wrong", refusing(422, "wrong_code", 4, 0), typing("111111")},
		{"malformed", nil, typing("12ab")},
		{"lasttry", refusing(422, "wrong_code", 0, 0), typing("111111")},
		{"toomany", refusing(429, "too_many", 0, 35*time.Minute), typing("111111")},
		{"toomany-short", refusing(429, "too_many", 0, 3*time.Minute), typing("111111")},
		{"early", func(s *scene) {
			s.order = func(event.ResendRequest) (event.ResendReply, *pkgproblem.Problem) {
				p := pkgproblem.New(429, "resend_too_early", "Wait.")
				p.RetryAfter = 12 * time.Second
				return event.ResendReply{}, p
			}
		}, func(b *browsertest.Tab) { b.Press(".ways button") }},
		{"expired", ended("expired"), nil},
		{"used", ended("approved"), nil},
		{"used-again", func(s *scene) { ended("approved")(s); refusing(422, "used", 0, 0)(s) }, typing("111111")},
		{"exhausted", ended("exhausted"), nil},
		{"canceled", ended("canceled"), nil},
		{"unavailable", func(s *scene) { s.away = true }, nil},
		{"help-accepted", nil, help},
		{"help-deferred", func(s *scene) { delivery("deferred", deferred)(s); other(s) }, help},
		{"help-failed", delivery("failed", refused), help},
		{"help-sms", textsFirst, help},
		{"done", nil, typing("482917")},
	}
}

// TestPrompt_EveryStateIsAccessibleAndFits judges each state by axe-core on a small phone and on a desktop, in light and
// dark. Scripts are off, so that every page stands still and the way back can be looked at.
func TestPrompt_EveryStateIsAccessibleAndFits(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	s.skipping(t, nil)
	b := browsertest.Open(t, browsertest.Options{NoScript: true, Insecure: true})
	for _, l := range looks() {
		s.serveAnew()
		address, _ := s.prompt(t)
		s.set(func() {
			if l.set != nil {
				l.set(s)
			}
		})
		b.Visit(address)
		if l.act != nil {
			b.Leave(func() { l.act(b) })
		}
		s.judgePage(t, b, l.name)
	}
	b.Visit(s.pages.URL + "/prompt?ticket=x")
	s.judgePage(t, b, "lost")
}

// judgePage judges what the tab shows in every form.
func (s *scene) judgePage(t *testing.T, b *browsertest.Tab, name string) {
	t.Helper()
	shown := map[string][]string{ // The few that the README shows.
		"prompt-phone.png": {"accepted", "320", "light"}, "prompt-dark.png": {"wrong", "640", "dark"}, "help.png": {"help-deferred", "640", "light"},
		"settings-phone.png": {"settings", "320", "light"}, "people.png": {"people", "1280", "light"},
	}
	for width, label := range map[int64]string{320: "320", 640: "640", 1280: "1280"} {
		for _, scheme := range []browsertest.Scheme{browsertest.Light, browsertest.Dark} {
			b.Show(width, scheme)
			b.Fits(name + " at " + label)
			if width != 640 {
				b.Accessible(name + " at " + label + " " + string(scheme))
			}
			for file, want := range shown {
				if *pictures != "" && slices.Equal(want, []string{name, label, string(scheme)}) {
					b.Picture(filepath.Join(*pictures, file))
				}
			}
			if *allPictures != "" {
				b.Picture(filepath.Join(*allPictures, name+"-"+label+"-"+string(scheme)+".png"))
			}
		}
	}
}

// allPictures is where a picture of every state in every form goes, for a person to look through.
var allPictures = flag.String("all-pictures", "", "folder for pictures of every state of the hosted pages") //nolint:gochecknoglobals // a flag of the test

// serveAnew plays the plain state again.
func (s *scene) serveAnew() {
	s.set(func() {
		s.state, s.away = plain(), false
		s.judge = func(event.CheckRequest) (event.CheckReply, *pkgproblem.Problem) {
			return event.CheckReply{Assertion: "eyJhbGciOiJFZERTQSJ9.e30.c2ln"}, nil
		}
		s.order = func(event.ResendRequest) (event.ResendReply, *pkgproblem.Problem) { return event.ResendReply{}, nil }
	})
}
