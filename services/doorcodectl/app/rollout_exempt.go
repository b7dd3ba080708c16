package app

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"slices"
	"time"

	"doorcode/pkg/postgres"
	"doorcode/pkg/rollout"
)

// exemptFlags are those of rollout exempt.
type exemptFlags struct {
	workspace, login, operator, reason string
	lasts                              time.Duration
	exemption                          rollout.Exemption
}

// exempting adds the flags of rollout exempt to a set.
func exempting(set *flag.FlagSet) *exemptFlags {
	f := &exemptFlags{}
	set.StringVar(&f.workspace, "workspace", "", "the workspace")
	set.StringVar(&f.login, "login", "", "one login of it")
	set.StringVar(&f.reason, "reason", "", "one of the reasons")
	set.DurationVar(&f.lasts, "for", 0, "how long")
	set.StringVar(&f.exemption.RequestedBy, "requested-by", "", "who asked for it")
	set.StringVar(&f.exemption.ApprovedBy, "approved-by", "", "who approved it")
	set.StringVar(&f.operator, "operator", "", "who orders this")
	return f
}

// validate refuses what can be no exemption, whenever it begins.
func (f *exemptFlags) validate(set *flag.FlagSet) error {
	err := cmp.Or(checkID(set, "workspace", f.workspace), checkLogin(set, f.login), said(set, "operator", &f.operator),
		said(set, "requested-by", &f.exemption.RequestedBy), said(set, "approved-by", &f.exemption.ApprovedBy))
	if err != nil {
		return err
	}
	f.exemption.Reason = rollout.Reason(f.reason)
	if !slices.Contains(rollout.Reasons(), f.exemption.Reason) {
		return fmt.Errorf("%s: -reason is one of %v; %w", set.Name(), rollout.Reasons(), errUsage)
	}
	now := f.exemption
	now.Since = time.Unix(0, 0)
	now.Until = now.Since.Add(f.lasts)
	err = now.Validate(f.login != "")
	if err != nil {
		return fmt.Errorf("%s: %w; %w", set.Name(), err, errUsage)
	}
	return nil
}

// checkLogin refuses what is no id of a login; it need not be given.
func checkLogin(set *flag.FlagSet, login string) error {
	if login == "" {
		return nil
	}
	return checkID(set, "login", login)
}

// exempt lets a workspace or a login be without codes for a time.
func (c command) exempt(ctx context.Context, args []string) error {
	set := flags("rollout exempt")
	f := exempting(set)
	_, err := parse(set, args, 0)
	if err != nil {
		return err
	}
	err = f.validate(set)
	if err != nil {
		return err
	}
	return c.rollingOut(ctx, func(d *postgres.Directory) error {
		e, err := d.Exempt(ctx, postgres.RolloutOrder{Operator: f.operator}, f.workspace, f.login, f.exemption, f.lasts)
		if err == nil {
			c.printf("%s: exempt %s\n", whose(f.workspace, f.login), describeExemption(e))
		}
		return err
	})
}

// endExemption takes an exemption away.
func (c command) endExemption(ctx context.Context, args []string) error {
	set := flags("rollout end-exemption")
	workspace, login, o := set.String("workspace", "", "the workspace"), set.String("login", "", "one login of it"), orders(set)
	_, err := parse(set, args, 0)
	if err != nil {
		return err
	}
	err = cmp.Or(checkID(set, "workspace", *workspace), checkLogin(set, *login), checkOrder(set, o))
	if err != nil {
		return err
	}
	return c.rollingOut(ctx, func(d *postgres.Directory) error {
		err := d.EndExemption(ctx, *o, *workspace, *login)
		if err == nil {
			c.printf("%s: no longer exempt\n", whose(*workspace, *login))
		}
		return err
	})
}

// whose names a workspace, or a login of it.
func whose(workspace, login string) string {
	if login == "" {
		return workspace
	}
	return "login " + login + " of " + workspace
}

// describeExemption says until when, why and by whom.
func describeExemption(e rollout.Exemption) string {
	return fmt.Sprintf("until %s: %s, asked for by %s, approved by %s", stamp(e.Until), plain(string(e.Reason)), plain(e.RequestedBy), plain(e.ApprovedBy))
}
