package stage

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The bus of a measurement is that of an installation: three lines differ.
func TestConfigureBus_ChangesThreeLines(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "deploy", "nats", "nats.conf"))
	if err != nil {
		t.Fatal(err)
	}
	for sync, want := range map[string][]string{
		"always":    {`listen: "127.0.0.1:1"`, `store_dir: "/there"`},
		"1s":        {`listen: "127.0.0.1:1"`, `store_dir: "/there"`, `sync_interval: 1s`},
		SyncDefault: {`listen: "127.0.0.1:1"`, `store_dir: "/there"`},
	} {
		got, err := configureBus(string(text), "127.0.0.1:1", "/there", sync)
		if err != nil {
			t.Fatal(err)
		}
		var changed []string
		before := slices.Collect(strings.Lines(string(text)))
		for line := range strings.Lines(got) {
			if !slices.Contains(before, line) {
				changed = append(changed, strings.TrimSpace(line))
			}
		}
		if !slices.Equal(changed, want) {
			t.Errorf("%s: %q", sync, changed)
		}
		if sync != "always" && strings.Contains(got, "sync_interval: always") {
			t.Errorf("%s: the file's setting is still there", sync)
		}
	}
}

func TestConfigureBus_RefusesAnotherFile(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "listen: \"0.0.0.0:4222\"\nlisten: \"0.0.0.0:4222\"\nstore_dir: \"/data/nats\"\n  sync_interval: always\n"} {
		_, err := configureBus(text, "127.0.0.1:1", "/there", "always")
		if err == nil {
			t.Errorf("%q is changed", text)
		}
	}
}

func TestStage_EnvironmentIsItsOwn(t *testing.T) {
	t.Parallel()
	s := &Stage{cfg: Config{
		Environ:  []string{"HOME=/home", "DOORCODE_LOG_LEVEL=debug", "DOORCODE_UNKNOWN=1"},
		Settings: map[string]string{"DOORCODE_VERIFIER_WORKERS": "7"},
	}}
	if got := s.environment(map[string]string{"DOORCODE_A": "b"}); !slices.Equal(got, []string{"HOME=/home", "DOORCODE_A=b"}) {
		t.Errorf("%q", got)
	}
	if got := s.Settings(); got["DOORCODE_VERIFIER_WORKERS"] != "7" || got["DOORCODE_LOG_LEVEL"] != "warn" {
		t.Errorf("%v", got)
	}
}
