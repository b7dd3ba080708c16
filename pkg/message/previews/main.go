// Command previews writes every message in every language into a folder, for a
// person to look through: each e-mail as a page and as plain text, each text
// message as plain text, and one page that shows them side by side.
package main

import (
	"errors"
	"flag"
	"fmt"
	"html/template"
	"io"
	"os"
	"path/filepath"
	"time"

	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/message"
)

// What the previews are made with: the longest brand and host that most people
// meet, and a person who reads long words.
const (
	brand   = "Lanternbird"
	host    = "login.lanternbird.com"
	support = "https://lanternbird.com/help"
	agent   = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout)) }

// run writes the previews into the folder that the arguments name.
func run(args []string, out io.Writer) int {
	set := flag.NewFlagSet("previews", flag.ContinueOnError)
	set.SetOutput(out)
	dir := set.String("dir", filepath.Join("bin", "previews"), "folder to write into")
	err := set.Parse(args)
	if err != nil {
		return 2
	}
	pages, err := render()
	if err == nil {
		err = write(*dir, pages)
	}
	if err != nil {
		_, _ = fmt.Fprintln(out, "previews:", err)
		return 1
	}
	_, _ = fmt.Fprintf(out, "%d messages are in %s\n", len(pages), filepath.Join(*dir, "index.html"))
	return 0
}

// page is one message of one channel in one language.
type page struct {
	Name, Language string
	message.Message
}

// renderers are those of both channels.
type renderers struct {
	email *message.EmailRenderer
	sms   *message.SMSRenderer
}

// render writes all messages, language by language.
func render() ([]page, error) {
	email, err := message.NewEmail(brand, support)
	if err != nil {
		return nil, err
	}
	sms, err := message.NewSMS(brand, host)
	if err != nil {
		return nil, err
	}
	r := renderers{email: email, sms: sms}
	var pages []page
	var problems []error
	for _, language := range message.Languages() {
		add := func(name string, m message.Message, err error) {
			problems = append(problems, err)
			pages = append(pages, page{Name: name, Language: language, Message: m})
		}
		r.codes(language, add)
		r.notices(language, add)
	}
	return pages, errors.Join(problems...)
}

// codes writes the messages that carry a code, with all that they can say and
// with as little as they can.
func (r renderers) codes(language string, add func(string, message.Message, error)) {
	asked := time.Date(2026, time.June, 3, 8, 2, 11, 0, time.UTC)
	full := message.Facts{
		Code: "482917", Label: "KTM", Reference: "4F72KQ9R", Workspace: "Acme", Locale: language, UserAgent: agent,
		CreatedAt: asked, ExpiresAt: asked.Add(10 * time.Minute), WrittenAt: asked,
	}
	bare, long := full, full
	bare.Workspace, bare.UserAgent = "", ""
	long.Code = "0048291730"
	for _, c := range []struct {
		name  string
		facts message.Facts
	}{{"code", full}, {"code-bare", bare}, {"code-long", long}} {
		m, err := r.email.Render(c.facts)
		add(c.name, m, err)
	}
	for _, c := range []struct {
		name  string
		facts message.Facts
	}{{"code-sms", full}, {"code-sms-long", long}} {
		m, err := r.sms.Render(c.facts)
		add(c.name, m, err)
	}
	for _, p := range challenge.Purposes() {
		for _, about := range p.Abouts() {
			own := full
			own.Purpose, own.About = p, about
			name := string(p) + "-" + string(about)
			m, err := r.email.Render(own)
			add(name, m, err)
			m, err = r.sms.Render(own)
			add(name+"-sms", m, err)
		}
	}
}

// notices writes the messages that carry none.
func (r renderers) notices(language string, add func(string, message.Message, error)) {
	for _, kind := range event.NoticeKinds() {
		form, _ := message.FormOf(kind)
		n := sample(kind, form, language)
		m, err := r.email.RenderNotice(n)
		add(kind, m, err)
		if form.Texted {
			m, err = r.sms.RenderNotice(n)
			add(kind+"-sms", m, err)
		}
		if form.Owner {
			n.Owner = true
			m, err = r.email.RenderNotice(n)
			add(kind+"-owner", m, err)
		}
	}
}

// sample is a notice with all that its kind can say.
func sample(kind string, form message.NoticeForm, language string) message.Notice {
	at := time.Date(2026, time.June, 3, 8, 2, 11, 0, time.UTC)
	n := message.Notice{
		Kind: kind, At: at, Reference: "4F72KQ9R", Workspace: "Acme", Locale: language, Name: "Kim de Vries", Browser: "Firefox", System: "Windows",
	}
	if form.Labeled {
		n.Label = "KTM"
	}
	if form.Routed {
		n.To, n.Ending = "sms", "48"
	}
	if form.Dated {
		n.Date = at.AddDate(0, 0, 14)
	}
	if form.Counted {
		n.Used, n.People = 4, 5
	}
	if form.Link {
		n.Link, n.Until = "https://sign-in.lanternbird.com/page?of=AQEjRWeJq83vEjRWeJq83vEjRWeJq83v", at.AddDate(0, 0, 7)
	}
	return n
}

// write makes a file of each form of each message, and the page that shows all.
func write(dir string, pages []page) error {
	for _, p := range pages {
		base := filepath.Join(dir, p.Language, p.Name)
		err := put(base+".txt", p.plain())
		if err == nil && p.HTML != "" {
			err = put(base+".html", p.HTML)
		}
		if err != nil {
			return err
		}
	}
	index, err := os.Create(filepath.Join(dir, "index.html")) //nolint:gosec // The person who runs it names the folder.
	if err != nil {
		return fmt.Errorf("write previews: %w", err)
	}
	return errors.Join(overview().Execute(index, pages), index.Close())
}

// plain is a message as plain text, an e-mail with its subject.
func (p page) plain() string {
	if p.Subject == "" {
		return p.Text
	}
	return p.Subject + "\n\n" + p.Text
}

// put writes a file and the folder that it lies in.
func put(path, text string) error {
	err := os.MkdirAll(filepath.Dir(path), 0o750)
	if err == nil {
		err = os.WriteFile(path, []byte(text), 0o600)
	}
	if err != nil {
		return fmt.Errorf("write previews: %w", err)
	}
	return nil
}

// overview is the page that shows all messages side by side.
func overview() *template.Template {
	return template.Must(template.New("").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Every message</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 24px; color-scheme: light dark }
main { display: grid; gap: 24px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 36em), 1fr)) }
iframe { width: 100%; height: 40em; border: 1px solid #8a8f98; border-radius: 8px }
pre { white-space: pre-wrap; overflow-wrap: anywhere; padding: 16px; border: 1px solid #8a8f98; border-radius: 8px }
</style>
<h1>Every message</h1>
<main>
{{range .}}<section><h2>{{.Language}}: {{.Name}}</h2>
{{if .HTML}}<p>{{.Subject}} (<a href="{{.Language}}/{{.Name}}.txt">plain text</a>)</p>
<iframe title="{{.Language}}: {{.Name}}" src="{{.Language}}/{{.Name}}.html"></iframe>
{{else}}<pre>{{.Text}}</pre>
{{end}}</section>
{{end}}</main>
</html>
`))
}
