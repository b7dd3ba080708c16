package message

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
)

// Notice is what a message without a code is made of: it tells a person what
// happened to their login, and what to do.
type Notice struct {
	Kind string // one of event.NoticeKinds
	// At is when it happened.
	At time.Time
	// Reference is the support reference, 8 characters as stored.
	Reference string
	// Workspace and Locale are as in Facts.
	Workspace, Locale string
	// Owner says that the reader is at the workspace's main address and that it
	// is the owner's login: who reads it may be neither. Of a login that was
	// removed it says that the reader is the owner, or reads the main address.
	Owner bool
	// Label is that of the code that a notice tells of, as in Facts.
	Label string
	// Name is what somebody typed as a name, as account.InertName returns it.
	Name string
	// To is the channel that codes go to now, and Ending the last two digits of
	// a phone. An address is not shown: mail programs make links of its host.
	To, Ending string
	// Browser and System are those of whoever asked, as Describe names them; or
	// of whoever signed in.
	Browser, System string
	// Link is an address of our own pages, and Until when what it offers ends.
	// Only the kinds that offer something have one.
	Link  string
	Until time.Time
	// Date is what a notice of the roll-out tells: when codes become required, or
	// when that was stopped.
	Date time.Time
	// Used is how many of the People of a workspace have used a code. Without
	// people nothing is said of them.
	Used, People int
}

// NoticeForm says what there is of a kind of notice beside its e-mail.
type NoticeForm struct {
	Texted bool // a text message
	Owner  bool // words for the workspace's main address
	Link   bool // something to press
	// Named, Routed, Linked, Labeled and Dated say that it cannot do without a
	// name, a channel, the link, a label, or a date, which the others never have.
	Named, Routed, Linked, Labeled, Dated bool
	Counted                               bool // it may say how many have used a code
}

// FormOf returns the form of a kind, and false for an unknown kind.
func FormOf(kind string) (NoticeForm, bool) {
	switch kind {
	case event.NoticeLoginLocked:
		return NoticeForm{Texted: true, Owner: true}, true
	case event.NoticeFactorChanged:
		return NoticeForm{Texted: true, Link: true, Routed: true}, true
	case event.NoticeInvited:
		return NoticeForm{Link: true, Linked: true}, true
	case event.NoticeJoinRequested:
		return NoticeForm{Named: true}, true
	case event.NoticeLoginRemoved:
		return NoticeForm{Texted: true, Owner: true}, true
	case event.NoticeCodeUsed:
		return NoticeForm{Labeled: true}, true
	case event.NoticeRolloutAnnounced, event.NoticeRolloutReminded, event.NoticeRolloutGrace, event.NoticeRolloutWithdrawn, event.NoticeRolloutMoved:
		return NoticeForm{Link: true, Dated: true}, true
	case event.NoticeRolloutEnforced:
		return NoticeForm{Link: true, Dated: true, Counted: true}, true
	}
	return NoticeForm{}, false
}

// noticeView is what the words of a notice see.
type noticeView struct {
	Brand, Reference, Workspace string
	moment
	Label, Name, To, Ending, Browser, System string
	// Link reports whether there is one, and Until when it ends.
	Link  bool
	Until moment
	Date  moment
	// Used and People are those of the notice.
	Used, People int
}

// moment is a time of day and a date in words.
type moment struct {
	Time, Month string
	Day, Year   int
}

// moment returns the words of a time, in UTC.
func (l language) moment(at time.Time) (moment, error) {
	at = at.UTC()
	month, err := l.month(int(at.Month()))
	return moment{Time: at.Format(clock), Day: at.Day(), Month: month, Year: at.Year()}, err
}

// check refuses facts that are not of the closed forms in which auth has them,
// and those that the kind has no words for.
func (n Notice) check() error {
	form, known := FormOf(n.Kind)
	switch {
	case !known || !slices.Contains(event.NoticeKinds(), n.Kind):
		return fmt.Errorf("%w: kind of the notice", ErrFacts)
	case !isReference(n.Reference):
		return fmt.Errorf("%w: support reference", ErrFacts)
	case n.At.IsZero():
		return fmt.Errorf("%w: time", ErrFacts)
	case n.Owner && !form.Owner:
		return fmt.Errorf("%w: there are no words for the main address", ErrFacts)
	case form.Labeled != (n.Label != "") || n.Label != "" && !isLabel(n.Label):
		return fmt.Errorf("%w: label", ErrFacts)
	case account.InertName(n.Name) != n.Name || form.Named && n.Name == "":
		return fmt.Errorf("%w: name", ErrFacts)
	case !isOf(browsers(), n.Browser) || !isOf(systems(), n.System):
		return fmt.Errorf("%w: browser", ErrFacts)
	case !n.isRouted(form):
		return fmt.Errorf("%w: route", ErrFacts)
	case form.Dated == n.Date.IsZero():
		return fmt.Errorf("%w: date", ErrFacts)
	case n.Used < 0 || n.Used > n.People || n.People > 0 && !form.Counted:
		return fmt.Errorf("%w: people", ErrFacts)
	case n.Link == "" && form.Linked, n.Link != "" && (!form.Link || !isOurs(n.Link) || !n.Until.After(n.At)):
		return fmt.Errorf("%w: link", ErrFacts)
	}
	return nil
}

