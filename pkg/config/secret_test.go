package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"doorcode/pkg/config"
)

// It shows SEC-32 of deploy/SECURITY.md.
func TestSecret_ShowsItsValueToRevealAlone(t *testing.T) {
	t.Parallel()
	const value = "hunter2"
	s := config.NewSecret(value)
	if s.Reveal() != value || s.IsZero() {
		t.Fatal("Reveal does not return the value")
	}
	type exported struct{ Key config.Secret }
	type hidden struct{ key config.Secret }
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		for _, arg := range []any{s, &s, exported{s}, &exported{s}, hidden{s}, &hidden{s}, []config.Secret{s}} {
			fmt.Fprintf(&out, verb+"\n", arg)
		}
	}
	for _, arg := range []any{s, &s, exported{s}, map[string]config.Secret{"key": s}} {
		data, err := json.Marshal(arg)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(data)
	}
	text, err := s.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	out.Write(text)
	out.WriteString(s.String())
	var lines bytes.Buffer
	slog.New(slog.NewJSONHandler(&lines, nil)).Info("x", "key", s, "nested", exported{s}, "hidden", hidden{s})
	slog.New(slog.NewTextHandler(&lines, nil)).Info("x", "key", s, "nested", exported{s}, "hidden", hidden{s})
	out.Write(lines.Bytes())
	for _, leak := range []string{value, fmt.Sprintf("%x", value), fmt.Sprintf("%X", value), "104 117 110"} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("the value shows as %q in:\n%s", leak, out.String())
		}
	}
	if !strings.Contains(out.String(), `"[secret]"`) {
		t.Error("no mask in JSON")
	}
}

// It shows SEC-26 of deploy/SECURITY.md.
func TestSecret_CannotBeCompared(t *testing.T) {
	t.Parallel()
	if reflect.TypeFor[config.Secret]().Comparable() {
		t.Error("two secrets can be compared with ==")
	}
}

func TestSecret_TrimsWhatAFileHolds(t *testing.T) {
	t.Parallel()
	var s config.Secret
	if !s.IsZero() || s.Reveal() != "" {
		t.Error("the zero secret is not empty")
	}
	err := s.UnmarshalText([]byte(" \tpass word\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if s.Reveal() != "pass word" {
		t.Error("the white space around the value is kept, or the one inside is not")
	}
}
