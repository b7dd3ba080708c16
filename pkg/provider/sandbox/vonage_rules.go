package sandbox

import (
	"crypto/hmac"
	"crypto/subtle"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"doorcode/pkg/gsm7"
)

// The limits of the SMS API (providers.md 4.1).
const (
	maxText       = 3_200 // characters
	maxClientRef  = 40    // characters
	minTTL        = 20_000
	maxTTL        = 604_800_000
	maxClass      = 3
	maxAlphaFrom  = 11
	maxNumberFrom = 15
)

// The statuses that the sandbox gives (providers.md 4.3).
const (
	smsAccepted     = "0"
	smsThrottled    = "1"
	smsMissing      = "2"
	smsInvalid      = "3"
	smsAccountWrong = "4"
	smsInternal     = "5"
	smsPrefix       = "6"
	smsBarred       = "7"
	smsCredit       = "9"
	smsTooLong      = "12"
	smsSignature    = "14"
	smsSender       = "15"
	smsNetwork      = "22"
	smsCallback     = "23"
	smsDemo         = "29"
	smsBothProofs   = "32"
	smsDeactivated  = "33"
)

// smsText is the error text of a status. Those of 1, 2, 4, 9, 15 and 29 are
// the provider's (providers.md 4.2), the others say what the status means.
func smsText(status string) string {
	return map[string]string{ //nolint:gosec // words of a provider, no credentials
		smsThrottled:    "Throughput Rate Exceeded - please wait [ 250 ] and retry",
		smsAccountWrong: "Bad Credentials",
		smsInternal:     "Internal Error",
		smsPrefix:       "Unroutable message - rejected",
		smsBarred:       "Number barred",
		smsCredit:       "Quota Exceeded - rejected",
		smsTooLong:      "Message too long",
		smsSignature:    "Invalid Signature",
		smsSender:       "Illegal Sender Address - rejected",
		smsNetwork:      "Invalid Network Code",
		smsCallback:     "Invalid Callback URL",
		smsDemo:         "Non White-listed Destination - rejected",
		smsBothProofs:   "Signature And API Secret Disallowed",
		smsDeactivated:  "Number De-activated",
	}[status]
}

// smsPatterns are the shapes of the parameters.
type smsPatterns struct{ to, number, alpha *regexp.Regexp }

// patterns compiles them at their first use.
var patterns = sync.OnceValue(func() smsPatterns {
	return smsPatterns{
		to:     regexp.MustCompile(`^[0-9]{7,15}$`),
		number: regexp.MustCompile(`^[1-9][0-9]*$`),
		alpha:  regexp.MustCompile(`^[A-Za-z0-9]+$`),
	}
})

// refusal judges a request in the documented order (providers.md 7) and
// returns the first refusal; false means that it is accepted.
func (a *smsAccount) refusal(q *smsRequest) (smsPart, bool) {
	for _, rule := range []func(*smsRequest) (smsPart, bool){
		(*smsRequest).missing, (*smsRequest).invalid, a.credentials, (*smsRequest).sender, (*smsRequest).length, (*smsRequest).callback, magicRefusal, a.unpaid,
	} {
		part, refused := rule(q)
		if refused {
			return part, true
		}
	}
	return smsPart{}, false
}

// refuseSMS is a refusal with the text of its status.
func refuseSMS(status string) (smsPart, bool) {
	return smsPart{Status: status, ErrorText: smsText(status)}, true
}

// missing asks for what every request needs, in the order of the documents.
func (q *smsRequest) missing() (smsPart, bool) {
	for _, name := range []string{"api_key", "api_secret", "from", "to", "text"} {
		if q.fields[name] == "" && (name != "api_secret" || q.fields["sig"] == "") {
			return smsPart{Status: smsMissing, ErrorText: "Missing " + name + " param"}, true
		}
	}
	return smsPart{}, false
}

