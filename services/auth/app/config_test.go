package app_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"doorcode/pkg/challenge"
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

// bounds are the lowest and the highest value of a setting.
type bounds struct {
	low, high int64
	of        func(app.Config) int64
}

// limits are the settings that bound how often something may happen, with their hard ceilings (DESIGN 7), and those that
// say what a code is. Nothing but these may hold when auth starts.
func limits() map[string]bounds {
	return map[string]bounds{
		"WRONG_PER_CHALLENGE":          {1, 5, func(c app.Config) int64 { return int64(c.WrongPerChallenge) }},
		"WRONG_PER_HOUR":               {1, 10, func(c app.Config) int64 { return int64(c.WrongPerHour) }},
		"WRONG_PER_DAY":                {1, 20, func(c app.Config) int64 { return int64(c.WrongPerDay) }},
		"LOCK_AFTER":                   {1, 100, func(c app.Config) int64 { return int64(c.LockAfter) }},
		"SENDS_PER_CHALLENGE":          {1, 5, func(c app.Config) int64 { return int64(c.SendsPerChallenge) }},
		"LIVE_PER_LOGIN":               {1, 5, func(c app.Config) int64 { return int64(c.LivePerLogin) }},
		"SENDS_PER_ADDRESS_HOUR":       {1, 60, func(c app.Config) int64 { return int64(c.PerHour) }},
		"SENDS_PER_ADDRESS_DAY":        {1, 200, func(c app.Config) int64 { return int64(c.PerDay) }},
		"GROUP_SENDS_PER_ADDRESS_HOUR": {1, 200, func(c app.Config) int64 { return int64(c.GroupPerHour) }},
		"GROUP_SENDS_PER_ADDRESS_DAY":  {1, 600, func(c app.Config) int64 { return int64(c.GroupPerDay) }},
		"SENDS_PER_NUMBER_HOUR":        {1, 10, func(c app.Config) int64 { return int64(c.NumberPerHour) }},
		"SENDS_PER_NUMBER_DAY":         {1, 20, func(c app.Config) int64 { return int64(c.NumberPerDay) }},
		"SMS_DAILY_CAP":                {0, 5000, func(c app.Config) int64 { return int64(c.SMSDailyCap) }},
		"CREATES_PER_CLIENT_MINUTE":    {1, 600, func(c app.Config) int64 { return int64(c.CreatesPerClient) }},
		"CREATES_PER_SECOND":           {1, 100_000, func(c app.Config) int64 { return int64(c.CreatesPerSecond) }},
		"ROLLOUT_NOTICES_MINUTE":       {1, 100_000, func(c app.Config) int64 { return int64(c.RolloutNotices) }},
		"EVENT_STREAMS":                {1, 100_000, func(c app.Config) int64 { return int64(c.EventStreams) }},
		"NATS_WORKERS":                 {1, 1000, func(c app.Config) int64 { return int64(c.NATSWorkers) }},
		"CODE_DIGITS":                  {6, 10, func(c app.Config) int64 { return int64(c.CodeDigits) }},
		"CODE_LIFE":                    {180, 600, func(c app.Config) int64 { return int64(math.Ceil(c.CodeLife.Seconds())) }},
		"SMS_CODE_LIFE":                {180, 600, func(c app.Config) int64 { return int64(math.Ceil(c.SMSCodeLife.Seconds())) }},
	}
}

// unit is what follows the number of a setting.
func unit(name string) string {
	if strings.HasSuffix(name, "LIFE") {
		return "s"
	}
	return ""
}

// Each end of every bound is where DESIGN 7 has it, and a refusal names the setting. It shows SEC-02, SEC-03 and SEC-12 of
// deploy/SECURITY.md.
func TestSEC14_NoSettingSwitchesALimitOff(t *testing.T) {
	t.Parallel()
	for name, b := range limits() {
		for value, fine := range map[string]bool{
			fmt.Sprint(b.low-1) + unit(name): false, "-1" + unit(name): false, "many": false, fmt.Sprint(b.low) + unit(name): true,
			fmt.Sprint(b.high) + unit(name): true, fmt.Sprint(b.high+1) + unit(name): false,
		} {
			_, err := config.Load[app.Config]("DOORCODE_AUTH_", settings("DOORCODE_AUTH_"+name+"="+value))
			if (err == nil) != fine || (err != nil && !strings.Contains(err.Error(), "DOORCODE_AUTH_"+name)) {
				t.Errorf("%s=%s: %v", name, value, err)
			}
		}
	}
}

// anything draws what somebody may write for a number or a time: mostly near a bound, and sometimes what stands for
// `none` elsewhere.
func anything(b bounds, unit string) *rapid.Generator[string] {
	number := rapid.OneOf(
		rapid.Int64Range(b.low, b.high), rapid.Int64Range(b.low-2, b.high+2), rapid.SampledFrom([]int64{b.low, b.high}), rapid.Int64(),
	)
	return rapid.OneOf(
		rapid.Map(number, func(n int64) string { return fmt.Sprint(n) + unit }),
		rapid.Map(rapid.Int64Range(b.low, b.high), func(n int64) string { return fmt.Sprint(n) + unit }),
		rapid.SampledFrom([]string{
			"", " ", "0", "-0", "00", "+1", "1.5", "1e9", "0x10", "0b1", "1_000", "١", "∞", "NaN", "Inf", "off", "none", "null", "false",
			"unlimited", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "18446744073709551615", "2562047h", "0s", "10m", "1ns",
		}),
	)
}

// Whatever is set, auth refuses to start or starts with every limit between one and its ceiling, and then with a policy
// that every verifier takes.
func TestSEC14_AnySettingsRefuseOrKeepTheCeilings(t *testing.T) {
	t.Parallel()
	names := slices.Sorted(maps.Keys(limits()))
	rapid.Check(t, func(t *rapid.T) {
		var all []string
		for _, name := range names {
			setting := "DOORCODE_AUTH_" + name + "=" + anything(limits()[name], unit(name)).Draw(t, name)
			keepsCeilings(t, setting) // By itself, for most of them at once are refused.
			all = append(all, setting)
		}
		keepsCeilings(t, all...)
	})
}

// keepsCeilings fails when auth starts with these settings and a limit is not kept.
func keepsCeilings(t *rapid.T, set ...string) {
	cfg, err := config.Load[app.Config]("DOORCODE_AUTH_", settings(set...))
	if err != nil {
		return
	}
	for name, b := range limits() {
		if got := b.of(cfg); got < b.low || got > b.high {
			t.Fatalf("%v starts with %s of %d", set, name, got)
		}
	}
	policy := challenge.Policy{
		WrongPerChallenge: cfg.WrongPerChallenge, WrongPerHour: cfg.WrongPerHour, WrongPerDay: cfg.WrongPerDay,
		LockAfter: cfg.LockAfter, Sends: cfg.SendsPerChallenge,
	}
	if policy.Validate() != nil {
		t.Fatalf("%v starts with %+v", set, policy)
	}
}

// Every number among the settings has bounds above, or it is none that limits anything.
func TestSEC14_KnowsEveryNumberAmongTheSettings(t *testing.T) {
	t.Parallel()
	for _, s := range config.Describe[app.Config]() {
		name := strings.TrimPrefix(s.Name, "DOORCODE_AUTH_")
		_, bounded := limits()[name]
		if number := s.Default != "" && strings.Trim(s.Default, "0123456789ms") == ""; number != bounded {
			t.Errorf("%s has the default %q; bounded: %v", s.Name, s.Default, bounded)
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
