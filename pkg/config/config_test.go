package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"doorcode/pkg/config"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

const prefix = "DOORCODE_AUTH_"

type limits struct {
	Day int `env:"DOORCODE_AUTH_DAY_LIMIT" envDefault:"20" help:"Wrong codes of a login in a day."`
}

type sample struct {
	Listen   string        `env:"DOORCODE_AUTH_LISTEN" envDefault:"127.0.0.1:8080" help:"Address of the API."`
	Wait     time.Duration `env:"DOORCODE_AUTH_WAIT" envDefault:"30s" help:"Time between two sends."`
	Origins  []string      `env:"DOORCODE_AUTH_ORIGINS" help:"Origins of the login pages."`
	Issuer   string        `env:"DOORCODE_AUTH_ISSUER,required" help:"Issuer of the assertions."`
	LogLevel string        `env:"DOORCODE_LOG_LEVEL" envDefault:"info" help:"How much is logged."`
	Password config.Secret `env:"DOORCODE_AUTH_PASSWORD_FILE,file,required" help:"Password of the role."`
	Pepper   config.Secret `env:"DOORCODE_AUTH_PEPPER_FILE,file" help:"An optional secret."`
	Limits   limits
	Built    string
	private  string
}

func (s sample) Validate() error {
	if s.Limits.Day > 100 {
		return errors.New("DOORCODE_AUTH_DAY_LIMIT: above the ceiling of 100")
	}
	return nil
}

// secretFile writes content to a new file and returns its path.
func secretFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	err := os.WriteFile(path, []byte(content), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// environ returns a complete environment with more on top.
func environ(t *testing.T, more ...string) []string {
	t.Helper()
	return append([]string{
		"PATH=/bin",
		"DOORCODE_AUTH_ISSUER=https://id.example",
		"DOORCODE_AUTH_PASSWORD_FILE=" + secretFile(t, "hunter2\n"),
	}, more...)
}

func TestLoad_FillsDefaultsValuesAndSecrets(t *testing.T) {
	t.Parallel()
	got, err := config.Load[sample](prefix, environ(t, "DOORCODE_AUTH_WAIT=1m",
		"DOORCODE_AUTH_ORIGINS=a,b", "DOORCODE_AUTH_DAY_LIMIT=7", "DOORCODE_AUTH_LISTEN="))
	if err != nil {
		t.Fatal(err)
	}
	if got.Listen != "127.0.0.1:8080" || got.Wait != time.Minute || got.Limits.Day != 7 || got.LogLevel != "info" {
		t.Errorf("unexpected settings: %+v", got)
	}
	if diff := cmp.Diff([]string{"a", "b"}, got.Origins); diff != "" {
		t.Error(diff)
	}
	if got.Password.Reveal() != "hunter2" {
		t.Error("the secret is not the trimmed content of its file")
	}
	if !got.Pepper.IsZero() || got.private != "" || got.Built != "" {
		t.Error("something was set that no variable names")
	}
}

func TestLoad_LastOfEqualNamesCounts(t *testing.T) {
	t.Parallel()
	got, err := config.Load[sample](prefix, environ(t, "DOORCODE_AUTH_WAIT=1s", "DOORCODE_AUTH_WAIT=2s"))
	if err != nil {
		t.Fatal(err)
	}
	if got.Wait != 2*time.Second {
		t.Errorf("Wait is %v", got.Wait)
	}
}

func TestLoad_LeavesOtherProcessesAndSharedNamesAlone(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"DOORCODE_VERIFIER_LISTEN", "DOORCODE_EMAIL_DISPATCHER_X", "DOORCODE_SMS_DISPATCHER_X", "DOORCODE_RECEIPTS_X", "DOORCODE_SANDBOX_X", "DOORCODE_DEMO_X",
		"DOORCODE_STANDALONE_DIR", "DOORCODE_DOORCODECTL_X", "DOORCODE_NATS_URL", "DOORCODE_DATABASE_URL",
		"DOORCODE_LOG_LEVEL", "OTHER_AUTH_X", "doorcode_auth_x",
	} {
		_, err := config.Load[sample](prefix, environ(t, name+"=info"))
		if err != nil {
			t.Errorf("%s is refused: %v", name, err)
		}
	}
}

