// Command sms-dispatcher sends codes by text message: it takes sends of the
// channel SMS from the bus, opens, renders and hands them to Vonage, and tells
// what became of them. It has no database.
package main

import (
	"os"

	"doorcode/pkg/lifecycle"
	"doorcode/pkg/telemetry"
	"doorcode/services/sms-dispatcher/app"
)

func main() {
	os.Exit(lifecycle.Main("sms-dispatcher", "DOORCODE_SMS_DISPATCHER_",
		func(c app.Config, t telemetry.Telemetry) (lifecycle.App, error) { return app.New(c, t) }))
}
