package hosted

import (
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// fallback is the language of everybody whose own has no file, and the file that names every text.
const fallback = "en"

// StatusWords begin the keys of words about a message's status. English has none: there the verifier's own are shown.
const StatusWords = "status."

// Language holds the sentences of one file under their keys. `{name}` in a sentence is a place.
type Language struct {
	name      string
	sentences map[string]string
}

// ReadLanguages reads every `texts/*.json` of a set of pages. A file that lacks a sentence of the English one, or has one
// more, is an error.
func ReadLanguages(set fs.FS) ([]Language, error) {
	names, err := fs.Glob(set, "texts/*.json")
	if err != nil {
		return nil, fmt.Errorf("read texts: %w", err)
	}
	var all []Language
	for _, name := range names {
		l := Language{name: strings.TrimSuffix(path.Base(name), ".json"), sentences: map[string]string{}}
		data, err := fs.ReadFile(set, name)
		if err != nil {
			return nil, fmt.Errorf("read texts: %w", err)
		}
		err = json.Unmarshal(data, &l.sentences)
		if err != nil {
			return nil, fmt.Errorf("read texts of %s: %w", l.name, err)
		}
		all = append(all, l)
	}
	english := slices.IndexFunc(all, func(l Language) bool { return l.name == fallback })
	if english < 0 {
		return nil, fmt.Errorf("read texts: there is no %s.json", fallback)
	}
	for _, l := range all {
		err = l.complete(all[english])
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// complete compares the keys and places of a language with the English ones.
func (l Language) complete(english Language) error {
	for key, sentence := range english.sentences {
		own, has := l.sentences[key]
		if !has {
			return fmt.Errorf("read texts of %s: %s is missing", l.name, key)
		}
		if strings.Count(sentence, "{") > 0 && !slices.Equal(places(own), places(sentence)) {
			return fmt.Errorf("read texts of %s: %s has other places than in English", l.name, key)
		}
	}
	for key := range l.sentences {
		_, known := english.sentences[key]
		if !known && !strings.HasPrefix(key, StatusWords) {
			return fmt.Errorf("read texts of %s: %s is no text of a page", l.name, key)
		}
	}
	return nil
}

// places lists the names in braces, once each and sorted.
func places(sentence string) []string {
	var names []string
	for part := range strings.SplitSeq(sentence, "{") {
		name, _, found := strings.Cut(part, "}")
		if found {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Name is the language's own, as in `nl`.
func (l Language) Name() string { return l.name }

// Sentences are all sentences under their keys, for tests of their form.
func (l Language) Sentences() map[string]string { return l.sentences }

// Text returns a sentence with its places filled in: name, value, name, value.
func (l Language) Text(key string, pairs ...string) string {
	for i := 0; i+1 < len(pairs); i += 2 {
		pairs[i] = "{" + pairs[i] + "}"
	}
	return strings.NewReplacer(pairs...).Replace(l.sentences[key])
}

// Strong is Text as HTML: the sentence and the values are escaped, and the values stand out, unless they are HTML already.
func (l Language) Strong(key string, pairs ...any) template.HTML {
	var filled []string
	for i := 0; i+1 < len(pairs); i += 2 {
		name, _ := pairs[i].(string)
		value, safe := pairs[i+1].(template.HTML)
		if !safe {
			value = template.HTML("<strong>" + template.HTMLEscapeString(fmt.Sprint(pairs[i+1])) + "</strong>") //nolint:gosec // It is escaped here.
		}
		filled = append(filled, "{"+name+"}", string(value))
	}
	sentence := template.HTMLEscapeString(l.sentences[key])
	return template.HTML(strings.NewReplacer(filled...).Replace(sentence)) //nolint:gosec // Sentence and values are escaped.
}

// Choose returns the language of a page: that of the locale, else the first that the browser accepts (the Accept-Language
// header) and we have, else English.
func (f *Faces) Choose(locale, accepted string) *Face {
	wanted := []string{locale}
	if locale == "" {
		wanted = accepts(accepted)
	}
	for _, tag := range wanted {
		tag = strings.ToLower(tag)
		short, _, _ := strings.Cut(tag, "-")
		for _, name := range []string{tag, short} {
			if face, known := f.all[name]; known {
				return face
			}
		}
	}
	return f.all[fallback]
}

// accepts lists the languages of an Accept-Language header (RFC 9110 §12.5.4), the best first. Those that are not
// wanted at all, and whatever is nonsense, are left out.
func accepts(header string) []string {
	type weighed struct {
		tag    string
		weight float64
	}
	var all []weighed
	for part := range strings.SplitSeq(header, ",") {
		tag, rest, _ := strings.Cut(strings.TrimSpace(part), ";")
		w := weighed{strings.TrimSpace(tag), 1}
		if q, found := strings.CutPrefix(strings.TrimSpace(rest), "q="); found {
			weight, err := strconv.ParseFloat(q, 64)
			if err != nil {
				continue
			}
			w.weight = weight
		}
		if w.tag != "" && w.weight > 0 {
			all = append(all, w)
		}
	}
	slices.SortStableFunc(all, func(a, b weighed) int {
		switch {
		case a.weight > b.weight:
			return -1
		case a.weight < b.weight:
			return 1
		}
		return 0
	})
	var tags []string
	for _, w := range all {
		tags = append(tags, w.tag)
	}
	return tags
}
