// Command receipts takes the webhooks of the providers.
package main

import (
	"os"

	"doorcode/pkg/lifecycle"
	"doorcode/pkg/telemetry"
	"doorcode/services/receipts/app"
)

func main() {
	os.Exit(lifecycle.Main("receipts", app.Prefix, func(c app.Config, t telemetry.Telemetry) (lifecycle.App, error) {
		return app.New(c, t)
	}))
}
