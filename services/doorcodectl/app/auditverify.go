package app

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/assertion"
	"doorcode/pkg/auditlog"
	"doorcode/pkg/bus"
	"doorcode/pkg/postgres"
)

// errTampered says that a verification found something.
var errTampered = errors.New("the audit is not what was sealed")

// verifyConns is how many connections a verification takes.
const verifyConns = 3

// verifyWish is what the flags of audit verify ask for.
type verifyWish struct {
	operator string
	keys     string
	anchors  []string
	stream   bool
	from, to time.Time
}

// parseVerifyWish reads the flags of audit verify.
func parseVerifyWish(args []string, keysDir string) (verifyWish, error) {
	w := verifyWish{keys: SealKeysFile(keysDir)}
	set := flags("audit verify")
	set.Func("operator", "who verifies", idInto(&w.operator))
	set.StringVar(&w.keys, "keys", w.keys, "public keys")
	set.Func("anchor", "file of heads", func(path string) error {
		w.anchors = append(w.anchors, path)
		return nil
	})
	set.BoolVar(&w.stream, "stream", false, "the heads on NATS, too")
	set.Func("from", "seals from then on", timeInto(&w.from))
	set.Func("to", "seals before then", timeInto(&w.to))
	_, err := parse(set, args, 0)
	if err != nil {
		return w, err
	}
	if w.operator == "" {
		return w, fmt.Errorf("audit verify: -operator is missing: the verification goes on record in a name; %w", errUsage)
	}
	if !w.from.IsZero() && !w.to.IsZero() && !w.from.Before(w.to) {
		return w, fmt.Errorf("audit verify: -from is not before -to; %w", errUsage)
	}
	return w, nil
}

// verifyAudit compares the audit with its seals, and the seals with the heads that were kept elsewhere.
func (c command) verifyAudit(ctx context.Context, args []string) error {
	wish, err := parseVerifyWish(args, c.cfg.KeysDir)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(wish.keys)
	if err != nil {
		return fmt.Errorf("read the public keys of the seals: %w", err)
	}
	keys, err := assertion.ParseJWKS(data)
	if err != nil {
		return fmt.Errorf("%s: %w", wish.keys, err)
	}
	address, err := c.ownerURL()
	if err != nil {
		return err
	}
	db, err := postgres.Open(ctx, postgres.Config{URL: address, Application: "doorcodectl audit verify", MaxConns: verifyConns})
	if err != nil {
		return err
	}
	defer db.Close()
	v, err := db.VerifyAudit(ctx, wish.operator, keys, wish.from, wish.to, c.showFinding)
	if err != nil {
		return err
	}
	for _, path := range wish.anchors {
		err = compareFile(ctx, db, v, keys, path)
		if err != nil {
			return err
		}
	}
	if wish.stream {
		err = c.compareStream(ctx, db, v, keys)
		if err != nil {
			return err
		}
	}
	err = db.EndVerification(ctx, v)
	if err != nil {
		return err
	}
	c.showVerification(v, wish)
	if !v.Good() {
		return errTampered
	}
	return nil
}

// showFinding writes one finding, a line.
func (c command) showFinding(f postgres.AuditFinding) {
	line := []string{f.Kind}
	if f.Seal > 0 {
		line = append(line, "seal "+strconv.FormatInt(f.Seal, 10))
	}
	if !f.At.IsZero() {
		line = append(line, f.At.UTC().Format(auditTime))
	}
	for _, word := range []string{f.ID, f.RowKind} {
		if word != "" {
			line = append(line, strconv.QuoteToGraphic(word))
		}
	}
	if f.Why != "" {
		line = append(line, f.Why)
	}
	c.printf("%s\n", strings.Join(line, "  "))
}

// showVerification writes what a verification came to.
func (c command) showVerification(v *postgres.AuditVerification, wish verifyWish) {
	for _, kind := range slices.Sorted(maps.Keys(v.Findings)) {
		c.printf("found: %d %s\n", v.Findings[kind], kind)
	}
	c.printf("seals: %d, rows compared: %d", v.Seals, v.Rows)
	if v.Dropped > 0 {
		c.printf(", rows that retention dropped: %d", v.Dropped)
	}
	c.printf("\n")
	if v.Seals > 0 {
		c.printf("last seal: %d of %s, signed by %s, root %s\n", v.Last.Number, v.Last.At.UTC().Format(auditTime), v.Last.Key, v.Last.Root)
	}
	if v.Unsealed > 0 {
		c.printf("without a seal: %d rows, the oldest of %s\n", v.Unsealed, v.Oldest.Format(auditTime))
	}
	if len(wish.anchors) == 0 && !wish.stream {
		c.printf("no head from outside the database was compared: a tail that was cut off would not show; -anchor or -stream compare\n")
	}
	if v.Good() {
		c.printf("nothing was found\n")
	}
}

// compareFile compares the heads of a verifier's file.
func compareFile(ctx context.Context, db *postgres.DB, v *postgres.AuditVerification, keys *assertion.Public, path string) error {
	file, err := os.Open(path) //nolint:gosec // The operator names the file.
	if err != nil {
		return fmt.Errorf("read the heads: %w", err)
	}
	defer func() { _ = file.Close() }() // It was only read.
	lines := bufio.NewReader(file)
	err = db.CompareHeads(ctx, v, keys, func() (auditlog.Head, bool, error) {
		var head auditlog.Head
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) { // Half a line at the end is one that is being written.
			return head, false, nil
		}
		if err == nil {
			err = json.Unmarshal(line, &head)
		}
		return head, true, err
	})
	if err != nil {
		return fmt.Errorf("read the heads of %s: %w", path, err)
	}
	return nil
}

// compareStream compares the heads that NATS keeps.
func (c command) compareStream(ctx context.Context, db *postgres.DB, v *postgres.AuditVerification, keys *assertion.Public) error {
	admin, err := c.admin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = admin.Drain(context.WithoutCancel(ctx)) }()
	state, err := admin.StreamState(ctx, bus.Seals)
	if err != nil {
		return fmt.Errorf("read the heads of %s: %w", bus.Seals, err)
	}
	at := state.First
	return db.CompareHeads(ctx, v, keys, func() (auditlog.Head, bool, error) {
		for ; at <= state.Last && state.Messages > 0; at++ {
			m, err := admin.Read(ctx, bus.Seals, at)
			if errors.Is(err, bus.ErrNotFound) {
				continue
			}
			var head auditlog.Head
			if err == nil {
				err = json.Unmarshal(m.Data, &head)
			}
			at++
			return head, true, err
		}
		return auditlog.Head{}, false, nil
	})
}

// keepAudit changes how many days of the audit are kept.
func (c command) keepAudit(ctx context.Context, args []string) error {
	set := flags("audit retention")
	days := set.Int("days", 0, "how many")
	var operator string
	set.Func("operator", "who changes it", idInto(&operator))
	_, err := parse(set, args, 0)
	if err != nil {
		return err
	}
	if operator == "" || account.ValidateID(operator) != nil {
		return fmt.Errorf("audit retention: -operator is missing: it goes on record in a name; %w", errUsage)
	}
	db, err := c.owner(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	before, err := db.KeepAudit(ctx, *days, operator)
	if err != nil {
		return err
	}
	c.printf("the audit is kept for %d days; it was %d\n", *days, before)
	return nil
}
