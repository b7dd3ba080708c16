// Command auth is doorcode's front door: the HTTP API of challenges and of the directory.
package main

import (
	"os"

	"doorcode/pkg/lifecycle"
	"doorcode/pkg/telemetry"
	"doorcode/services/auth/app"
)

func main() {
	os.Exit(lifecycle.Main("auth", "DOORCODE_AUTH_", func(c app.Config, t telemetry.Telemetry) (lifecycle.App, error) {
		return app.New(c, t)
	}))
}
