// Package limit holds how often something may happen: sends per recipient, creates per client address, and live
// challenges per login (DESIGN 7), as pure functions of what a row holds and the time.
//
// A row is exact over any span up to a day: it keeps the time of every take and, beside it, the request that took. A
// request that comes again takes nothing and is never refused, for as long as its idempotency key is good. The package
// knows no database; whoever calls it holds the rows locked and brings the clock of the database.
package limit

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"
)

// Repeat is how long a request is known as a repeat of itself: as long as the bus knows its Nats-Msg-Id. It is never
// longer, for a later repeat is a new challenge and has to be counted.
const Repeat = 10 * time.Minute

// Dimension is what is counted.
type Dimension string

// The dimensions. Recipient, Client and Spend are rows of their own; Live stands in the login's budget.
const (
	Recipient Dimension = "recipient"
	Client    Dimension = "client"
	Live      Dimension = "live"
	Spend     Dimension = "sms_spend" // text messages over all recipients
)

// Dimensions lists every dimension; it doubles as the closed set of a metric label.
func Dimensions() []Dimension { return []Dimension{Recipient, Client, Live, Spend} }

// MaxSpend is the highest daily cap of text messages; the one row that counts them stays bounded by it.
const MaxSpend = 5000

// SpendKey is the key of the one row of Spend.
func SpendKey() []byte { return []byte("all") }

// Window allows at most Max takes within Span.
type Window struct {
	Span time.Duration
	Max  int
}

// PerHourAndDay returns the windows of messages to one recipient.
func PerHourAndDay(hour, day int) []Window {
	return []Window{{Span: time.Hour, Max: hour}, {Span: 24 * time.Hour, Max: day}}
}

// PerDay returns the window of the daily cap of text messages.
func PerDay(day int) []Window { return []Window{{Span: 24 * time.Hour, Max: day}} }

// PerMinute returns the window of creates from one client address.
func PerMinute(minute int) []Window { return []Window{{Span: time.Minute, Max: minute}} }

// Entry names a request in a row: the first eight bytes of the SHA-256 of its Nats-Msg-Id.
func Entry(messageID string) int64 {
	sum := sha256.Sum256([]byte(messageID))
	return int64(binary.BigEndian.Uint64(sum[:8])) //nolint:gosec // The sign carries no meaning.
}

// Row is what was taken of one key: times, and the request of each, oldest first.
type Row struct {
	Times   []time.Time
	Entries []int64
}

// Has reports whether the request is a repeat of one that took here.
func (r Row) Has(now time.Time, entry int64) bool {
	for i, e := range r.Entries {
		if e == entry && i < len(r.Times) && now.Sub(r.Times[i]) < Repeat {
			return true
		}
	}
	return false
}

// Wait returns how long the windows refuse one more take; 0 is no refusal.
func (r Row) Wait(now time.Time, windows []Window) time.Duration {
	var longest time.Duration
	for _, w := range windows {
		inside := make([]time.Time, 0, len(r.Times))
		for _, t := range r.Times {
			if now.Sub(t) < w.Span {
				inside = append(inside, t)
			}
		}
		if len(inside) < w.Max {
			continue
		}
		slices.SortFunc(inside, time.Time.Compare)
		// When this one has left the window, fewer than Max are inside.
		last := inside[len(inside)-max(w.Max, 1)]
		longest = max(longest, last.Add(w.Span).Sub(now))
	}
	return longest
}

// longest is the span of the longest window.
func longest(windows []Window) time.Duration {
	var span time.Duration
	for _, w := range windows {
		span = max(span, w.Span)
	}
	return span
}

// take returns the row with one more entry and without those that no window sees any more.
func (r Row) take(now time.Time, entry int64, windows []Window) Row {
	span := longest(windows)
	var next Row
	for i, t := range r.Times {
		if now.Sub(t) < span && i < len(r.Entries) {
			next.Times = append(next.Times, t)
			next.Entries = append(next.Entries, r.Entries[i])
		}
	}
	next.Times = append(next.Times, now)
	next.Entries = append(next.Entries, entry)
	return next
}
