package delivery

import "testing"

// FuzzNames holds that words from the bus are one of the closed sets, or refused, or read as "other": a label of a metric
// follows from them.
func FuzzNames(f *testing.F) {
	for _, c := range Channels() {
		f.Add(string(c))
	}
	for _, seed := range []string{"", "other", "too_late", "timeout", "Email", "email ", "\x00", "pigeon"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, word string) {
		c, err := ParseChannel(word)
		if err == nil && string(c) != word || err != nil && c != "" {
			t.Errorf("%q is the channel %q, %v", word, c, err)
		}
		var r, again Reason
		err = r.UnmarshalText([]byte(word))
		if err != nil {
			return
		}
		err = again.UnmarshalText([]byte(r.String()))
		if err != nil || again != r || r.String() != word && r != ReasonOther {
			t.Errorf("%q is the reason %s, and that is %s", word, r, again)
		}
	})
}
