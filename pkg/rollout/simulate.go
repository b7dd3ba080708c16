package rollout

import (
	"cmp"
	"errors"
	"slices"
	"time"
)

// ProfileWeeks is how many weeks a profile of sign-ins counts. They are whole ones, so that every hour of the week stands in
// it equally often.
const ProfileWeeks = 4

// HoursOfWeek is how many hours a week has. Hour 0 begins on Sunday at 00:00 UTC.
const HoursOfWeek = 7 * 24

// MaxSimulated is the most days that a simulation plays.
const MaxSimulated = 366

// ShownBlocked is how many logins a forecast names of those that are blocked.
const ShownBlocked = 20

// epochHour is the hour of the week in which Unix time began: a Thursday.
const epochHour = 4 * 24

// Subject is a workspace of a simulation.
type Subject struct {
	ID     string
	Place  Place
	Logins []SubjectLogin
}

// SubjectLogin is a login of a simulation.
type SubjectLogin struct {
	ID       string
	MadeAt   time.Time
	Text     bool     // its codes go out as text messages, not by e-mail
	MainOnly bool     // nothing but the workspace's main e-mail address leads to it
	Obstacle Obstacle // empty: a code reaches it
	// SignIns are its profile, by hour of the week, each hour at most once.
	SignIns []Hourly
}

// Hourly counts the sign-ins of ProfileWeeks weeks in one hour of the week.
type Hourly struct {
	Hour       int // 0 to HoursOfWeek-1
	Known, New int // in a browser that the login was used in lately, and in another
}

// Obstacle is why no code reaches a login.
type Obstacle string

// The obstacles.
const (
	NoRoute Obstacle = "no_route" // no address, no number, and it is not the owner
	NoOwner Obstacle = "no_owner" // the same, and its workspace has no owner: the main e-mail leads to nobody
	Bounced Obstacle = "bounced"  // the one address there is has bounced
)

// Load is what is sent in some time.
type Load struct{ Mails, Texts int }

// Peak is the hour of a day in which most is sent; of two such hours the first.
type Peak struct {
	At    time.Time // its beginning
	Count int
}

// Day is what a simulation says of a day.
type Day struct {
	At time.Time // its beginning
	// Stages counts the workspaces by the stage in which the day ends. The sum is all workspaces.
	Stages map[Stage]int
	// Required, Skippable and NotRequired count the sign-ins by what they need.
	Required, Skippable, NotRequired int
	// Stopped are those of the first two for which no code can go out, or none arrives.
	Stopped int
	// Sent are the first messages; whoever asks for another one comes on top.
	Sent                 Load
	PeakMails, PeakTexts Peak
}

// BlockedLogin is one that does not come in any more.
type BlockedLogin struct {
	Workspace, Login string
	Obstacle         Obstacle
	From             time.Time // the day on which a code is required, also in a browser that it knows
}

// Forecast is what came of a simulation.
type Forecast struct {
	Days              []Day
	Hours             []Load // of every hour, from the beginning of the first day
	Workspaces        int
	Logins            int
	MainOnly          int            // logins to which the workspace's main e-mail address alone leads
	Blocked           int            // logins
	BlockedWorkspaces int            // in which all logins are blocked
	First             []BlockedLogin // at most ShownBlocked, by day, workspace and login
}

// ErrSimulated says that a simulation begins before 1970 or plays no day, or more than MaxSimulated.
var ErrSimulated = errors.New("a simulation plays 1 to 366 days of after 1970")

// Simulation plays how workspaces come to codes, one workspace after the other: it holds counts and none of them. The
// stages and decisions are those of Place.StageAt and Decide. A sign-in is judged at the beginning of its hour. It looks at
// one workspace of a person only, and not at the exemptions of single logins.
type Simulation struct {
	from   time.Time
	first  int64 // hour since 1970
	days   []dayCount
	hours  []Load
	result Forecast
}

// dayCount counts a day.
type dayCount struct {
	stages                                    [5]int
	required, skippable, notRequired, stopped int
}

// NewSimulation returns one that plays so many days of 24 hours from the beginning of an hour. It fails with ErrSimulated.
func NewSimulation(from time.Time, days int) (*Simulation, error) {
	from = from.UTC().Truncate(time.Hour)
	if from.Unix() < 0 || days < 1 || days > MaxSimulated {
		return nil, ErrSimulated
	}
	return &Simulation{
		from: from, first: from.Unix() / int64(time.Hour/time.Second),
		days: make([]dayCount, days), hours: make([]Load, days*24),
	}, nil
}

// Add plays one workspace. It keeps nothing of it but the ids of the first that are blocked.
func (s *Simulation) Add(w Subject) {
	stages := Stages()
	s.result.Workspaces++
	for day := range s.days {
		end := s.at((day + 1) * 24).Add(-1)
		s.days[day].stages[slices.Index(stages, w.Place.StageAt(end))]++
	}
	blocked := 0
	for i := range w.Logins {
		l := &w.Logins[i]
		s.result.Logins++
		if l.MainOnly {
			s.result.MainOnly++
		}
		if l.Obstacle != "" && s.block(w, l) {
			blocked++
		}
		s.play(w, l)
	}
	if blocked > 0 && blocked == len(w.Logins) {
		s.result.BlockedWorkspaces++
	}
}

