// Package telemetry makes what a process tells about itself: JSON log lines, a registry of metrics and traces.
//
// Messages are constant, lower case and without punctuation; what varies stands in attributes with snake_case keys.
// No line and no label carries a code, a key, an address or a number.
package telemetry

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel/trace"
)

// Telemetry is handed to every part of a process.
type Telemetry struct {
	Log      *slog.Logger         // Every line carries the key "process".
	Registry *prometheus.Registry // What /metrics shows.
	Traces   trace.TracerProvider // Where spans go; nil traces nothing.

	unnamed *slog.Logger
}

// New returns the telemetry of a process that logs to w from level (debug, info, warn or error) up, with the Go
// runtime's and the operating system's figures registered.
func New(process, level string, w io.Writer) (Telemetry, error) {
	least, err := parseLevel(level)
	if err != nil {
		return Telemetry{}, err
	}
	reg := prometheus.NewRegistry()
	err = Register(reg, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err != nil {
		return Telemetry{}, err
	}
	unnamed := slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: least}))
	return Telemetry{unnamed: unnamed, Registry: reg}.For(process), nil
}

// For returns the same registry and level with lines of another process name. It serves a program that runs several
// processes in one.
func (t Telemetry) For(process string) Telemetry {
	if t.unnamed == nil {
		t.unnamed = t.Log
	}
	t.Log = t.unnamed.With("process", process)
	return t
}

// Register adds collectors to a registry, all or the error of each that was refused. The collectors of the Go runtime
// and of the operating system's process may come again, since there is one of either however many parts ask for them;
// any other name must be new.
func Register(reg prometheus.Registerer, cs ...prometheus.Collector) error {
	var problems []error
	for _, c := range cs {
		err := reg.Register(c)
		var already prometheus.AlreadyRegisteredError
		if errors.As(err, &already) && ofRuntime(already.ExistingCollector) {
			continue
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("register metrics: %w", err))
		}
	}
	return errors.Join(problems...)
}

// ofRuntime reports whether c is one of the two collectors that know no process of ours.
func ofRuntime(c prometheus.Collector) bool {
	kind := reflect.TypeOf(c)
	return kind == reflect.TypeOf(collectors.NewGoCollector()) ||
		kind == reflect.TypeOf(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

// parseLevel knows the four words alone, without slog's offsets such as info+2.
func parseLevel(level string) (slog.Level, error) {
	for _, known := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		if strings.EqualFold(level, known.String()) {
			return known, nil
		}
	}
	return 0, fmt.Errorf("the log level %q is not one of debug, info, warn and error", level)
}
