package app_test

import (
	"crypto/rand"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"doorcode/pkg/config"
	"doorcode/pkg/telemetry"
	"doorcode/services/auth/app"
)

// settings is an environment in which every required name is set.
func settings(more ...string) []string {
	env := []string{"DOORCODE_DATABASE_URL=postgres://127.0.0.1/doorcode"}
	for _, name := range []string{"NATS", "TAG", "DIGEST", "HANDLE", "ADDRESS", "ROW", "API_KEY", "IDEMPOTENCY", "EMAIL_CHANNEL"} {
		env = append(env, "DOORCODE_AUTH_"+name+"_KEY_FILE=/nowhere/"+name)
	}
	return append(append(env, "DOORCODE_AUTH_JWKS_FILE=/nowhere/jwks"), more...)
}

// ceilings are the limits with their hard ceilings.
func ceilings() map[string]int64 {
	return map[string]int64{
		"WRONG_PER_CHALLENGE": 5, "WRONG_PER_HOUR": 10, "WRONG_PER_DAY": 20, "LOCK_AFTER": 100, "SENDS_PER_CHALLENGE": 5,
		"LIVE_PER_LOGIN": 5, "SENDS_PER_ADDRESS_HOUR": 60, "SENDS_PER_ADDRESS_DAY": 200, "GROUP_SENDS_PER_ADDRESS_HOUR": 200,
		"GROUP_SENDS_PER_ADDRESS_DAY": 600, "SENDS_PER_NUMBER_HOUR": 10, "SENDS_PER_NUMBER_DAY": 20, "CREATES_PER_CLIENT_MINUTE": 600, "CREATES_PER_SECOND": 100_000, "EVENT_STREAMS": 100_000,
	}
}

// It shows SEC-12 of deploy/SECURITY.md.
func TestSEC14_NoSettingSwitchesALimitOff(t *testing.T) {
	t.Parallel()
	for name, ceiling := range ceilings() {
		for value, fine := range map[string]bool{
			"0": false, "-1": false, "many": false, "1": true, fmt.Sprint(ceiling): true, fmt.Sprint(ceiling + 1): false,
		} {
			_, err := config.Load[app.Config]("DOORCODE_AUTH_", settings("DOORCODE_AUTH_"+name+"="+value))
			if (err == nil) != fine || (err != nil && !strings.Contains(err.Error(), "DOORCODE_AUTH_"+name)) {
				t.Errorf("%s=%s: %v", name, value, err)
			}
		}
	}
}

func TestSEC14_AnySettingsRefuseOrKeepTheCeilings(t *testing.T) {
	t.Parallel()
	for range 200 {
		env := settings()
		inside := true
		for name, ceiling := range ceilings() {
			n, err := rand.Int(rand.Reader, big.NewInt(ceiling+3))
			if err != nil {
				t.Fatal(err)
			}
			value := n.Int64()
			inside = inside && value >= 1 && value <= ceiling
			env = append(env, fmt.Sprintf("DOORCODE_AUTH_%s=%d", name, value))
		}
		_, err := config.Load[app.Config]("DOORCODE_AUTH_", env)
		if (err == nil) != inside {
			t.Errorf("%v: %v", env, err)
		}
	}
}

// It shows SEC-02 of deploy/SECURITY.md.
func TestSEC03_BoundsTheLifeAndLengthOfACode(t *testing.T) {
	t.Parallel()
	for setting, fine := range map[string]bool{
		"CODE_LIFE=10m": true, "CODE_LIFE=601s": false, "CODE_LIFE=3m": true, "CODE_LIFE=179s": false, "CODE_LIFE=-5m": false,
		"SMS_CODE_LIFE=5m": true, "SMS_CODE_LIFE=601s": false, "SMS_CODE_LIFE=179s": false,
		"CODE_DIGITS=6": true, "CODE_DIGITS=5": false, "CODE_DIGITS=10": true, "CODE_DIGITS=11": false,
	} {
		_, err := config.Load[app.Config]("DOORCODE_AUTH_", settings("DOORCODE_AUTH_"+setting))
		if (err == nil) != fine {
			t.Errorf("%s: %v", setting, err)
		}
	}
}

