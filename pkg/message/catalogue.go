package message

import (
	"embed"
	"fmt"
	"path"
	"strings"
)

//go:embed templates
var templates embed.FS

// fallback is the language of everybody whose own has no file.
const fallback = "en"

// extension ends the name of a file that holds one language's words.
const extension = ".tmpl"

// catalogue holds what was parsed of each language's words, by its name.
type catalogue[T any] map[string]T

// read parses the file of every language.
func read[T any](parse func(file string) (T, error)) (catalogue[T], error) {
	files, err := templates.ReadDir("templates")
	if err != nil {
		return nil, fmt.Errorf("read templates: %w", err)
	}
	languages := catalogue[T]{}
	for _, f := range files {
		name, isLanguage := strings.CutSuffix(f.Name(), extension)
		if !isLanguage {
			continue
		}
		languages[name], err = parse(path.Join("templates", f.Name()))
		if err != nil {
			return nil, fmt.Errorf("language %s: %w", name, err)
		}
	}
	return languages, nil
}

// choose returns the language of a locale: `nl-BE`, else `nl`, else English.
func (c catalogue[T]) choose(locale string) (string, T) {
	locale = strings.ToLower(locale)
	short, _, _ := strings.Cut(locale, "-")
	for _, name := range []string{locale, short} {
		if language, known := c[name]; known {
			return name, language
		}
	}
	return fallback, c[fallback]
}
