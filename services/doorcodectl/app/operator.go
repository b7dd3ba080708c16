package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/frontend"
	"doorcode/pkg/keyring"
	"doorcode/pkg/operator"
	"doorcode/pkg/postgres"
)

// operatorsName is what the messages call the operators' workspace.
const operatorsName = "doorcode console"

// operatorWish is what the flags of operator add ask for.
type operatorWish struct {
	operator.Operator
	email, out string
}

// parseOperator reads the arguments of operator add.
func parseOperator(args []string) (operatorWish, error) {
	var w operatorWish
	set := flags("operator add")
	set.StringVar(&w.email, "email", "", "where the operator's codes go")
	set.StringVar(&w.out, "out", "", "file for the secret")
	set.Func("role", "operator, auditor, support or owner", func(s string) (err error) {
		w.Role, err = operator.ParseRole(s)
		return err
	})
	set.Func("workspaces", "workspaces that the operator sees alone, separated by commas", func(list string) error {
		for id := range strings.SplitSeq(list, ",") {
			id = strings.TrimSpace(id)
			if account.ValidateID(id) != nil {
				return account.ErrID
			}
			w.Workspaces = append(w.Workspaces, id)
		}
		return nil
	})
	words, err := parse(set, args, 1)
	if err != nil {
		return w, err
	}
	w.ID, w.AllWorkspaces = words[0], w.Workspaces == nil
	err = cmp.Or(account.ValidateID(w.ID), account.ValidateEmail(w.email), w.Validate())
	if err != nil {
		return w, fmt.Errorf("operator add: %w; %w", err, errUsage)
	}
	return w, nil
}

// addOperator lets somebody sign in to the console: their login in the operators' workspace, whose address gets the codes,
// and their row with the secret.
func (c command) addOperator(ctx context.Context, args []string) error {
	w, err := parseOperator(args)
	if err != nil {
		return err
	}
	operators, directory, done, err := c.operators(ctx)
	if err != nil {
		return err
	}
	defer done()
	err = putOperatorLogin(ctx, directory, w.ID, w.email)
	if err != nil {
		return err
	}
	ring, err := keyring.Read(KeyFile(c.cfg.KeysDir, ConsoleKeys))
	if err != nil {
		return err
	}
	kept, err := keepsSecret(ctx, operators, ring, w)
	if err != nil {
		return err
	}
	if kept {
		c.printf("%s: the secret of %s is valid and stays\n", w.ID, w.out)
		return nil
	}
	o, secret := w.WithNewSecret(ring)
	err = operators.Put(ctx, o)
	if err != nil {
		return err
	}
	if w.out == "" {
		c.printf("%s\n", secret)
		return nil
	}
	err = write(w.out, []byte(secret))
	if err != nil {
		return err
	}
	c.printf("%s: a secret was made in %s\n", w.ID, w.out)
	return nil
}

// keepsSecret reports whether the file holds the present secret of an operator who has what is wished for.
func keepsSecret(ctx context.Context, operators *postgres.Operators, ring *keyring.Ring, w operatorWish) (bool, error) {
	if w.out == "" {
		return false, nil
	}
	data, err := os.ReadFile(w.out)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the secret: %w", err)
	}
	there, err := operators.Operator(ctx, w.ID, "", time.Time{})
	if errors.Is(err, postgres.ErrNoOperatorRow) {
		return false, nil
	}
	same := there.Role == w.Role && there.AllWorkspaces == w.AllWorkspaces && strings.Join(there.Workspaces, ",") == strings.Join(w.Workspaces, ",")
	return same && there.Holds(ring, w.ID, strings.TrimSpace(string(data))), err
}

// putOperatorLogin puts the login that gets an operator's codes, and the workspace of all of them when it is not there.
func putOperatorLogin(ctx context.Context, directory *postgres.Directory, id, email string) error {
	change := postgres.Change{By: postgres.Operator}
	_, _, err := directory.Workspace(ctx, frontend.Operators)
	if errors.Is(err, postgres.ErrNoWorkspace) {
		_, err = directory.PutWorkspace(ctx, change, account.Workspace{ID: frontend.Operators, Name: operatorsName, MainEmail: email})
	}
	if err != nil {
		return err
	}
	_, err = directory.PutLogin(ctx, change, account.Login{Workspace: frontend.Operators, ID: id, Email: email, Role: account.Member})
	return err
}

// removeOperator takes an operator off the list and removes their login.
func (c command) removeOperator(ctx context.Context, args []string) error {
	words, err := parse(flags("operator remove"), args, 1)
	if err != nil {
		return err
	}
	operators, directory, done, err := c.operators(ctx)
	if err != nil {
		return err
	}
	defer done()
	err = operators.Remove(ctx, words[0])
	if err != nil {
		return err
	}
	err = directory.RemoveLogin(ctx, postgres.Change{By: postgres.Operator}, frontend.Operators, words[0])
	if err != nil && !errors.Is(err, postgres.ErrNoLogin) && !errors.Is(err, postgres.ErrNoWorkspace) {
		return err
	}
	c.printf("%s: removed\n", words[0])
	return nil
}

// listOperators lists who may sign in to the console.
func (c command) listOperators(ctx context.Context, args []string) error {
	_, err := parse(flags("operator list"), args, 0)
	if err != nil {
		return err
	}
	operators, _, done, err := c.operators(ctx)
	if err != nil {
		return err
	}
	defer done()
	all, err := operators.All(ctx)
	if err != nil {
		return err
	}
	for _, o := range all {
		seen := everywhere
		if !o.AllWorkspaces {
			seen = strings.Join(o.Workspaces, ",")
		}
		c.printf("%s  %-9s  %s  %s\n", o.MadeAt.UTC().Format(time.DateOnly), o.Role, o.ID, seen)
	}
	c.printf("operators: %d\n", len(all))
	return nil
}

// operators opens the list of operators and the directory with the owner's role.
func (c command) operators(ctx context.Context) (*postgres.Operators, *postgres.Directory, func(), error) {
	ring, err := keyring.Read(KeyFile(c.cfg.KeysDir, ConsoleKeys))
	if err != nil {
		return nil, nil, nil, err
	}
	rows, err := keyring.Read(KeyFile(c.cfg.KeysDir, RowKeys))
	if err != nil {
		return nil, nil, nil, err
	}
	db, err := c.owner(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	return postgres.NewOperators(db, ring), postgres.NewDirectory(db, rows), db.Close, nil
}
