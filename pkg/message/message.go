// Package message writes the e-mail that carries a code: subject, plain text
// and HTML with the same words (product.md 5.1, DESIGN 6).
//
// It promises that a code stands in neither subject nor preview line, that it
// is one unbroken run of digits, and that the message holds no link, no image
// and nothing that a stranger typed (R5.9): what is not of a closed form is
// left out or refused. It sends nothing, keeps nothing and knows no clock.
//
// The words of a language are one file in templates; the layouts are shared,
// so that another language is another file.
package message

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io"
	"path"
	"strings"
	texttemplate "text/template"
	"time"

	"doorcode/pkg/challenge"
)

//go:embed templates
var templates embed.FS

// fallback is the language of everybody whose own has no file.
const fallback = "en"

// clock is how a time of day is written; the words name the zone.
const clock = "15:04"

// padding is how many blanks follow the preview line: mail programs show some
// 150 characters, and the code must not slip in behind a short line.
const padding = 160

// ErrFacts says that a message cannot be written from these facts. It says
// which one is malformed and never what it holds.
var ErrFacts = errors.New("malformed facts of a message")

// Facts is what one message is made of.
type Facts struct {
	// Code is 6 to 10 digits.
	Code string
	// Label is three capital letters, the same as on the page.
	Label string
	// Reference is the support reference, 8 characters as stored.
	Reference string
	// Workspace is the name of the workspace; a name that could pass for a
	// link, a number or an instruction of its own is left out.
	Workspace string
	// Locale picks the language; an unknown one falls back to English.
	Locale string
	// CreatedAt is when the code was asked for, ExpiresAt when it dies.
	CreatedAt, ExpiresAt time.Time
	// UserAgent is the header of the browser that asked. It is looked up in a
	// closed table and never shown.
	UserAgent string
}

// Message is a rendered message. It holds a code in clear, so it prints as its
// subject alone.
type Message struct {
	Subject, Text, HTML string
}

// Format shows the subject alone, whatever the verb.
func (m Message) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "message "+m.Subject) }

// Renderer writes the messages of one brand. It is safe for concurrent use.
type Renderer struct {
	brand     string
	languages map[string]language
}

// language is the two forms of one language's words.
type language struct {
	text *texttemplate.Template
	html *htmltemplate.Template
}

// view is what the templates see.
type view struct {
	Language, Brand, Code, Label, Reference, Workspace string
	Asked, Until                                       string
	Browser, System                                    string
	Padding                                            [padding]struct{}
}

// New returns a renderer for a brand of 1 to 40 characters, as people know the
// product that they sign in to.
func New(brand string) (*Renderer, error) {
	err := checkBrand(brand)
	if err != nil {
		return nil, fmt.Errorf("message: %w", err)
	}
	r := &Renderer{brand: brand, languages: map[string]language{}}
	files, err := templates.ReadDir("templates")
	if err != nil {
		return nil, fmt.Errorf("message: read templates: %w", err)
	}
	for _, f := range files {
		name, isLanguage := strings.CutSuffix(f.Name(), ".tmpl")
		if !isLanguage {
			continue
		}
		r.languages[name], err = parse(f.Name())
		if err != nil {
			return nil, fmt.Errorf("message: language %s: %w", name, err)
		}
	}
	return r, nil
}

// parse reads one language's words under both layouts.
func parse(words string) (language, error) {
	words = path.Join("templates", words)
	text, err := texttemplate.ParseFS(templates, "templates/text.layout", words)
	if err != nil {
		return language{}, fmt.Errorf("text: %w", err)
	}
	html, err := htmltemplate.ParseFS(templates, "templates/html.layout", words)
	if err != nil {
		return language{}, fmt.Errorf("html: %w", err)
	}
	return language{text: text, html: html}, nil
}

// Render writes the message, or fails with ErrFacts.
func (r *Renderer) Render(f Facts) (Message, error) {
	err := f.check()
	if err != nil {
		return Message{}, err
	}
	name := r.choose(f.Locale)
	browser, system := describe(f.UserAgent)
	v := view{
		Language: name, Brand: r.brand, Code: f.Code, Label: f.Label,
		Reference: challenge.ShowReference(f.Reference), Workspace: showName(f.Workspace),
		Asked: f.CreatedAt.UTC().Format(clock), Until: f.ExpiresAt.UTC().Format(clock),
		Browser: browser, System: system,
	}
	return r.languages[name].render(v)
}

// render fills the three parts.
func (l language) render(v view) (Message, error) {
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

// choose returns the language of a locale: `nl-BE`, else `nl`, else English.
func (r *Renderer) choose(locale string) string {
	locale = strings.ToLower(locale)
	short, _, _ := strings.Cut(locale, "-")
	for _, name := range []string{locale, short} {
		if _, known := r.languages[name]; known {
			return name
		}
	}
	return fallback
}
