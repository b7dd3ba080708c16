package sandbox

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"doorcode/pkg/delivery"
)

//go:embed page
var pageFiles embed.FS

// maxListed is how many messages the page lists.
const maxListed = 200

// The times in seconds after which the page of the newest message loads again:
// quick while somebody waits for the first one.
const (
	refreshEmpty  = 2
	refreshNewest = 5
)

// pagePolicy lets the page load its own style and frames and nothing else.
const pagePolicy = "default-src 'none'; style-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// mailPolicy makes a mail inert: an origin of its own, no script, no form, no
// request to anybody. Styles and pictures within the mail are shown.
const mailPolicy = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"

// maxBubbles is how many messages the phone shows.
const maxBubbles = 30

// parsePages parses the pages at their first use.
func parsePages() func() (*template.Template, error) {
	return sync.OnceValues(func() (*template.Template, error) {
		return template.ParseFS(pageFiles, "page/*.html")
	})
}

// inboxPage is what the page shows.
type inboxPage struct {
	To       string // the address that is looked for
	Rows     []inboxRow
	Total    int // messages that match, also those not listed
	Shown    *inboxMessage
	Refresh  int // seconds; 0 for a page that stays as it is
	Lost     bool
	ListHref string
}

// inboxRow is one message in the list.
type inboxRow struct {
	Href, From, To, Subject, Preview, Stamp, Clock string
	Current, SMS                                   bool
}

// inboxMessage is the opened message.
type inboxMessage struct {
	Message
	Title, Stamp, Long, Href, FrameHref string
	// Phone is the thread on the phone of an SMS, oldest first; empty for a mail.
	Phone []bubble
}

// bubble is one SMS on the phone.
type bubble struct {
	Href, From, Text, Stamp, Clock, Day string // Day is set on the first of a day
	Current                             bool
}

// routePage adds the page, its style, and the frame of an HTML body.
func (s *Sandbox) routePage(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", s.servePage)
	mux.HandleFunc("GET /messages/{id}", s.servePage)
	mux.HandleFunc("GET /messages/{id}/html", s.serveMail)
	mux.HandleFunc("GET /inbox.css", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		http.ServeFileFS(w, r, pageFiles, "page/inbox.css")
	})
}

// servePage shows the list and one message: the one of the path, else the newest.
func (s *Sandbox) servePage(w http.ResponseWriter, r *http.Request) {
	page, status := s.page(r.PathValue("id"), bare(strings.TrimSpace(r.FormValue("to"))))
	s.render(w, status, "inbox.html", page)
}

// render writes a page with the headers that keep it private.
func (s *Sandbox) render(w http.ResponseWriter, status int, name string, page any) {
	var body bytes.Buffer
	parsed, err := s.templates()
	if err == nil {
		err = parsed.ExecuteTemplate(&body, name, page)
	}
	if err != nil {
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	servePrivate(w, pagePolicy)
	w.WriteHeader(status)
	_, _ = body.WriteTo(w) // the reader may have gone
}

// page gathers what the page shows.
func (s *Sandbox) page(id, to string) (inboxPage, int) {
	found := s.Messages(to)
	page := inboxPage{To: plus(to), Total: len(found), ListHref: "/" + filter(to), Refresh: refreshNewest}
	status := http.StatusOK
	var shown Message
	ok := len(found) > 0
	switch {
	case id != "":
		page.Refresh = 0
		shown, ok = s.store.find(id)
		if !ok {
			page.Lost, status = true, http.StatusNotFound
		}
	case ok:
		shown = found[0]
	default:
		page.Refresh = refreshEmpty
	}
	if ok {
		page.Shown = s.opened(shown, to)
	}
	for _, m := range found[:min(len(found), maxListed)] {
		page.Rows = append(page.Rows, listed(m, to, ok && m.ID == shown.ID))
	}
	return page, status
}

// serveMail shows the HTML body alone, for the frame of the page.
func (s *Sandbox) serveMail(w http.ResponseWriter, r *http.Request) {
	servePrivate(w, mailPolicy)
	m, ok := s.store.find(r.PathValue("id"))
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_, _ = w.Write([]byte(m.HTML)) // as it came, in the sandbox of mailPolicy
}

// servePrivate sets the headers of a page that no cache and no other site may have.
func servePrivate(w http.ResponseWriter, policy string) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
}

