package desk

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"time"

	"doorcode/pkg/challenge"
	"doorcode/pkg/style"
)

//go:embed templates
var files embed.FS

// page is what every template has.
type page struct {
	Title    string
	Problem  string // what went wrong, in one sentence; empty for nothing
	News     string // what happened, in one sentence; empty for nothing
	Operator string // who is signed in; empty: nobody
	Role     string
	Tabs     []tab
	Body     any
}

// readPages reads the templates. The style stands in the document and is named by its hash: nothing else in a page styles
// it, and nothing in a page is ever run.
func (s *Site) readPages() error {
	own, err := files.ReadFile("templates/console.css")
	if err != nil {
		return fmt.Errorf("desk: read style: %w", err)
	}
	sheet := append(style.Sheet(), own...)
	sum := sha256.Sum256(sheet)
	s.policy = "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
	s.pages = map[string]*template.Template{}
	for _, name := range []string{"sign-in", "code", "search", "timeline", "confirm", "figures", "audit", "refused"} {
		t, err := template.New(name).Funcs(template.FuncMap{
			"style":     func() template.CSS { return template.CSS(sheet) }, //nolint:gosec // They are our own files.
			"moment":    moment,
			"reference": challenge.ShowReference,
			"mask":      s.masks.Text,
		}).ParseFS(files, "templates/layout.html", "templates/"+name+".html")
		if err != nil {
			return fmt.Errorf("desk: read page %s: %w", name, err)
		}
		s.pages[name] = t
	}
	return nil
}

// moment shows a time in UTC, to the second.
func moment(t time.Time) template.HTML {
	t = t.UTC()
	return template.HTML(`<time datetime="` + t.Format(time.RFC3339) + `">` + t.Format(time.DateTime) + `</time>`) //nolint:gosec // It has digits alone.
}

// of is a page for somebody who is signed in, with the menu of their role.
func (v visit) of(title, here string, body any) page {
	p := page{Title: title, Operator: v.operator.ID, Role: string(v.operator.Role), Body: body}
	p.Tabs = slices.DeleteFunc(tabs(), func(t tab) bool { return !v.may(t.Act) })
	for i := range p.Tabs {
		p.Tabs[i].Here = p.Tabs[i].Path == here
	}
	return p
}

// render writes a page whole, or a plain 500 when that cannot be done.
func (s *Site) render(w http.ResponseWriter, status int, name string, p page) {
	var b bytes.Buffer
	err := s.pages[name].ExecuteTemplate(&b, "layout", p)
	if err != nil {
		s.log.Error("page not written", "page", name, "error", err)
		http.Error(w, "Internal Server Error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // The browser is gone when it fails: there is nobody to tell.
}

// refuse is a page that says why there is nothing else.
func (s *Site) refuse(w http.ResponseWriter, v visit, status int, why string) {
	p := v.of("Not here", "", nil)
	p.Problem = why
	s.render(w, status, "refused", p)
}

// unavailable is the page for what could not be asked. The cause is for the log.
func (s *Site) unavailable(w http.ResponseWriter, err error) {
	s.log.Warn("console unavailable", "error", err)
	w.Header().Set("Retry-After", "2")
	s.render(w, http.StatusServiceUnavailable, "refused", page{
		Title: "Not available", Problem: "That cannot be looked up at the moment. Please try again in a few seconds.",
	})
}
