package rollout

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Gate is what has to be well before a further wave comes nearer to codes (product.md R4.12 and the table of gates).
type Gate string

// The gates. Support contacts are measured by nobody here: that gate is a person.
const (
	VerifiedShare Gate = "verified_share" // of the sign-ins that had to end with a code, those that did
	TimeToCode    Gate = "time_to_code"   // from the request until the recipient's server has the mail
	StuckLogins   Gate = "stuck_logins"   // logins that were asked for a code and never had one in a day
	Bounces       Gate = "bounce"         // mails with codes to addresses that do not exist
	Fallback      Gate = "fallback"       // sign-ins that began with a text message and ended with a mail
)

// Gates lists all of them, in the order in which they are shown.
func Gates() []Gate { return []Gate{VerifiedShare, TimeToCode, StuckLogins, Bounces, Fallback} }

// Light is what a gate shows.
type Light string

// The lights. Too little to judge holds nobody: before the first wave nothing is known, and somebody has to begin.
const (
	Open   Light = "open"
	Failed Light = "failed"
	TooFew Light = "too_few"
)

// Lights lists all of them.
func Lights() []Light { return []Light{Open, Failed, TooFew} }

// GateWindow is how far back the gates look.
const GateWindow = 24 * time.Hour

// VerifiedWithin is how long a sign-in may take until its code is typed, further codes of the same login included.
const VerifiedWithin = 15 * time.Minute

// Limits are the bounds of the gates.
type Limits struct {
	// LeastShare is the least verified share, in per cent.
	LeastShare float64
	// Median and P95 are the longest times to a code.
	Median, P95 time.Duration
	// MostStuck, MostBounced and MostFallback are the largest shares, in per cent.
	MostStuck, MostBounced, MostFallback float64
	// Least is how many of what a gate measures it takes to be judged.
	Least int
}

// StartingLimits returns those of product.md S4.
func StartingLimits() Limits {
	return Limits{
		LeastShare: 97, Median: 15 * time.Second, P95: 120 * time.Second, MostStuck: 0.5, MostBounced: 1, MostFallback: 5, Least: 200,
	}
}

// ErrLimits says that a bound is none.
var ErrLimits = errors.New("the limits of the gates are percentages of 0 to 100, times above 0 and a least number of 1 or more")

// Validate returns ErrLimits, or nil.
func (l Limits) Validate() error {
	for _, percent := range []float64{l.LeastShare, l.MostStuck, l.MostBounced, l.MostFallback} {
		if !(percent >= 0 && percent <= 100) { // also what is no number
			return ErrLimits
		}
	}
	if l.Median <= 0 || l.P95 <= 0 || l.Least < 1 {
		return ErrLimits
	}
	return nil
}

// Figures are what the gates judge by, over GateWindow until At. Where somebody measures the newest alone, Since says from when.
type Figures struct {
	At, Since time.Time
	// SignIns had to end with a code and had time to; Verified did within VerifiedWithin.
	SignIns, Verified int
	// Mails with first codes of which the provider has reported, the time that half of them and 95 of 100 took, and how many
	// bounced for good, late and without a name included. Median and P95 count those that were delivered or put off: TimedMails.
	Mails, Bounced, TimedMails int
	Median, P95                time.Duration
	// Logins were asked for a code; Stuck typed none that was right.
	Logins, Stuck int
	// Texts are sign-ins that began with a text message and ended with a code; ByMail of them it came by e-mail in the end.
	Texts, ByMail int
}

// Verdict is what a gate shows, and why, in a sentence with its figures and bounds.
type Verdict struct {
	Gate     Gate
	Light    Light
	Sentence string
}

