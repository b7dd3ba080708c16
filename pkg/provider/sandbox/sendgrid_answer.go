package sandbox

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"doorcode/pkg/delivery"
)

// helpPage is the page that the provider's refusals point to.
const helpPage = "http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html#message."

// answer is one reply of a provider.
type answer struct {
	status   int
	header   []headerLine // added to those that every answer has
	bare     bool         // without the headers that every answer of SendGrid has
	media    string       // of the body; JSON when empty
	untyped  bool         // without a media type
	body     []byte
	accepted bool      // the message was stored
	reply    *smsReply // what the body says, for the faults that say it otherwise
}

// headerLine keeps the provider's own spelling of a name.
type headerLine struct{ name, value string }

// refusal is one entry of the provider's list of errors.
type refusal struct {
	Message string  `json:"message"`
	Field   *string `json:"field"`
	Help    *string `json:"help"`
}

// shortRefusal is the form in which the provider's gateway answers.
type shortRefusal struct {
	Field   *string `json:"field"`
	Message string  `json:"message"`
}

// refuse makes an entry about a field; the anchor names its help.
func refuse(field, anchor, message string) refusal {
	help := helpPage + anchor
	return refusal{Message: message, Field: &field, Help: &help}
}

// commonHeader is what every captured answer carries (providers.md 2.3).
func commonHeader() []headerLine {
	return []headerLine{
		{"Server", "nginx"},
		{"Access-Control-Allow-Origin", "https://sendgrid.api-docs.io"},
		{"Access-Control-Allow-Methods", "POST"},
		{"Access-Control-Allow-Headers", "Authorization, Content-Type, On-behalf-of, x-sg-elas-acl"},
		{"Access-Control-Max-Age", "600"},
		{"X-No-CORS-Reason", "https://sendgrid.com/docs/Classroom/Basics/API/cors.html"},
		{"Strict-Transport-Security", "max-age=31536000; includeSubDomains"},
		{"Content-Security-Policy", "frame-ancestors 'none'"},
		{"Cache-Control", "no-cache"},
		{"X-Content-Type-Options", "no-sniff"},
		{"Referrer-Policy", "strict-origin-when-cross-origin"},
	}
}

// start writes the status and the headers but that of the length.
func (a answer) start(h http.Header) {
	lines := a.header
	if !a.bare {
		lines = append(commonHeader(), lines...)
	}
	for _, line := range lines {
		h[line.name] = []string{line.value}
	}
	media, connection := a.media, "keep-alive"
	switch {
	case media != "":
	case len(a.body) == 0:
		media = "text/plain; charset=utf-8"
	default:
		media = "application/json"
	}
	if a.status >= http.StatusBadRequest {
		connection = "close"
	}
	h.Set("Content-Type", media)
	if a.untyped {
		h["Content-Type"] = nil // or the server would guess one
	}
	h.Set("Connection", connection)
}

// write sends the whole answer. A sender that has gone is not an error here.
func (a answer) write(w http.ResponseWriter) {
	a.start(w.Header())
	if a.status != http.StatusNoContent {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

// listAnswer is an answer with a list of errors.
func listAnswer[T refusal | shortRefusal](status int, list []T) answer {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(map[string][]T{"errors": list})
	if err != nil {
		return answer{status: http.StatusInternalServerError}
	}
	return answer{status: status, body: bytes.TrimSuffix(body.Bytes(), []byte("\n"))}
}

// statusAnswer is the provider's answer with that status and nothing more to
// say about the request; it is empty below 400.
func statusAnswer(status int) answer {
	switch status {
	case http.StatusUnauthorized:
		return messageAnswer(status, "The provided authorization grant is invalid, expired, or revoked")
	case http.StatusForbidden:
		return listAnswer(status, []shortRefusal{{Message: "access forbidden"}})
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return listAnswer(status, []shortRefusal{{Message: strings.ToLower(http.StatusText(status))}})
	case http.StatusTooManyRequests:
		return listAnswer(status, []shortRefusal{{Message: "too many requests"}})
	case http.StatusRequestEntityTooLarge:
		return messageAnswer(status, "The JSON payload you have included in your request is too large.")
	case http.StatusUnsupportedMediaType:
		return messageAnswer(status, "Content-Type should be application/json.")
	}
	if status < http.StatusBadRequest {
		return answer{status: status}
	}
	text := http.StatusText(status)
	if text == "" {
		text = "Error"
	}
	return messageAnswer(status, text)
}

// sendGridDialect words the faults that every provider can have.
func sendGridDialect() dialect {
	return dialect{
		channel: delivery.Email,
		status:  statusAnswer,
		limited: limited,
		credits: func() answer { return messageAnswer(http.StatusUnauthorized, "Maximum credits exceeded") },
	}
}

// limited is the answer to a sender that is too fast. Only a time above zero
// puts the headers of the limit there (providers.md 2.3).
func limited(now time.Time, reset time.Duration) answer {
	limited := statusAnswer(http.StatusTooManyRequests)
	if reset > 0 {
		limited.header = []headerLine{
			{"X-RateLimit-Limit", "600"},
			{"X-RateLimit-Remaining", "0"},
			{"X-RateLimit-Reset", strconv.FormatInt(now.Unix()+int64(math.Ceil(reset.Seconds())), 10)},
		}
	}
	return limited
}

// messageAnswer is an answer with one error that is about no field.
func messageAnswer(status int, message string) answer {
	return listAnswer(status, []refusal{{Message: message}})
}
