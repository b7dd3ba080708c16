package app

import (
	"fmt"
	"time"

	"doorcode/pkg/delivery"
	"doorcode/pkg/dispatch/process"
	"doorcode/pkg/health"
	"doorcode/pkg/message"
	"doorcode/pkg/provider/sendgrid"
	"doorcode/pkg/telemetry"
)

// New checks the settings and opens nothing.
func New(cfg Config, tel telemetry.Telemetry) (*process.Process, error) {
	err := cfg.Validate()
	if err != nil {
		return nil, err
	}
	renderer, err := message.NewEmail(cfg.Brand, cfg.SupportLink)
	if err != nil {
		return nil, fmt.Errorf("email-dispatcher: %w", err)
	}
	client, err := sendgrid.New(sendgrid.Config{
		BaseURL: cfg.SendGridURL, Key: cfg.SendGridKey, From: cfg.FromAddress, FromName: cfg.FromName,
		Live: cfg.Live, MaxConns: cfg.Workers, Clock: time.Now,
	})
	if err != nil { // The text says which of them; Validate has looked at the others.
		return nil, fmt.Errorf("DOORCODE_EMAIL_DISPATCHER_FROM_ADDRESS, _FROM_NAME or _SENDGRID_KEY_FILE: %w", err)
	}
	return process.New(process.Config{
		Channel: delivery.Email, NATSURL: cfg.NATSURL, NATSCAFile: cfg.NATSCAFile, NATSKeyFile: cfg.NATSKeyFile, ChannelKeyFile: cfg.ChannelKeyFile,
		Provider: client, Renderer: renderer, Workers: cfg.Workers, RatePerSecond: cfg.RatePerSecond,
		Telemetry: tel, Destination: health.Mailbox(), Clock: time.Now,
	})
}
