package e2e

import (
	"bytes"
	"encoding/base64"
	endian "encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf16"
)

// codeDigits is the length of the codes that are searched for. Among ten digits a code stands out: in a million windows of
// digits that mean something else, one of a hundred codes is met once in a hundred runs.
const codeDigits = 10

// codeSpace is how many codes there are.
const codeSpace = 1e10

// secretKind is what a secret is.
type secretKind string

const (
	issuedCode  secretKind = "code"
	typedCode   secretKind = "mistyped code"
	mailAddress secretKind = "address" // the part before the at sign, which alone is secret
	phoneNumber secretKind = "number"  // of a phone, without the country's digits
	controlCode secretKind = "control" // a code that nobody ever saw: what chance finds
)

// secret is what has to stay where it belongs.
type secret struct {
	kind secretKind
	text string
}

// document is one thing that is searched.
type evidence struct {
	source string // logs, metrics, traces, streams, dump, WAL, files
	name   string // which of them: the process, the table, the relation
	// inDirectory says that addresses and numbers are here by design (DESIGN 5): a table of the directory.
	inDirectory bool
	data        []byte
}

// sighting is a secret in a document.
type sighting struct {
	secret
	form     string // how it is written there
	document *evidence
}

func (f sighting) String() string {
	return fmt.Sprintf("%s as %s in %s (%s)", f.kind, f.form, f.document.source, f.document.name)
}

// needle is one written form of a secret.
type needle struct {
	secret
	form    string
	pattern string
}

// needleHead is how many bytes of a needle lead to it. No needle is shorter.
const needleHead = 8

// needles finds forms by their first bytes.
type needles struct {
	byHead map[uint64][]needle
	likely [1 << 10]uint64 // a bit for every hash of a head: almost every place of a document is done with here
}

func (n *needles) add(one needle) {
	if n.byHead == nil {
		n.byHead = map[uint64][]needle{}
	}
	h := endian.BigEndian.Uint64([]byte(one.pattern))
	n.byHead[h] = append(n.byHead[h], one)
	bit := slot(h)
	n.likely[bit/64] |= 1 << (bit % 64)
}

// slot hashes a head.
func slot(h uint64) uint64 { return h * 0x9e3779b97f4a7c15 >> 48 }

// at returns the needles that data goes on with after a head. Their patterns are compared without regard to case when
// fold is set.
func (n *needles) at(h uint64, data []byte, same func(a, b []byte) bool) []needle {
	bit := slot(h)
	if n.likely[bit/64]&(1<<(bit%64)) == 0 {
		return nil
	}
	var all []needle
	for _, one := range n.byHead[h] {
		if len(data) >= len(one.pattern) && same(data[:len(one.pattern)], []byte(one.pattern)) {
			all = append(all, one)
		}
	}
	return all
}

// search looks for secrets in documents and keeps count of what chance may find.
type leakSearch struct {
	exact, folded needles // forms in which the case of letters counts, and in which it does not
	digits        map[string]secret
	secrets       map[secretKind]int
	windows       map[string]int // of ten digits, per source
	controls      map[string]int // controls that were found, per source
	found         []sighting
}

func newLeakSearch() *leakSearch {
	return &leakSearch{digits: map[string]secret{}, secrets: map[secretKind]int{}, windows: map[string]int{}, controls: map[string]int{}}
}

