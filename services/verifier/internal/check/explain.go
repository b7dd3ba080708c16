package check

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"

	"doorcode/pkg/assertion"
	"doorcode/pkg/challenge"
	"doorcode/pkg/limit"
	"doorcode/pkg/postgres"
)

// kind is what a check that was not counted comes to.
type kind int

const (
	again    kind = iota // the challenge is live and the budget has room: somebody was quicker, ask once more
	repeated             // this check was approved a moment ago: the same assertion
	refused
)

// explanation is why a check was not counted.
type explanation struct {
	kind    kind
	refusal challenge.Refusal
	// left are the checks that a repeated wrong check had left.
	left int
	// wait is how long the login's budget has no room.
	wait time.Duration
}

// explain says why a check was not counted. It is a pure function of where the challenge stands. The answer that this
// very check got comes first; after it the end of the challenge, then the login, then its budget. Nothing in it depends
// on whether the code would have been right.
func explain(s postgres.Standing, macs [][]byte) explanation {
	if answer, ok := answered(s, macs); ok {
		return repeat(s, answer)
	}
	switch s.State {
	case challenge.Approved:
		return explanation{kind: refused, refusal: challenge.RefusedUsed}
	case challenge.Expired:
		return explanation{kind: refused, refusal: challenge.RefusedExpired}
	case challenge.Canceled, challenge.Exhausted, challenge.Waived:
		return explanation{kind: refused, refusal: challenge.RefusedClosed}
	case challenge.Pending:
	}
	if !s.Now.Before(s.ExpiresAt) {
		return explanation{kind: refused, refusal: challenge.RefusedExpired}
	}
	if !s.LoginOpen {
		return explanation{kind: refused, refusal: challenge.RefusedClosed}
	}
	wait := limit.Row{Times: s.Failures}.Wait(s.Now, limit.PerHourAndDay(s.HourLimit, s.DayLimit))
	if wait > 0 {
		return explanation{kind: refused, refusal: challenge.RefusedTooMany, wait: wait}
	}
	return explanation{kind: again}
}

// answered finds the stored answer to a check.
func answered(s postgres.Standing, macs [][]byte) (string, bool) {
	for i, known := range s.MACs {
		same := func(mac []byte) bool { return bytes.Equal(mac, known) }
		if i < len(s.Answers) && slices.ContainsFunc(macs, same) {
			return s.Answers[i], true
		}
	}
	return "", false
}

// repeat gives a counted check its answer again. An approval is given again for as long as its assertion is good.
func repeat(s postgres.Standing, answer string) explanation {
	left, wrong := strings.CutPrefix(answer, "wrong:")
	if wrong {
		n, err := strconv.Atoi(left)
		if err != nil {
			n = 0
		}
		return explanation{kind: refused, refusal: challenge.RefusedWrong, left: n}
	}
	if s.Now.Sub(s.EndedAt) < assertion.Life {
		return explanation{kind: repeated}
	}
	return explanation{kind: refused, refusal: challenge.RefusedUsed}
}
