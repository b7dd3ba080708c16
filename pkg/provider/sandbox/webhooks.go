package sandbox

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// maxWebhooks is how many event webhooks an account may have (providers.md 3.1).
const maxWebhooks = 5

// webhookSettings are the settings of an event webhook that a caller writes.
type webhookSettings struct {
	Enabled             bool   `json:"enabled"`
	URL                 string `json:"url"`
	AccountStatusChange bool   `json:"account_status_change"`
	GroupResubscribe    bool   `json:"group_resubscribe"`
	Delivered           bool   `json:"delivered"`
	GroupUnsubscribe    bool   `json:"group_unsubscribe"`
	SpamReport          bool   `json:"spam_report"`
	Bounce              bool   `json:"bounce"`
	Deferred            bool   `json:"deferred"`
	Unsubscribe         bool   `json:"unsubscribe"`
	Processed           bool   `json:"processed"`
	Open                bool   `json:"open"`
	Click               bool   `json:"click"`
	Dropped             bool   `json:"dropped"`
	FriendlyName        string `json:"friendly_name"`
}

// webhook is an event webhook as the provider shows it.
type webhook struct {
	ID string `json:"id"`
	webhookSettings
	PublicKey string    `json:"public_key,omitempty"`
	Created   time.Time `json:"created_date"`
	Updated   time.Time `json:"updated_date"`

	key *ecdsa.PrivateKey // nil when it does not sign
}

// wants tells whether the webhook is told of an event of that kind.
func (w webhook) wants(kind string) bool {
	return map[string]bool{
		"processed": w.Processed, "dropped": w.Dropped, "delivered": w.Delivered, "deferred": w.Deferred,
		"bounce": w.Bounce, "spamreport": w.SpamReport,
	}[kind]
}

// webhooks keeps the event webhooks, oldest first.
type webhooks struct {
	mu   sync.Mutex
	list []webhook
}

// all copies the list.
func (h *webhooks) all() []webhook {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.list)
}

// enabled lists those that are told of anything.
func (h *webhooks) enabled() []webhook {
	return slices.DeleteFunc(h.all(), func(w webhook) bool { return !w.Enabled })
}

// find returns the webhook with that id, or the oldest one when it is empty.
func (h *webhooks) find(id string) (webhook, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := h.index(id)
	if at < 0 {
		return webhook{}, false
	}
	return h.list[at], true
}

// index finds a webhook under the lock, -1 when there is none.
func (h *webhooks) index(id string) int {
	return slices.IndexFunc(h.list, func(w webhook) bool { return id == "" || w.ID == id })
}

// add puts a webhook behind the others, unless there are too many.
func (h *webhooks) add(w webhook) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.list) >= maxWebhooks {
		return false
	}
	h.list = append(h.list, w)
	return true
}

// change edits a webhook in its place and returns it.
func (h *webhooks) change(id string, edit func(*webhook)) (webhook, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := h.index(id)
	if at < 0 {
		return webhook{}, false
	}
	edit(&h.list[at])
	return h.list[at], true
}

// remove deletes a webhook. What waits for it is lost when its turn comes.
func (h *webhooks) remove(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := h.index(id)
	if at < 0 {
		return false
	}
	h.list = slices.Delete(h.list, at, at+1)
	return true
}

// batch is events on their way to a webhook.
type batch struct {
	hook    string
	address string // in place of that of the webhook, for a test
	events  []mailEvent
	bytes   int // of the encoded events; 0 when not counted yet
}

// size is about how long the batch is on the wire.
func (b *batch) size() int {
	if b.bytes == 0 {
		for _, event := range b.events {
			text, _ := encodeEvent(event) // maps of strings are always encoded
			b.bytes += len(text) + len(",\r\n")
		}
	}
	return b.bytes
}

// join takes the events of another batch in, unless both together are too large.
func (b *batch) join(other *batch, limit int) bool {
	const frame = len("[]\r\n")
	if b.address != "" || other.address != "" ||
		b.size()+other.size()+frame > limit || len(b.events)+len(other.events) > maxBatchEvents {
		return false
	}
	b.events = append(b.events, other.events...)
	b.bytes += other.bytes
	return true
}

// taken judges the answer: whatever is not 2xx is asked again (providers.md 3.1).
func (*batch) taken(status int) verdict {
	if status >= http.StatusOK && status < http.StatusMultipleChoices {
		return taken
	}
	return again
}

// request makes the request of one try, signed anew with the webhook's key of
// now. A webhook that is gone or disabled loses the batch.
func (b *batch) request(ctx context.Context, s *Sandbox, spoilt spoilt) (*http.Request, error) {
	hook, ok := s.hooks.find(b.hook)
	if !ok || (!hook.Enabled && b.address == "") {
		return nil, fmt.Errorf("post events: the webhook is gone")
	}
	now := s.cfg.Clock()
	events := slices.Clone(b.events)
	for i := range events {
		if events[i].at.After(now) {
			events[i].at = now // posted before its time
		}
		if spoilt.renamed {
			events[i].id = s.ids.eventID()
		}
	}
	body, err := encodeEvents(events, s.cfg.BatchLayout)
	if err != nil {
		return nil, err
	}
	address := hook.URL
	if b.address != "" {
		address = b.address
	}
	out, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("post events: %w", err)
	}
	out.Header.Set("Content-Type", "application/json;charset=utf-8")
	out.Header.Set("User-Agent", "SendGrid Event API")
	out.Header.Set("Accept-Encoding", "gzip")
	if hook.key == nil || spoilt.unsigned {
		return out, nil
	}
	return out, signBatch(out.Header, hook.key, body, now, spoilt)
}

// signBatch adds the headers of the signature.
func signBatch(header http.Header, key *ecdsa.PrivateKey, body []byte, now time.Time, spoilt spoilt) error {
	timestamp := strconv.FormatInt(now.Add(-spoilt.age).Unix(), 10)
	if spoilt.forged {
		body = append([]byte("?"), body...)
	}
	signed, err := signEvents(key, timestamp, body)
	if err != nil {
		return err
	}
	header.Set(signatureHeader, signed)
	header.Set(timestampHeader, timestamp)
	return nil
}
