package config

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// mask is what every printed, logged or marshaled Secret reads.
const mask = "[secret]"

// Secret is a value that must not be seen: a password, an API key.
//
// It cannot be compared with == (a compare would be neither constant in time nor wanted), and whatever prints, logs or
// marshals it gets a mask, also when it sits in an unexported field that fmt reads by reflection. The zero Secret is
// empty.
type Secret struct {
	_     [0]func() // Makes the type incomparable.
	value *string   // A pointer, because fmt prints no more of a nested pointer than its address.
}

// NewSecret wraps value as it is, white space included.
func NewSecret(value string) Secret {
	return Secret{value: &value}
}

// Reveal returns the value. Its callers are few and easily found: that is its purpose.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports whether there is no value or an empty one.
func (s Secret) IsZero() bool {
	return s.Reveal() == ""
}

// UnmarshalText takes the content of a secret file without the white space around it, since editors end a file with a
// line break.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(strings.TrimSpace(string(text)))
	return nil
}

// String returns the mask.
func (s Secret) String() string { return mask }

// GoString returns the mask.
func (s Secret) GoString() string { return mask }

// Format writes the mask for every verb, %x and %d included.
func (s Secret) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, mask) // A fmt.State does not fail.
}

// LogValue returns the mask.
func (s Secret) LogValue() slog.Value { return slog.StringValue(mask) }

// MarshalText returns the mask.
func (s Secret) MarshalText() ([]byte, error) { return []byte(mask), nil }

// MarshalJSON returns the mask as a JSON string.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + mask + `"`), nil }
