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

// clock is how a time of day is written; the words name the zone.
const clock = "15:04"

// padding is how many blanks follow the preview line: mail programs show some
// 150 characters, and the code must not slip in behind a short line.
const padding = 160

// EmailRenderer writes the e-mails of one brand. It is safe for concurrent use.
type EmailRenderer struct {
	brand     string
	languages catalogue[forms]
}

// forms is the two forms of one language's words.
type forms struct {
	text *texttemplate.Template
	html *htmltemplate.Template
}

// emailView is what the templates of an e-mail see.
type emailView struct {
	Language, Brand, Code, Label, Reference, Workspace string
	Asked, Until                                       string
	Browser, System                                    string
	Padding                                            [padding]struct{}
}

// NewEmail returns a renderer for a brand of 1 to 40 characters, as people know
// the product that they sign in to, or ErrBrand.
func NewEmail(brand string) (*EmailRenderer, error) {
	err := checkBrand(brand, maxBrand)
	if err != nil {
		return nil, fmt.Errorf("message: %w", err)
	}
	languages, err := read(parseForms)
	if err != nil {
		return nil, fmt.Errorf("message: %w", err)
	}
	return &EmailRenderer{brand: brand, languages: languages}, nil
}

// parseForms reads one language's words under both layouts.
func parseForms(file string) (forms, error) {
	text, err := texttemplate.ParseFS(templates, "templates/text.layout", file)
	if err != nil {
		return forms{}, fmt.Errorf("text: %w", err)
	}
	html, err := htmltemplate.ParseFS(templates, "templates/html.layout", file)
	if err != nil {
		return forms{}, fmt.Errorf("html: %w", err)
	}
	return forms{text: text, html: html}, nil
}

// Render writes an e-mail, or fails with ErrFacts.
func (r *EmailRenderer) Render(f Facts) (Message, error) {
	err := f.check()
	if err != nil {
		return Message{}, err
	}
	name, language := r.languages.choose(f.Locale)
	browser, system := describe(f.UserAgent)
	return language.render(emailView{
		Language: name, Brand: r.brand, Code: f.Code, Label: f.Label,
		Reference: challenge.ShowReference(f.Reference), Workspace: showName(f.Workspace),
		Asked: f.CreatedAt.UTC().Format(clock), Until: f.ExpiresAt.UTC().Format(clock),
		Browser: browser, System: system,
	})
}

// render fills the three parts.
func (l forms) render(v emailView) (Message, error) {
	var subject, text, html bytes.Buffer
	err := errors.Join(
		l.text.ExecuteTemplate(&subject, "subject", v),
		l.text.ExecuteTemplate(&text, "text.layout", v),
		l.html.ExecuteTemplate(&html, "html.layout", v),
	)
	if err != nil {
		return Message{}, fmt.Errorf("render message: %w", err)
	}
	return Message{Subject: subject.String(), Text: text.String(), HTML: html.String()}, nil
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
