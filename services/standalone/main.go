// Command standalone runs all of doorcode in one process: the one-command
// default.
package main

import (
	"os"

	"doorcode/pkg/lifecycle"
	"doorcode/pkg/telemetry"
	"doorcode/services/standalone/app"
)

func main() {
	os.Exit(lifecycle.Main("standalone", "DOORCODE_STANDALONE_", func(c app.Config, t telemetry.Telemetry) (lifecycle.App, error) {
		return app.New(c, t, app.Surroundings{Environ: os.Environ(), Out: os.Stdout})
	}))
}
