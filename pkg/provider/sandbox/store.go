package sandbox

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"doorcode/pkg/delivery"
)

// The bounds of what is kept in memory.
const (
	maxMessages   = 10_000
	maxBytes      = 64 << 20
	maxReferences = 100_000
)

// referenceArgument is the custom argument that carries our delivery
// reference (providers.md 2.4).
const referenceArgument = "dlv"

// Message is one accepted message to one recipient.
type Message struct {
	// ID is unique: the provider's id, a dot, and the number of the recipient.
	ID string `json:"id"`
	// Channel is the medium the message came for.
	Channel delivery.Channel `json:"channel"`
	// To and From are bare addresses, or a number without its plus and a sender.
	To   string `json:"to"`
	From string `json:"from"`
	// Subject, Text and HTML are as they came, not unescaped, cut or trimmed.
	Subject string `json:"subject"`
	Text    string `json:"text"`
	HTML    string `json:"html"`
	// Parts is how many parts an SMS has; zero for a mail.
	Parts int `json:"parts,omitempty"`
	// ReceivedAt is the time of acceptance by the sandbox's clock.
	ReceivedAt time.Time `json:"received_at"`

	// ProviderID is what the sender was given as X-Message-Id, or as the
	// message-id of the first part.
	ProviderID string `json:"-"`
	// ToName and FromName are the display names, empty when there was none.
	ToName   string `json:"-"`
	FromName string `json:"-"`
	// Headers and CustomArgs are merged: those of the recipient win.
	Headers    map[string]string `json:"-"`
	CustomArgs map[string]string `json:"-"`
	Categories []string          `json:"-"`
	// ClientRef is the sender's own reference of an SMS, and TTL its life; both
	// are zero when not given.
	ClientRef string        `json:"-"`
	TTL       time.Duration `json:"-"`
	// Request is the body of the whole request, decompressed.
	Request []byte `json:"-"`
}

// size is about what the message costs in memory.
func (m *Message) size() int {
	return len(m.Subject) + len(m.Text) + len(m.HTML) + len(m.Request)
}

// store keeps the newest messages and wakes those who wait for one.
type store struct {
	mu      sync.Mutex
	kept    []Message // oldest first
	bytes   int
	total   map[delivery.Channel]int
	seen    map[string]int
	order   []string      // the keys of seen, oldest first
	changed chan struct{} // closed and replaced when messages come
}

// newStore returns an empty store.
func newStore() *store {
	return &store{total: map[delivery.Channel]int{}, seen: map[string]int{}, changed: make(chan struct{})}
}

// add stores the messages of one request at once.
func (s *store) add(batch []Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range batch {
		s.kept = append(s.kept, m)
		s.bytes += m.size()
		s.total[m.Channel]++
		s.count(cmp.Or(m.CustomArgs[referenceArgument], m.ClientRef))
	}
	for len(s.kept) > maxMessages || (s.bytes > maxBytes && len(s.kept) > 1) {
		s.bytes -= s.kept[0].size()
		s.kept[0] = Message{} // lets its memory go before the slice moves
		s.kept = s.kept[1:]
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// count adds one use of a reference and forgets the oldest one when there are
// too many. The caller holds the lock.
func (s *store) count(reference string) {
	if reference == "" {
		return
	}
	if s.seen[reference] == 0 {
		s.order = append(s.order, reference)
	}
	s.seen[reference]++
	if len(s.order) > maxReferences {
		delete(s.seen, s.order[0])
		s.order = s.order[1:]
	}
}

// list returns the kept messages to an address or a number, or all, newest first.
func (s *store) list(to string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.matching(to)
}

// matching copies the messages to an address, newest first. The caller holds
// the lock.
func (s *store) matching(to string) []Message {
	found, to := []Message{}, bare(to)
	for i := len(s.kept) - 1; i >= 0; i-- {
		if to == "" || strings.EqualFold(s.kept[i].To, to) {
			found = append(found, s.kept[i])
		}
	}
	return found
}

// bare takes the plus off a number, and the blank that a plus becomes in the
// query of an address. Anything else stays as it is.
func bare(to string) string {
	number := strings.TrimLeft(to, "+ ")
	if digits(number) {
		return number
	}
	return to
}

// wait takes the channel and the messages under one lock, so that no message slips
// in between.
func (s *store) wait(ctx context.Context, to string, n int) ([]Message, error) {
	for {
		s.mu.Lock()
		found, changed := s.matching(to), s.changed
		s.mu.Unlock()
		if len(found) >= n {
			return found, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for %d messages, %d came: %w", n, len(found), ctx.Err())
		}
	}
}

// find returns the kept message with that id.
func (s *store) find(id string) (Message, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.kept) - 1; i >= 0; i-- {
		if s.kept[i].ID == id {
			return s.kept[i], true
		}
	}
	return Message{}, false
}

// counted tells how many messages of a channel were added since the last clear.
func (s *store) counted(c delivery.Channel) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total[c]
}

// references copies the counts, so that the caller may keep them.
func (s *store) references() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.seen)
}

// clear forgets everything. Those who wait go on waiting.
func (s *store) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept, s.bytes, s.total = nil, 0, map[delivery.Channel]int{}
	s.seen, s.order = map[string]int{}, nil
}
