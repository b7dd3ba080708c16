package sandbox

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"
)

// account is the number of the sandbox's account in the names of events.
const account = "100001"

// mailEvent is one event of a mail (providers.md 3.2). What is empty is not
// written.
type mailEvent struct {
	Kind           string // processed, dropped, delivered, deferred, bounce, spamreport
	Reason         string
	Response       string
	Status         string
	Type           string // bounce or blocked
	Classification string
	Attempt        string
	Anonymous      bool // without message id and custom arguments

	mail Message
	id   string
	at   time.Time
}

// planEvents queues for each webhook what becomes of the mails of one send.
func (s *Sandbox) planEvents(batch []Message) {
	hooks := s.hooks.enabled()
	if len(hooks) == 0 {
		return
	}
	for i, mail := range batch {
		magic := magicOf(mail.Channel, mail.To)
		var events []mailEvent
		var after []time.Duration
		for _, step := range magic.events {
			event := step.event
			event.mail, event.at = mail, mail.ReceivedAt.Add(step.after)
			event.id = eventName(event.Kind, mail.ProviderID, i)
			for copied := range magic.copies + 1 {
				if copied == 2 {
					event.id = s.ids.eventID()
				}
				events, after = append(events, event), append(after, step.after)
			}
		}
		for _, hook := range hooks {
			s.queueEvents(hook, events, after)
		}
	}
}

// queueEvents queues the events of one mail that a webhook wants, each for the
// first batch after its time. A fault may turn their order around.
func (s *Sandbox) queueEvents(hook webhook, events []mailEvent, after []time.Duration) {
	now := time.Now()
	turned := s.hookFaults.take(Reorder)
	for i, event := range events {
		if turned {
			event = events[len(events)-1-i]
		}
		if !hook.wants(event.Kind) {
			continue
		}
		due := now.Add(after[i]).Truncate(s.cfg.BatchInterval).Add(s.cfg.BatchInterval)
		s.queue.add(&parcel{due: due, until: due.Add(keepTrying), load: &batch{hook: hook.ID, events: []mailEvent{event}}})
	}
}

// eventName is the id of an event, which tells what it is about
// (providers.md 2.4).
func eventName(kind, id string, index int) string {
	word := map[string]string{"dropped": "drop"}[kind]
	if word == "" {
		word = kind
	}
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%s-%s-%s-%d", word, account, id, index))
}

// document is the event as SendGrid writes it. The custom arguments stand
// beside its own keys, which win.
func (e mailEvent) document() map[string]any {
	d := map[string]any{}
	if !e.Anonymous {
		for name, value := range e.mail.CustomArgs {
			d[name] = value
		}
		_, index, _ := strings.Cut(e.mail.ID, ".")
		d["sg_message_id"] = fmt.Sprintf("%s.recvd-5f6d7c8b9-sbx01-1-%X-%s.0", e.mail.ProviderID, e.mail.ReceivedAt.Unix(), index)
		d["smtp-id"] = "<" + e.mail.ProviderID + "@geopod-ismtpd-1>"
	}
	if len(e.mail.Categories) > 0 {
		d["category"] = e.mail.Categories
	}
	own := map[string]any{"email": e.mail.To, "event": e.Kind, "timestamp": e.at.Unix(), "sg_event_id": e.id}
	for name, value := range map[string]string{
		"reason": e.Reason, "response": e.Response, "status": e.Status, "type": e.Type,
		"bounce_classification": e.Classification, "attempt": e.Attempt,
	} {
		if value != "" {
			own[name] = value
		}
	}
	switch e.Kind {
	case "delivered", "bounce":
		own["ip"], own["tls"] = "192.0.2.10", 1
	case "deferred":
		own["ip"] = "192.0.2.10"
	case "spamreport":
		delete(d, "smtp-id")
	}
	maps.Copy(d, own)
	return d
}

// encodeEvents writes a batch on the wire: compact, each event followed by CR
// LF (providers.md 3.1).
func encodeEvents(events []mailEvent, layout Layout) ([]byte, error) {
	var body bytes.Buffer
	body.WriteByte('[')
	for i, event := range events {
		text, err := encodeEvent(event)
		if err != nil {
			return nil, err
		}
		switch {
		case i == 0:
		case layout == BeforeComma:
			body.WriteString("\r\n,")
		default:
			body.WriteString(",\r\n")
		}
		body.Write(text)
	}
	body.WriteString("]\r\n")
	return body.Bytes(), nil
}

// encodeEvent writes one event without a line end.
func encodeEvent(event mailEvent) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(event.document())
	if err != nil {
		return nil, fmt.Errorf("encode an event: %w", err)
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), nil
}
