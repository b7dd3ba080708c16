package app

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"

	"doorcode/pkg/postgres"
	"doorcode/pkg/rollout"
)

// preflightFlags are those of rollout preflight.
type preflightFlags struct {
	wave, workspace, state, moveTo string
	all, noTexts                   bool
	order                          *postgres.RolloutOrder
}

// checkingUp adds the flags of rollout preflight to a set.
func checkingUp(set *flag.FlagSet) *preflightFlags {
	f := &preflightFlags{order: orders(set)}
	set.StringVar(&f.wave, "wave", "", "the workspaces of a wave")
	set.StringVar(&f.workspace, "workspace", "", "one workspace")
	set.BoolVar(&f.all, "all", false, "all workspaces")
	set.StringVar(&f.state, "state", "", "list those alone")
	set.BoolVar(&f.noTexts, "no-texts", false, "as without text messages")
	set.StringVar(&f.moveTo, "move-to", "", "the wave that takes the blocked ones")
	return f
}

// validate refuses flags that do not say whom to look at, and a move without an operator and a reason.
func (f *preflightFlags) validate(set *flag.FlagSet) error {
	given := 0
	for _, is := range []bool{f.wave != "", f.workspace != "", f.all} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return fmt.Errorf("%s takes one of -wave, -workspace and -all; %w", set.Name(), errUsage)
	case f.state != "" && !slices.Contains(rollout.Readinesses(), rollout.Readiness(f.state)):
		return fmt.Errorf("%s: -state is one of %v; %w", set.Name(), rollout.Readinesses(), errUsage)
	case f.moveTo == "":
		return nil
	case f.wave == "":
		return fmt.Errorf("%s: -move-to needs -wave; %w", set.Name(), errUsage)
	}
	return cmp.Or(checkID(set, "move-to", f.moveTo), checkReason(set, f.order))
}

// preflight says which workspaces are ready for codes and why others are not, and takes blocked ones out of their wave.
func (c command) preflight(ctx context.Context, args []string) error {
	set := flags("rollout preflight")
	f := checkingUp(set)
	_, err := parse(set, args, 0)
	if err != nil {
		return err
	}
	err = f.validate(set)
	if err != nil {
		return err
	}
	return c.rollingOut(ctx, func(d *postgres.Directory) error {
		counts := map[rollout.Readiness]int{}
		all := 0
		var blocked []string
		err := d.Preflight(ctx, f.wave, f.workspace, !f.noTexts, func(w postgres.Checked) {
			state, found := rollout.Preflight(w.Checkup)
			counts[state]++
			all++
			if state == rollout.Blocked {
				blocked = append(blocked, w.Workspace)
			}
			if f.state == string(state) || f.state == "" && state != rollout.Ready {
				c.printf("%s %s: %s\n", w.Workspace, state, reasons(found))
			}
		})
		if err != nil {
			return err
		}
		for _, state := range rollout.Readinesses() {
			c.printf("# %s %d\n", state, counts[state])
		}
		c.printf("# all %d\n", all)
		if f.moveTo == "" || len(blocked) == 0 {
			return nil
		}
		m, err := d.MoveToWave(ctx, *f.order, f.wave, f.moveTo, blocked)
		if err == nil {
			c.printf("# %d blocked workspaces went from %s to %s, SHA-256 %s\n", len(m.Workspaces), f.wave, f.moveTo, m.Sum())
		}
		return err
	})
}

// reasons writes what was found.
func reasons(found []rollout.Finding) string {
	words := make([]string, len(found))
	for i, f := range found {
		words[i] = string(f)
	}
	return strings.Join(words, ", ")
}

// moveToWave takes workspaces of one wave into another.
func (c command) moveToWave(ctx context.Context, args []string) error {
	set := flags("rollout move")
	wave, to := set.String("wave", "", "the wave that they are in"), set.String("to", "", "the other")
	file, o := set.String("workspaces", "", "file with an id a line"), orders(set)
	_, err := parse(set, args, 0)
	if err != nil {
		return err
	}
	err = cmp.Or(checkID(set, "wave", *wave), checkID(set, "to", *to), checkReason(set, o))
	if err != nil {
		return err
	}
	if *file == "" {
		return fmt.Errorf("%s: -workspaces is missing; %w", set.Name(), errUsage)
	}
	ids, err := c.listed(*file)
	if err != nil {
		return err
	}
	return c.rollingOut(ctx, func(d *postgres.Directory) error {
		m, err := d.MoveToWave(ctx, *o, *wave, *to, ids)
		if err == nil {
			c.printf("%d workspaces went from %s to %s, SHA-256 %s\n", len(m.Workspaces), *wave, *to, m.Sum())
		}
		return err
	})
}
