package desk_test

import (
	"flag"
	"path/filepath"
	"testing"

	"doorcode/pkg/chromium/browsertest"
	"doorcode/pkg/operator"
)

// pictures is where the pictures of the pages go; without it none is taken.
var pictures = flag.String("pictures", "", "folder for pictures of the console") //nolint:gochecknoglobals // a flag of the test

// product.md 2.6, steps 1, 2 and 5: somebody is woken, and sees in words and in a picture what is wrong and what it has
// stopped. Scripts are off, and there are none.
func TestJourney_OperatorOnCall(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.bad0310()
	secret := h.list(operator.Operator{ID: "kim", Role: operator.Operations, AllWorkspaces: true})
	b := browsertest.Open(t, browsertest.Options{NoScript: true})
	b.Visit(h.site.URL + "/health")
	b.Type("#operator", "kim")
	b.Type("#secret", secret)
	b.Leave(func() { b.Press("main button") })
	b.Type("#code", rightCode)
	b.Leave(func() { b.Press("main button") })

	b.Leave(func() { b.Press(`nav a[href="/health"]`) })
	b.See("SMS to +34 (ES) by vonage: verified share 4")
	b.See("12 waiting for the first call, the oldest for 1m3")
	b.See("SMS to +33 (FR) by vonage")
	h.judge(b, "health", "health.png")

	b.Leave(func() { b.Press(`nav a[href="/rollout"]`) })
	b.See("400 workspaces by stage")
	b.See("fallback: failed – fallback 52 % of 310 sign-ins, at most 5 % is allowed")
	b.See("held by a gate since")
	h.judge(b, "rollout", "rollout.png")

	b.Leave(func() { b.Press(`nav a[href="/audit"]`) })
	b.Type("#kind", "operator_session.v1.began")
	b.Leave(func() { b.Press("main button") })
	b.See("1 rows")
	h.judge(b, "audit", "")
}

// judge judges what a tab shows by axe-core, on a small phone and on a desktop, in light and dark.
func (h *house) judge(b *browsertest.Tab, name, file string) {
	h.t.Helper()
	for width, label := range map[int64]string{320: "320", 1280: "1280"} {
		for _, scheme := range []browsertest.Scheme{browsertest.Light, browsertest.Dark} {
			b.Show(width, scheme)
			b.Fits(name + " at " + label)
			b.Accessible(name + " at " + label + " " + string(scheme))
			if *pictures != "" && file != "" && width == 1280 && scheme == browsertest.Light {
				b.Picture(filepath.Join(*pictures, file))
			}
		}
	}
}
