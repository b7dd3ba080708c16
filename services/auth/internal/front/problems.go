package front

import (
	"net/http"
	"time"

	"doorcode/pkg/limit"
	"doorcode/pkg/problem"
	"doorcode/pkg/rollout"
	"doorcode/services/auth/internal/decide"
)

// The problem codes of the front door, beside those of package problem, of package decide and of the verifier.
const (
	CodeUnauthenticated     = "unauthenticated"
	CodeUnknownChallenge    = "unknown_challenge"
	CodeTooManyLive         = "too_many_live"
	CodeTooManyMessages     = "too_many_messages"
	CodeTooManyRequests     = "too_many_requests"
	CodeIdempotencyMismatch = "idempotency_mismatch"
	CodeDirectoryIntegrity  = "directory_integrity"
	CodeOverloaded          = "overloaded"
	CodeChanged             = "changed"
	CodeUnknownSettings     = "unknown_settings"
	CodeNotWaived           = "not_waived" // the verifier's
	CodeMainEmailDiffers    = "main_email_differs"
)

// answerRepeated is the answer of a create with a challenge that was there; the others that are no problem codes are the
// decisions.
const answerRepeated = "repeated"

// createAnswers is the closed set of the metric's label.
func createAnswers() []string {
	return []string{
		string(rollout.Required), string(rollout.Skippable), string(rollout.NotRequired), answerRepeated,
		CodeNotWaived, problem.CodeInvalidRequest, CodeUnauthenticated,
		decide.CodeUnknownWorkspace, decide.CodeUnknownLogin, decide.CodeNoRoute, decide.CodeLoginLocked, decide.CodeTooMany,
		CodeTooManyLive, CodeTooManyMessages, CodeTooManyRequests, CodeIdempotencyMismatch, CodeDirectoryIntegrity,
		CodeOverloaded, problem.CodeUnavailable, problem.CodeInternal,
	}
}

// Unauthenticated is the answer to a missing or wrong API key.
func Unauthenticated() *problem.Problem {
	return problem.New(http.StatusUnauthorized, CodeUnauthenticated, "A valid API key is needed: Authorization: Bearer dck_…")
}

// Unavailable is the answer when something that had to be asked could not be (P7).
func Unavailable() *problem.Problem {
	p := problem.New(http.StatusServiceUnavailable, problem.CodeUnavailable, "This cannot be done at the moment. Try again.")
	p.RetryAfter = time.Second
	return p
}

// unknownChallenge is the one answer to a handle that is malformed, foreign, or of no challenge.
func unknownChallenge() *problem.Problem {
	return problem.New(http.StatusNotFound, CodeUnknownChallenge, "There is no such challenge.")
}

// unknownSettings is the one answer to a link or cookie that opens no settings session, whatever the cause. It reaches
// the hosted pages alone.
func unknownSettings() *problem.Problem {
	return problem.New(http.StatusNotFound, CodeUnknownSettings, "There is no such settings session.")
}

// overloaded is the answer before a request that cannot be served is taken in.
func overloaded() *problem.Problem {
	p := problem.New(http.StatusServiceUnavailable, CodeOverloaded, "There are too many sign-ins at the moment. Try again.")
	p.RetryAfter = time.Second
	return p
}

// invalid names the field that is wrong and what it should be.
func invalid(field, detail string) *problem.Problem {
	p := problem.New(http.StatusBadRequest, problem.CodeInvalidRequest, detail)
	p.Field = field
	return p
}

// limited is the answer when a limit has no room.
func limited(a limit.Answer) *problem.Problem {
	code, detail := CodeTooManyRequests, "There are too many sign-ins from this client address. Wait a little."
	switch a.Refused {
	case limit.Live:
		code, detail = CodeTooManyLive, "Too many codes for this login are open. Use one of them, or wait until the first expires."
	case limit.Recipient:
		code, detail = CodeTooManyMessages, "Too many messages were sent to this address. Wait a little."
	case limit.Spend:
		code, detail = CodeTooManyMessages, "Too many text messages were sent today. Wait a little."
	case limit.Client:
	}
	p := problem.New(http.StatusTooManyRequests, code, detail)
	p.RetryAfter = a.Wait
	return p
}
