package sandbox

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"doorcode/pkg/strictjson"
)

// The paths of the event webhooks (providers.md 3.3). An id may follow the
// settings and the signing; without one the oldest webhook is meant.
const (
	webhookPath  = "/v3/user/webhooks/event/"
	settingsPath = webhookPath + "settings"
	signedPath   = settingsPath + "/signed"
	hookTestPath = webhookPath + "test"
)

// maxSettings is the largest body in bytes.
const maxSettings = 64 << 10

// What may be wrong with a webhook.
var (
	errNoWebAddress    = errors.New("make an event webhook: the URL is not one of http or https")
	errTooManyWebhooks = errors.New("make an event webhook: there are five already")
)

// EventWebhook makes an event webhook that is told of every event and signs,
// as the endpoints do, and returns its id and its public key in base64.
func (s *Sandbox) EventWebhook(url string) (id, key string, err error) {
	if !webAddress(url) {
		return "", "", errNoWebAddress
	}
	hook := s.newWebhook(webhookSettings{
		Enabled: true, URL: url, Delivered: true, SpamReport: true, Bounce: true, Deferred: true, Processed: true, Dropped: true,
	})
	hook.key, err = s.ids.key()
	if err != nil {
		return "", "", err
	}
	hook.PublicKey = publicKey(hook.key)
	if !s.hooks.add(hook) {
		return "", "", errTooManyWebhooks
	}
	return hook.ID, hook.PublicKey, nil
}

// newWebhook gives settings an id and their dates.
func (s *Sandbox) newWebhook(settings webhookSettings) webhook {
	now := s.cfg.Clock().UTC().Truncate(time.Second)
	return webhook{ID: s.ids.uuid("webhook"), webhookSettings: settings, Created: now, Updated: now}
}

// serveWebhooks answers the endpoints that set event webhooks up.
func (s *Sandbox) serveWebhooks(w http.ResponseWriter, r *http.Request) {
	body, err := readAtMost(http.MaxBytesReader(w, r.Body, maxSettings))
	if !s.authorized(r) {
		statusAnswer(http.StatusUnauthorized).write(w)
		return
	}
	if err != nil {
		statusAnswer(http.StatusRequestEntityTooLarge).write(w)
		return
	}
	path := r.URL.Path
	signed, isSigned := below(path, signedPath)
	id, isSettings := below(path, settingsPath)
	switch {
	case path == hookTestPath:
		s.routeHookTest(r.Method, body).write(w)
	case isSigned:
		s.routeSigned(r.Method, signed, body).write(w)
	case id == "all" && r.Method == http.MethodGet:
		list := s.hooks.all()
		document(http.StatusOK, map[string]any{"max_allowed": maxWebhooks, "webhooks": append([]webhook{}, list...)}).write(w)
	case isSettings:
		s.routeSettings(r.Method, id, body).write(w)
	default:
		statusAnswer(http.StatusNotFound).write(w)
	}
}

// below returns the one segment that may follow a path.
func below(path, root string) (string, bool) {
	rest, ok := strings.CutPrefix(path, root)
	segment, slash := strings.CutPrefix(rest, "/")
	if !ok || (rest != "" && (!slash || segment == "")) || strings.Contains(segment, "/") {
		return "", false
	}
	return segment, true
}

// routeSettings makes, shows, changes and deletes a webhook.
func (s *Sandbox) routeSettings(method, id string, body []byte) answer {
	switch {
	case method == http.MethodPost && id == "":
		var settings webhookSettings
		refused, ok := readSettings(body, &settings)
		if !ok {
			return refused
		}
		hook := s.newWebhook(settings)
		if !s.hooks.add(hook) {
			return messageAnswer(http.StatusBadRequest, "You have reached the maximum number of event webhooks.")
		}
		return document(http.StatusCreated, hook)
	case method == http.MethodGet:
		return shown(s.hooks.find(id))
	case method == http.MethodPatch:
		hook, ok := s.hooks.find(id)
		if !ok {
			return statusAnswer(http.StatusNotFound)
		}
		settings := hook.webhookSettings
		refused, ok := readSettings(body, &settings)
		if !ok {
			return refused
		}
		return shown(s.hooks.change(hook.ID, func(w *webhook) {
			w.webhookSettings, w.Updated = settings, s.cfg.Clock().UTC().Truncate(time.Second)
		}))
	case method == http.MethodDelete && id != "":
		if !s.hooks.remove(id) {
			return statusAnswer(http.StatusNotFound)
		}
		return statusAnswer(http.StatusNoContent)
	}
	return statusAnswer(http.StatusMethodNotAllowed)
}

