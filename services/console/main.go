// Command console serves the pages of operations, auditors and support.
package main

import (
	"os"

	"doorcode/pkg/lifecycle"
	"doorcode/pkg/telemetry"
	"doorcode/services/console/app"
)

func main() {
	os.Exit(lifecycle.Main("console", app.Prefix, func(c app.Config, t telemetry.Telemetry) (lifecycle.App, error) {
		return app.New(c, t)
	}))
}
