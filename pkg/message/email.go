package message

import (
	"bytes"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"strings"
	texttemplate "text/template"
	"unicode/utf8"

	"doorcode/pkg/account"
	"doorcode/pkg/challenge"
)

// maxBrand is the longest brand of an e-mail in characters: the subject stays
// readable in a list of messages.
const maxBrand = 40

// maxSupport is the longest support address in characters: it stands in a line.
const maxSupport = 100

// clock is how a time of day is written; the words name the zone.
const clock = "15:04"

// padding is how many blanks follow the preview line: mail programs show some
// 150 characters, and the code must not slip in behind a short line.
const padding = 160

// EmailRenderer writes the e-mails of one brand. It is safe for concurrent use.
type EmailRenderer struct {
	brand, support string
	languages      catalogue
	text           *texttemplate.Template
	html           *htmltemplate.Template
}

// letter is what the two layouts of an e-mail see: words without markup.
type letter struct {
	Language, Subject, Preheader, Heading string
	Code                                  string // empty in a notice
	Lines                                 []string
	Link, Press                           string // empty but in a notice that offers something
	// Support is the last line up to the support reference, and After what
	// follows that: it is read out, so it never breaks at its dash.
	Support, Reference, After string
	Padding                   [padding]struct{}
}

// emailView is what the words of an e-mail with a code see.
type emailView struct {
	Brand, Code, Label, Reference, Workspace, Support string
	Asked, Until                                      string
	Browser, System                                   string
	About                                             string // words; none of a sign-in
}

// NewEmail returns a renderer for a brand of 1 to 40 characters, as people know
// the product that they sign in to, and for the place where they find support:
// the address of a page with https, an e-mail address, or nothing. It fails
// with ErrBrand or ErrSupport.
func NewEmail(brand, support string) (*EmailRenderer, error) {
	err := checkBrand(brand, maxBrand)
	if err == nil {
		support, err = showSupport(support)
	}
	if err != nil {
		return nil, fmt.Errorf("message: %w", err)
	}
	r := &EmailRenderer{brand: brand, support: support}
	r.languages, err = read()
	if err != nil {
		return nil, fmt.Errorf("message: %w", err)
	}
	r.text, err = texttemplate.ParseFS(templates, "templates/letter.txt")
	if err != nil {
		return nil, fmt.Errorf("message: %w", err)
	}
	r.html, err = htmltemplate.ParseFS(templates, "templates/letter.html")
	if err != nil {
		return nil, fmt.Errorf("message: %w", err)
	}
	return r, nil
}

// Render writes an e-mail with a code, or fails with ErrFacts.
func (r *EmailRenderer) Render(f Facts) (Message, error) {
	err := f.check()
	if err != nil {
		return Message{}, err
	}
	browser, system := Describe(f.UserAgent)
	l := r.languages.choose(f.Locale)
	about, err := f.about(l)
	if err != nil {
		return Message{}, fmt.Errorf("render message: %w", err)
	}
	s := &speaker{language: l, view: emailView{
		Brand: r.brand, Code: f.Code, Label: f.Label, Support: r.support,
		Reference: challenge.ShowReference(f.Reference), Workspace: showName(f.Workspace),
		Asked: f.CreatedAt.UTC().Format(clock), Until: f.ExpiresAt.UTC().Format(clock),
		Browser: browser, System: system, About: about,
	}}
	say := func(part string) string { return s.say(f.words() + "." + part) }
	return r.write(s, letter{
		Subject: say("subject"), Preheader: say("preheader"), Heading: say("heading"), Code: f.Code,
		Lines: []string{say("use"), say("asked"), say("not_you"), say("mailbox")},
	}.withSupport(say("support"), f.Reference))
}

// withSupport puts in the last line, which holds the support reference.
func (l letter) withSupport(line, reference string) letter {
	shown := challenge.ShowReference(reference)
	var found bool
	l.Support, l.After, found = strings.Cut(line, shown)
	if found {
		l.Reference = shown
	}
	return l
}

// write fills the layouts with what was said.
func (r *EmailRenderer) write(s *speaker, l letter) (Message, error) {
	if s.err != nil {
		return Message{}, fmt.Errorf("render message: %w", s.err)
	}
	l.Language = s.tag
	var text, html bytes.Buffer
	err := errors.Join(r.text.Execute(&text, l), r.html.Execute(&html, l))
	if err != nil {
		return Message{}, fmt.Errorf("render message: %w", err)
	}
	return Message{Subject: l.Subject, Text: text.String(), HTML: html.String()}, nil
}

// checkBrand refuses a brand that could not stand in a line, or is longer than
// that many characters.
func checkBrand(brand string, longest int) error {
	switch {
	case account.ValidateName(brand) != nil || strings.TrimSpace(brand) != brand:
		return fmt.Errorf("the %w is empty or holds control characters", ErrBrand)
	case utf8.RuneCountInString(brand) > longest:
		return fmt.Errorf("the %w has more than %d characters", ErrBrand, longest)
	}
	return nil
}

// showSupport returns a support address as a message shows it: words to read
// and type, without the scheme. Nobody learns from doorcode to press a link in
// a mail about a sign-in.
func showSupport(support string) (string, error) {
	shown, isPage := strings.CutPrefix(support, "https://")
	if len(shown) > maxSupport {
		return "", fmt.Errorf("the %w address has more than %d characters", ErrSupport, maxSupport)
	}
	host, rest, _ := strings.Cut(shown, "/")
	switch {
	case support == "", !isPage && account.ValidateEmail(support) == nil:
	case !isPage, checkHost(host) != nil, !consistsOf(rest, pathCharacters):
		return "", fmt.Errorf("the %w address is neither a page such as https://help.example.com nor an e-mail address", ErrSupport)
	}
	return strings.TrimSuffix(shown, "/"), nil
}
