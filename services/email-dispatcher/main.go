// Command email-dispatcher sends codes by e-mail: it takes sends of the
// channel e-mail from the bus, opens, renders and hands them to SendGrid, and
// tells what became of them. It has no database.
package main

import (
	"os"

	"doorcode/pkg/lifecycle"
	"doorcode/pkg/telemetry"
	"doorcode/services/email-dispatcher/app"
)

func main() {
	os.Exit(lifecycle.Main("email-dispatcher", "DOORCODE_EMAIL_DISPATCHER_",
		func(c app.Config, t telemetry.Telemetry) (lifecycle.App, error) { return app.New(c, t) }))
}
