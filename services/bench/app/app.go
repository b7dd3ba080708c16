// Package app is the measurement of full sign-ins: it sets doorcode up as separate processes, puts each load on it, and
// reports rate, latencies and cost beside the floor that the same machine sets in the same run.
//
// It measures and does not judge: no figure makes it fail. A sign-in that was not approved does, but for those that an
// open loop above doorcode's rate is refused (503).
package app

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"doorcode/pkg/httpserver"
	"doorcode/pkg/lifecycle"
	"doorcode/services/bench/internal/database"
	"doorcode/services/bench/internal/inbox"
	"doorcode/services/bench/internal/load"
	"doorcode/services/bench/internal/report"
	"doorcode/services/bench/internal/stage"
)

// Run measures what the flags say and returns the exit code: 0 measured, 1 failed, 2 not understood.
func Run(ctx context.Context, args, environ []string, out, errOut io.Writer) int {
	cfg, err := parse(args, errOut)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		_, _ = fmt.Fprintln(errOut, "bench:", err)
		return 2
	}
	b := &bench{cfg: cfg, environ: environ, progress: errOut}
	err = errors.Join(b.run(ctx, out), b.stack.Close(context.WithoutCancel(ctx)))
	if err != nil {
		_, _ = fmt.Fprintln(errOut, "bench:", err)
		return 1
	}
	return 0
}

// bench is one measurement.
type bench struct {
	cfg      Config
	environ  []string
	progress io.Writer
	stack    lifecycle.Stack

	inbox    *inbox.Inbox
	database *database.Database
	stage    *stage.Stage
}

// run sets up, measures and reports.
func (b *bench) run(ctx context.Context, out io.Writer) error {
	err := b.prepare(ctx)
	if err != nil {
		return err
	}
	r := report.Report{
		At: time.Now().UTC(), People: b.cfg.People, Settings: b.stage.Settings(),
		Replicas: map[string]int{"auth": 1, "verifier": b.cfg.Verifiers, "email-dispatcher": b.cfg.Dispatchers},
		Machine:  report.Machine{CPUs: runtime.NumCPU(), Model: model("/proc/cpuinfo"), Go: runtime.Version()},
	}
	r.Machine.Postgres, err = b.database.Version(ctx)
	if err != nil {
		return err
	}
	var wrong error
	for _, l := range b.loads() {
		b.tell("%s, sync_interval %s", report.Run{InFlight: l.inFlight, Rate: l.rate}.Name(), l.sync)
		run, err := b.measure(ctx, l)
		if err != nil {
			return err
		}
		r.Runs = append(r.Runs, run)
		wrong = errors.Join(wrong, judge(run))
	}
	return errors.Join(b.write(r, out), wrong)
}

// tell says how far we are.
func (b *bench) tell(format string, args ...any) {
	_, _ = fmt.Fprintf(b.progress, "bench: "+format+"\n", args...)
}

// prepare starts what all runs share: the provider, the database, and the directory in it.
func (b *bench) prepare(ctx context.Context) error {
	dir, err := os.MkdirTemp(b.cfg.Dir, "doorcode-bench-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	b.stack.Push("folder", func(context.Context) error { return os.RemoveAll(dir) })
	err = os.Chmod(dir, 0o711) //nolint:gosec // the server's user has to pass
	if err != nil {
		return fmt.Errorf("open the folder to postgres: %w", err)
	}
	recipients := make([]string, b.cfg.People)
	for n := range recipients {
		recipients[n] = load.PersonOf(n).Recipient
	}
	b.inbox = inbox.New(recipients)
	provider, err := httpserver.Start(ctx, httpserver.Config{
		Name: "provider", Listen: "127.0.0.1:0", Handler: b.inbox, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	b.stack.Push("provider", provider.Stop)
	b.tell("starting postgres")
	b.database, err = database.Start(ctx, filepath.Join(dir, "postgres"), b.progress)
	if err != nil {
		return err
	}
	b.stack.Push("postgres", b.database.Stop)
	b.stage, err = stage.New(ctx, stage.Config{
		Bin: b.cfg.Bin, Dir: dir, Environ: b.environ, Sandbox: provider.Addr(), Database: b.database,
		Verifiers: b.cfg.Verifiers, Dispatchers: b.cfg.Dispatchers, Settings: b.cfg.Settings,
	})
	if err != nil {
		return err
	}
	b.tell("filling the directory with %d logins", b.cfg.People)
	return b.database.Fill(ctx, b.cfg.People, b.stage.RowKeys())
}

// write shows the table and keeps all three forms.
func (b *bench) write(r report.Report, out io.Writer) error {
	var table, picture bytes.Buffer
	data, err := r.JSON()
	err = errors.Join(err, r.Table(&table), r.Picture(&picture), os.MkdirAll(b.cfg.Out, 0o750))
	if err != nil {
		return err
	}
	for _, file := range []struct {
		name string
		data []byte
	}{{"report.txt", table.Bytes()}, {"report.json", data}, {"latency.svg", picture.Bytes()}} {
		err = os.WriteFile(filepath.Join(b.cfg.Out, file.name), file.data, 0o600)
		if err != nil {
			return fmt.Errorf("keep the report: %w", err)
		}
	}
	_, err = table.WriteTo(out)
	b.tell("report.txt, report.json and latency.svg are in %s", b.cfg.Out)
	return err
}

// judge makes an error of sign-ins that were not approved.
func judge(run report.Run) error {
	wrong := run.Failed()
	if run.Rate > 0 { // more may be asked than can be done, and is then refused
		for what, n := range run.Failures {
			if strings.Contains(what, ": 503 ") {
				wrong -= n
			}
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%s, sync_interval %s: %d sign-ins were not approved", run.Name(), run.Sync, wrong)
	}
	return nil
}

// model returns the name of the processor, as the kernel has it.
func model(cpuinfo string) string {
	data, err := os.ReadFile(cpuinfo) //nolint:gosec // a file of the kernel
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