// listed makes the row of a message. The recipient that is looked for stays in the
// link, so that the list does not change when a message is opened.
func listed(m Message, to string, current bool) inboxRow {
	name := m.FromName
	if name == "" {
		name = m.From
	}
	subject, rest := m.Subject, preview(m.Text)
	if m.Channel == delivery.SMS {
		subject, rest = rest, ""
	}
	return inboxRow{
		Href: href(m.ID) + filter(to), From: name, To: plus(m.To), Subject: subject, Preview: rest, SMS: m.Channel == delivery.SMS,
		Stamp: m.ReceivedAt.Format(time.RFC3339), Clock: m.ReceivedAt.Format("15:04:05"), Current: current,
	}
}

// opened makes the view of the message itself.
func (s *Sandbox) opened(m Message, to string) *inboxMessage {
	title := m.Subject
	var phone []bubble
	if m.Channel == delivery.SMS {
		title, phone = "SMS to "+plus(m.To), s.phone(m, to)
	}
	return &inboxMessage{
		Message: m, Title: title, Phone: phone, Stamp: m.ReceivedAt.Format(time.RFC3339), Long: m.ReceivedAt.Format("Monday, 2 January 2006, 15:04:05 MST"),
		Href: href(m.ID) + filter(to), FrameHref: href(m.ID) + "/html",
	}
}

// phone is the thread that ends with the newest SMS to the number of a message,
// or with the message itself where that one is too old to be among them.
func (s *Sandbox) phone(m Message, to string) []bubble {
	var thread []bubble
	day := ""
	list := s.Messages(m.To)
	at := slices.IndexFunc(list, func(o Message) bool { return o.ID == m.ID })
	if at >= maxBubbles {
		list = list[at:]
	}
	for _, o := range slices.Backward(list[:min(len(list), maxBubbles)]) {
		b := bubble{
			Href: href(o.ID) + filter(to), From: o.From, Text: o.Text, Current: o.ID == m.ID,
			Stamp: o.ReceivedAt.Format(time.RFC3339), Clock: o.ReceivedAt.Format("15:04"),
		}
		if today := o.ReceivedAt.Format("Monday, 2 January"); today != day {
			day, b.Day = today, today
		}
		thread = append(thread, b)
	}
	return thread
}

// plus writes a number as people do; anything else stays as it is.
func plus(to string) string {
	if digits(to) {
		return "+" + to
	}
	return to
}

// href is the address of the page of one message.
func href(id string) string { return "/messages/" + url.PathEscape(id) }

// filter is the query that keeps the recipient who is looked for.
func filter(to string) string {
	if to == "" {
		return ""
	}
	return "?to=" + url.QueryEscape(to)
}

// preview is the beginning of a text on one line.
func preview(text string) string {
	const most = 90
	line := []rune(strings.Join(strings.Fields(text), " "))
	if len(line) <= most {
		return string(line)
	}
	return strings.TrimSpace(string(line[:most])) + "…"
}

// Number is the number of the phone that is shown.
func (p inboxPage) Number() string { return plus(p.Shown.To) }

// Heading tells how many messages there are.
func (p inboxPage) Heading() string {
	switch {
	case p.Total == 1:
		return "1 message"
	case p.Total > maxListed:
		return "The newest " + strconv.Itoa(maxListed) + " of " + strconv.Itoa(p.Total) + " messages"
	default:
		return strconv.Itoa(p.Total) + " messages"
	}
}
