package app

import (
	"context"
	"flag"
	"fmt"
	"time"

	"doorcode/pkg/postgres"
	"doorcode/pkg/rollout"
)

// stepBackFlags are those of rollout step-back.
type stepBackFlags struct {
	wave    string
	until   time.Time
	skips   int
	approve bool
	order   *postgres.RolloutOrder
}

// steppingBack adds the flags of rollout step-back to a set.
func steppingBack(set *flag.FlagSet) *stepBackFlags {
	f := &stepBackFlags{order: orders(set)}
	set.StringVar(&f.wave, "wave", "", "the wave")
	timeFlag(set, "grace-until", &f.until)
	set.IntVar(&f.skips, "skips", 0, "how often a login may go on without its code in all")
	set.BoolVar(&f.approve, "approve", false, "approve what another person has asked for")
	return f
}

// validate refuses a request that does not say until when and why, and an approval that says anything else.
func (f *stepBackFlags) validate(set *flag.FlagSet) error {
	err := checkID(set, "wave", f.wave)
	switch {
	case err != nil:
		return err
	case f.approve && (!f.until.IsZero() || f.skips != 0 || f.order.Reason != ""):
		return fmt.Errorf("%s: -approve approves what was asked for as it was: it takes no -grace-until, -skips or -reason; %w", set.Name(), errUsage)
	case f.approve:
		return checkOrder(set, f.order)
	case f.until.IsZero():
		return fmt.Errorf("%s: -grace-until is missing; %w", set.Name(), errUsage)
	case f.skips < 0 || f.skips > rollout.MaxSkips:
		return fmt.Errorf("%s: -skips are 0 to %d; %w", set.Name(), rollout.MaxSkips, errUsage)
	}
	return checkReason(set, f.order)
}

// stepBack asks for an enforced wave to go back to grace, or approves that.
func (c command) stepBack(ctx context.Context, args []string) error {
	set := flags("rollout step-back")
	f := steppingBack(set)
	_, err := parse(set, args, 0)
	if err != nil {
		return err
	}
	err = f.validate(set)
	if err != nil {
		return err
	}
	return c.rollingOut(ctx, func(d *postgres.Directory) error {
		if !f.approve {
			s, err := d.AskStepBack(ctx, *f.order, f.wave, f.until, f.skips)
			if err == nil {
				c.printf("%s: nothing has changed yet; %s\n", f.wave, describeStepBack(s))
			}
			return err
		}
		w, s, err := d.ApproveStepBack(ctx, *f.order, f.wave)
		if err == nil {
			c.sayWave(w, "goes back to grace; "+describeStepBack(s))
		}
		return err
	})
}

// describeStepBack says who wants a wave back in grace until when and why, and what is proved of these two.
func describeStepBack(s rollout.StepBack) string {
	text := fmt.Sprintf("back to grace until %s: %s, asked for by %s as %s", stamp(s.Until), plain(s.Reason), plain(s.RequestedBy), plain(s.RequestedAs))
	switch {
	case s.ApprovedAt.IsZero():
		return text + ", another person has to approve it before " + stamp(s.RequestedAt.Add(rollout.ApproveWithin))
	case s.ApprovedAs == s.RequestedAs:
		return text + ", approved by " + plain(s.ApprovedBy) + " as the same login: that they are two is the operators' word"
	}
	return text + ", approved by " + plain(s.ApprovedBy) + " as " + plain(s.ApprovedAs)
}
