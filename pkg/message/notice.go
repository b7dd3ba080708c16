package message

import (
	"fmt"
	"slices"
	"time"

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
	// is the owner's login: who reads it may be neither.
	Owner bool
}

// noticeView is what the words of a notice see.
type noticeView struct {
	Brand, Reference, Workspace string
	Time, Month                 string
	Day, Year                   int
}

// check refuses facts that are not of the closed forms in which auth has them.
func (n Notice) check() error {
	switch {
	case !slices.Contains(event.NoticeKinds(), n.Kind):
		return fmt.Errorf("%w: kind of the notice", ErrFacts)
	case !isReference(n.Reference):
		return fmt.Errorf("%w: support reference", ErrFacts)
	case n.At.IsZero():
		return fmt.Errorf("%w: time", ErrFacts)
	}
	return nil
}

// view returns the facts for the words of a language.
func (n Notice) view(brand string, l language) (noticeView, error) {
	at := n.At.UTC()
	month, err := l.month(int(at.Month()))
	return noticeView{
		Brand: brand, Reference: challenge.ShowReference(n.Reference), Workspace: showName(n.Workspace),
		Time: at.Format(clock), Day: at.Day(), Month: month, Year: at.Year(),
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
// neither a code nor any address: a mail that says that something is wrong and
// tells where to go is what people have to learn to mistrust.
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
	return r.write(s, letter{
		Subject: say("subject"), Preheader: say("preheader"), Heading: say("heading"),
		Lines: []string{say("what"), say("not_you"), say("next")},
	}.withSupport(say("support"), n.Reference))
}

// RenderNotice writes the text message of a notice, in one part of GSM-7, or
// fails with ErrFacts. It has no last line for a host: there is nothing to type.
func (r *SMSRenderer) RenderNotice(n Notice) (Message, error) {
	err := n.check()
	if err == nil && n.Owner {
		err = fmt.Errorf("%w: the main address is no phone", ErrFacts)
	}
	if err != nil {
		return Message{}, err
	}
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
