package health

import (
	"fmt"
	"time"
)

// Few is the least number of messages of which a share means something; below it, counts are said and nothing is judged.
const Few = 20

// Settle is how old a message has to be before its verified share and its missing reports are counted: somebody has to open
// it and type, and a report has to come. The windows of these two end so long before now.
const Settle = 3 * time.Minute

// Windows are the lengths of the windows that figures are given for, the shortest first.
func Windows() []time.Duration { return []time.Duration{10 * time.Minute, time.Hour, 24 * time.Hour} }

// Share is a part of a whole, in counts.
type Share struct {
	Part, Of int
}

// None reports whether there is nothing to have a share of.
func (s Share) None() bool { return s.Of <= 0 }

// Enough reports whether the whole is large enough for a percentage to mean something.
func (s Share) Enough() bool { return s.Of >= Few }

// Percent is the share in whole percent, 0 to 100, and 0 of nothing. It is 100 only of all, and 0 only of none.
func (s Share) Percent() int {
	switch {
	case s.None() || s.Part <= 0:
		return 0
	case s.Part >= s.Of:
		return 100
	}
	return min(max((s.Part*200+s.Of)/(2*s.Of), 1), 99)
}

// String is the share in words: "none" of nothing, "1 of 2" of a few, "41 %" of many.
func (s Share) String() string {
	switch {
	case s.None():
		return "none"
	case !s.Enough():
		return fmt.Sprintf("%d of %d", s.Part, s.Of)
	}
	return fmt.Sprintf("%d %%", s.Percent())
}

// Within is a quantile of times as far as a histogram knows it: less than Bound. Over says that it is beyond every bound,
// and Bound is the last then; Of is how many times there are, and nothing is known of none.
type Within struct {
	Bound time.Duration
	Over  bool
	Of    int
}

// String is the time in words: "none", "under 8 s" or "over 600 s".
func (w Within) String() string {
	switch {
	case w.Of == 0:
		return "none"
	case w.Over:
		return fmt.Sprintf("over %d s", int(w.Bound.Seconds()))
	}
	return fmt.Sprintf("under %d s", int(w.Bound.Seconds()))
}

// quantile is the bin in which the message stands that percent of all, rounded up, are no slower than.
func quantile(bins [Bins]int, percent int) Within {
	var w Within
	for _, n := range bins {
		w.Of += n
	}
	bounds := Bounds()
	w.Bound, w.Over = bounds[len(bounds)-1], true
	need, seen := (w.Of*percent+99)/100, 0
	for i, bound := range bounds {
		seen += bins[i]
		if seen >= need {
			w.Bound, w.Over = bound, false
			break
		}
	}
	if w.Of == 0 {
		return Within{}
	}
	return w
}

// Figures are what is said of one way in one window.
type Figures struct {
	Sent      int
	Accepted  Share // of Sent
	Delivered Share // of what was accepted
	Verified  Share // of the accepted codes that are settled
	NoReport  Share // of what was accepted and is settled
	// MedianAccepted and SlowAccepted are the median and the 95th percentile from the request to the acceptance, the other
	// two to the delivery.
	MedianAccepted, SlowAccepted, MedianDelivered, SlowDelivered Within
}

// FiguresOf returns the figures of a window: now counts what was sent in it, settled what was sent in the window of the
// same length that ended Settle earlier.
func FiguresOf(now, settled Counts) Figures {
	return Figures{
		Sent:            now.Sent,
		Accepted:        Share{now.Accepted, now.Sent},
		Delivered:       Share{now.Delivered, now.Accepted},
		Verified:        Share{settled.Verified, settled.Codes},
		NoReport:        Share{settled.Accepted - settled.Delivered - settled.Failed, settled.Accepted},
		MedianAccepted:  quantile(now.AcceptedIn, 50),
		SlowAccepted:    quantile(now.AcceptedIn, 95),
		MedianDelivered: quantile(now.DeliveredIn, 50),
		SlowDelivered:   quantile(now.DeliveredIn, 95),
	}
}

// Definition says what a figure is and what it divides.
type Definition struct {
	Figure, Meaning string
}

// Definitions are those of all figures, in the words of the page that shows them.
func Definitions() []Definition {
	return []Definition{
		{"sent", "calls to the provider that ended in the window, whatever the answer"},
		{"accepted", "of those sent: the provider took the message and gave an id. It is not delivery"},
		{"delivered", "of those accepted: the provider reported that the receiving server or network has the message, and reported no failure later"},
		{"verified", "of the codes accepted: the code was typed and no further message had been needed. The window ends 3 minutes ago, so that people have had time to type"},
		{"no report", "of those accepted: the provider has reported neither delivery nor failure. The window ends 3 minutes ago"},
		{"median, 95th", "half, and 95 of 100, of the codes took less than this from the request: to the provider's acceptance, and to the reported delivery"},
		{"usual", "the same hour of the day on the seven days before, all together"},
		{"of few", "below 20 messages counts are shown instead of a share, and nothing is judged"},
	}
}
