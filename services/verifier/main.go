// Command verifier judges typed codes, owns the state of every challenge, and records what happened.
package main

import (
	"os"

	"doorcode/pkg/lifecycle"
	"doorcode/pkg/telemetry"
	"doorcode/services/verifier/app"
)

func main() {
	os.Exit(lifecycle.Main("verifier", app.Prefix, func(c app.Config, t telemetry.Telemetry) (lifecycle.App, error) {
		return app.New(c, t)
	}))
}
