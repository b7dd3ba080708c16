package bus

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
)

// FuzzDecode holds that what comes from the bus keeps no header that would steer the server when it is sent again, and
// that a stream's number is one or refused.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{"", "Nats-Msg-Id", "nats-rollup", "NATS-Expected-Stream", "ce-id", "nats", "Nats-", "1", "0", "65535", "65536", "-1", "+1", "01"} {
		f.Add(seed, "x", []byte(nil))
		f.Add("ce-type", seed, []byte(seed))
	}
	f.Fuzz(func(t *testing.T, name, value string, data []byte) {
		m := decode("doorcode.challenge.email", nats.Header{name: {value, "second"}, "Nats-Msg-Id": {"id"}, "empty": {}}, data)
		for kept := range m.Header {
			if strings.HasPrefix(strings.ToLower(kept), "nats-") {
				t.Errorf("the header %q is kept", kept)
			}
		}
		if name != "Nats-Msg-Id" && m.ID != "id" || m.Header[name] != value && !isSteering(name) && name != "empty" {
			t.Errorf("%q: %q became %+v", name, value, m)
		}
		n, err := parseNumber(value)
		if (err == nil) != (n > 0) {
			t.Errorf("%q is the number %d, %v", value, n, err)
		}
	})
}