// hide adds a secret to those that are searched for.
func (s *leakSearch) hide(k secretKind, text string) {
	one := secret{k, text}
	s.secrets[k]++
	if len(text) == codeDigits && strings.Trim(text, "0123456789") == "" {
		s.digits[text] = one
	} else {
		s.folded.add(needle{one, "plain text", strings.ToLower(text)})
	}
	if k == controlCode {
		return // They measure the chance of the form that chance can meet.
	}
	var escaped, percent strings.Builder
	wide := utf16.Encode([]rune(text))
	little, big := []byte{}, []byte{}
	for i := range len(text) {
		fmt.Fprintf(&escaped, `\u%04x`, text[i])
		fmt.Fprintf(&percent, `%%%02x`, text[i])
		little, big = endian.LittleEndian.AppendUint16(little, wide[i]), endian.BigEndian.AppendUint16(big, wide[i])
	}
	for form, pattern := range map[string]string{
		"hex": hex.EncodeToString([]byte(text)), "escapes of JSON": escaped.String(), "escapes of URLs": percent.String(),
		"UTF-16": string(little), "UTF-16, big end first": string(big),
	} {
		s.folded.add(needle{one, form, pattern})
	}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 { // bytes that stand before it in a group of three
			text := encoding.EncodeToString(append(make([]byte, before), text...))
			whole := (before + len(one.text)) / 3 * 4 // without the last, unfinished group
			s.exact.add(needle{one, "base64", text[(before*8+5)/6 : whole]})
		}
	}
}

// read searches a document.
func (s *leakSearch) read(d evidence) {
	var exact, folded uint64
	run := 0 // digits up to here
	for i, c := range d.data {
		lower := c
		if 'A' <= c && c <= 'Z' {
			lower += 'a' - 'A'
		}
		exact, folded = exact<<8|uint64(c), folded<<8|uint64(lower)
		if c < '0' || c > '9' {
			run = 0
		} else {
			run++
			if run >= codeDigits {
				s.window(&d, string(d.data[i-codeDigits+1:i+1]))
			}
		}
		if i < needleHead-1 || folded == 0 {
			continue
		}
		from := d.data[i-needleHead+1:]
		for _, one := range s.exact.at(exact, from, bytes.Equal) {
			s.found = append(s.found, sighting{one.secret, one.form, &d})
		}
		for _, one := range s.folded.at(folded, from, bytes.EqualFold) {
			s.found = append(s.found, sighting{one.secret, one.form, &d})
		}
	}
}

// window looks at ten digits in a row.
func (s *leakSearch) window(d *evidence, text string) {
	s.windows[d.source]++
	one, hit := s.digits[text]
	switch {
	case !hit:
	case one.kind == controlCode:
		s.controls[d.source]++
	default:
		s.found = append(s.found, sighting{one, "digits", d})
	}
}

// leaks returns what is found where it may not be: an address or a number outside the directory, and a code anywhere
// more often than chance has it.
func (s *leakSearch) leaks() []sighting {
	var leaks []sighting
	chance := map[string][]sighting{}
	for _, f := range s.found {
		switch {
		case f.document.inDirectory && (f.kind == mailAddress || f.kind == phoneNumber):
		case f.form == "digits":
			chance[f.document.source] = append(chance[f.document.source], f)
		default: // No other form is short enough to be met by chance.
			leaks = append(leaks, f)
		}
	}
	for source, some := range chance {
		if len(some) > s.allowed(source) {
			leaks = append(leaks, some...)
		}
	}
	return leaks
}

// expected is how many of the ten-digit secrets chance alone finds in a source: that many windows, each equal to one of
// the secrets with the rate of the controls, and no less than if digits were random.
func (s *leakSearch) expected(source string) float64 {
	rate := float64(s.windows[source]) / codeSpace
	if s.secrets[controlCode] > 0 {
		rate = max(rate, float64(s.controls[source])/float64(s.secrets[controlCode]))
	}
	return rate * float64(len(s.digits)-s.secrets[controlCode])
}

// allowed is the least number of hits that chance exceeds less than once in a million runs.
func (s *leakSearch) allowed(source string) int {
	mean := s.expected(source)
	term := math.Exp(-mean)
	exceeds := -math.Expm1(-mean) // P(more than n hits), for n = 0
	n := 0
	for exceeds > 1e-6 {
		n++
		term *= mean / float64(n)
		exceeds -= term
	}
	return n
}

// places says where secrets of a kind were found, each place once.
func (s *leakSearch) places(text string) []string {
	var all []string
	for _, f := range s.found {
		if f.text == text {
			all = append(all, f.document.source+" "+f.document.name)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
