package app

import (
	"context"
	"flag"
	"fmt"
	"time"

	"doorcode/pkg/postgres"
	"doorcode/pkg/rollout"
)

const (
	// oneDay is a day of a simulation.
	oneDay = 24 * time.Hour
	// daysAfter is how long a simulation goes on after the last enforcement, unless told otherwise: two weeks.
	daysAfter = 14
)

// simulateFlags are those of rollout simulate.
type simulateFlags struct {
	plan      string
	synthetic int
	seed      uint64
	from      time.Time
	days      int
	noTexts   bool
	smsCap    int // 0: not given
	mailsHour int // 0: not given
}

// simulateRollout plays a plan, or the waves of the database, against the recorded past or workspaces that are made up, and
// shows what would come of it. It writes nothing.
func (c command) simulateRollout(ctx context.Context, args []string) error {
	f, err := parseSimulate(args)
	if err != nil {
		return err
	}
	var plan *rollout.Plan
	if f.plan != "" {
		read, err := c.readPlan(f.plan)
		if err != nil {
			return err
		}
		plan = &read
	}
	if plan != nil && f.synthetic > 0 {
		return c.simulateSynthetic(ctx, f, *plan)
	}
	return c.rollingOut(ctx, func(d *postgres.Directory) error {
		r, err := d.Rollout(ctx)
		if err != nil {
			return err
		}
		if f.synthetic == 0 {
			return c.simulateRecorded(ctx, d, f, plan, r)
		}
		shares, err := sharesOf(r)
		if err != nil {
			return err
		}
		if f.from.IsZero() {
			f.from = r.At
		}
		return c.simulateSynthetic(ctx, f, shares)
	})
}

// parseSimulate reads the flags.
func parseSimulate(args []string) (*simulateFlags, error) {
	f, set := &simulateFlags{}, flags("rollout simulate")
	set.StringVar(&f.plan, "plan", "", "file with a plan")
	set.IntVar(&f.synthetic, "synthetic", 0, "workspaces that are made up")
	set.Uint64Var(&f.seed, "seed", 1, "what they follow from")
	set.IntVar(&f.days, "days", 0, "days to play")
	set.BoolVar(&f.noTexts, "no-texts", false, "as without text messages")
	set.IntVar(&f.smsCap, "sms-cap", 0, "text messages a day")
	set.IntVar(&f.mailsHour, "mails-per-hour", 0, "e-mails an hour")
	set.Func("from", "the first day", timeInto(&f.from))
	_, err := parse(set, args, 0)
	if err != nil {
		return nil, err
	}
	given := map[string]bool{}
	set.Visit(func(one *flag.Flag) { given[one.Name] = true })
	for _, bound := range []struct {
		name       string
		value, max int
	}{
		{"synthetic", f.synthetic, rollout.MaxSynthetic},
		{"days", f.days, rollout.MaxSimulated},
		{"sms-cap", f.smsCap, 1 << 30},
		{"mails-per-hour", f.mailsHour, 1 << 30},
	} {
		if given[bound.name] && (bound.value < 1 || bound.value > bound.max) {
			return nil, fmt.Errorf("%s: -%s is 1 to %d; %w", set.Name(), bound.name, bound.max, errUsage)
		}
	}
	switch {
	case given["seed"] && f.synthetic == 0:
		return nil, fmt.Errorf("%s: -seed goes with -synthetic; %w", set.Name(), errUsage)
	case f.noTexts && f.synthetic > 0:
		return nil, fmt.Errorf("%s: -no-texts goes with the recorded past; %w", set.Name(), errUsage)
	}
	return f, nil
}

// start returns a simulation of the days that are asked for: from the day (UTC) of the first date of the waves, or the one
// given, to two weeks after the last date.
func (f *simulateFlags) start(waves []rollout.Wave) (*rollout.Simulation, error) {
	from, last := f.from, time.Time{}
	for _, w := range waves {
		if f.from.IsZero() && (from.IsZero() || w.AnnounceAt.Before(from)) {
			from = w.AnnounceAt
		}
		if w.EnforceAt.After(last) {
			last = w.EnforceAt
		}
	}
	from = from.UTC().Truncate(oneDay)
	days := f.days
	if days == 0 {
		days = min(max(int(last.Sub(from)/oneDay), 0)+1+daysAfter, rollout.MaxSimulated)
	}
	s, err := rollout.NewSimulation(from, days)
	if err != nil {
		return nil, fmt.Errorf("rollout simulate: %w; %w", err, errUsage)
	}
	f.from = from
	return s, nil
}

// wavesOf are those of a plan.
func wavesOf(p rollout.Plan) []rollout.Wave {
	var all []rollout.Wave
	for _, w := range p.Waves() {
		all = append(all, w.Wave)
	}
	return all
}

// simulateSynthetic plays a plan against workspaces that are made up.
func (c command) simulateSynthetic(ctx context.Context, f *simulateFlags, plan rollout.Plan) error {
	s, err := f.start(wavesOf(plan))
	if err != nil {
		return err
	}
	for w := range (rollout.Synthetic{Workspaces: f.synthetic, Seed: f.seed}).All() {
		err = ctx.Err()
		if err != nil {
			return err
		}
		w.Place = plan.Place(w.ID, f.from, nil)
		s.Add(w)
	}
	c.printf("%d workspaces were made up from seed %d; who they are and when they sign in are guesses\n", f.synthetic, f.seed)
	return c.sayForecast(f, s.Forecast())
}

// simulateRecorded plays a plan, or where each workspace stands now, against the recorded past.
func (c command) simulateRecorded(ctx context.Context, d *postgres.Directory, f *simulateFlags, plan *rollout.Plan, r postgres.Rollout) error {
	var waves []rollout.Wave
	if plan != nil {
		waves = wavesOf(*plan)
	} else {
		for _, w := range r.Waves {
			waves = append(waves, w.Wave)
		}
		if f.from.IsZero() {
			f.from = r.At
		}
	}
	s, err := f.start(waves)
	if err != nil {
		return err
	}
	made, err := d.RecordedSubjects(ctx, !f.noTexts, func(w rollout.Subject) {
		if plan != nil {
			w.Place = plan.Place(w.ID, joinedBy(f.from, w.Logins), w.Place.Exemption)
		}
		s.Add(w)
	})
	if err != nil {
		return err
	}
	const profile = rollout.ProfileWeeks * 7 * oneDay
	switch {
	case made.Since.IsZero():
		c.printf("no sign-in is on record: the load is none, and who would be blocked is as it is\n")
	case made.At.Sub(made.Since) < profile:
		c.printf("sign-ins are on record since %s alone, not for %d weeks: the load will be higher\n", stamp(made.Since), rollout.ProfileWeeks)
	default:
		c.printf("people sign in as in the last %d weeks\n", rollout.ProfileWeeks)
	}
	if plan == nil && made.Broken > 0 {
		c.printf("%d workspaces are enforced because a row about them is not as it was written\n", made.Broken)
	}
	return c.sayForecast(f, s.Forecast())
}

// joinedBy is when a workspace would join a wave of a plan: at the beginning, and after its logins were made, for they are
// to count as there before.
func joinedBy(from time.Time, logins []rollout.SubjectLogin) time.Time {
	for _, l := range logins {
		if l.MadeAt.After(from) {
			from = l.MadeAt
		}
	}
	return from
}
