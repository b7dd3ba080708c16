package sandbox

import (
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// The provider's limits (providers.md 2.2).
const (
	maxPersonalizations = 1_000
	maxRecipients       = 1_000
	maxReplyTo          = 1_000
	maxCustomArgs       = 10_000 // bytes, not reached
	maxSubstitutions    = 10_000 // bytes
	maxCategories       = 10
	maxCategory         = 255 // characters
	minPoolName         = 2
	maxPoolName         = 64
	maxGroupsToDisplay  = 25
	maxSchedule         = 72 * time.Hour
)

// The texts that more than one rule gives.
const (
	invalidAddress = "Does not contain a valid address."
	toRequired     = "The to array is required for all personalization objects, and must have at least one email object with a valid email address."
	fromRequired   = "The from object must be provided for every email send. It is an object that requires the email parameter, but may also contain a name parameter.  e.g. {\"email\" : \"example@example.com\"}  or {\"email\" : \"example@example.com\", \"name\" : \"Example Recipient\"}."
	subjectMissing = "The subject is required. You can get around this requirement if you use a template with a subject defined or if every personalization has a subject defined."
	contentMissing = "Unless a valid template_id is provided, the content parameter is required. There must be at least one defined content block. We typically suggest both text/plain and text/html blocks are included, but only one block is required."
	tooFarAhead    = "Scheduling more than 72 hours in advance is forbidden."
)

// reservedHeaders are those that a sender may not set, in lower case.
func reservedHeaders() []string {
	return []string{
		"x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding",
		"to", "from", "subject", "reply-to", "cc", "bcc",
	}
}

// refusals lists everything that is wrong with a request, all at once. The
// rules are those of providers.md 2.2.
func (m *mailRequest) refusals(now time.Time) []refusal {
	var list []refusal
	list = append(list, m.refusePersonalizations(now)...)
	list = append(list, m.refuseSender()...)
	list = append(list, m.refuseSubject()...)
	list = append(list, m.refuseContent()...)
	list = append(list, refuseHeaders("headers", m.Headers)...)
	list = append(list, refuseCategories("categories", m.Categories)...)
	list = append(list, refuseSchedule("send_at", m.SendAt, now)...)
	list = append(list, m.refuseReplyTo()...)
	return append(list, m.refuseSettings()...)
}

// refusePersonalizations judges how many there are, and each by itself.
func (m *mailRequest) refusePersonalizations(now time.Time) []refusal {
	count := len(m.Personalizations)
	if count == 0 {
		return []refusal{refuse("personalizations", "personalizations",
			"The personalizations field is required and must have at least one personalization.")}
	}
	var list []refusal
	if count > maxPersonalizations {
		list = append(list, refuse("personalizations", "personalizations",
			"The personalizations field is limited to 1000 personalization objects per request."))
	}
	if len(m.addresses()) > maxRecipients {
		list = append(list, refuse("personalizations", "recipient-errors",
			"There is a limit of 1000 total recipients (to + cc + bcc) per request."))
	}
	for i := range m.Personalizations {
		list = append(list, m.refusePersonalization(i, now)...)
	}
	return list
}

// refusePersonalization judges the i-th one. Its custom arguments count together
// with those of the whole request, for they are merged in the end.
func (m *mailRequest) refusePersonalization(i int, now time.Time) []refusal {
	p, path := &m.Personalizations[i], fmt.Sprintf("personalizations.%d", i)
	var list []refusal
	if len(p.To) == 0 {
		list = append(list, refuse(path+".to", "personalizations.to", toRequired))
	}
	list = append(list, refuseRecipients(path+".to", p.To)...)
	list = append(list, refuseRecipients(path+".cc", p.CC)...)
	list = append(list, refuseRecipients(path+".bcc", p.BCC)...)
	list = append(list, refuseDuplicate(path, p)...)
	if p.From != nil {
		list = append(list, refuseFrom(path+".from", *p.From)...)
	}
	if size(merged(m.CustomArgs, p.CustomArgs)) >= maxCustomArgs {
		list = append(list, refuse(path+".custom_args", "custom_args",
			"The custom_args are too large: the total of all names and values must be less than 10000 bytes."))
	}
	if size(p.Substitutions) > maxSubstitutions {
		list = append(list, refuse(path+".substitutions", "personalizations.substitutions",
			"The substitutions are limited to 10000 bytes per personalization object."))
	}
	if len(p.Substitutions) > 0 && strings.HasPrefix(m.TemplateID, "d-") {
		list = append(list, refuse(path+".substitutions", "personalizations.substitutions",
			"Substitutions may not be used with dynamic templating."))
	}
	list = append(list, refuseHeaders(path+".headers", p.Headers)...)
	list = append(list, refuseCategories(path+".categories", p.Categories)...)
	return append(list, refuseSchedule(path+".send_at", p.SendAt, now)...)
}

// refuseRecipients judges the addresses and names of one of to, cc and bcc.
func refuseRecipients(path string, addresses []address) []refusal {
	var list []refusal
	for i, a := range addresses {
		if !validAddress(a.Email) {
			list = append(list, refuse(fmt.Sprintf("%s.%d.email", path, i), "personalizations.to", invalidAddress))
		}
		if strings.ContainsAny(a.Name, ";,") {
			list = append(list, refuse(fmt.Sprintf("%s.%d.name", path, i), "personalizations.to",
				"The name may not contain a comma or a semicolon."))
		}
	}
	return list
}

// refuseDuplicate reports the first address that comes twice in one
// personalization. Like the provider's, the text echoes the address.
func refuseDuplicate(path string, p *personalization) []refusal {
	seen := map[string]bool{}
	kinds := []struct {
		name      string
		addresses []address
	}{{"to", p.To}, {"cc", p.CC}, {"bcc", p.BCC}}
	for _, kind := range kinds {
		for _, a := range kind.addresses {
			key := strings.ToLower(a.Email)
			if key != "" && seen[key] {
				return []refusal{refuse(path, "recipient-errors", fmt.Sprintf(
					"Each email address in the personalization block should be unique between to, cc, and bcc. We found the first duplicate instance of [%s] in the %s.%s field.",
					a.Email, path, kind.name))}
			}
			seen[key] = true
		}
	}
	return nil
}

// refuseSender asks for a from. That the sender was verified cannot be judged
// here: see the fault of kind Status with 403.
func (m *mailRequest) refuseSender() []refusal {
	if m.From == nil || m.From.Email == "" {
		return []refusal{refuse("from.email", "from", fromRequired)}
	}
	return refuseFrom("from", *m.From)
}

// refuseFrom judges a sender, whose name and address must do without Unicode.
func refuseFrom(path string, from address) []refusal {
	var list []refusal
	if !validAddress(from.Email) || !ascii(from.Email) {
		list = append(list, refuse(path+".email", "from", "The from email does not contain a valid address."))
	}
	if !ascii(from.Name) {
		list = append(list, refuse(path+".name", "from", "Unicode encoding is not supported for the from field."))
	}
	return list
}

// refuseSubject asks for a subject unless a template, or every personalization,
// has one.
func (m *mailRequest) refuseSubject() []refusal {
	lacking := func(p personalization) bool { return p.Subject == "" }
	everywhere := len(m.Personalizations) > 0 && !slices.ContainsFunc(m.Personalizations, lacking)
	if m.Subject != "" || m.TemplateID != "" || everywhere {
		return nil
	}
	return []refusal{refuse("subject", "subject", subjectMissing)}
}

// refuseContent judges the parts of the body: none may be empty, text/plain comes
// first, then text/html, each once, then any other type.
func (m *mailRequest) refuseContent() []refusal {
	var list []refusal
	if len(m.Content) == 0 && m.TemplateID == "" {
		list = append(list, refuse("content", "content", contentMissing))
	}
	rank := func(c content) int {
		return slices.Index([]string{"text/html", "text/plain"}, strings.ToLower(c.Type)) // -1 is any other type
	}
	for i, c := range m.Content {
		if c.Type == "" {
			list = append(list, refuse(fmt.Sprintf("content.%d.type", i), "content.type",
				"The content type must be a string at least one character in length."))
		}
		if c.Value == "" {
			list = append(list, refuse(fmt.Sprintf("content.%d.value", i), "content.value",
				"The content value must be a string at least one character in length."))
		}
		switch {
		case i == 0 || c.Type == "" || m.Content[i-1].Type == "":
		case rank(c) >= 0 && rank(c) == rank(m.Content[i-1]):
			list = append(list, refuse("content", "content", "If present, text/plain and text/html may only be provided once."))
		case rank(c) > rank(m.Content[i-1]):
			list = append(list, refuse("content", "content",
				"If present, text/plain must be first, followed by text/html, followed by any other type."))
		}
	}
	for i, a := range m.Attachments {
		if a.Content == "" || a.Filename == "" {
			list = append(list, refuse(fmt.Sprintf("attachments.%d", i), "attachments",
				"The attachment content and filename are required."))
		}
	}
	return list
}

// refuseHeaders reports a header that the provider sets by itself. The answer is
// the same whichever it is, so that it does not depend on the order of a map.
func refuseHeaders(path string, headers map[string]string) []refusal {
	for name := range headers {
		if slices.Contains(reservedHeaders(), strings.ToLower(name)) {
			return []refusal{refuse(path, "headers", "The headers "+strings.Join(reservedHeaders(), ", ")+" are reserved and may not be set.")}
		}
	}
	return nil
}

// refuseCategories judges the categories of the request or of a personalization.
func refuseCategories(path string, categories []string) []refusal {
	var list []refusal
	if len(categories) > maxCategories {
		list = append(list, refuse(path, "categories", "You may not have more than 10 categories."))
	}
	for i, c := range categories {
		at := fmt.Sprintf("%s.%d", path, i)
		if utf8.RuneCountInString(c) > maxCategory {
			list = append(list, refuse(at, "categories", "A category may not have more than 255 characters."))
		}
		if !ascii(c) {
			list = append(list, refuse(at, "categories", "A category may have ASCII characters only."))
		}
		if slices.Contains(categories[:i], c) {
			list = append(list, refuse(at, "categories", "Categories must be unique."))
		}
	}
	return list
}

// refuseSchedule judges a time of sending in unix seconds; 0 is none.
func refuseSchedule(path string, sendAt int64, now time.Time) []refusal {
	if sendAt <= now.Add(maxSchedule).Unix() {
		return nil
	}
	return []refusal{refuse(path, "send_at", tooFarAhead)}
}

// refuseReplyTo judges the two ways to name where answers go.
func (m *mailRequest) refuseReplyTo() []refusal {
	var list []refusal
	if m.ReplyTo != nil && len(m.ReplyToList) > 0 {
		list = append(list, refuse("reply_to", "reply_to", "Only one of reply_to and reply_to_list may be used."))
	}
	if m.ReplyTo != nil && !validAddress(m.ReplyTo.Email) {
		list = append(list, refuse("reply_to.email", "reply_to", "The reply_to email does not contain a valid address."))
	}
	if len(m.ReplyToList) > maxReplyTo {
		list = append(list, refuse("reply_to_list", "reply_to", "The reply_to_list is limited to 1000 addresses."))
	}
	for i, a := range m.ReplyToList {
		if !validAddress(a.Email) {
			list = append(list, refuse(fmt.Sprintf("reply_to_list.%d.email", i), "reply_to", invalidAddress))
		}
	}
	return list
}

// refuseSettings judges the pool, the groups and the bypass settings, of which the
// one for all lists stands alone (providers.md 2.5).
func (m *mailRequest) refuseSettings() []refusal {
	var list []refusal
	if m.IPPoolName != nil && (len(*m.IPPoolName) < minPoolName || len(*m.IPPoolName) > maxPoolName) {
		list = append(list, refuse("ip_pool_name", "ip_pool_name", "The ip_pool_name must have 2 to 64 characters."))
	}
	if m.ASM != nil && len(m.ASM.GroupsToDisplay) > maxGroupsToDisplay {
		list = append(list, refuse("asm.groups_to_display", "asm", "The groups_to_display are limited to 25."))
	}
	s := m.MailSettings
	if s.BypassListManagement.Enable &&
		(s.BypassSpamManagement.Enable || s.BypassBounceManagement.Enable || s.BypassUnsubscribeManagement.Enable) {
		list = append(list, refuse("mail_settings.bypass_list_management", "mail_settings",
			"The bypass_list_management setting may not be combined with any other bypass setting."))
	}
	return list
}

// validAddress tells whether s is one bare address within the limits of RFC 5321.
func validAddress(s string) bool {
	parsed, err := mail.ParseAddress(s)
	if err != nil || parsed.Name != "" || parsed.Address != s {
		return false
	}
	return len(s) <= 254 && strings.LastIndexByte(s, '@') <= 64
}

// ascii tells whether s does without Unicode.
func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}

// size adds up the bytes of all names and values.
func size(values map[string]string) int {
	total := 0
	for name, value := range values {
		total += len(name) + len(value)
	}
	return total
}