// isRouted reports whether the route that is told of is in order.
func (n Notice) isRouted(form NoticeForm) bool {
	switch n.To {
	case "":
		return !form.Routed && n.Ending == ""
	case account.Email:
		return n.Ending == ""
	case account.SMS:
		return len(n.Ending) == 2 && consistsOf(n.Ending, digits)
	}
	return false
}

// maxLink is the longest link in bytes: it stands in a line of the plain text.
const maxLink = 1000

// isOurs reports whether a link has the form of those of the hosted pages: an
// absolute address over https, or on this very machine, whose query holds what
// it opens. That it is one of ours follows from the envelope that it came in.
func isOurs(link string) bool {
	u, err := url.Parse(link)
	if err != nil || len(link) > maxLink || u.Host == "" || u.User != nil || u.Opaque != "" || u.RawQuery == "" || u.Fragment != "" {
		return false
	}
	host := u.Hostname()
	ip := net.ParseIP(host)
	loopback := host == "localhost" || ip != nil && ip.IsLoopback()
	return (u.Scheme == "https" || u.Scheme == "http" && loopback) && consistsOf(link, pathCharacters+":?=&[]")
}

// view returns the facts for the words of a language.
func (n Notice) view(brand string, l language) (noticeView, error) {
	at, err := l.moment(n.At)
	if err != nil {
		return noticeView{}, err
	}
	until, err := l.moment(n.Until)
	if err != nil {
		return noticeView{}, err
	}
	date, err := l.moment(n.Date)
	return noticeView{
		Brand: brand, Reference: challenge.ShowReference(n.Reference), Workspace: showName(n.Workspace), moment: at,
		Label: n.Label, Name: n.Name, To: n.To, Ending: n.Ending, Browser: n.Browser, System: n.System, Link: n.Link != "", Until: until,
		Date: date, Used: n.Used, People: n.People,
	}, err
}

// words is the first part of the keys of the notice's words.
func (n Notice) words() string {
	if n.Owner {
		return n.Kind + "_owner"
	}
	return n.Kind
}

// RenderNotice writes the e-mail of a notice, or fails with ErrFacts. It holds
// no code, and no address but the one link of a kind that offers something: a
// mail that says that something is wrong and tells where to go is what people
// have to learn to mistrust.
func (r *EmailRenderer) RenderNotice(n Notice) (Message, error) {
	err := n.check()
	if err != nil {
		return Message{}, err
	}
	l := r.languages.choose(n.Locale)
	view, err := n.view(r.brand, l)
	if err != nil {
		return Message{}, fmt.Errorf("render message: %w", err)
	}
	s := &speaker{language: l, view: view}
	say := func(part string) string { return s.say(n.words() + "." + part) }
	words := letter{
		Subject: say("subject"), Preheader: say("preheader"), Heading: say("heading"),
		Lines: []string{say("what"), say("not_you"), say("next")},
	}
	if n.Link != "" {
		words.Link, words.Press = n.Link, say("press")
	}
	return r.write(s, words.withSupport(say("support"), n.Reference))
}

// RenderNotice writes the text message of a notice, in one part of GSM-7, or
// fails with ErrFacts. It has no last line for a host, since there is nothing to
// type, and no link, for which there is no room: the words do without.
func (r *SMSRenderer) RenderNotice(n Notice) (Message, error) {
	err := n.check()
	form, _ := FormOf(n.Kind)
	if err == nil && (n.Owner || !form.Texted) {
		err = fmt.Errorf("%w: there are no words for a phone", ErrFacts)
	}
	if err != nil {
		return Message{}, err
	}
	n.Link = ""
	l := r.languages.choose(n.Locale)
	view, err := n.view(r.brand, l)
	if err != nil {
		return Message{}, fmt.Errorf("render message: %w", err)
	}
	text, err := onePartOf(l, n.Kind, view, "")
	if err != nil {
		return Message{}, fmt.Errorf("%w: %w", ErrFacts, err)
	}
	return Message{Text: text}, nil
}
