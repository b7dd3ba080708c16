package rollout

import "time"

// Notice is what the people who run a workspace are told of its way to codes.
type Notice string

// The notices of a wave.
const (
	NoticeAnnounced Notice = "announced" // the date, and that a code may be tried
	NoticeReminded  Notice = "reminded"  // the date comes, and no code was used yet
	NoticeGrace     Notice = "grace"     // codes are asked for and may be skipped
	NoticeEnforced  Notice = "enforced"  // codes are on
	NoticeWithdrawn Notice = "withdrawn" // the wave is paused, and its date does not hold (product.md, edge case 9)
	NoticeMoved     Notice = "moved"     // there is another date
)

// Notices lists all of them, in the order in which they are shown.
func Notices() []Notice {
	return []Notice{NoticeAnnounced, NoticeReminded, NoticeGrace, NoticeEnforced, NoticeWithdrawn, NoticeMoved}
}

const (
	day = 24 * time.Hour
	// onTheDay is how long before the date the last reminder comes due.
	onTheDay = 3 * time.Hour
	// enforcedNews is for how long after the date it is news that codes are on.
	enforcedNews = 7 * day
	// sameDate is how far a date may be from the one that was told without being another: a pause of minutes moves every
	// date by as much, and is no reason to write to everybody.
	sameDate = time.Hour
)

// reminders are how long before the date somebody is reminded (product.md R4.7).
func reminders() []time.Duration { return []time.Duration{14 * day, 7 * day, day, onTheDay} }

// Said is a notice that somebody was told, or is due to be.
type Said struct {
	Notice Notice
	// Date is the enforcement that it tells of; of one that was withdrawn it is when the wave was paused.
	Date time.Time
	// DueAt is when it came due. Nothing that came due before it is told after it.
	DueAt time.Time
	// Number counts what a recipient was told of a wave, from 1. With both it names a notice, so that two who find the same
	// one due at once tell it once.
	Number int
}

// Listener is somebody who is told: the owner of a workspace, or an administrator.
type Listener struct {
	// Last is the notice that they were told last; nil: none of this wave.
	Last *Said
	// Passed says that they have used a code since the announcement, for a sign-in or to try one.
	Passed bool
	// MadeAt is when their login was made.
	MadeAt time.Time
}

// Due returns the one notice that somebody is to be told now, if any. It is the newest: what a scheduler that stood still
// has missed before it is not told any more. Who has used a code is not reminded, and in a pause nobody is told anything
// but that the date does not hold. Exempt workspaces, and those of which nothing is known, are told nothing.
func (p Place) Due(now time.Time, l Listener) (Said, bool) {
	due, is := p.due(now, l)
	if !is {
		return Said{}, false
	}
	due.Number = 1
	if l.Last != nil {
		due.Number = l.Last.Number + 1
	}
	return due, true
}

// due is Due without the number.
func (p Place) due(now time.Time, l Listener) (Said, bool) {
	stage, w := p.StageAt(now), p.Dated()
	if p.Wave == nil || w.Validate() != nil || stage == Exempt || stage == Scheduled {
		return Said{}, false
	}
	switch {
	case stage == Enforced:
		newcomer := l.Last == nil && l.MadeAt.After(p.JoinedAt) // They never knew it otherwise.
		told := l.Last != nil && l.Last.Notice == NoticeEnforced
		return Said{Notice: NoticeEnforced, Date: w.EnforceAt, DueAt: w.EnforceAt}, !newcomer && !told && now.Before(w.EnforceAt.Add(enforcedNews))
	case !w.StoppedAt().IsZero():
		withdrawn := l.Last == nil || l.Last.Notice == NoticeWithdrawn // There is no date that anybody counts on.
		return Said{Notice: NoticeWithdrawn, Date: w.StoppedAt(), DueAt: w.StoppedAt()}, !withdrawn
	}
	due := w.newest(now, stage, l)
	switch {
	case l.Last == nil:
		return due, true
	case l.Last.Notice == NoticeWithdrawn || apart(l.Last.Date, w.EnforceAt) >= sameDate:
		return Said{Notice: NoticeMoved, Date: w.EnforceAt, DueAt: now}, true
	}
	return due, due.DueAt.After(l.Last.DueAt)
}

// newest is the notice that came due last, in a wave that was told and is not enforced.
func (w Wave) newest(now time.Time, stage Stage, l Listener) Said {
	due := Said{Notice: NoticeAnnounced, Date: w.EnforceAt, DueAt: w.AnnounceAt}
	if stage == Grace && w.GraceAt.After(w.AnnounceAt) {
		due.Notice, due.DueAt = NoticeGrace, w.GraceAt
	}
	for _, before := range reminders() {
		at := w.EnforceAt.Add(-before)
		if at.After(now) || !at.After(due.DueAt) {
			continue
		}
		switch {
		case l.Last == nil: // What is told first says all that a reminder does.
			due.DueAt = at
		case !l.Passed:
			due.Notice, due.DueAt = NoticeReminded, at
		}
	}
	return due
}

// Holds reports whether what was to be told is still so: it may have waited, or be invented.
func (p Place) Holds(s Said, now time.Time) bool {
	stage, w := p.StageAt(now), p.Dated()
	if p.Wave == nil || w.Validate() != nil {
		return false
	}
	switch s.Notice {
	case NoticeEnforced:
		return stage == Enforced
	case NoticeWithdrawn:
		return (stage == Announced || stage == Grace) && !w.StoppedAt().IsZero()
	case NoticeGrace:
		return stage == Grace && w.StoppedAt().IsZero() && apart(s.Date, w.EnforceAt) < sameDate
	case NoticeAnnounced, NoticeReminded, NoticeMoved:
		return (stage == Announced || stage == Grace) && w.StoppedAt().IsZero() && apart(s.Date, w.EnforceAt) < sameDate
	}
	return false
}

// apart is how far two moments are from each other.
func apart(a, b time.Time) time.Duration { return a.Sub(b).Abs() }
