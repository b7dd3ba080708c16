package front

import "strings"

// agent names the browser and system of a user agent in words of a closed set, such as "Firefox on Windows": what a
// person recognises, and nothing by which browsers of one kind are told apart. What is not known is "another browser" or
// "another system"; nothing for no user agent.
func agent(userAgent string) string {
	if userAgent == "" {
		return ""
	}
	// The first mark that is there counts: browsers name those they descend from, too.
	browser := firstOf(userAgent, "another browser", [][2]string{
		{"Edg", "Edge"},
		{"OPR/", "Opera"},
		{"SamsungBrowser", "Samsung Internet"},
		{"Firefox", "Firefox"},
		{"FxiOS", "Firefox"},
		{"CriOS", "Chrome"},
		{"Chrome", "Chrome"},
		{"Safari", "Safari"},
	})
	system := firstOf(userAgent, "another system", [][2]string{
		{"Android", "Android"},
		{"iPhone", "iPhone"},
		{"iPad", "iPad"},
		{"Windows", "Windows"},
		{"CrOS", "ChromeOS"},
		{"Macintosh", "macOS"},
		{"Linux", "Linux"},
	})
	return browser + " on " + system
}

// firstOf returns the name beside the first mark that s has, or other.
func firstOf(s, other string, marks [][2]string) string {
	for _, m := range marks {
		if strings.Contains(s, m[0]) {
			return m[1]
		}
	}
	return other
}

// browser hashes the front-end's id of a browser under the address key, for one login: the browsers of a login can be
// counted, and nobody can follow one from login to login.
func (f *Front) browser(workspace, login, id string) []byte {
	if id == "" {
		return nil
	}
	_, sum := f.keys.Address.MAC("doorcode browser v1", []byte(workspace), []byte(login), []byte(id))
	return sum[:16]
}
