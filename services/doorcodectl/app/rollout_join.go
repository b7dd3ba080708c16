package app

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"doorcode/pkg/postgres"
	"doorcode/pkg/rollout"
)

// standardInput is the name of a file that is none.
const standardInput = "-"

// joinFlags are those of rollout join.
type joinFlags struct {
	wave, file string
	percent    float64
	preview    bool
	order      *postgres.RolloutOrder
}

// joining adds the flags of rollout join to a set.
func joining(set *flag.FlagSet) *joinFlags {
	f := &joinFlags{order: orders(set)}
	set.StringVar(&f.wave, "wave", "", "the wave")
	set.StringVar(&f.file, "workspaces", "", "file with an id a line")
	set.Float64Var(&f.percent, "percent", 0, "share of those in no wave")
	set.BoolVar(&f.preview, "preview", false, "only list them")
	return f
}

// validate refuses flags that do not say whom to take, and, unless nothing is changed, those without an operator.
func (f *joinFlags) validate(set *flag.FlagSet) error {
	err := checkID(set, "wave", f.wave)
	if err != nil {
		return err
	}
	if (f.file == "") == (f.percent == 0) {
		return fmt.Errorf("%s takes either -workspaces or -percent; %w", set.Name(), errUsage)
	}
	if f.file == "" {
		err = rollout.ValidatePercent(f.percent)
		if err != nil {
			return fmt.Errorf("%s: -percent: %w; %w", set.Name(), err, errUsage)
		}
	}
	if f.preview {
		return nil
	}
	return checkOrder(set, f.order)
}

// joinWave puts workspaces into a wave, or lists whom it would take.
func (c command) joinWave(ctx context.Context, args []string) error {
	set := flags("rollout join")
	f := joining(set)
	_, err := parse(set, args, 0)
	if err != nil {
		return err
	}
	err = f.validate(set)
	if err != nil {
		return err
	}
	pick := postgres.Pick{Percent: f.percent}
	if f.file != "" {
		pick.Workspaces, err = c.listed(f.file)
		if err != nil {
			return err
		}
	}
	return c.rollingOut(ctx, func(d *postgres.Directory) error {
		if f.preview {
			m, err := d.PreviewJoin(ctx, f.wave, pick)
			if err == nil {
				c.sayPreview(m)
			}
			return err
		}
		m, err := d.Join(ctx, *f.order, f.wave, pick)
		if err == nil {
			c.printf("%s: %d workspaces joined, SHA-256 %s; a login that is made in them from now on needs a code\n", f.wave, len(m.Workspaces), m.Sum())
		}
		return err
	})
}

// sayPreview lists whom a join would take, as a file that a join takes.
func (c command) sayPreview(m postgres.Moved) {
	for _, id := range m.Workspaces {
		c.printf("%s\n", id)
	}
	c.printf("# %s: %d workspaces would join, SHA-256 %s; nothing was changed\n", m.Wave.ID, len(m.Workspaces), m.Sum())
}

// leaveWave takes workspaces out of a wave.
func (c command) leaveWave(ctx context.Context, args []string) error {
	set := flags("rollout leave")
	wave, file, o := set.String("wave", "", "the wave"), set.String("workspaces", "", "file with an id a line"), orders(set)
	_, err := parse(set, args, 0)
	if err != nil {
		return err
	}
	err = checkID(set, "wave", *wave)
	if err != nil {
		return err
	}
	if *file == "" {
		return fmt.Errorf("%s: -workspaces is missing; %w", set.Name(), errUsage)
	}
	err = checkOrder(set, o)
	if err != nil {
		return err
	}
	ids, err := c.listed(*file)
	if err != nil {
		return err
	}
	return c.rollingOut(ctx, func(d *postgres.Directory) error {
		m, err := d.Leave(ctx, *o, *wave, ids)
		if err == nil {
			c.printf("%s: %d workspaces left, SHA-256 %s; until they join another wave a code is required there\n", *wave, len(m.Workspaces), m.Sum())
		}
		return err
	})
}

// listed reads ids from a file, or from the standard input: one a line. Empty lines and those that begin with # are left
// out.
func (c command) listed(file string) ([]string, error) {
	from := c.in
	if file != standardInput {
		f, err := os.Open(file) //nolint:gosec // the operator names the file
		if err != nil {
			return nil, fmt.Errorf("read the workspaces: %w", err)
		}
		defer func() { _ = f.Close() }()
		from = f
	}
	ids, err := lines(from)
	if err != nil {
		return nil, fmt.Errorf("read the workspaces: %w", err)
	}
	if len(ids) == 0 {
		return nil, errors.New("the file names no workspace")
	}
	return ids, nil
}

// lines returns the lines that say something.
func lines(from io.Reader) ([]string, error) {
	var all []string
	scanner := bufio.NewScanner(from)
	for scanner.Scan() {
		line := strings.TrimSpace(scanner.Text())
		if line != "" && !strings.HasPrefix(line, "#") {
			all = append(all, line)
		}
	}
	return all, scanner.Err()
}
