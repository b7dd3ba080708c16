// Package health says how well messages arrive: from the facts about single messages to the figures that an operator reads,
// each with its definition (Definitions), and to a judgement in words.
//
// A message is one call to a provider, for one send. Messages belong to the minute in which the call ended, whatever
// happens to them later; so no share can exceed the whole. A share of nothing is no number here, and a share of a few is
// said as what it is: counts. The package is pure: it knows neither clock nor database, which counts in its own statement
// what Count counts here.
package health

import (
	"sort"
	"time"

	"doorcode/pkg/delivery"
)

// Bounds of the histograms of times, each exclusive: bin i holds what took less than bound i and no less than the bound
// before; what took longer than the last is in one more bin. 15 s and 120 s are what the gates of the roll-out ask for.
func Bounds() []time.Duration {
	seconds := []int{1, 2, 3, 5, 8, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600}
	bounds := make([]time.Duration, len(seconds))
	for i, s := range seconds {
		bounds[i] = time.Duration(s) * time.Second
	}
	return bounds
}

// Bins is how many bins a histogram has: one more than Bounds.
const Bins = 17

// Way is what messages have in common that went the same way.
type Way struct {
	Channel  delivery.Channel
	Provider string
	// Destination is the country of the number (ISO 3166-1, two capital letters) or the mailbox provider (of Mailbox); empty
	// when it is not on record.
	Destination string
}

// Fact is what is known of one message.
type Fact struct {
	RequestedAt time.Time // when it was asked for
	At          time.Time // when the call ended
	Accepted    bool      // the provider took it
	Notice      bool      // it carries no code
	// DeliveredAt is when the receiving server or network had it, by the provider's clock; zero: no such report.
	DeliveredAt time.Time
	Failed      bool // the provider reported that it did not arrive; that outdoes a report of delivery
	// ApprovedAt is when a right code ended its challenge; zero: not yet, or never.
	ApprovedAt time.Time
	// NextAt is when the provider had taken the next message of the same challenge; zero: there is none.
	NextAt time.Time
}

// Verified reports whether the message did its work: its code was typed, and no further message had been needed.
func (f Fact) Verified() bool {
	return f.Accepted && !f.Notice && !f.ApprovedAt.IsZero() && (f.NextAt.IsZero() || !f.NextAt.Before(f.ApprovedAt))
}

// Counts are sums over messages of one way.
type Counts struct {
	Sent      int // calls made
	Accepted  int // of Sent: the provider took it
	Delivered int // of Accepted: reported as delivered, and not as failed
	Failed    int // of Accepted: reported as failed
	Codes     int // of Accepted: it carries a code
	Verified  int // of Codes: see Fact.Verified
	// AcceptedIn are the times from the request to the acceptance, of Codes, and DeliveredIn those to the delivery, of
	// Codes that were delivered, in the bins of Bounds. A notice is in no hurry and its request may be long past.
	AcceptedIn  [Bins]int
	DeliveredIn [Bins]int
}

// Add returns the sums of two counts.
func (c Counts) Add(other Counts) Counts {
	c.Sent += other.Sent
	c.Accepted += other.Accepted
	c.Delivered += other.Delivered
	c.Failed += other.Failed
	c.Codes += other.Codes
	c.Verified += other.Verified
	for i := range Bins {
		c.AcceptedIn[i] += other.AcceptedIn[i]
		c.DeliveredIn[i] += other.DeliveredIn[i]
	}
	return c
}

// Count counts messages.
func Count(facts []Fact) Counts {
	var c Counts
	for _, f := range facts {
		c = c.Add(countOne(f))
	}
	return c
}

func countOne(f Fact) Counts {
	c := Counts{Sent: 1}
	if !f.Accepted {
		return c
	}
	c.Accepted = 1
	delivered := !f.Failed && !f.DeliveredAt.IsZero()
	switch {
	case f.Failed:
		c.Failed = 1
	case delivered:
		c.Delivered = 1
	}
	if f.Notice {
		return c
	}
	c.Codes = 1
	if f.Verified() {
		c.Verified = 1
	}
	c.AcceptedIn[bin(f.At.Sub(f.RequestedAt))] = 1
	if delivered {
		c.DeliveredIn[bin(f.DeliveredAt.Sub(f.RequestedAt))] = 1
	}
	return c
}

// bin is the bin that a time belongs to. Clocks differ: what seems to have taken less than nothing is in the first.
func bin(d time.Duration) int {
	bounds := Bounds()
	return sort.Search(len(bounds), func(i int) bool { return d < bounds[i] })
}
