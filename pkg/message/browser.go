package message

import (
	"slices"
	"strings"
)

// sign is a mark in a user agent and the name that people know.
type sign struct{ mark, name string }

// browsers is the closed table of browsers, the most particular first: most of
// them also claim to be Chrome and Safari.
func browsers() []sign {
	return []sign{
		{"Edg/", "Edge"},
		{"EdgA/", "Edge"},
		{"EdgiOS/", "Edge"},
		{"OPR/", "Opera"},
		{"SamsungBrowser/", "Samsung Internet"},
		{"Vivaldi/", "Vivaldi"},
		{"FxiOS/", "Firefox"},
		{"Firefox/", "Firefox"},
		{"CriOS/", "Chrome"},
		{"Chrome/", "Chrome"},
		{"Safari/", "Safari"},
	}
}

// systems is the closed table of operating systems, the most particular first.
func systems() []sign {
	return []sign{
		{"iPhone", "iPhone"},
		{"iPad", "iPad"},
		{"Android", "Android"},
		{"Windows", "Windows"},
		{"CrOS", "ChromeOS"},
		{"Macintosh", "macOS"},
		{"Linux", "Linux"},
	}
}

// Describe names the browser and the system of a user agent, both or neither.
// Only names of the tables come out, so that a header which anybody can write
// never puts a word into a message.
func Describe(userAgent string) (browser, system string) {
	browser, system = find(browsers(), userAgent), find(systems(), userAgent)
	if browser == "" || system == "" {
		return "", ""
	}
	return browser, system
}

// Apart returns the browser and the system that "Firefox on Windows" is made of,
// both or neither: only names of the tables come out.
func Apart(agent string) (browser, system string) {
	browser, system, _ = strings.Cut(agent, " on ")
	if browser == "" || system == "" || !isOf(browsers(), browser) || !isOf(systems(), system) {
		return "", ""
	}
	return browser, system
}

// isOf reports whether a name is one of a table, or empty.
func isOf(table []sign, name string) bool {
	return name == "" || slices.ContainsFunc(table, func(s sign) bool { return s.name == name })
}

// find returns the name of the first mark that a user agent holds.
func find(table []sign, userAgent string) string {
	for _, s := range table {
		if strings.Contains(userAgent, s.mark) {
			return s.name
		}
	}
	return ""
}
