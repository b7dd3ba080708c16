package pages

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"time"

	"doorcode/pkg/frontend"
)

//go:embed templates
var files embed.FS

// face is the pages in one language.
type face struct {
	language
	templates *template.Template
}

// policy is the Content-Security-Policy of all pages but for where forms may go. Style and script stand in the document,
// because it is one request, and are named by their hashes: nothing else in a page is ever run.
type policy struct {
	style, script string // sources
}

// readFaces reads the templates once for each language.
func readFaces() (map[string]*face, policy, error) {
	style, err := files.ReadFile("templates/page.css")
	if err != nil {
		return nil, policy{}, fmt.Errorf("read style: %w", err)
	}
	script, err := files.ReadFile("templates/page.js")
	if err != nil {
		return nil, policy{}, fmt.Errorf("read script: %w", err)
	}
	languages, err := readLanguages()
	if err != nil {
		return nil, policy{}, err
	}
	faces := map[string]*face{}
	for _, l := range languages {
		t, err := template.New(l.name).Funcs(template.FuncMap{
			"t": l.text, "strong": l.strong, "clock": clock, "left": left, "spell": spell,
			"style":  func() template.CSS { return template.CSS(style) }, //nolint:gosec // It is our own file.
			"script": func() template.JS { return template.JS(script) },  //nolint:gosec // It is our own file.
			"lang":   func() string { return l.name },
		}).ParseFS(files, "templates/*.html")
		if err != nil {
			return nil, policy{}, fmt.Errorf("read templates: %w", err)
		}
		faces[l.name] = &face{language: l, templates: t}
	}
	return faces, policy{style: source(style), script: source(script)}, nil
}

// source names a piece of style or script in a policy.
func source(piece []byte) string {
	sum := sha256.Sum256(piece)
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// write sets the headers of every page. Other origins learn the origin of the page and no address: with less, browsers
// would post our own forms, and the way back, from the origin `null`, by which nobody could tell a good post.
func (p policy) write(h http.Header, forms string) {
	h.Set("Content-Security-Policy", "default-src 'none'; style-src "+p.style+"; script-src "+p.script+
		"; connect-src 'self'; img-src data:; form-action "+forms+"; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "strict-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// returning is the one origin that the way back may post to.
func returning(address string) string {
	origin, err := frontend.OriginOf(address)
	if err != nil {
		return "'none'"
	}
	return origin
}

// render writes a page whole, or a plain 500 when that cannot be done.
func (h *Handler) render(w http.ResponseWriter, f *face, status int, forms, name string, data any) {
	var page bytes.Buffer
	err := f.templates.ExecuteTemplate(&page, name, data)
	if err != nil {
		h.cfg.Log.Error("page not written", "page", name, "error", err)
		http.Error(w, "Internal Server Error", http.StatusInternalServerError)
		return
	}
	h.policy.write(w.Header(), forms)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(page.Bytes()) // The browser is gone when it fails: there is nobody to tell.
}

// clock shows a time of day. The script rewrites it in the browser's own zone.
func clock(t time.Time) template.HTML {
	t = t.UTC()
	return template.HTML(`<time datetime="` + t.Format(time.RFC3339) + `">` + t.Format("15:04") + ` UTC</time>`) //nolint:gosec // It has digits alone.
}

// left shows a wait as minutes and seconds.
func left(d time.Duration) string {
	seconds := int((max(d, 0) + time.Second - 1) / time.Second)
	if seconds >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", seconds/3600, seconds/60%60, seconds%60)
	}
	return fmt.Sprintf("%d:%02d", seconds/60, seconds%60)
}
