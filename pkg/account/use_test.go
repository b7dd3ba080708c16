package account

import "testing"

// Several people leave more browsers and more networks than one does; either alone is one person with many devices, or
// one phone that moves.
// It shows SEC-44 of deploy/SECURITY.md.
func TestUse_LooksSharedByBrowsersAndNetworks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		use    Use
		shared bool
		people int
	}{
		{Use{}, false, 1},
		{Use{Browsers: 3, Networks: 40}, false, 1},
		{Use{Browsers: 9, Networks: 2}, false, 1},
		{Use{Browsers: 4, Networks: 3}, true, 2},
		{Use{Browsers: 7, Networks: 5, Stopped: 100}, true, 4},
		{Use{Stopped: 100}, false, 1},
	} {
		if c.use.Shared() != c.shared || c.use.People() != c.people {
			t.Errorf("%+v: shared %v, %d people", c.use, c.use.Shared(), c.use.People())
		}
	}
}

// Each sentence about a route has a key of its own, so that a page can say it in another language.
func TestRoutes_NameTheirReasonWithTheSentence(t *testing.T) {
	t.Parallel()
	w := Workspace{ID: "w", MainEmail: "office@acme.example", Owner: "jo"}
	sentences := map[Reason]string{}
	for _, l := range []Login{
		{ID: "jo"},
		{ID: "jo", Email: "jo@acme.example"},
		{ID: "kim", Email: "kim@acme.example", Phone: "+12025550148"},
		{ID: "kim", Email: "kim@acme.example", Phone: "+12025550148", Channel: SMS},
	} {
		for _, r := range Addresses(w, l, true) {
			if known, ok := sentences[r.Reason]; r.Reason == "" || ok && known != r.Why {
				t.Errorf("%q stands for %q and %q", r.Reason, known, r.Why)
			}
			sentences[r.Reason] = r.Why
		}
	}
	if len(sentences) != 5 {
		t.Errorf("%d reasons", len(sentences))
	}
}
