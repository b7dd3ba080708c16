// Command bench measures full sign-ins against doorcode's real processes: create, the message at the provider, the right
// code checked. `make bench` runs it; it is no part of an installation.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"doorcode/services/bench/app"
)

func main() { os.Exit(run()) }

// run lets SIGINT and SIGTERM end a run and stop what it started.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return app.Run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
}
