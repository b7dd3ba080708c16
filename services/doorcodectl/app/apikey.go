package app

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"doorcode/pkg/account"
	"doorcode/pkg/frontend"
	"doorcode/pkg/keyring"
	"doorcode/pkg/postgres"
)

// everywhere stands for all workspaces; no workspace can have that id.
const everywhere = "*"

// wish is what the flags of api-key create ask for; what is empty stays as it is.
type wish struct {
	name       string
	scopes     []frontend.Scope
	workspaces []string
	origins    []string
	nowhere    bool // no return origin at all
}

// wishes adds the flags of a wish to a set.
func wishes(set *flag.FlagSet) *wish {
	w := &wish{}
	set.StringVar(&w.name, "name", "", "name for people")
	set.Func("scopes", "scopes, separated by commas", func(list string) error {
		for name := range strings.SplitSeq(list, ",") {
			scope, err := frontend.ParseScope(strings.TrimSpace(name))
			if err != nil {
				return err
			}
			w.scopes = append(w.scopes, scope)
		}
		return nil
	})
	set.Func("workspaces", "workspaces, separated by commas, or *", func(list string) error {
		for id := range strings.SplitSeq(list, ",") {
			id = strings.TrimSpace(id)
			if list != everywhere && account.ValidateID(id) != nil {
				return account.ErrID
			}
			w.workspaces = append(w.workspaces, id)
		}
		return nil
	})
	set.Func("return-origin", "web origin that a hosted page may return to; may be repeated", func(s string) error {
		origin, err := frontend.ParseOrigin(s)
		if err != nil {
			return err
		}
		if len(w.origins) == frontend.MaxReturnOrigins {
			return fmt.Errorf("there are more than %d return origins", frontend.MaxReturnOrigins)
		}
		w.origins = append(w.origins, origin)
		return nil
	})
	set.BoolVar(&w.nowhere, "no-return-origins", false, "no hosted page may return anywhere: takes away those that are there")
	return w
}

// validate refuses a wish that contradicts itself.
func (w *wish) validate() error {
	if w.nowhere && len(w.origins) > 0 {
		return fmt.Errorf("-return-origin and -no-return-origins exclude each other; %w", errUsage)
	}
	return nil
}

// apply returns the front-end as it is wished for.
func (w *wish) apply(f frontend.FrontEnd) frontend.FrontEnd {
	if w.name != "" {
		f.Name = w.name
	}
	if len(w.scopes) > 0 {
		f.Scopes = w.scopes
	}
	if len(w.workspaces) > 0 {
		f.Workspaces, f.AllWorkspaces = w.workspaces, slices.Equal(w.workspaces, []string{everywhere})
	}
	if len(w.origins) > 0 || w.nowhere {
		f.ReturnOrigins = w.origins
	}
	return f
}

// createAPIKey makes a front-end's key and prints it once. A key that is made
// anew never gains a scope, a workspace or a return origin that nobody named.
func (c command) createAPIKey(ctx context.Context, args []string) error {
	set := flags("api-key create")
	wanted := wishes(set)
	out := set.String("out", "", "file for the key")
	words, err := parse(set, args, 1)
	if err != nil {
		return err
	}
	id := words[0]
	err = cmp.Or(wanted.validate(), frontend.ValidateID(id))
	if err != nil {
		return err
	}
	ring, err := keyring.Read(KeyFile(c.cfg.KeysDir, APIKeyKeys))
	if err != nil {
		return err
	}
	directory, done, err := c.directory(ctx)
	if err != nil {
		return err
	}
	defer done()
	f, err := directory.FrontEnd(ctx, id)
	if errors.Is(err, postgres.ErrNoFrontEnd) {
		f, err = frontend.FrontEnd{ID: id, Name: id, Scopes: []frontend.Scope{frontend.Challenges}, AllWorkspaces: true}, nil
	}
	if err != nil {
		return err
	}
	f = wanted.apply(f)
	kept, err := holds(f, ring, *out)
	if err != nil {
		return err
	}
	if kept {
		c.printf("%s: the key of %s is valid and stays\n", id, *out)
		return directory.PutFrontEnd(ctx, f)
	}
	f, key, err := f.WithNewKey(ring)
	if err != nil {
		return err
	}
	err = directory.PutFrontEnd(ctx, f)
	if err != nil {
		return err
	}
	if *out == "" {
		c.printf("%s\n", key)
		return nil
	}
	err = write(*out, []byte(key))
	if err != nil {
		return err
	}
	c.printf("%s: a key was made in %s\n", id, *out)
	return nil
}

// holds reports whether the file holds the front-end's present key; no file holds none.
func holds(f frontend.FrontEnd, ring *keyring.Ring, file string) (bool, error) {
	if file == "" {
		return false, nil
	}
	data, err := os.ReadFile(file) //nolint:gosec // the operator names the file
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the api key: %w", err)
	}
	key, ok := frontend.ParseAuthorization("Bearer " + strings.TrimSpace(string(data)))
	return ok && f.Holds(ring, key), nil
}

// removeAPIKey takes a front-end's key away.
func (c command) removeAPIKey(ctx context.Context, args []string) error {
	words, err := parse(flags("api-key remove"), args, 1)
	if err != nil {
		return err
	}
	directory, done, err := c.directory(ctx)
	if err != nil {
		return err
	}
	defer done()
	err = directory.RemoveFrontEnd(ctx, words[0])
	if err != nil {
		return fmt.Errorf("remove the api key: %w", err)
	}
	c.printf("%s: removed\n", words[0])
	return nil
}

// directory opens the directory with the owner's role and the row keys.
func (c command) directory(ctx context.Context) (*postgres.Directory, func(), error) {
	rows, err := keyring.Read(KeyFile(c.cfg.KeysDir, RowKeys))
	if err != nil {
		return nil, nil, err
	}
	db, err := c.owner(ctx)
	if err != nil {
		return nil, nil, err
	}
	return postgres.NewDirectory(db, rows), db.Close, nil
}
