package app

import (
	"errors"
	"fmt"
	"net"
	"net/url"

	"doorcode/pkg/config"
	"doorcode/pkg/lifecycle"
)

// Prefix begins the names of the process's own settings.
const Prefix = "DOORCODE_CONSOLE_"

// Config holds the settings of the console.
type Config struct {
	LogLevel         string        `env:"DOORCODE_LOG_LEVEL" envDefault:"info" help:"Least level that is logged: debug, info, warn or error."`
	OTLP             string        `env:"DOORCODE_OTLP_ENDPOINT" help:"Address of an OpenTelemetry collector that takes OTLP over HTTP; when set, traces are sent to it."`
	DatabaseURL      string        `env:"DOORCODE_DATABASE_URL,required" help:"Address of the database, without a password."`
	DatabaseUser     string        `env:"DOORCODE_CONSOLE_DATABASE_USER" envDefault:"doorcode_console" help:"Role of the process in the database, which reads alone."`
	DatabasePassword config.Secret `env:"DOORCODE_CONSOLE_DATABASE_PASSWORD_FILE,file" help:"File with the password of that role."`
	Listen           string        `env:"DOORCODE_CONSOLE_LISTEN" envDefault:"127.0.0.1:8082" help:"Address of the pages, in plain HTTP: TLS ends before it."`
	OperationsListen string        `env:"DOORCODE_CONSOLE_OPERATIONS_LISTEN" envDefault:"127.0.0.1:9098" help:"Address of health, readiness and metrics."`
	PublicURL        string        `env:"DOORCODE_CONSOLE_PUBLIC_URL" help:"Address at which browsers reach the console, such as https://console.example.com; http is for 127.0.0.1, [::1] and localhost. Empty: http and the address it listens on."`
	AuthURL          string        `env:"DOORCODE_CONSOLE_AUTH_URL" envDefault:"http://127.0.0.1:8080" help:"Address of auth, which sends the operators their codes."`
	APIKey           config.Secret `env:"DOORCODE_CONSOLE_API_KEY_FILE,file,required" help:"File with an API key of the scope challenges for the workspace doorcode-console."`
	SupportKey       config.Secret `env:"DOORCODE_CONSOLE_SUPPORT_KEY_FILE,file,required" help:"File with an API key of the scope support, for what is done in an operator's name."`
	KeyFile          string        `env:"DOORCODE_CONSOLE_KEY_FILE,required" help:"Key ring of the operators' secrets and of the sessions."`
}

// Validate refuses addresses that are none, and sessions that would travel in clear.
func (c Config) Validate() error {
	u, err := url.Parse(c.AuthURL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return errors.New("DOORCODE_CONSOLE_AUTH_URL is not an http address")
	}
	if c.PublicURL == "" {
		return nil
	}
	u, err = url.Parse(c.PublicURL)
	if err != nil || u.Host == "" || u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("DOORCODE_CONSOLE_PUBLIC_URL is not an origin such as https://console.example.com")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return fmt.Errorf("DOORCODE_CONSOLE_PUBLIC_URL has to begin with https; http is for this machine alone")
	}
	return nil
}

// loopback reports whether a host is this machine.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Operations returns what operators look at.
func (c Config) Operations() lifecycle.Operations {
	return lifecycle.Operations{Listen: c.OperationsListen, LogLevel: c.LogLevel, OTLP: c.OTLP}
}
