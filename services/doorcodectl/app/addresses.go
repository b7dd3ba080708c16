package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	"doorcode/pkg/postgres"
)

// addressOrder reads who looks at or erases the addresses of whom, and why.
func addressOrder(name string, args []string) (o postgres.AddressOrder, workspace, login string, err error) {
	set := flags(name)
	set.Func("workspace", "whose", idInto(&workspace))
	set.Func("login", "of which login", idInto(&login))
	set.Func("operator", "who asks", idInto(&o.Operator))
	set.StringVar(&o.Reason, "reason", "", "why")
	_, err = parse(set, args, 0)
	switch {
	case err != nil:
	case workspace == "":
		err = fmt.Errorf("%s: -workspace is missing; %w", name, errUsage)
	case o.Operator == "":
		err = fmt.Errorf("%s: -operator is missing: it goes on record in a name; %w", name, errUsage)
	case strings.TrimSpace(o.Reason) == "":
		err = fmt.Errorf("%s: -reason is missing; %w", name, errUsage)
	}
	return o, workspace, login, err
}

// showAddresses tells where the codes of a login went since when, or a workspace's main address. It is the one command that
// shows full addresses, and that it was asked is on record before it answers.
func (c command) showAddresses(ctx context.Context, args []string) error {
	o, workspace, login, err := addressOrder("addresses show", args)
	if err != nil {
		return err
	}
	directory, done, err := c.directory(ctx)
	if err != nil {
		return err
	}
	defer done()
	history, err := directory.Addresses(ctx, o, workspace, login)
	if err != nil {
		return err
	}
	for _, r := range history {
		c.printf("%s  %s\n", r.At.UTC().Format(time.DateTime+"Z"), plain(addressLine(r)))
	}
	return nil
}

// addressLine says one record in plain words.
func addressLine(r postgres.AddressRecord) string {
	switch {
	case r.Kind == postgres.AddressesShown:
		return fmt.Sprintf("shown to %s: %s", r.Actor, r.Reason)
	case r.Kind == postgres.AddressesErased:
		return fmt.Sprintf("erased by %s: %s", r.Actor, r.Reason)
	case r.Addresses == nil:
		return fmt.Sprintf("set by %s: it opens no more, because it was erased or is not as it was written", r.Actor)
	}
	var parts []string
	for _, part := range []string{r.Addresses.Email, r.Addresses.Phone} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		parts = []string{"no address of its own"}
	}
	line := fmt.Sprintf("set by %s: %s", r.Actor, strings.Join(parts, ", "))
	if r.Addresses.Phone != "" {
		line += ", codes by " + r.Addresses.Channel
	}
	if r.Addresses.Group {
		line += " (a group's)"
	}
	return line
}

// eraseAddresses destroys what opens the addresses of a removed login, or of a removed workspace and all its logins.
func (c command) eraseAddresses(ctx context.Context, args []string) error {
	o, workspace, login, err := addressOrder("addresses erase", args)
	if err != nil {
		return err
	}
	directory, done, err := c.directory(ctx)
	if err != nil {
		return err
	}
	defer done()
	erased, err := directory.Erase(ctx, o, workspace, login)
	if err != nil {
		return err
	}
	c.printf("erased: %d; the audit keeps what happened, and its seals stay good\n", erased)
	return nil
}
