package sandbox

import (
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"unicode/utf8"

	"doorcode/pkg/strictjson"
)

// maxSMSRequest is the largest request of the SMS API in bytes.
const maxSMSRequest = 64 << 10

// smsFields are the parameters that the SMS API knows for a text
// (providers.md 4.1); a form and a JSON object spell them alike.
func smsFields() []string {
	return []string{
		"api_key", "api_secret", "from", "to", "text", "type", "ttl", "status-report-req", "callback", "client-ref",
		"message-class", "account-ref", "entity-id", "content-id", "trusted-number", "timestamp", "nonce", "sig",
	}
}

// smsRequest is a request of the SMS API.
type smsRequest struct {
	fields map[string]string
	// bad names the first parameter that is unknown, doubled or no plain value.
	bad string
	// body is as it came.
	body []byte
}

// readSMS reads a form or a JSON object. What is neither has no parameter,
// which is what the answer then says. The account may also stand in Basic
// authentication; that of the body wins.
func readSMS(r *http.Request) (*smsRequest, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxSMSRequest+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxSMSRequest {
		return nil, errTooLarge
	}
	q := &smsRequest{fields: map[string]string{}, body: body}
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")) // a bad type is neither of both
	switch media {
	case "application/x-www-form-urlencoded":
		q.readForm(body)
	case "application/json":
		q.readObject(body)
	}
	key, secret, ok := r.BasicAuth()
	if ok && q.fields["api_key"] == "" && q.fields["api_secret"] == "" {
		q.fields["api_key"], q.fields["api_secret"] = key, secret
	}
	return q, nil
}

// readForm takes the parameters of a form.
func (q *smsRequest) readForm(body []byte) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return
	}
	for name, values := range form {
		q.fields[name] = values[0]
		if len(values) > 1 || !utf8.ValidString(values[0]) {
			q.blame(name)
		}
	}
	q.blameUnknown()
}

// readObject takes the parameters of a JSON object: text, numbers and truth
// values, for clients write ttl and status-report-req as what they are.
func (q *smsRequest) readObject(body []byte) {
	var object map[string]json.RawMessage
	err := strictjson.Decode(body, &object)
	if err != nil {
		return
	}
	for name, raw := range object {
		text := ""
		switch raw[0] {
		case '"':
			err := json.Unmarshal(raw, &text)
			if err != nil {
				q.blame(name)
			}
		case '{', '[', 'n':
			q.blame(name)
		default:
			text = string(raw)
		}
		q.fields[name] = text
	}
	q.blameUnknown()
}

// blame remembers a bad parameter, the first one in the order of letters.
func (q *smsRequest) blame(name string) {
	if q.bad == "" || name < q.bad {
		q.bad = name
	}
}

// blameUnknown blames what the API does not know. The provider may well
// overlook it; a sender whose clientRef is overlooked would rather know.
func (q *smsRequest) blameUnknown() {
	for name := range q.fields {
		if !slices.Contains(smsFields(), name) {
			q.blame(name)
		}
	}
}

// reports tells whether the sender wants a receipt, which is the default.
func (q *smsRequest) reports() bool {
	wanted, err := strconv.ParseBool(q.fields["status-report-req"])
	return err != nil || wanted
}
