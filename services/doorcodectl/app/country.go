package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	"doorcode/pkg/phone"
	"doorcode/pkg/postgres"
)

// stopCountry keeps create from offering SMS to a country's numbers.
func (c command) stopCountry(ctx context.Context, args []string) error {
	return c.setCountry(ctx, "country stop", args, (*postgres.DB).StopCountry, "stopped", "it was stopped before")
}

// allowCountry takes that back.
func (c command) allowCountry(ctx context.Context, args []string) error {
	return c.setCountry(ctx, "country allow", args, (*postgres.DB).AllowCountry, "no longer stopped; the settings decide", "it is not stopped")
}

// setCountry changes a country's row and says whether there was something to change.
func (c command) setCountry(ctx context.Context, name string, args []string,
	change func(*postgres.DB, context.Context, string, string) (bool, error), done, before string,
) error {
	set := flags(name)
	reason := set.String("reason", "", "why")
	words, err := parse(set, args, 1)
	if err != nil {
		return err
	}
	if !phone.IsRegion(words[0]) {
		return fmt.Errorf("%s: a region is two letters of ISO 3166-1, such as NL; %w", name, errUsage)
	}
	if strings.TrimSpace(*reason) == "" {
		return fmt.Errorf("%s: -reason is missing; %w", name, errUsage)
	}
	db, err := c.owner(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	changed, err := change(db, ctx, words[0], *reason)
	if err != nil {
		return err
	}
	if !changed {
		done = before
	}
	c.printf("%s: %s\n", words[0], done)
	return nil
}

// listCountries shows the countries that are stopped, a line each.
func (c command) listCountries(ctx context.Context, args []string) error {
	_, err := parse(flags("country list"), args, 0)
	if err != nil {
		return err
	}
	db, err := c.owner(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	countries, err := db.StoppedCountries(ctx)
	if err != nil {
		return err
	}
	for _, s := range countries {
		c.printf("%s  %s  %s\n", s.Region, s.At.UTC().Format(time.RFC3339), plain(s.Reason))
	}
	c.printf("stopped countries: %d\n", len(countries))
	return nil
}