// It shows SEC-70 of deploy/SECURITY.md.
func TestLoad_RefusesByNameOfTheVariable(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing")
	for name, tc := range map[string]struct {
		more []string
		want []string
	}{
		"unknown own":     {[]string{"DOORCODE_AUTH_LISTNE=x"}, []string{"DOORCODE_AUTH_LISTNE: no such setting"}},
		"unknown process": {[]string{"DOORCODE_AUHT_LISTEN=x"}, []string{"DOORCODE_AUHT_LISTEN: no process"}},
		"unknown shared":  {[]string{"DOORCODE_NATS_URLS=x"}, []string{"DOORCODE_NATS_URLS: no process"}},
		"bare prefix":     {[]string{"DOORCODE_AUTH=x"}, []string{"DOORCODE_AUTH: no process"}},
		"duration":        {[]string{"DOORCODE_AUTH_WAIT=soon"}, []string{"DOORCODE_AUTH_WAIT: the value cannot be used"}},
		"nested number":   {[]string{"DOORCODE_AUTH_DAY_LIMIT=ten"}, []string{"DOORCODE_AUTH_DAY_LIMIT: the value"}},
		"required empty":  {[]string{"DOORCODE_AUTH_ISSUER="}, []string{"DOORCODE_AUTH_ISSUER: required"}},
		"secret required": {[]string{"DOORCODE_AUTH_PASSWORD_FILE="}, []string{"DOORCODE_AUTH_PASSWORD_FILE: required"}},
		"no file": {
			[]string{"DOORCODE_AUTH_PASSWORD_FILE=" + missing},
			[]string{"DOORCODE_AUTH_PASSWORD_FILE: the file \"" + missing + "\" cannot be read"},
		},
		"empty file": {
			[]string{"DOORCODE_AUTH_PASSWORD_FILE=" + secretFile(t, " \n\t")},
			[]string{"DOORCODE_AUTH_PASSWORD_FILE: the file", "is empty"},
		},
		"empty optional": {
			[]string{"DOORCODE_AUTH_PEPPER_FILE=" + secretFile(t, "")},
			[]string{"DOORCODE_AUTH_PEPPER_FILE: the file", "is empty"},
		},
		"validate": {[]string{"DOORCODE_AUTH_DAY_LIMIT=101"}, []string{"DOORCODE_AUTH_DAY_LIMIT: above the ceiling"}},
		"all at once": {
			[]string{"DOORCODE_AUTH_Z=1", "DOORCODE_AUTH_A=1", "DOORCODE_AUTH_WAIT=x"},
			[]string{"DOORCODE_AUTH_A: ", "DOORCODE_AUTH_Z: ", "DOORCODE_AUTH_WAIT: "},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := config.Load[sample](prefix, environ(t, tc.more...))
			if err == nil {
				t.Fatal("not refused")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
			if got.Issuer != "" || !got.Password.IsZero() {
				t.Error("a refused configuration is not empty")
			}
		})
	}
}

// picky accepts no content and tells it in its error.
type picky struct{}

func (*picky) UnmarshalText(text []byte) error {
	return errors.New("bad content " + string(text))
}

// It shows SEC-70 of deploy/SECURITY.md.
func TestLoad_NeverTellsTheContentOfAFile(t *testing.T) {
	t.Parallel()
	type withPicky struct {
		Key picky `env:"DOORCODE_AUTH_KEY_FILE,file"`
	}
	path := secretFile(t, "hunter2")
	_, err := config.Load[withPicky](prefix, []string{"DOORCODE_AUTH_KEY_FILE=" + path})
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), path) {
		t.Errorf("unexpected error: %v", err)
	}
}

func TestLoad_RefusesSettingsThatBreakTheRules(t *testing.T) {
	t.Parallel()
	type misnamed struct {
		Key config.Secret `env:"DOORCODE_AUTH_KEY,file"`
	}
	type bare struct {
		Key string `env:"DOORCODE_AUTH_KEY_FILE,file"`
	}
	type foreign struct {
		Listen string `env:"DOORCODE_VERIFIER_LISTEN"`
	}
	type option struct {
		Listen string `env:"DOORCODE_AUTH_LISTEN,sometimes"`
	}
	for name, load := range map[string]func() error{
		"misnamed": func() error { _, err := config.Load[misnamed](prefix, nil); return err },
		"bare":     func() error { _, err := config.Load[struct{ Inner bare }](prefix, nil); return err },
		"foreign":  func() error { _, err := config.Load[foreign](prefix, nil); return err },
		"option": func() error {
			_, err := config.Load[option](prefix, []string{"DOORCODE_AUTH_LISTEN=x"})
			return err
		},
	} {
		err := load()
		if err == nil || !strings.Contains(err.Error(), "DOORCODE_") {
			t.Errorf("%s: unexpected error: %v", name, err)
		}
	}
}

func TestLoad_ReadsNothingFromTheProcess(t *testing.T) {
	t.Setenv("DOORCODE_AUTH_ISSUER", "https://elsewhere.example")
	_, err := config.Load[sample](prefix, nil)
	if err == nil || !strings.Contains(err.Error(), "DOORCODE_AUTH_ISSUER: required") {
		t.Errorf("unexpected error: %v", err)
	}
}

func TestDescribe_ListsSettingsInOrder(t *testing.T) {
	t.Parallel()
	want := []config.Setting{
		{Name: "DOORCODE_AUTH_LISTEN", Default: "127.0.0.1:8080", Help: "Address of the API."},
		{Name: "DOORCODE_AUTH_WAIT", Default: "30s", Help: "Time between two sends."},
		{Name: "DOORCODE_AUTH_ORIGINS", Help: "Origins of the login pages."},
		{Name: "DOORCODE_AUTH_ISSUER", Help: "Issuer of the assertions.", Required: true},
		{Name: "DOORCODE_LOG_LEVEL", Default: "info", Help: "How much is logged."},
		{Name: "DOORCODE_AUTH_PASSWORD_FILE", Help: "Password of the role.", Required: true, File: true},
		{Name: "DOORCODE_AUTH_PEPPER_FILE", Help: "An optional secret.", File: true},
		{Name: "DOORCODE_AUTH_DAY_LIMIT", Default: "20", Help: "Wrong codes of a login in a day."},
	}
	if diff := cmp.Diff(want, config.Describe[sample]()); diff != "" {
		t.Error(diff)
	}
}