// readSettings reads settings over those that are there; what the sandbox does
// not know, the OAuth settings among it, is refused.
func readSettings(body []byte, settings *webhookSettings) (answer, bool) {
	err := strictjson.Decode(body, settings)
	if err != nil {
		return statusAnswer(http.StatusBadRequest), false
	}
	if !webAddress(settings.URL) {
		return listAnswer(http.StatusBadRequest, []refusal{refuse("url", "url", "The url must be a valid http or https URL.")}), false
	}
	return answer{}, true
}

// shown is a webhook as a document, or the answer that there is none.
func shown(hook webhook, ok bool) answer {
	if !ok {
		return statusAnswer(http.StatusNotFound)
	}
	return document(http.StatusOK, hook)
}

// routeSigned shows the public key and switches the signing: on makes a new
// key, off deletes it (providers.md 3.3).
func (s *Sandbox) routeSigned(method, id string, body []byte) answer {
	switch method {
	case http.MethodGet:
		return signing(s.hooks.find(id))
	case http.MethodPatch:
		var wanted struct {
			Enabled *bool `json:"enabled"`
		}
		err := strictjson.Decode(body, &wanted)
		if err != nil || wanted.Enabled == nil {
			return statusAnswer(http.StatusBadRequest)
		}
		var key *ecdsa.PrivateKey
		if *wanted.Enabled {
			key, err = s.ids.key()
		}
		if err != nil {
			return statusAnswer(http.StatusInternalServerError)
		}
		return signing(s.hooks.change(id, func(w *webhook) { w.key, w.PublicKey = key, publicKey(key) }))
	}
	return statusAnswer(http.StatusMethodNotAllowed)
}

// signing is the public key of a webhook as a document.
func signing(hook webhook, ok bool) answer {
	if !ok {
		return statusAnswer(http.StatusNotFound)
	}
	return document(http.StatusOK, map[string]string{"id": hook.ID, "public_key": hook.PublicKey})
}

// routeHookTest posts one event of each kind to the webhook, or to the address
// of the body, as soon as the sender gets to it.
func (s *Sandbox) routeHookTest(method string, body []byte) answer {
	if method != http.MethodPost {
		return statusAnswer(http.StatusMethodNotAllowed)
	}
	var wanted struct {
		ID  string `json:"id"`
		URL string `json:"url"`
	}
	err := strictjson.Decode(body, &wanted)
	hook, ok := s.hooks.find(wanted.ID)
	switch {
	case err != nil || (wanted.URL != "" && !webAddress(wanted.URL)):
		return statusAnswer(http.StatusBadRequest)
	case !ok:
		return statusAnswer(http.StatusNotFound)
	case wanted.URL == "":
		wanted.URL = hook.URL
	}
	now := time.Now()
	s.queue.add(&parcel{due: now, until: now.Add(keepTrying), load: &batch{
		hook: hook.ID, address: wanted.URL, events: s.sampleEvents(),
	}})
	return statusAnswer(http.StatusNoContent)
}

// sampleEvents is one event of each kind, of a mail that nobody sent.
func (s *Sandbox) sampleEvents() []mailEvent {
	id := s.ids.mailID()
	mail := Message{ID: id + ".0", ProviderID: id, To: "example@test.com", ReceivedAt: s.cfg.Clock(), Categories: []string{"cat facts"}}
	var events []mailEvent
	for _, event := range []mailEvent{
		{Kind: "processed"},
		{Kind: "deferred", Response: comeLater, Attempt: "5"},
		{Kind: "delivered", Response: mailTaken},
		bounces("bounce", "5.0.0", unknownUser, "Invalid Address"),
		{Kind: "dropped", Reason: "Bounced Address", Status: "5.0.0"},
		{Kind: "spamreport"},
	} {
		event.mail, event.at, event.id = mail, mail.ReceivedAt, eventName(event.Kind, id, 0)
		events = append(events, event)
	}
	return events
}

// document is an answer with a JSON document.
func document(status int, content any) answer {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(content)
	if err != nil {
		return statusAnswer(http.StatusInternalServerError)
	}
	return answer{status: status, body: bytes.TrimSuffix(body.Bytes(), []byte("\n"))}
}
