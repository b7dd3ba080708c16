package embedded

import (
	"fmt"
	"log/slog"
)

// logger hands the server's messages to slog: one constant message, the text as an attribute.
type logger struct {
	log *slog.Logger
	// fatal takes the first message after which the server does not run. The server itself goes on waiting.
	fatal chan string
}

// Noticef is for debugging: NATS tells much of itself at a start.
func (l *logger) Noticef(format string, v ...any) {
	l.log.Debug("nats notice", "text", fmt.Sprintf(format, v...))
}

// Warnf is what an operator should see.
func (l *logger) Warnf(format string, v ...any) {
	l.log.Warn("nats warning", "text", fmt.Sprintf(format, v...))
}

// Errorf is what an operator should mend.
func (l *logger) Errorf(format string, v ...any) {
	l.log.Error("nats error", "text", fmt.Sprintf(format, v...))
}

// Fatalf is the end of the server, but not of this process.
func (l *logger) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.log.Error("nats failed", "text", text)
	select {
	case l.fatal <- text:
	default:
	}
}

// Debugf is silent: it names clients and subjects by the second.
func (l *logger) Debugf(string, ...any) {}

// Tracef is silent: traces show messages.
func (l *logger) Tracef(string, ...any) {}
