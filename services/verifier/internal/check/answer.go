package check

import (
	"net/http"
	"time"

	"doorcode/pkg/challenge"
	"doorcode/pkg/problem"
)

// refusalProblem is what the caller is told about a check that was not approved (DESIGN 8).
func refusalProblem(e explanation) *problem.Problem {
	p := problem.New(http.StatusUnprocessableEntity, string(e.refusal), detailOf(e.refusal))
	if e.refusal == challenge.RefusedTooMany {
		p.Status = http.StatusTooManyRequests
		p.RetryAfter = max(e.wait, time.Second)
		return p
	}
	left := e.left
	p.ChecksLeft = &left
	return p
}

// detailOf is the sentence of a refusal.
func detailOf(r challenge.Refusal) string {
	switch r {
	case challenge.RefusedWrong:
		return "This code is not right."
	case challenge.RefusedExpired:
		return "This code has expired."
	case challenge.RefusedUsed:
		return "This code was used already."
	case challenge.RefusedTooMany:
		return "There were too many wrong codes for this login. Try again later."
	case challenge.RefusedClosed:
		return "This sign-in was ended. Start again."
	}
	return "This sign-in was ended. Start again."
}

// unavailable is the answer when nothing could be judged.
func unavailable() *problem.Problem {
	p := problem.New(http.StatusServiceUnavailable, problem.CodeUnavailable, "The code cannot be checked at the moment.")
	p.RetryAfter = time.Second
	return p
}
