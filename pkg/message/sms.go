package message

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"doorcode/pkg/challenge"
	"doorcode/pkg/gsm7"
)

// The longest brand and host of a text message. With both of them and a code
// of ten digits the short form of every language fits one part; the build
// checks it (R12.3). Eleven is also what a sender's name may have.
const (
	maxSMSBrand = 11
	maxHost     = 63
)

// maxRun is the longest run of digits in a brand: phones take a longer one for
// the code (providers.md 8).
const maxRun = 3

// grace is how long a message may have waited without saying a minute less.
const grace = 15 * time.Second

// SMSRenderer writes the text messages of one brand and one login page. It is
// safe for concurrent use.
type SMSRenderer struct {
	brand, host string
	languages   catalogue
}

// smsView is what the templates of a text message see.
type smsView struct {
	Brand, Code, Label string
	Minutes            int
	About              string // words; none of a sign-in
}

// NewSMS returns a renderer for a brand of 1 to 11 characters and the host of
// the page where codes are typed, in lower case, with neither scheme nor port.
// It refuses, with ErrBrand or ErrHost, what would not fit one part of GSM-7 in
// every language with the longest code: two parts cost twice, may arrive apart,
// and a character outside GSM-7 leaves room for 70 in place of 160.
func NewSMS(brand, host string) (*SMSRenderer, error) {
	err := checkBrand(brand, maxSMSBrand)
	if err == nil {
		err = checkCharacters(brand)
	}
	if err == nil {
		err = checkHost(host)
	}
	if err != nil {
		return nil, fmt.Errorf("message: %w", err)
	}
	languages, err := read()
	if err != nil {
		return nil, fmt.Errorf("message: %w", err)
	}
	r := &SMSRenderer{brand: brand, host: host, languages: languages}
	for _, l := range languages {
		for _, f := range longest() {
			_, err = r.write(l, f)
			if err != nil {
				return nil, fmt.Errorf("message: with this brand and %w: %w", ErrHost, err)
			}
		}
	}
	return r, nil
}

// Render writes a text message, or fails with ErrFacts.
func (r *SMSRenderer) Render(f Facts) (Message, error) {
	err := f.check()
	if err != nil {
		return Message{}, err
	}
	if f.WrittenAt.IsZero() {
		return Message{}, fmt.Errorf("%w: time of writing", ErrFacts)
	}
	text, err := r.write(r.languages.choose(f.Locale), f)
	if err != nil {
		return Message{}, fmt.Errorf("%w: %w", ErrFacts, err)
	}
	return Message{Text: text}, nil
}

// write returns the text with a code. Whatever the words, the last line binds
// the code to the host: phones offer it on that page alone, and nothing may
// follow it (providers.md 8).
func (r *SMSRenderer) write(l language, f Facts) (string, error) {
	about, err := f.about(l)
	if err != nil {
		return "", fmt.Errorf("render message: %w", err)
	}
	v := smsView{Brand: r.brand, Code: f.Code, Label: f.Label, Minutes: f.minutes(), About: about}
	return onePartOf(l, f.words(), v, fmt.Sprintf("\n@%s #%s", r.host, v.Code))
}

// longest are facts of each kind of message with the longest code and life.
func longest() []Facts {
	var all []Facts
	for _, p := range challenge.Purposes() {
		for _, about := range append(p.Abouts(), "") {
			if p.Check(about) != nil {
				continue
			}
			at := time.Unix(0, 0)
			all = append(all, Facts{
				Code: "0000000000", Label: "KTM", Purpose: p, About: about, CreatedAt: at, WrittenAt: at, ExpiresAt: at.Add(challenge.MaxLife),
			})
		}
	}
	return all
}

// onePartOf returns the first form of a message that fits one part with its
// end: the long one, else the short one.
func onePartOf(l language, kind string, view any, end string) (string, error) {
	for _, form := range []string{".sms", ".sms_short"} {
		words, err := l.say(kind+form, view)
		if err != nil {
			return "", fmt.Errorf("render message: %w", err)
		}
		parts, _, alphabet := gsm7.Parts(words + end)
		if parts == 1 && alphabet == gsm7.GSM7 {
			return words + end, nil
		}
	}
	return "", fmt.Errorf("language %s: the text does not fit one part", l.tag)
}

// minutes is how many a code has left when the message is written, at least
// one and at most its whole life: the clocks of two processes may differ.
func (f Facts) minutes() int {
	left := min(f.ExpiresAt.Sub(f.WrittenAt), f.ExpiresAt.Sub(f.CreatedAt))
	return max(int((left+grace)/time.Minute), 1)
}

// checkCharacters refuses a brand that would move the message out of GSM-7, or
// that holds digits which could pass for the code.
func checkCharacters(brand string) error {
	_, _, alphabet := gsm7.Parts(brand)
	if alphabet != gsm7.GSM7 {
		return fmt.Errorf("the %w holds a character outside the GSM-7 alphabet", ErrBrand)
	}
	run := 0
	for _, r := range brand {
		run++
		if !unicode.IsDigit(r) {
			run = 0
		}
		if run > maxRun {
			return fmt.Errorf("the %w holds digits that could pass for a code", ErrBrand)
		}
	}
	return nil
}

// checkHost refuses what is not the full name of a host, of at least two labels
// in the form of RFC 1123 §2.1. An address of numbers is none, and a name of
// other scripts stands in its ASCII form.
func checkHost(host string) error {
	labels := strings.Split(host, ".")
	if len(host) > maxHost {
		return fmt.Errorf("the %w has more than %d characters", ErrHost, maxHost)
	}
	if len(labels) < 2 || strings.Trim(labels[len(labels)-1], digits) == "" {
		return fmt.Errorf("the %w is not a full name such as login.example.com", ErrHost)
	}
	for _, label := range labels {
		if label == "" || strings.Trim(label, "-") != label || !consistsOf(label, hostCharacters) {
			return fmt.Errorf("the %w is not a name of lower-case letters, digits and hyphens", ErrHost)
		}
	}
	return nil
}
