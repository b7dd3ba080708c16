// Command sandbox is a stand-in for the message providers with an inbox that
// shows every message. It is for development and tests only.
package main

import (
	"os"

	"doorcode/pkg/lifecycle"
	"doorcode/pkg/telemetry"
	"doorcode/services/sandbox/app"
)

func main() {
	os.Exit(lifecycle.Main("sandbox", "DOORCODE_SANDBOX_", func(c app.Config, t telemetry.Telemetry) (lifecycle.App, error) {
		return app.New(c, t)
	}))
}
