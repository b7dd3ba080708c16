package rollout

import (
	"fmt"
	"iter"
)

// MaxSynthetic is the most workspaces that are made up.
const MaxSynthetic = 10_000_000

// Synthetic makes workspaces up: most have one login, some have dozens; people sign in on working days in their own time
// zone, mostly in a browser that they know. The figures are guesses, which nobody measured:
//
//   - 70 of 100 workspaces have one login, 25 two to six, 5 seven to forty
//   - 80 of 100 owners and 2 of 100 others have no address of their own; 1 of 200 workspaces has no owner
//   - 1 of 100 addresses has bounced, and 8 of 100 logins get their codes as text messages
//   - 15 of 100 sign-ins are in a browser that is new to the login
//
// The same seed gives the same workspaces in every version of Go.
type Synthetic struct {
	Workspaces int
	Seed       uint64
}

// All yields the workspaces, each good until the next one. Their ids are "synthetic-0000001" and so on; their places are
// empty.
func (s Synthetic) All() iter.Seq[Subject] {
	return func(yield func(Subject) bool) {
		var logins []SubjectLogin
		for i := range s.Workspaces {
			d := &dice{state: next(s.Seed) + uint64(i)<<20}
			w := Subject{ID: fmt.Sprintf("synthetic-%07d", i+1)}
			w.Logins = d.logins(logins)
			logins = w.Logins
			if !yield(w) {
				return
			}
		}
	}
}

// dice are numbers that look like chance and follow from a seed.
type dice struct{ state uint64 }

// roll returns 0 up to but never n.
func (d *dice) roll(n int) int {
	d.state++
	return int(next(d.state) % uint64(n)) //nolint:gosec // below n
}

// chance reports whether one in a hundred times so many things happens.
func (d *dice) chance(percent int) bool { return d.roll(100) < percent }

// logins makes those of a workspace up, in the place of former ones.
func (d *dice) logins(former []SubjectLogin) []SubjectLogin {
	count, size := 1, d.roll(100)
	switch {
	case size >= 95:
		count = 7 + d.roll(34)
	case size >= 70:
		count = 2 + d.roll(5)
	}
	zone, ownerless := d.roll(18)-8, d.roll(200) == 0
	all := former[:0]
	for i := range count {
		var signIns []Hourly
		if i < cap(former) {
			signIns = former[:i+1][i].SignIns[:0]
		}
		l := SubjectLogin{ID: fmt.Sprintf("login-%d", i+1), Text: d.chance(8)}
		owner := i == 0 && !ownerless
		switch {
		case l.Text:
		case owner:
			l.MainOnly = d.chance(80)
		case i == 0:
			l.Obstacle = NoOwner
		case d.chance(2):
			l.Obstacle = NoRoute
		}
		if !l.Text && l.Obstacle == "" && d.chance(1) {
			l.Obstacle = Bounced
		}
		l.SignIns = d.signIns(signIns, zone)
		all = append(all, l)
	}
	return all
}

// signIns makes a profile up: up to seven hours of the week, at which the login comes in one to four of four weeks.
func (d *dice) signIns(all []Hourly, zone int) []Hourly {
	const saturday = 6
	for range d.roll(8) {
		weekday, hour := 1+d.roll(5), 8+d.roll(6)+d.roll(6)
		if d.chance(4) {
			weekday = saturday * d.roll(2)
		}
		h := Hourly{Hour: (weekday*24 + hour - zone + HoursOfWeek) % HoursOfWeek}
		for range 1 + d.roll(ProfileWeeks) {
			if d.chance(15) {
				h.New++
			} else {
				h.Known++
			}
		}
		all = merge(all, h)
	}
	return all
}

// merge adds an hour to a profile that has it once.
func merge(all []Hourly, h Hourly) []Hourly {
	for i := range all {
		if all[i].Hour == h.Hour {
			all[i].Known += h.Known
			all[i].New += h.New
			return all
		}
	}
	return append(all, h)
}

// next is SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014): a number for a number. It
// hides nothing, and nothing here is to be hidden.
func next(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// mix is a number for two names: FNV-1a.
func mix(a, b string) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for _, s := range []string{a, "\x00", b} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * prime
		}
	}
	return h
}
