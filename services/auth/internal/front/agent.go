package front

import "doorcode/pkg/message"

// agent names the browser and system of a user agent in words of a closed set, such as "Firefox on Windows": what a
// person recognises, and nothing by which browsers of one kind are told apart. Empty: they are not known.
func agent(userAgent string) string {
	browser, system := message.Describe(userAgent)
	if browser == "" {
		return ""
	}
	return browser + " on " + system
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
