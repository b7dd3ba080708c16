// Package inbox is a mail provider that only counts: it takes what the SendGrid API takes, notes when it came, and hands
// the code to the sign-in that waits for it. It refuses nothing and keeps nothing, so that it does not decide the figures.
package inbox

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// maxBody bounds a request in bytes; a message of ours has less than a tenth.
const maxBody = 256 << 10

// Arrival is a message that came.
type Arrival struct {
	At   time.Time // before anything of it was read
	Code string
}

// Inbox is an http.Handler. It is safe for concurrent use.
type Inbox struct {
	boxes     map[string]chan Arrival // by recipient
	arrived   atomic.Int64
	unwanted  atomic.Int64
	malformed atomic.Int64
}

// New returns an inbox for recipients.
func New(recipients []string) *Inbox {
	b := &Inbox{boxes: make(map[string]chan Arrival, len(recipients))}
	for _, r := range recipients {
		b.boxes[r] = make(chan Arrival, 1)
	}
	return b
}

// Empty throws away what waits for a recipient, and Arrivals then delivers what comes next.
func (b *Inbox) Empty(recipient string) {
	select {
	case <-b.boxes[recipient]:
	default:
	}
}

// Arrivals delivers the messages to a recipient.
func (b *Inbox) Arrivals(recipient string) <-chan Arrival { return b.boxes[recipient] }

// Count is what has come so far.
type Count struct {
	Arrived   int64 // messages for somebody
	Unwanted  int64 // second messages, or for nobody
	Malformed int64 // requests without a recipient or a code
}

// Count returns what has come so far.
func (b *Inbox) Count() Count {
	return Count{Arrived: b.arrived.Load(), Unwanted: b.unwanted.Load(), Malformed: b.malformed.Load()}
}

// ServeHTTP accepts POST /v3/mail/send as SendGrid does: 202, no body, an id in X-Message-Id.
func (b *Inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := time.Now()
	if r.Method != http.MethodPost || r.URL.Path != "/v3/mail/send" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	recipient, code := read(body)
	if err != nil || recipient == "" || code == "" {
		b.malformed.Add(1)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.Header().Set("X-Message-Id", "bench"+strconv.FormatInt(b.arrived.Add(1), 10))
	w.WriteHeader(http.StatusAccepted)
	select {
	case b.boxes[recipient] <- Arrival{At: at, Code: code}: // a nil channel for a stranger
	default:
		b.unwanted.Add(1)
	}
}

// read returns the first recipient and the code of a request, or nothing. It looks for the two places where the adapter
// writes them instead of decoding the whole, which would be a quarter of what load and provider cost together.
func read(body []byte) (recipient, code string) {
	to, found := after(body, `"to":[{`)
	if !found {
		return "", ""
	}
	text, found := after(body, `"type":"text/plain"`)
	if !found {
		return "", ""
	}
	return value(to, "email"), find(strings.ReplaceAll(value(text, "value"), `\n`, "\n"))
}

// after returns what follows a text.
func after(body []byte, text string) ([]byte, bool) {
	_, rest, found := bytes.Cut(body, []byte(text))
	return rest, found
}

// value returns the first text of a name, as it is written: up to a quote that no backslash stands before. One that does
// not end is none.
func value(body []byte, name string) string {
	rest, found := after(body, `"`+name+`":"`)
	for i := 0; found && i < len(rest); i++ {
		switch rest[i] {
		case '\\':
			i++
		case '"':
			return string(rest[:i])
		}
	}
	return ""
}

// find returns the first line of a text that is a code: six to ten digits and nothing else.
func find(text string) string {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if len(line) >= 6 && len(line) <= 10 && strings.Trim(line, "0123456789") == "" {
			return line
		}
	}
	return ""
}
