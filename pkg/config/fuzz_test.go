package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/config"
)

// fuzzed has a setting of every type that our processes have.
type fuzzed struct {
	Listen  string        `env:"DOORCODE_AUTH_LISTEN" envDefault:"127.0.0.1:8080" help:"-"`
	Level   string        `env:"DOORCODE_LOG_LEVEL" envDefault:"info" help:"-"`
	Digits  int           `env:"DOORCODE_AUTH_DIGITS" envDefault:"6" help:"-"`
	Life    time.Duration `env:"DOORCODE_AUTH_LIFE" envDefault:"10m" help:"-"`
	Live    bool          `env:"DOORCODE_AUTH_LIVE" help:"-"`
	Rate    float64       `env:"DOORCODE_AUTH_RATE" help:"-"`
	Origins []string      `env:"DOORCODE_AUTH_ORIGINS" help:"-"`
	Key     config.Secret `env:"DOORCODE_AUTH_KEY_FILE,file" help:"-"`
}

// FuzzLoad holds that no environment breaks a process, that what is refused is named by its variable, and that what is
// taken shows no secret.
func FuzzLoad(f *testing.F) {
	path := filepath.Join(f.TempDir(), "key")
	const secret = "correct horse battery"
	err := os.WriteFile(path, []byte(secret+"\n"), 0o600)
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range []string{"LISTEN", "DIGITS", "LIFE", "LIVE", "RATE", "ORIGINS", "KEY_FILE", "UNKNOWN", "", "LIVE=1\x00DOORCODE_X"} {
		for _, value := range []string{"", "1", "-1", "1e400", "10m", "true", "99999999999999999999", "a,b,,c", "${HOME}", "\x00", "/", "é"} {
			f.Add(name, value)
		}
	}
	f.Add("KEY_FILE", path)
	f.Fuzz(func(t *testing.T, name, value string) {
		environ := []string{"DOORCODE_AUTH_KEY_FILE=" + path, "DOORCODE_AUTH_" + name + "=" + value}
		cfg, err := config.Load[fuzzed]("DOORCODE_AUTH_", environ)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "DOORCODE_") || strings.Contains(err.Error(), secret) {
				t.Errorf("%q=%q is refused with %v", name, value, err)
			}
			return
		}
		if shown := fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg); strings.Contains(shown, secret) {
			t.Errorf("the secret is shown: %s", shown)
		}
		known := false
		for _, s := range config.Describe[fuzzed]() {
			before, _, _ := strings.Cut(name+"=", "=")
			known = known || s.Name == "DOORCODE_AUTH_"+before
		}
		if !known {
			t.Errorf("%q is taken, and nobody reads it", name)
		}
	})
}
