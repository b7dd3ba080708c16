// Package mask hides what looks like an address or a phone number in a text that somebody else wrote: a reason that was
// typed, a provider's own words. What doorcode itself records of a recipient is a mask from the start.
package mask

import (
	"regexp"
	"strings"

	"doorcode/pkg/account"
	"doorcode/pkg/phone"
)

// Masks hides addresses and numbers. It is safe for concurrent use.
type Masks struct {
	email, phone *regexp.Regexp
}

// New returns the masks.
func New() Masks {
	return Masks{
		email: regexp.MustCompile(`[^\s@"'<>()\[\],:;\\]+@[^\s@"'<>()\[\],:;\\]+`),
		phone: regexp.MustCompile(`\B\+[0-9][0-9 ().-]{4,22}[0-9]\b`),
	}
}

// Text masks what stands in a text as SEC-25 has it. A mask stays as it is.
func (m Masks) Text(s string) string {
	if !strings.ContainsAny(s, "@+") {
		return s
	}
	s = m.email.ReplaceAllStringFunc(s, func(address string) string { return strings.ToValidUTF8(account.Mask(address), "") })
	return m.phone.ReplaceAllStringFunc(s, phone.Mask)
}

// Value masks what stands in a value of JSON, the names of its fields too.
func (m Masks) Value(v any) any {
	switch v := v.(type) {
	case string:
		return m.Text(v)
	case []any:
		for i := range v {
			v[i] = m.Value(v[i])
		}
		return v
	case map[string]any:
		masked := make(map[string]any, len(v))
		for name, field := range v {
			masked[m.Text(name)] = m.Value(field)
		}
		return masked
	}
	return v
}
