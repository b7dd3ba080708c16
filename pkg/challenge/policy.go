package challenge

import (
	"fmt"
	"time"
)

// Policy is what a challenge is made with. It travels in the challenge, so
// that one process decides it and every other one obeys (DESIGN 7).
type Policy struct {
	// WrongPerChallenge is how many wrong codes are compared (SEC-10).
	WrongPerChallenge int `json:"wrong_per_challenge"`
	// WrongPerHour and WrongPerDay are the login's budget (SEC-11).
	WrongPerHour int `json:"wrong_per_hour"`
	WrongPerDay  int `json:"wrong_per_day"`
	// LockAfter wrong codes in a row lock the login (NIST SP 800-63B-4 §3.2.2
	// allows at most 100; SEC-12).
	LockAfter int `json:"lock_after"`
	// Sends is how many messages one challenge may cause, create's included.
	Sends int `json:"sends"`
}

// Ceilings of the policy; no setting goes above them, and none switches
// counting off (SEC-14).
const (
	MaxWrongPerChallenge = 5
	MaxWrongPerHour      = 10
	MaxWrongPerDay       = 20
	MaxLockAfter         = 100
	MaxSends             = 5
	MaxLive              = 5
	MaxLife              = 10 * time.Minute
	MinLife              = 3 * time.Minute
)

// DefaultPolicy returns the figures of DESIGN 7.
func DefaultPolicy() Policy {
	return Policy{WrongPerChallenge: 5, WrongPerHour: 10, WrongPerDay: 20, LockAfter: 50, Sends: 5}
}

// Validate refuses a policy outside 1 and its ceilings.
func (p Policy) Validate() error {
	for _, b := range []struct {
		name       string
		value, max int
	}{
		{"wrong codes per challenge", p.WrongPerChallenge, MaxWrongPerChallenge},
		{"wrong codes per login and hour", p.WrongPerHour, MaxWrongPerHour},
		{"wrong codes per login and day", p.WrongPerDay, MaxWrongPerDay},
		{"wrong codes in a row before the lock", p.LockAfter, MaxLockAfter},
		{"sends per challenge", p.Sends, MaxSends},
	} {
		if b.value < 1 || b.value > b.max {
			return fmt.Errorf("%s: %d is outside 1 to %d", b.name, b.value, b.max)
		}
	}
	return nil
}

// ResendWait is how long a person waits after the n-th send (from 1) for the
// next: 30, 60, 120, 240 s.
func ResendWait(send int) time.Duration {
	send = min(max(send, 1), 4)
	return 30 * time.Second << (send - 1)
}
