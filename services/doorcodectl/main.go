// Command doorcodectl holds the one-shot commands of the operator: keys,
// migrations, streams and API keys.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"doorcode/services/doorcodectl/app"
)

func main() { os.Exit(run()) }

// run lets SIGINT and SIGTERM end a command between two steps.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return app.Run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
}
