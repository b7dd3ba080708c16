package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"doorcode/pkg/postgres"
	"doorcode/pkg/rollout"
)

// showRollout shows how far the roll-out is, or where one workspace stands and why.
func (c command) showRollout(ctx context.Context, args []string) error {
	set := flags("rollout show")
	workspace := set.String("workspace", "", "one workspace")
	_, err := parse(set, args, 0)
	if err != nil {
		return err
	}
	return c.rollingOut(ctx, func(d *postgres.Directory) error {
		if *workspace != "" {
			return c.showPlace(ctx, d, *workspace)
		}
		r, err := d.Rollout(ctx)
		if err != nil {
			return err
		}
		return c.showAll(r)
	})
}

// showAll shows a line for each wave, and how many workspaces stand in each stage.
func (c command) showAll(r postgres.Rollout) error {
	table := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	row := func(format string, args ...any) { _, _ = fmt.Fprintf(table, format, args...) }
	if len(r.Waves) > 0 {
		row("WAVE\tSTAGE\tANNOUNCED\tGRACE\tENFORCED\tSKIPS\tWORKSPACES\n")
	}
	for _, w := range r.Waves {
		row("%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\n", plain(w.Wave.ID), stageOf(w, r.At), stamp(w.Wave.AnnounceAt), stamp(w.Wave.GraceAt),
			stamp(w.Wave.EnforceAt), w.Wave.Skips, w.Workspaces, remark(w))
	}
	err := table.Flush()
	if err != nil {
		return err
	}
	c.printf("\n")
	for _, stage := range rollout.Stages() {
		row("%s\t%d\n", stage, r.Stages[stage])
	}
	row("all workspaces\t%d\n", r.Workspaces)
	err = table.Flush()
	if err != nil {
		return err
	}
	c.showLights(r)
	if r.Broken > 0 {
		c.printf("\n%d of the enforced are so because a row about them is not as it was written\n", r.Broken)
	}
	return nil
}

// stageOf is the stage in which the workspaces of a wave are.
func stageOf(w postgres.WaveStanding, now time.Time) rollout.Stage {
	if w.Broken {
		return rollout.Enforced
	}
	return w.Wave.StageAt(now)
}

// remark says what else is to be known of a wave.
func remark(w postgres.WaveStanding) string {
	if w.Broken {
		return "not as it was written"
	}
	return strings.TrimPrefix(stopped(w.Wave), "; ")
}

// stopped says of a wave that stands still since when and why, behind a semicolon.
func stopped(w rollout.Wave) string {
	text := ""
	if !w.PausedAt.IsZero() {
		text += "; paused since " + stamp(w.PausedAt) + ": " + plain(w.Reason)
	}
	if !w.HeldAt.IsZero() {
		text += "; held by a gate since " + stamp(w.HeldAt) + ": " + plain(w.HeldFor)
	}
	return text
}

// showLights shows the light of each gate in a line.
func (c command) showLights(r postgres.Rollout) {
	if len(r.Gates) == 0 {
		return
	}
	c.printf("\ngates at %s:", stamp(r.GatesAt))
	for _, v := range r.Gates {
		c.printf(" %s %s", v.Gate, v.Light)
	}
	c.printf("\n")
}

// showGates shows what each gate showed last, and why.
func (c command) showGates(ctx context.Context, args []string) error {
	_, err := parse(flags("rollout gates"), args, 0)
	if err != nil {
		return err
	}
	return c.rollingOut(ctx, func(d *postgres.Directory) error {
		r, err := d.Rollout(ctx)
		if err != nil {
			return err
		}
		if len(r.Gates) == 0 {
			return errors.New("the gates were never judged: no verifier of this version has run")
		}
		c.printf("judged %s; the limits are settings of the verifier\n", stamp(r.GatesAt))
		for _, v := range r.Gates {
			c.printf("%s: %s: %s\n", v.Gate, v.Light, plain(v.Sentence))
		}
		for _, w := range r.Waves {
			if !w.Wave.HeldAt.IsZero() {
				c.printf("wave %s%s\n", plain(w.Wave.ID), stopped(w.Wave))
			}
		}
		return nil
	})
}

// showPlace shows where one workspace stands, why, and which of its logins are exempt.
func (c command) showPlace(ctx context.Context, d *postgres.Directory, workspace string) error {
	s, err := d.StageOf(ctx, workspace)
	if err != nil {
		return err
	}
	c.printf("%s: %s\n", workspace, s.Stage)
	switch {
	case s.Broken != "":
		c.printf("a row of %s is not as it was written: until it is mended a code is required\n", s.Broken)
	case s.Place.Wave == nil:
		c.printf("it is in no wave: a code is required unless it is exempt\n")
	default:
		c.printf("wave %s: %s\n", s.Place.Wave.ID, describe(*s.Place.Wave, s.At))
		c.printf("it joined %s: a login that was made later needs a code\n", stamp(s.Place.JoinedAt))
	}
	if s.Place.Exemption != nil {
		c.printf("exempt %s%s\n", describeExemption(*s.Place.Exemption), over(*s.Place.Exemption, s.At))
	}
	for _, l := range s.Logins {
		if l.Broken {
			c.printf("login %s: the row of its exemption is not as it was written: a code is required\n", plain(l.Login))
			continue
		}
		c.printf("login %s: exempt %s%s\n", plain(l.Login), describeExemption(l.Exemption), over(l.Exemption, s.At))
	}
	return nil
}

// over says of an exemption that has ended that it has.
func over(e rollout.Exemption, now time.Time) string {
	if now.Before(e.Until) {
		return ""
	}
	return " (over)"
}
