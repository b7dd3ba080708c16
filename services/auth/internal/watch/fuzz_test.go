package watch_test

import (
	"testing"

	"doorcode/services/auth/internal/watch"
)

// FuzzHear holds that no announcement breaks the hub or wakes who waits for another challenge.
func FuzzHear(f *testing.F) {
	for _, seed := range []string{`{"challenges": ["AAECAwQFBgcICQoLDA0ODw"]}`, `{"challenges": null}`, `{"challenges": [1]}`, `{}`, ``, `null`, `[]`, `{"challenges": {"a": 1}}`} {
		f.Add([]byte(seed))
	}
	hub := watch.NewHub(1)
	f.Cleanup(hub.Close)
	w, ok := hub.Open("a challenge that nobody has")
	if !ok {
		f.Fatal("no watch")
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		hub.Hear(data)
		hub.Hear(data)
		if hub.Count() != 1 || w == nil {
			t.Errorf("%d watches after %q", hub.Count(), data)
		}
	})
}
