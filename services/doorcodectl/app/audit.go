package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/postgres"
)

// auditWish is what the flags of audit export ask for.
type auditWish struct {
	operator string
	format   auditFormat
	out      string // file; empty is standard output
	query    postgres.AuditQuery
}

// parseAuditWish reads the flags of audit export.
func parseAuditWish(args []string) (auditWish, error) {
	w := auditWish{format: formatNDJSON}
	set := flags("audit export")
	set.StringVar(&w.out, "out", "", "file")
	set.Func("operator", "who exports", idInto(&w.operator))
	set.Func("from", "the first moment", timeInto(&w.query.From))
	set.Func("to", "the moment after the last", timeInto(&w.query.To))
	set.Func("workspace", "rows of a workspace alone", idInto(&w.query.Workspace))
	set.Func("challenge", "rows of a challenge alone", idInto(&w.query.Challenge))
	set.Func("kind", "rows of a kind alone", func(s string) error {
		if !regexp.MustCompile(`^[a-z_]{1,40}\.v[0-9]{1,3}\.[a-z_]{1,40}$`).MatchString(s) {
			return errors.New("a kind is whole, such as challenge.v1.approved")
		}
		w.query.Kind = s
		return nil
	})
	set.Func("format", "ndjson or csv", w.format.parse)
	_, err := parse(set, args, 0)
	if err != nil {
		return w, err
	}
	if w.operator == "" {
		return w, fmt.Errorf("audit export: -operator is missing: the export goes on record in a name; %w", errUsage)
	}
	if w.query.From.IsZero() {
		return w, fmt.Errorf("audit export: -from is missing; %w", errUsage)
	}
	if !w.query.To.IsZero() && !w.query.From.Before(w.query.To) {
		return w, fmt.Errorf("audit export: -from is not before -to; %w", errUsage)
	}
	return w, nil
}

// idInto reads an id; one that holds an address is none, so that no address goes on record.
func idInto(target *string) func(string) error {
	return func(s string) error {
		*target = s
		return account.ValidateID(s)
	}
}

// timeInto reads a time of RFC 3339, or a day, which begins at midnight in UTC.
func timeInto(target *time.Time) func(string) error {
	return func(s string) error {
		for _, layout := range []string{time.DateOnly, time.RFC3339Nano} {
			at, err := time.Parse(layout, s)
			if err == nil && at.Year() > 0 {
				*target = at
				return nil
			}
		}
		return errors.New("a time is of RFC 3339, such as 2026-06-03T08:00:00Z, or a day, such as 2026-06-03")
	}
}

// exportAudit writes a span of the audit out, with a trailer that says what it is (product.md 2.7).
func (c command) exportAudit(ctx context.Context, args []string) error {
	wish, err := parseAuditWish(args)
	if err != nil {
		return err
	}
	if wish.out == "" {
		_, err = c.writeAudit(ctx, wish, c.out)
		return err
	}
	file, err := newWhole(wish.out)
	if err != nil {
		return err
	}
	export, err := c.writeAudit(ctx, wish, file)
	if err != nil {
		return errors.Join(err, file.discard())
	}
	err = file.finish()
	if err != nil {
		return err
	}
	c.printf("%s: %d rows\n", wish.out, export.Rows)
	return nil
}

// writeAudit writes an export and its trailer.
func (c command) writeAudit(ctx context.Context, wish auditWish, out io.Writer) (postgres.AuditExport, error) {
	db, err := c.owner(ctx)
	if err != nil {
		return postgres.AuditExport{}, err
	}
	defer db.Close()
	file, err := newAuditFile(wish.format, out)
	if err != nil {
		return postgres.AuditExport{}, err
	}
	export, err := db.ExportAudit(ctx, wish.query, wish.operator, string(wish.format), file)
	if err != nil {
		return export, err
	}
	trailer, err := json.Marshal(map[string]postgres.AuditExport{"trailer": export})
	if err != nil {
		return export, fmt.Errorf("write the trailer: %w", err)
	}
	if wish.format == formatCSV {
		out = c.errOut
	}
	_, err = fmt.Fprintf(out, "%s\n", trailer)
	if err != nil {
		return export, fmt.Errorf("write the trailer: %w", err)
	}
	return export, nil
}

// whole is a file that is there when it is complete, and not before.
type whole struct {
	*os.File
	path string
}

// newWhole makes a file that only its owner can read. What lies there already stays: it is somebody's evidence.
func newWhole(path string) (*whole, error) {
	_, err := os.Lstat(path)
	if err == nil {
		return nil, fmt.Errorf("%s is there already and stays as it is: name another file", path)
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("make the file: %w", err)
	}
	return &whole{File: file, path: path}, nil
}

// finish gives a file that is complete its name.
func (w *whole) finish() error {
	err := errors.Join(w.Sync(), w.Close())
	if err == nil {
		err = os.Rename(w.Name(), w.path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("finish the file: %w", err), os.Remove(w.Name()))
	}
	return nil
}

// discard leaves nothing of a file that did not become complete.
func (w *whole) discard() error {
	return errors.Join(w.Close(), os.Remove(w.Name()))
}