// DESIGN 7: text messages need countries, a cap and a key ring, or auth does not start.
// It shows SEC-41, SEC-65 and SEC-66 of deploy/SECURITY.md.
func TestConfig_AllowsTextMessagesWithCountriesAndACap(t *testing.T) {
	t.Parallel()
	const key = "SMS_CHANNEL_KEY_FILE=/nowhere/SMS"
	for _, c := range []struct {
		settings []string
		named    string // in the refusal; empty: none
	}{
		{nil, ""},
		{[]string{"SMS_DAILY_CAP=200"}, ""},
		{[]string{"SMS_COUNTRIES=US,NL", "SMS_DAILY_CAP=200", key}, ""},
		{[]string{"SMS_COUNTRIES=US", "SMS_DAILY_CAP=5000", key}, ""},
		{[]string{"SMS_COUNTRIES=US", key}, "SMS_DAILY_CAP"},
		{[]string{"SMS_COUNTRIES=US", "SMS_DAILY_CAP=0", key}, "SMS_DAILY_CAP"},
		{[]string{"SMS_COUNTRIES=US", "SMS_DAILY_CAP=5001", key}, "SMS_DAILY_CAP"},
		{[]string{"SMS_DAILY_CAP=-1"}, "SMS_DAILY_CAP"},
		{[]string{"SMS_COUNTRIES=US", "SMS_DAILY_CAP=200"}, "SMS_CHANNEL_KEY_FILE"},
		{[]string{"SMS_COUNTRIES=US,UK", "SMS_DAILY_CAP=200", key}, "SMS_COUNTRIES"},
		{[]string{"SMS_COUNTRIES=1", "SMS_DAILY_CAP=200", key}, "SMS_COUNTRIES"},
	} {
		env := settings()
		for _, s := range c.settings {
			env = append(env, "DOORCODE_AUTH_"+s)
		}
		_, err := config.Load[app.Config]("DOORCODE_AUTH_", env)
		if (err == nil) != (c.named == "") || (err != nil && !strings.Contains(err.Error(), "DOORCODE_AUTH_"+c.named)) {
			t.Errorf("%v: %v", c.settings, err)
		}
	}
}

func TestNew_NamesEveryKeyFileThatIsMissing(t *testing.T) {
	t.Parallel()
	cfg, err := config.Load[app.Config]("DOORCODE_AUTH_", settings())
	if err != nil {
		t.Fatal(err)
	}
	tel, err := telemetry.New("auth", "info", &lines{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = app.New(cfg, tel)
	if err == nil {
		t.Fatal("it is made without keys")
	}
	for _, name := range []string{"TAG", "DIGEST", "HANDLE", "ADDRESS", "ROW", "API_KEY", "IDEMPOTENCY", "EMAIL_CHANNEL", "jwks"} {
		if !strings.Contains(err.Error(), "/nowhere/"+name) {
			t.Errorf("%s is not named in %v", name, err)
		}
	}
}

func TestNew_ServesNoPrivateKey(t *testing.T) {
	t.Parallel()
	for _, set := range []string{
		`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA","d":"BB"}]}`, `{"keys":[{"kty":"oct","k":"AA"}]}`, `{"keys":[]}`, `[]`, `x`,
	} {
		h := &harness{dir: t.TempDir()}
		h.write(t, "set", []byte(set))
		cfg, err := config.Load[app.Config]("DOORCODE_AUTH_", settings())
		if err != nil {
			t.Fatal(err)
		}
		cfg.JWKSFile = h.dir + "/set"
		tel, err := telemetry.New("auth", "info", &lines{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = app.New(cfg, tel)
		if err == nil || !strings.Contains(err.Error(), "key set "+cfg.JWKSFile) || strings.Contains(err.Error(), "BB") {
			t.Errorf("%s: %v", set, err)
		}
	}
}
