package message

import (
	"embed"
	"fmt"
	"path"
	"strings"
	texttemplate "text/template"
)

//go:embed templates
var templates embed.FS

// fallback is the language of everybody whose own has no file.
const fallback = "en"

// extension ends the name of a file that holds one language's words; the name
// before it is the language's tag in lower case.
const extension = ".tmpl"

// language is the words of one language by their keys.
type language struct {
	tag   string
	words *texttemplate.Template
}

// catalogue holds every language by its tag.
type catalogue map[string]language

// Languages lists the tags of all languages in order.
func Languages() []string {
	files, err := templates.ReadDir("templates")
	if err != nil { // never, it is embedded
		return nil
	}
	var tags []string
	for _, f := range files {
		tag, isLanguage := strings.CutSuffix(f.Name(), extension)
		if isLanguage {
			tags = append(tags, tag)
		}
	}
	return tags
}

// read parses the file of every language.
func read() (catalogue, error) {
	languages := catalogue{}
	for _, tag := range Languages() {
		words, err := texttemplate.ParseFS(templates, path.Join("templates", tag+extension))
		if err != nil {
			return nil, fmt.Errorf("language %s: %w", tag, err)
		}
		languages[tag] = language{tag: tag, words: words}
	}
	return languages, nil
}

// choose returns the language of a locale by the lookup of RFC 4647 §3.4: the
// tag itself, then without its last part, and so on, and at last English.
func (c catalogue) choose(locale string) language {
	for tag := strings.ToLower(locale); tag != ""; {
		known, found := c[tag]
		if found {
			return known
		}
		tag = tag[:max(strings.LastIndexByte(tag, '-'), 0)]
	}
	return c[fallback]
}

// say returns the words of a key in one line, filled with the facts of a view.
// A key that the language lacks is an error.
func (l language) say(key string, view any) (string, error) {
	var b strings.Builder
	err := l.words.ExecuteTemplate(&b, key, view)
	if err != nil {
		return "", fmt.Errorf("language %s: %w", l.tag, err)
	}
	return strings.TrimSpace(b.String()), nil
}

// month returns the name of a month, 1 to 12, as it stands within a date.
func (l language) month(number int) (string, error) {
	all, err := l.say("months", nil)
	if err != nil {
		return "", err
	}
	names := strings.Fields(all)
	if len(names) != 12 {
		return "", fmt.Errorf("language %s has %d months", l.tag, len(names))
	}
	return names[number-1], nil
}

// speaker says one thing after the other and remembers the first key that
// failed.
type speaker struct {
	language
	view any
	err  error
}

// say returns the words of a key, or nothing after a failure.
func (s *speaker) say(key string) string {
	if s.err != nil {
		return ""
	}
	var words string
	words, s.err = s.language.say(key, s.view)
	return words
}