// Judge returns the verdict of each gate, in the order of Gates.
func Judge(f Figures, l Limits) []Verdict {
	span := over(f)
	share := func(part, all int) float64 { return 100 * float64(part) / float64(max(all, 1)) }
	verdict := func(g Gate, all int, what string, failed bool, sentence string) Verdict {
		switch {
		case all < l.Least:
			return Verdict{g, TooFew, fmt.Sprintf("too little to judge: %d %s in %s, at least %d are needed", all, what, span, l.Least)}
		case failed:
			return Verdict{g, Failed, sentence}
		}
		return Verdict{g, Open, sentence}
	}
	return []Verdict{
		verdict(VerifiedShare, f.SignIns, "sign-ins that needed a code", share(f.Verified, f.SignIns) < l.LeastShare,
			fmt.Sprintf("verified share %s of %d sign-ins in %s, at least %s is needed", percent(share(f.Verified, f.SignIns)), f.SignIns, span, percent(l.LeastShare))),
		verdict(TimeToCode, f.TimedMails, "mails with a report", f.Median > l.Median || f.P95 > l.P95,
			fmt.Sprintf("time to code median %s and 95th percentile %s of %d mails in %s, at most %s and %s are allowed",
				seconds(f.Median), seconds(f.P95), f.TimedMails, span, seconds(l.Median), seconds(l.P95))),
		verdict(StuckLogins, f.Logins, "logins that needed a code", share(f.Stuck, f.Logins) > l.MostStuck,
			fmt.Sprintf("stuck logins %s of %d that were asked for a code in %s, at most %s is allowed", percent(share(f.Stuck, f.Logins)), f.Logins, span, percent(l.MostStuck))),
		verdict(Bounces, f.Mails, "mails with a report", share(f.Bounced, f.Mails) > l.MostBounced,
			fmt.Sprintf("bounces %s of %d mails in %s, at most %s is allowed", percent(share(f.Bounced, f.Mails)), f.Mails, span, percent(l.MostBounced))),
		verdict(Fallback, f.Texts, "sign-ins by text message", share(f.ByMail, f.Texts) > l.MostFallback,
			fmt.Sprintf("%s of %d sign-ins by text message ended on e-mail in %s, at most %s is allowed", percent(share(f.ByMail, f.Texts)), f.Texts, span, percent(l.MostFallback))),
	}
}

// FailedGates returns those of verdicts that failed, and why in one sentence.
func FailedGates(verdicts []Verdict) (gates []Gate, why string) {
	var sentences []string
	for _, v := range verdicts {
		if v.Light == Failed {
			gates, sentences = append(gates, v.Gate), append(sentences, v.Sentence)
		}
	}
	return gates, strings.Join(sentences, "; ")
}

// over says how long the figures are of.
func over(f Figures) string {
	span := f.At.Sub(f.Since)
	if f.Since.IsZero() || span >= GateWindow {
		return fmt.Sprintf("%d h", int(GateWindow.Hours()))
	}
	return span.Round(time.Minute).String()
}

// percent writes a share so that what is under a bound by little does not read as if it were at it.
func percent(share float64) string {
	text := strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.2f", share), "0"), ".")
	return text + " %"
}

// seconds writes a time to a code.
func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// HoldAhead is how long before a wave would move on a gate that fails holds it: as long as the gates look back, so that
// nobody comes to codes by what was well a day ago, and an evaluator that was away for hours is still in time. Waves further
// off are left alone: until then the gate may be open again, and a person has to have each go on.
const HoldAhead = GateWindow

// HeldByGates returns the ids of those waves that a failed gate holds: each that moves to its next stage within HoldAhead. One
// that stands still already or is enforced is left alone; one in grace stays in grace.
func HeldByGates(waves []Wave, now time.Time) []string {
	var ids []string
	for _, w := range waves {
		next := w.NextAt(now)
		if !next.IsZero() && !next.After(now.Add(HoldAhead)) {
			ids = append(ids, w.ID)
		}
	}
	return ids
}

// NextAt returns when the wave moves to its next stage; zero: it stands still, or it is enforced.
func (w Wave) NextAt(now time.Time) time.Time {
	if !w.StoppedAt().IsZero() || w.StageAt(now) == Enforced {
		return time.Time{}
	}
	for _, date := range []time.Time{w.AnnounceAt, w.GraceAt, w.EnforceAt} {
		if date.After(now) {
			return date
		}
	}
	return time.Time{}
}
