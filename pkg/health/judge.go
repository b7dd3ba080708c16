package health

import "fmt"

// State is how a way is doing.
type State string

// The states, the worst first. Quiet means that too little was sent to say anything.
const (
	Bad   State = "bad"
	Watch State = "watch"
	Fine  State = "fine"
	Quiet State = "quiet"
)

// States are all of them, the worst first.
func States() []State { return []State{Bad, Watch, Fine, Quiet} }

// Thresholds of Judge. A share is bad below four fifths of the usual and to be watched below nine tenths; times are bad
// past what the gates of the roll-out allow (product.md S4).
const (
	badPart, watchPart     = 80, 90 // percent of the usual share
	leastAccepted          = 50     // percent, when nothing is usual yet
	slowMedian, slowTail   = 15, 120
	watchReports, muchMore = 20, 50 // percentage points of missing reports above the usual
)

// Verdict is a state with the reason in words.
type Verdict struct {
	State State
	Words string
}

// Judge compares the figures of a short window with those of the usual one. It judges no share of few. The first thing that
// is wrong is what it says, the worst first.
func Judge(now, usual Figures) Verdict {
	worst := Verdict{State: Fine, Words: "as usual"}
	if !now.Accepted.Enough() && !now.Verified.Enough() {
		worst = Verdict{State: Quiet, Words: fmt.Sprintf("%d sent: too few to judge", now.Sent)}
	}
	for _, v := range []Verdict{
		compare("verified share", now.Verified, usual.Verified),
		compare("accepted share", now.Accepted, usual.Accepted),
		judgeFloor(now.Accepted),
		judgeTimes(now),
		judgeReports(now.NoReport, usual.NoReport),
	} {
		if v.State != "" && v.State.worse(worst.State) {
			worst = v
		}
	}
	return worst
}

// worse reports whether a state is worse than another.
func (s State) worse(other State) bool {
	for _, one := range States() {
		if one == s {
			return s != other
		}
		if one == other {
			return false
		}
	}
	return false
}

// compare judges a share that should not fall. It says nothing without enough of both.
func compare(what string, now, usual Share) Verdict {
	if !now.Enough() || !usual.Enough() {
		return Verdict{}
	}
	words := fmt.Sprintf("%s %s, usual %s", what, now, usual)
	// now.Part/now.Of against usual.Part/usual.Of, without division.
	got, want := now.Part*usual.Of*100, usual.Part*now.Of
	switch {
	case got < want*badPart:
		return Verdict{State: Bad, Words: words}
	case got < want*watchPart:
		return Verdict{State: Watch, Words: words}
	}
	return Verdict{State: Fine, Words: words}
}

// judgeFloor judges the accepted share by itself: less than half is bad, whatever is usual.
func judgeFloor(accepted Share) Verdict {
	if !accepted.Enough() || accepted.Part*100 >= accepted.Of*leastAccepted {
		return Verdict{}
	}
	return Verdict{State: Bad, Words: fmt.Sprintf("accepted share %s", accepted)}
}

// judgeTimes judges the time to the acceptance by the gates of the roll-out.
func judgeTimes(now Figures) Verdict {
	if now.MedianAccepted.Of < Few {
		return Verdict{}
	}
	switch {
	case now.MedianAccepted.slower(slowMedian):
		return Verdict{State: Bad, Words: fmt.Sprintf("median time to acceptance %s", now.MedianAccepted)}
	case now.SlowAccepted.slower(slowTail):
		return Verdict{State: Watch, Words: fmt.Sprintf("95th time to acceptance %s", now.SlowAccepted)}
	}
	return Verdict{}
}

// slower reports whether a time is certainly beyond some seconds.
func (w Within) slower(seconds int) bool { return w.Over || w.Bound.Seconds() > float64(seconds) }

// judgeReports judges missing reports, of which more than usual are to be watched, and many more are bad: without reports
// nobody knows whether anything arrives.
func judgeReports(now, usual Share) Verdict {
	if !now.Enough() || !usual.Enough() {
		return Verdict{}
	}
	words := fmt.Sprintf("no report on %s, usual %s", now, usual)
	switch more := now.Percent() - usual.Percent(); {
	case more > muchMore:
		return Verdict{State: Bad, Words: words}
	case more > watchReports:
		return Verdict{State: Watch, Words: words}
	}
	return Verdict{}
}
