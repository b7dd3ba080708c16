// Command demo is a small login front-end, "Lanternbird", that uses doorcode as
// an integrator would.
package main

import (
	"os"

	"doorcode/pkg/lifecycle"
	"doorcode/pkg/telemetry"
	"doorcode/services/demo/app"
)

func main() {
	os.Exit(lifecycle.Main("demo", "DOORCODE_DEMO_", func(c app.Config, t telemetry.Telemetry) (lifecycle.App, error) {
		return app.New(c, t)
	}))
}