// invalid judges the shape of each value.
func (q *smsRequest) invalid() (smsPart, bool) {
	if q.bad != "" {
		return smsPart{Status: smsInvalid, ErrorText: "Invalid " + q.bad + " param"}, true
	}
	for _, check := range []struct {
		name  string
		valid func(string) bool
	}{
		{"to", patterns().to.MatchString},
		{"type", func(s string) bool { return s == "text" || s == "unicode" }},
		{"ttl", within(minTTL, maxTTL)},
		{"status-report-req", func(s string) bool { _, err := strconv.ParseBool(s); return err == nil }},
		{"client-ref", func(s string) bool { return utf8.RuneCountInString(s) <= maxClientRef }},
		{"message-class", within(0, maxClass)},
		{"timestamp", within(1, 1<<40)},
	} {
		value, given := q.fields[check.name]
		if given && !check.valid(value) {
			return smsPart{Status: smsInvalid, ErrorText: "Invalid " + check.name + " param"}, true
		}
	}
	return smsPart{}, false
}

// within makes a check that a value is a whole number of a range.
func within(least, most int64) func(string) bool {
	return func(s string) bool {
		n, err := strconv.ParseInt(s, 10, 64)
		return err == nil && n >= least && n <= most
	}
}

// credentials judges the key and either the secret or the signature, never both.
func (a *smsAccount) credentials(q *smsRequest) (smsPart, bool) {
	secret, sig := q.fields["api_secret"], q.fields["sig"]
	if secret != "" && sig != "" {
		return refuseSMS(smsBothProofs)
	}
	if !same(q.fields["api_key"], a.key) || (sig == "" && !same(secret, a.secret)) {
		return refuseSMS(smsAccountWrong)
	}
	if sig == "" {
		return smsPart{}, false
	}
	want := signature(a.method, a.signatureSecret, q.fields)
	if want == "" || !hmac.Equal([]byte(strings.ToLower(want)), []byte(strings.ToLower(sig))) {
		return refuseSMS(smsSignature)
	}
	return smsPart{}, false
}

// same compares without telling by its time how much is right.
func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// sender judges from (providers.md 4.6). What the provider would change on the way
// is refused, too, and so is a name towards all of +1.
func (q *smsRequest) sender() (smsPart, bool) {
	from, known := q.fields["from"], patterns()
	number := known.number.MatchString(from) && len(from) <= maxNumberFrom
	name := known.alpha.MatchString(from) && len(from) <= maxAlphaFrom && !digits(from)
	if number || (name && !strings.HasPrefix(q.fields["to"], "1")) {
		return smsPart{}, false
	}
	return refuseSMS(smsSender)
}

// digits tells whether s has nothing else.
func digits(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

// length judges the whole text.
func (q *smsRequest) length() (smsPart, bool) {
	if utf8.RuneCountInString(q.fields["text"]) > maxText {
		return refuseSMS(smsTooLong)
	}
	return smsPart{}, false
}

// callback judges the address that receipts of the message shall go to.
func (q *smsRequest) callback() (smsPart, bool) {
	address, given := q.fields["callback"]
	if given && !webAddress(address) {
		return refuseSMS(smsCallback)
	}
	return smsPart{}, false
}

// shown is the text as the phone shows it and its number of parts. Whoever
// sends characters outside GSM-7 as plain text gets question marks; a unicode
// message has 16 bits for each character, also for plain ones.
func (q *smsRequest) shown() (string, int) {
	text := q.fields["text"]
	if q.fields["type"] == "unicode" {
		parts, _, _ := gsm7.Parts(strings.Map(wide, text))
		return text, parts
	}
	text = strings.Map(narrow, text)
	parts, _, _ := gsm7.Parts(text)
	return text, parts
}

// wide maps a character to one outside GSM-7 of the same length in UTF-16.
func wide(r rune) rune {
	if r > 0xffff {
		return '🔑'
	}
	return 'я'
}

// narrow maps a character outside GSM-7 to a question mark.
func narrow(r rune) rune {
	_, _, alphabet := gsm7.Parts(string(r))
	if alphabet == gsm7.GSM7 {
		return r
	}
	return '?'
}
