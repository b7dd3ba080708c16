package sandbox

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"doorcode/pkg/delivery"
	"doorcode/pkg/strictjson"
)

// decodeMail reads a body strictly: a key that the provider does not know, a
// key in other letter case or twice, a wrong type, or anything after the object
// is refused. The provider's answer to all of them names no field.
func decodeMail(body []byte) (*mailRequest, bool) {
	request := &mailRequest{}
	err := strictjson.Decode(body, request)
	return request, err == nil
}

// sandboxed tells whether the sender asked for a check without a delivery.
func (m *mailRequest) sandboxed() bool { return m.MailSettings.SandboxMode.Enable }

// addresses lists the bare addresses of everybody the request is for.
func (m *mailRequest) addresses() []string {
	var found []string
	for _, p := range m.Personalizations {
		for _, a := range p.everybody() {
			found = append(found, a.Email)
		}
	}
	return found
}

// everybody lists to, cc and bcc, in this order.
func (p *personalization) everybody() []address {
	list := append([]address{}, p.To...)
	return append(append(list, p.CC...), p.BCC...)
}

// messages makes one message for each recipient of an accepted request.
func (m *mailRequest) messages(id string, now time.Time, body []byte) []Message {
	var batch []Message
	for _, p := range m.Personalizations {
		for _, to := range p.everybody() {
			msg := m.message(&p)
			msg.ID = fmt.Sprintf("%s.%d", id, len(batch))
			msg.ProviderID, msg.ReceivedAt, msg.Request = id, now, body
			msg.To, msg.ToName = to.Email, to.Name
			batch = append(batch, msg)
		}
	}
	return batch
}

// message fills in what all recipients of one personalization share.
func (m *mailRequest) message(p *personalization) Message {
	from, subject := m.From, m.Subject
	if p.From != nil {
		from = p.From
	}
	if p.Subject != "" {
		subject = p.Subject
	}
	msg := Message{
		Channel: delivery.Email,
		From:    from.Email, FromName: from.Name, Subject: subject,
		Headers:    merged(m.Headers, p.Headers),
		CustomArgs: merged(m.CustomArgs, p.CustomArgs),
		Categories: append(append([]string{}, m.Categories...), p.Categories...),
	}
	for _, c := range m.Content {
		switch strings.ToLower(c.Type) {
		case "text/plain":
			msg.Text = c.Value
		case "text/html":
			msg.HTML = c.Value
		}
	}
	return msg
}

// merged joins two maps; the keys of the second win.
func merged(first, second map[string]string) map[string]string {
	joined := make(map[string]string, len(first)+len(second))
	maps.Copy(joined, first)
	maps.Copy(joined, second)
	return joined
}
