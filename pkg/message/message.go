// Package message writes the messages that carry a code, and the notices that
// carry none: the e-mail with subject, plain text and HTML of the same words
// (product.md 5.1), and the text message of one part (product.md 5.2, DESIGN 6).
// One renderer serves one channel.
//
// It promises that a code stands in neither subject nor preview line, that it
// is one unbroken run of digits, and that no message holds an image or, but for
// the name that account.InertName leaves of it, anything that a stranger typed
// (R5.9, R8.2): what is not of a closed form is left out or refused. No message
// with a code holds a link, and a notice at most one. It sends nothing, keeps
// nothing and knows no clock.
//
// The words of a language are one file in templates, those of all messages and
// channels together, each under a key; the layouts are shared. So another
// language is one more file, and the tests hold it to the keys of the others.
// Templates of the standard library are all that it takes: a sentence has no
// plural and no gender that would depend on a fact, and the language of a
// person is looked up by a rule of six lines, which any matcher of dialects
// would come down to for languages that have no variants.
package message

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"doorcode/pkg/challenge"
)

// ErrFacts says that a message cannot be written from these facts. It says
// which one is malformed and never what it holds.
var ErrFacts = errors.New("malformed facts of a message")

// The settings that a renderer may refuse; its error is one of them.
var (
	// ErrBrand is a brand that cannot stand in the messages of a channel.
	ErrBrand = errors.New("brand")
	// ErrHost is a host to which no code can be bound.
	ErrHost = errors.New("host")
	// ErrSupport is a support address that cannot stand in a message.
	ErrSupport = errors.New("support")
)

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
	// WrittenAt is when the message is written. A text message says how many
	// minutes are left from then on; an e-mail says when the code dies.
	WrittenAt time.Time
	// UserAgent is the header of the browser that asked. It is looked up in a
	// closed table and never shown.
	UserAgent string
	// Purpose is what the code is good for; empty is a sign-in. About is what an
	// approval or a proof is about.
	Purpose challenge.Purpose
	About   challenge.About
}

// purpose is what the code is good for.
func (f Facts) purpose() challenge.Purpose { return cmp.Or(f.Purpose, challenge.SignIn) }

// words is the first part of the keys of the words with this code.
func (f Facts) words() string {
	if f.purpose() == challenge.SignIn {
		return "code"
	}
	return string(f.purpose())
}

// about returns the words of what the code is about, and nothing for a sign-in.
func (f Facts) about(l language) (string, error) {
	if f.About == "" {
		return "", nil
	}
	return l.say(f.words()+"_about."+string(f.About), nil)
}

// Message is a rendered message; a text message has a Text alone. It may hold a
// code in clear, so it prints as its subject.
type Message struct {
	Subject, Text, HTML string
}

// Format shows the subject alone, whatever the verb.
func (m Message) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, strings.TrimSpace("message "+m.Subject))
}
