package app

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"doorcode/pkg/account"
	"doorcode/pkg/postgres"
	"doorcode/pkg/rollout"
)

// skipsOfWave is how often each login may go on without its code in a new wave, unless told otherwise.
const skipsOfWave = 3

// maxWords bounds a name or a reason, which the audit keeps.
const maxWords = 200

// orders adds -operator and -reason to a set.
func orders(set *flag.FlagSet) *postgres.RolloutOrder {
	o := &postgres.RolloutOrder{}
	set.StringVar(&o.Operator, "operator", "", "who orders this")
	set.StringVar(&o.Reason, "reason", "", "why")
	return o
}

// checkOrder refuses an order that does not say whose it is, or that holds an address.
func checkOrder(set *flag.FlagSet, o *postgres.RolloutOrder) error {
	if o.Reason != "" {
		err := said(set, "reason", &o.Reason)
		if err != nil {
			return err
		}
	}
	return said(set, "operator", &o.Operator)
}

// checkReason is checkOrder for what has to say why.
func checkReason(set *flag.FlagSet, o *postgres.RolloutOrder) error {
	return cmp.Or(said(set, "reason", &o.Reason), checkOrder(set, o))
}

// said refuses a flag that says nothing, or what must not stand in the audit, and takes the blanks around it away.
func said(set *flag.FlagSet, name string, value *string) error {
	*value = strings.TrimSpace(*value)
	switch {
	case *value == "":
		return fmt.Errorf("%s: -%s is missing; %w", set.Name(), name, errUsage)
	case utf8.RuneCountInString(*value) > maxWords, plain(*value) != *value:
		return fmt.Errorf("%s: -%s is at most %d printable characters; %w", set.Name(), name, maxWords, errUsage)
	case strings.Contains(*value, "@"):
		return fmt.Errorf("%s: -%s stays on record and holds no address; %w", set.Name(), name, errUsage)
	}
	return nil
}

// checkID refuses a flag that is no id.
func checkID(set *flag.FlagSet, name, value string) error {
	if value == "" {
		return fmt.Errorf("%s: -%s is missing; %w", set.Name(), name, errUsage)
	}
	err := account.ValidateID(value)
	if err != nil {
		return fmt.Errorf("%s: -%s: %w; %w", set.Name(), name, err, errUsage)
	}
	return nil
}

// rollingOut opens the roll-out for the time of work, and says of what was held for long that it may be tried again.
func (c command) rollingOut(ctx context.Context, work func(*postgres.Directory) error) error {
	directory, done, err := c.directory(ctx)
	if err != nil {
		return err
	}
	defer done()
	err = work(directory)
	if postgres.IsUnavailable(err) {
		return fmt.Errorf("nothing is known to have changed: somebody else is at it, or the database does not answer; try again: %w", err)
	}
	return err
}

// waveWish is what the flags of rollout wave ask for; what is not given stays as it is.
type waveWish struct {
	announce, grace, enforce time.Time
	skips                    *int
}

// waveWishes adds the flags of a wish to a set.
func waveWishes(set *flag.FlagSet) *waveWish {
	w := &waveWish{}
	for name, date := range map[string]*time.Time{"announce": &w.announce, "grace": &w.grace, "enforce": &w.enforce} {
		set.Func(name, "a time with its zone", func(s string) error {
			at, err := time.Parse(time.RFC3339, s)
			if err != nil {
				return errors.New("a time has a date, a time of day and a zone, such as 2026-09-01T09:00:00+02:00")
			}
			*date = at
			return nil
		})
	}
	set.Func("skips", "how often a login may go on without its code", func(s string) error {
		skips, err := strconv.Atoi(s)
		if err != nil || skips < 0 || skips > rollout.MaxSkips {
			return fmt.Errorf("skips are 0 to %d", rollout.MaxSkips)
		}
		w.skips = &skips
		return nil
	})
	return w
}

// apply returns the wave as it is wished for; one that has no dates is a new one.
func (w *waveWish) apply(to rollout.Wave) (rollout.Wave, error) {
	if to.AnnounceAt.IsZero() {
		if w.announce.IsZero() || w.grace.IsZero() || w.enforce.IsZero() {
			return to, fmt.Errorf("there is no wave %s, and a new one needs -announce, -grace and -enforce; %w", to.ID, errUsage)
		}
		to.Skips = skipsOfWave
	}
	for date, wished := range map[*time.Time]time.Time{&to.AnnounceAt: w.announce, &to.GraceAt: w.grace, &to.EnforceAt: w.enforce} {
		if !wished.IsZero() {
			*date = wished
		}
	}
	if w.skips != nil {
		to.Skips = *w.skips
	}
	return to, nil
}

// putWave makes a wave or moves the one that is there.
func (c command) putWave(ctx context.Context, args []string) error {
	set := flags("rollout wave")
	id, wish, o := set.String("id", "", "the wave"), waveWishes(set), orders(set)
	_, err := parse(set, args, 0)
	if err != nil {
		return err
	}
	err = cmp.Or(checkID(set, "id", *id), checkOrder(set, o))
	if err != nil {
		return err
	}
	return c.rollingOut(ctx, func(d *postgres.Directory) error {
		w, err := d.PutWave(ctx, *o, *id, wish.apply)
		if err != nil {
			return err
		}
		switch {
		case w.Made:
			c.sayWave(w, "made")
			c.printf("doorcode does not tell its people: the announcement is yours to send\n")
		case w.Wave == w.Before:
			c.sayWave(w, "it is so already")
		default:
			c.sayWave(w, "moved")
		}
		return nil
	})
}

// pauseWave has a wave stand still.
func (c command) pauseWave(ctx context.Context, args []string) error {
	return c.turnWave(ctx, flags("rollout pause"), args, checkReason, "paused", (*postgres.Directory).PauseWave)
}

// resumeWave lets a wave go on.
func (c command) resumeWave(ctx context.Context, args []string) error {
	return c.turnWave(ctx, flags("rollout resume"), args, checkOrder, "goes on", (*postgres.Directory).ResumeWave)
}

// turnWave changes a wave that is there and says how it is then.
func (c command) turnWave(ctx context.Context, set *flag.FlagSet, args []string, check func(*flag.FlagSet, *postgres.RolloutOrder) error, done string,
	turn func(*postgres.Directory, context.Context, postgres.RolloutOrder, string) (postgres.WaveChange, error),
) error {
	id, o := set.String("wave", "", "the wave"), orders(set)
	_, err := parse(set, args, 0)
	if err != nil {
		return err
	}
	err = cmp.Or(checkID(set, "wave", *id), check(set, o))
	if err != nil {
		return err
	}
	return c.rollingOut(ctx, func(d *postgres.Directory) error {
		w, err := turn(d, ctx, *o, *id)
		if err == nil {
			c.sayWave(w, done)
		}
		return err
	})
}

// sayWave says what became of a wave and how it is now.
func (c command) sayWave(w postgres.WaveChange, done string) {
	c.printf("%s: %s; %s\n", w.Wave.ID, done, describe(w.Wave, w.At))
}

// describe says in a line how a wave is at a moment.
func describe(w rollout.Wave, now time.Time) string {
	text := fmt.Sprintf("%s; announced %s, grace %s, enforced %s, %d skips",
		w.StageAt(now), stamp(w.AnnounceAt), stamp(w.GraceAt), stamp(w.EnforceAt), w.Skips)
	return text + stopped(w)
}

// stamp writes a time as all commands do.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
