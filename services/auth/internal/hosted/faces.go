package hosted

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"time"

	"doorcode/pkg/frontend"
)

//go:embed templates
var files embed.FS

// Page is what every template has.
type Page struct {
	Title   string
	Brand   string
	Problem string // what went wrong, in one sentence; empty for nothing
	About   string // the id of the part of the page that it is about
	Path    string // of the page itself
	Form    string // the value of its forms
	Support string // link
}

// Page returns a page of that title with what the site knows of every page.
func (s *Site) Page(title string) Page {
	return Page{Title: title, Brand: s.cfg.Brand, Support: s.cfg.SupportURL}
}

// Face is a set of pages in one language.
type Face struct {
	Language
	templates *template.Template
}

// Faces are a set of pages in every language it is written in.
type Faces struct {
	all map[string]*Face
}

// Faces reads the templates (`templates/*.html`) and texts (`texts/*.json`) of a set of pages, once for each language.
// The templates are given `top` and `bottom`, which every page begins and ends with, the functions `t`, `strong`,
// `clock`, `moment`, `left` and `lang`, and those in more. Its texts hold `problem.title`, the title of a page with a problem.
func (s *Site) Faces(set fs.FS, more template.FuncMap) (*Faces, error) {
	languages, err := ReadLanguages(set)
	if err != nil {
		return nil, err
	}
	faces := &Faces{all: map[string]*Face{}}
	for _, l := range languages {
		t, err := template.New(l.name).Funcs(template.FuncMap{
			"t": l.Text, "strong": l.Strong, "clock": Clock, "moment": Moment, "left": Left,
			"style":  func() template.CSS { return template.CSS(s.style) }, //nolint:gosec // It is our own file.
			"script": func() template.JS { return template.JS(s.script) },  //nolint:gosec // It is our own file.
			"lang":   func() string { return l.name },
		}).Funcs(more).ParseFS(files, "templates/*.html")
		if err != nil {
			return nil, fmt.Errorf("read the layout: %w", err)
		}
		t, err = t.ParseFS(set, "templates/*.html")
		if err != nil {
			return nil, fmt.Errorf("read templates: %w", err)
		}
		faces.all[l.name] = &Face{Language: l, templates: t}
	}
	return faces, nil
}

// Execute writes a template of the set.
func (f *Face) Execute(b *bytes.Buffer, name string, data any) error {
	return f.templates.ExecuteTemplate(b, name, data)
}

// policy is the Content-Security-Policy of all pages but for where forms may go. Style and script stand in the document,
// because it is one request, and are named by their hashes: nothing else in a page is ever run.
type policy struct {
	style, script string // sources
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

// Where the forms of a page may go, for Render; or the origin that Returning names.
const (
	FormsNowhere = "'none'"
	FormsHere    = "'self'"
)

// Returning is the one origin that the way back may post to.
func Returning(address string) string {
	origin, err := frontend.OriginOf(address)
	if err != nil {
		return FormsNowhere
	}
	return origin
}

// Render writes a page whole, or a plain 500 when that cannot be done. Its forms may go to that source alone.
func (s *Site) Render(w http.ResponseWriter, f *Face, status int, forms, name string, data any) {
	var page bytes.Buffer
	err := f.Execute(&page, name, data)
	if err != nil {
		s.cfg.Log.Error("page not written", "page", name, "error", err)
		http.Error(w, "Internal Server Error", http.StatusInternalServerError)
		return
	}
	s.policy.write(w.Header(), forms)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(page.Bytes()) // The browser is gone when it fails: there is nobody to tell.
}

// Lead leads a browser on to a page of the site, so that a reload posts nothing again.
func (s *Site) Lead(w http.ResponseWriter, path string) {
	s.policy.write(w.Header(), FormsNowhere)
	w.Header().Set("Location", path)
	w.WriteHeader(http.StatusSeeOther)
}

// Open leads a browser from a link with a secret in it on to a page without one. No page learns the link.
func (s *Site) Open(w http.ResponseWriter, path string) {
	s.policy.write(w.Header(), FormsNowhere)
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Location", path)
	w.WriteHeader(http.StatusSeeOther)
}

// Clock shows a time of day. The script rewrites it in the browser's own zone.
func Clock(t time.Time) template.HTML {
	t = t.UTC()
	return template.HTML(`<time datetime="` + t.Format(time.RFC3339) + `">` + t.Format("15:04") + ` UTC</time>`) //nolint:gosec // It has digits alone.
}

// Moment shows a day and a time of day. The script rewrites it in the browser's own zone and manner.
func Moment(t time.Time) template.HTML {
	t = t.UTC()
	return template.HTML(`<time datetime="` + t.Format(time.RFC3339) + `" data-day>` + t.Format("2006-01-02 15:04") + ` UTC</time>`) //nolint:gosec // It has digits alone.
}

// Left shows a wait as minutes and seconds.
func Left(d time.Duration) string {
	seconds := int((max(d, 0) + time.Second - 1) / time.Second)
	if seconds >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", seconds/3600, seconds/60%60, seconds%60)
	}
	return fmt.Sprintf("%d:%02d", seconds/60, seconds%60)
}
