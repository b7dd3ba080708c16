// Package browsertest runs a real browser in tests: each test has tabs with a profile of their own, pages are judged by
// axe-core, and pictures are taken. Only tests import it.
package browsertest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"doorcode/pkg/chromium"
)

// Patience bounds every wait of a tab.
const Patience = 3 * time.Minute

// axeVersion is the release of axe-core whose rules pages obey, and axeSum the SHA-256 of its script. It is fetched from
// the npm registry when a test first needs it and kept in the user's cache folder.
const (
	axeVersion = "4.14.1"
	axeSum     = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
)

// Tab is one tab of a browser with no cookies but its own.
type Tab struct {
	t   testing.TB
	ctx context.Context //nolint:containedctx // chromedp keeps the tab in it
	// still says that pages run no script.
	still bool
}

// Options are how a tab is.
type Options struct {
	NoScript bool
	// Insecure takes certificates that nobody vouches for, those of httptest.
	Insecure bool
	// Ahead is how far the browser's clock is before the right time; negative: behind.
	Ahead time.Duration
}

// Open starts a browser with one tab; both end with the test.
func Open(t testing.TB, o Options) *Tab {
	t.Helper()
	path, err := chromium.FindOrInstall(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	flags := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-component-update", true), chromedp.Flag("lang", "en-US"),
	)
	if o.Insecure {
		flags = append(flags, chromedp.IgnoreCertErrors)
	}
	allocator, endAllocator := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), flags...)
	ctx, endBrowser := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		closing, end := context.WithTimeout(ctx, Patience)
		defer end()
		_ = chromedp.Cancel(closing) // It waits for the browser's end, so that its folder can be removed.
		endBrowser()
		endAllocator()
	})
	tab := &Tab{t: t, ctx: ctx, still: o.NoScript}
	// What starts the browser must not be bounded: the bound would end the browser. The allocator bounds it.
	err = chromedp.Do(ctx)
	if err == nil {
		_, err = chromedp.Call(ctx, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "Europe/Amsterdam"})
	}
	if err == nil && o.Ahead != 0 {
		_, err = chromedp.Call(ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
			Source: fmt.Sprintf("{ const right = Date.now; Date.now = () => right() + %d; }", o.Ahead.Milliseconds()),
		})
	}
	if err != nil {
		t.Fatalf("start browser: %v", err)
	}
	tab.Show(1280, Light)
	tab.scripts(!o.NoScript)
	return tab
}

// scripts lets pages run scripts, or not. Those of a page that came while they might not are not made up for.
func (b *Tab) scripts(may bool) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !may})
	if err != nil {
		b.t.Fatalf("scripts: %v", err)
	}
}

// Scheme is the colours that a person prefers.
type Scheme string

// The two schemes.
const (
	Light Scheme = "light"
	Dark  Scheme = "dark"
)

// Show changes width and colours of the tab.
func (b *Tab) Show(width int64, scheme Scheme) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: width, Height: 800, DeviceScaleFactor: 1, Mobile: width < 600,
	})
	if err == nil {
		_, err = chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: string(scheme)}},
		})
	}
	if err != nil {
		b.t.Fatalf("show: %v", err)
	}
}

// Offline takes the network away from the tab.
func (b *Tab) Offline() {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, network.OverrideNetworkState, network.OverrideNetworkStateParams{Offline: true})
	if err != nil {
		b.t.Fatalf("offline: %v", err)
	}
}

// Context is that of the tab, for what is done with it by chromedp.
func (b *Tab) Context() context.Context { return b.ctx }

// run runs an action in bounded time.
func run[T any](b *Tab, a chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, Patience)
	defer cancel()
	value, err := chromedp.Run(ctx, a)
	if err != nil {
		b.t.Fatalf("browser: %v\nat %s\n%s", err, b.URL(), b.Text())
	}
	return value
}

// Visit opens an address and waits until it is there.
func (b *Tab) Visit(address string) {
	b.t.Helper()
	run(b, chromedp.Navigate(address))
}

// Type types into the element of a selector.
func (b *Tab) Type(selector, text string) {
	b.t.Helper()
	run(b, chromedp.SendKeys(chromedp.CSS(selector), text))
}

// Press clicks the element of a selector.
func (b *Tab) Press(selector string) {
	b.t.Helper()
	run(b, chromedp.Click(chromedp.CSS(selector)))
}

// Leave does what leads to another page, and waits until that is there: until it is parsed and its script has run. It
// does not wait for the end of loading, which says nothing more of our pages and which a browser may put off.
func (b *Tab) Leave(act func()) {
	b.t.Helper()
	run(b, chromedp.Evaluate[string]("document.documentElement.dataset.left = 'yes'"))
	act()
	b.until("another page comes", func() bool {
		return b.value("!document.documentElement.dataset.left && document.readyState !== 'loading' ? 'yes' : ''") == "yes"
	})
}

// See waits until the page shows a text.
func (b *Tab) See(text string) {
	b.t.Helper()
	b.until("the page shows "+text, func() bool { return strings.Contains(b.Text(), text) })
}

// At waits until the address begins so.
func (b *Tab) At(prefix string) {
	b.t.Helper()
	b.until("the browser is at "+prefix, func() bool { return strings.HasPrefix(b.URL(), prefix) })
}

// Is reports whether there is an element of a selector.
func (b *Tab) Is(selector string) bool {
	return b.value(fmt.Sprintf("document.querySelector(%q) ? 'yes' : ''", selector)) == "yes"
}

// state tells how far a page is, and whether it is one that was left.
const state = "document.readyState + (document.documentElement.dataset.left ? ', left' : '')"

