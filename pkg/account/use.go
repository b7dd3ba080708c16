package account

import "time"

// Use is how a login was used over thirty days, as far as its front-ends told
// browsers and networks apart.
type Use struct {
	Browsers int // distinct ones that signed in
	Networks int // distinct ones (/24, or /48) that they signed in from
	// Stopped counts the sign-ins with the right password that did not end with
	// a right code.
	Stopped int
	LastAt  time.Time // of the last sign-in; zero: none
}

// One person has about two browsers, at home and at work, and a phone moves
// from network to network. So neither figure alone says that a login is
// shared, and a bound is one more than a person usually has.
const (
	sharedBrowsers    = 4
	sharedNetworks    = 3
	browsersPerPerson = 2
)

// Shared reports whether the login looks as if several people used it
// (product.md R4.4, R7.4). It is a guess that is shown and decides nothing.
func (u Use) Shared() bool { return u.Browsers >= sharedBrowsers && u.Networks >= sharedNetworks }

// People estimates how many people use the login: one, unless it looks shared.
func (u Use) People() int {
	if !u.Shared() {
		return 1
	}
	return (u.Browsers + browsersPerPerson - 1) / browsersPerPerson
}
