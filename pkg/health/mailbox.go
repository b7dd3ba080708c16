package health

import "strings"

// OtherMailbox stands for every mail domain that is not on the list of Mailbox.
const OtherMailbox = "other"

// mailboxes are the mail domains of the large mailbox providers, which have millions of users each. The domain of a firm
// or a family can name a person, so no other domain is ever put on record (SEC-64).
func mailboxes() map[string][]string {
	return map[string][]string{
		"aol":       {"aol.com"},
		"apple":     {"icloud.com", "me.com", "mac.com"},
		"comcast":   {"comcast.net"},
		"free":      {"free.fr"},
		"gmail":     {"gmail.com", "googlemail.com"},
		"gmx":       {"gmx.de", "gmx.net", "gmx.at", "gmx.ch", "gmx.com"},
		"libero":    {"libero.it"},
		"mailru":    {"mail.ru"},
		"microsoft": {"outlook.com", "hotmail.com", "live.com", "msn.com", "hotmail.co.uk", "hotmail.fr", "outlook.fr", "outlook.de", "hotmail.de", "hotmail.es", "hotmail.it"},
		"naver":     {"naver.com"},
		"netease":   {"163.com", "126.com"},
		"orange":    {"orange.fr", "wanadoo.fr"},
		"proton":    {"proton.me", "protonmail.com", "pm.me"},
		"qq":        {"qq.com"},
		"seznam":    {"seznam.cz"},
		"telekom":   {"t-online.de"},
		"webde":     {"web.de"},
		"yahoo":     {"yahoo.com", "ymail.com", "yahoo.co.uk", "yahoo.fr", "yahoo.de", "yahoo.es", "yahoo.it", "yahoo.co.jp", "yahoo.com.br"},
		"yandex":    {"yandex.ru", "ya.ru", "yandex.com"},
	}
}

// Mailbox returns a function that gives the name of the mailbox provider of a mail address: one of a closed list of
// large ones, judged by the domain alone, or OtherMailbox. It says no more of an address than some million others share.
func Mailbox() func(address string) string {
	byDomain := map[string]string{}
	for name, domains := range mailboxes() {
		for _, d := range domains {
			byDomain[d] = name
		}
	}
	return func(address string) string {
		domain := strings.TrimSuffix(strings.ToLower(address[strings.LastIndexByte(address, '@')+1:]), ".")
		name, ok := byDomain[domain]
		if !ok {
			return OtherMailbox
		}
		return name
	}
}