// until waits for a condition.
func (b *Tab) until(what string, met func() bool) {
	b.t.Helper()
	deadline := time.NewTimer(Patience)
	defer deadline.Stop()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for !met() {
		select {
		case <-deadline.C:
			b.t.Fatalf("in vain: %s\nat %s (%s)\n%s", what, b.URL(), b.value(state), b.Text())
		case <-ticker.C:
		}
	}
}

// Text returns what the page shows; nothing while there is none.
func (b *Tab) Text() string { return b.value("document.body ? document.body.innerText : ''") }

// URL returns where the tab is.
func (b *Tab) URL() string { return b.value("location.href") }

// valueLimit bounds one evaluation: one that is lost with the page that it was for must not take all patience.
const valueLimit = 15 * time.Second

// value evaluates an expression that gives a text. While a page goes and the next comes there is none.
func (b *Tab) value(expression string) string {
	ctx, cancel := context.WithTimeout(b.ctx, valueLimit)
	defer cancel()
	s, err := chromedp.Run(ctx, chromedp.Evaluate[string](expression))
	if err != nil {
		return ""
	}
	return s
}

// Fits fails the test when the page has to be scrolled sideways (WCAG 2.2, 1.4.10).
func (b *Tab) Fits(name string) {
	b.t.Helper()
	over := run(b, chromedp.Evaluate[int64]("document.documentElement.scrollWidth - innerWidth"))
	if over > 0 {
		b.t.Errorf("%s is %d pixels too wide", name, over)
	}
}

// Picture writes the whole page as a PNG of at most 256 colours, which is enough for text and a third of the size.
func (b *Tab) Picture(path string) {
	b.t.Helper()
	data, err := small(run(b, chromedp.FullScreenshot(100)))
	if err != nil {
		b.t.Fatal(err)
	}
	err = os.MkdirAll(filepath.Dir(path), 0o750)
	if err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// small writes a PNG with the 256 colours that it has most of; the others become the nearest of these.
func small(data []byte) ([]byte, error) {
	whole, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	area, count := whole.Bounds(), map[color.RGBA]int{}
	at := func(x, y int) color.RGBA { return color.RGBAModel.Convert(whole.At(x, y)).(color.RGBA) } //nolint:forcetypeassert // the model's own
	for y := area.Min.Y; y < area.Max.Y; y++ {
		for x := area.Min.X; x < area.Max.X; x++ {
			count[at(x, y)]++
		}
	}
	colours := slices.SortedFunc(maps.Keys(count), func(a, b color.RGBA) int { return count[b] - count[a] })
	var palette color.Palette
	for _, c := range colours[:min(256, len(colours))] {
		palette = append(palette, c)
	}
	few, index := image.NewPaletted(area, palette), map[color.RGBA]uint8{}
	for _, c := range colours {
		index[c] = uint8(palette.Index(c))
	}
	for y := area.Min.Y; y < area.Max.Y; y++ {
		for x := area.Min.X; x < area.Max.X; x++ {
			few.SetColorIndex(x, y, index[at(x, y)])
		}
	}
	var out bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, few)
	return out.Bytes(), err
}

// violation is a rule that a page breaks.
type violation struct {
	ID    string `json:"id"`
	Help  string `json:"help"`
	Nodes []struct {
		HTML string `json:"html"`
		Why  string `json:"failureSummary"`
	} `json:"nodes"`
}

// Accessible fails the test for every rule of WCAG 2.2 A and AA, and of good practice, that the page breaks.
func (b *Tab) Accessible(name string) {
	b.t.Helper()
	script, err := axe()
	if err != nil {
		b.t.Fatal(err)
	}
	b.scripts(true) // axe waits by timers, which the page's own scripts would need as well.
	defer b.scripts(!b.still)
	run(b, chromedp.Evaluate[int](script+";0"))
	answer := run(b, chromedp.Evaluate[string]("axe.run().then(r => JSON.stringify(r.violations))", chromedp.EvalAwaitPromise))
	var found []violation
	err = json.Unmarshal([]byte(answer), &found)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, v := range found {
		for _, n := range v.Nodes {
			b.t.Errorf("%s: %s: %s\n%s\n%s", name, v.ID, v.Help, n.HTML, n.Why)
		}
	}
}

// axe returns the script of axe-core, fetched once for all tests.
var axe = sync.OnceValues(fetch) //nolint:gochecknoglobals // as sync.OnceValue

// fetch reads axe-core from the cache folder, and gets it there by npm when it is missing.
func fetch() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	path := filepath.Join(cache, "doorcode", "axe-core-"+axeVersion+".js")
	data, err := os.ReadFile(path)
	if err == nil && pinned(data) {
		return string(data), nil
	}
	dir, err := os.MkdirTemp("", "doorcode-axe-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, cancel := context.WithTimeout(context.Background(), 2*Patience)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "install", "--prefix", dir, "--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "axe-core@"+axeVersion)
	out, err := npm.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("fetch axe-core: %w\n%s", err, out)
	}
	data, err = os.ReadFile(filepath.Join(dir, "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		return "", err
	}
	if !pinned(data) {
		return "", errors.New("fetch axe-core: it is not the script that is pinned")
	}
	return string(data), keep(path, data)
}

// pinned reports whether a script is the one that we mean.
func pinned(script []byte) bool {
	sum := sha256.Sum256(script)
	return hex.EncodeToString(sum[:]) == axeSum
}

// keep writes a file in one step: other test binaries may do the same.
func keep(path string, data []byte) error {
	err := os.MkdirAll(filepath.Dir(path), 0o750)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".axe-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err != nil {
		return err
	}
	err = f.Close()
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
