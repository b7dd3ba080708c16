package app

import (
	"fmt"
	"time"

	"doorcode/pkg/delivery"
	"doorcode/pkg/dispatch/process"
	"doorcode/pkg/message"
	"doorcode/pkg/phone"
	"doorcode/pkg/provider/vonage"
	"doorcode/pkg/telemetry"
)

// New checks the settings and opens nothing.
func New(cfg Config, tel telemetry.Telemetry) (*process.Process, error) {
	err := cfg.Validate()
	if err != nil {
		return nil, err
	}
	renderer, err := message.NewSMS(cfg.Brand, cfg.Host)
	if err != nil {
		return nil, fmt.Errorf("sms-dispatcher: %w", err)
	}
	client, err := vonage.New(cfg.vonage())
	if err != nil {
		return nil, fmt.Errorf("sms-dispatcher: %w", err)
	}
	return process.New(process.Config{
		Channel: delivery.SMS, NATSURL: cfg.NATSURL, NATSCAFile: cfg.NATSCAFile, NATSKeyFile: cfg.NATSKeyFile, ChannelKeyFile: cfg.ChannelKeyFile,
		Provider: client, Renderer: renderer, Workers: cfg.Workers, RatePerSecond: cfg.RatePerSecond,
		Telemetry: tel, Destination: country, Clock: time.Now,
	})
}

// country is that of a number, as two capital letters; empty when the number has none.
func country(number string) string {
	n, err := phone.Parse(number)
	if err != nil {
		return "" // Whatever it is, auth has let it through, and nothing is decided here.
	}
	return n.Region
}

// vonage is the account and the senders as the adapter wants them.
func (c Config) vonage() vonage.Config {
	return vonage.Config{
		BaseURL: c.VonageURL, Key: c.VonageKey, Secret: c.VonageSecret, Senders: c.Senders,
		Live: c.Live, MaxConns: c.Workers, Clock: time.Now,
	}
}