// at is when an hour of the simulation begins.
func (s *Simulation) at(hour int) time.Time { return s.from.Add(time.Duration(hour) * time.Hour) }

// block finds the day from which on a login that no code reaches does not come in, and reports whether there is one.
func (s *Simulation) block(w Subject, l *SubjectLogin) bool {
	for day := range s.days {
		d := Decide(Facts{
			Now: s.at((day + 1) * 24).Add(-1), Home: Membership{Place: w.Place, MadeAt: l.MadeAt}, KnownBrowser: true,
		})
		if d.Kind != Required {
			continue
		}
		s.result.Blocked++
		b := BlockedLogin{Workspace: w.ID, Login: l.ID, Obstacle: l.Obstacle, From: s.at(day * 24)}
		n, _ := slices.BinarySearchFunc(s.result.First, b, compareBlocked)
		s.result.First = slices.Insert(s.result.First, n, b)
		s.result.First = s.result.First[:min(len(s.result.First), ShownBlocked)]
		return true
	}
	return false
}

// compareBlocked orders by day, workspace and login.
func compareBlocked(a, b BlockedLogin) int {
	return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.Workspace, b.Workspace), cmp.Compare(a.Login, b.Login))
}

// play counts the sign-ins of a login in their order: in grace it skips while it may.
func (s *Simulation) play(w Subject, l *SubjectLogin) {
	if len(l.SignIns) == 0 {
		return
	}
	slices.SortFunc(l.SignIns, func(a, b Hourly) int { return a.Hour - b.Hour })
	seed := mix(w.ID, l.ID)
	f := Facts{Home: Membership{Place: w.Place, MadeAt: l.MadeAt}}
	begin := s.first + epochHour
	for week := begin / HoursOfWeek; week*HoursOfWeek < begin+int64(len(s.hours)); week++ {
		for _, h := range l.SignIns {
			hour := int(week*HoursOfWeek + int64(h.Hour) - begin)
			if hour < 0 || hour >= len(s.hours) {
				continue
			}
			f.Now = s.at(hour)
			phase := next(seed + uint64(h.Hour)) //nolint:gosec // an hour of the week
			s.judge(l, f, hour, inWeek(h.New, week, phase))
			f.KnownBrowser = true
			for range inWeek(h.Known, week, phase>>8) {
				if s.judge(l, f, hour, 1) == Skippable {
					f.Skipped++
				}
			}
			f.KnownBrowser = false
		}
	}
}

// inWeek is how many of the sign-ins of a profile fall into a week: over ProfileWeeks weeks all of them. The phase keeps
// those who sign in once from all doing so in the same week.
func inWeek(count int, week int64, phase uint64) int {
	k := int((week + int64(phase%ProfileWeeks)) % ProfileWeeks)
	return count*(k+1)/ProfileWeeks - count*k/ProfileWeeks
}

// judge counts sign-ins of the same facts and returns what they need.
func (s *Simulation) judge(l *SubjectLogin, f Facts, hour, count int) Kind {
	if count == 0 {
		return NotRequired
	}
	d, day, load := Decide(f), &s.days[hour/24], &s.hours[hour]
	switch d.Kind {
	case NotRequired:
		day.notRequired += count
		return d.Kind
	case Skippable:
		day.skippable += count
	case Required:
		day.required += count
	}
	if l.Obstacle != "" {
		day.stopped += count
	}
	switch {
	case l.Obstacle == NoRoute || l.Obstacle == NoOwner:
	case l.Text:
		load.Texts += count
	default:
		load.Mails += count
	}
	return d.Kind
}

// Forecast returns what came of all that were added so far.
func (s *Simulation) Forecast() Forecast {
	f := s.result
	f.First, f.Hours = slices.Clone(s.result.First), slices.Clone(s.hours)
	for i, c := range s.days {
		d := Day{
			At: s.at(i * 24), Stages: map[Stage]int{},
			Required: c.required, Skippable: c.skippable, NotRequired: c.notRequired, Stopped: c.stopped,
		}
		for n, stage := range Stages() {
			d.Stages[stage] = c.stages[n]
		}
		d.PeakMails.At, d.PeakTexts.At = d.At, d.At
		for hour := i * 24; hour < (i+1)*24; hour++ {
			load := s.hours[hour]
			d.Sent.Mails += load.Mails
			d.Sent.Texts += load.Texts
			d.PeakMails.raise(s.at(hour), load.Mails)
			d.PeakTexts.raise(s.at(hour), load.Texts)
		}
		f.Days = append(f.Days, d)
	}
	return f
}

// raise makes an hour the peak if it is.
func (p *Peak) raise(at time.Time, count int) {
	if count > p.Count {
		*p = Peak{At: at, Count: count}
	}
}
