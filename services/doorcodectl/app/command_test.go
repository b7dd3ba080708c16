package app_test

import (
	"strings"
	"testing"
)

func TestRun_ListsTheCommandsWhateverTheEnvironment(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.env["DOORCODE_COLOUR"] = "blue"
	for _, args := range [][]string{{"-h"}, {"--help"}, {"-help"}, {"help"}, {"keys", "-h"}, {"streams", "-h"}, {"api-key", "create", "--help"}} {
		out := o.do(t, args...)
		for _, command := range []string{
			"keys", "migrate", "streams apply", "api-key create", "api-key remove", "front-end create",
			"dead-letters list", "dead-letters show", "dead-letters replay", "dead-letters discard", "advisories list",
			"channel pause", "channel resume", "channel show", "country stop", "country allow", "country list",
			"rollout wave", "rollout join", "rollout leave", "rollout pause", "rollout resume", "rollout exempt", "rollout end-exemption", "rollout show",
			"audit export",
		} {
			if !strings.Contains(out, "doorcodectl "+command) {
				t.Errorf("%v does not list %s", args, command)
			}
		}
	}
}

func TestRun_EndsWithTwoForWhatItDoesNotUnderstand(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	for _, args := range [][]string{
		{},
		{"help", "keys"},
		{"key"},
		{"streams"},
		{"streams", "plan"},
		{"api-key"},
		{"api-key", "list"},
		{"keys", "all"},
		{"keys", "-rotate"},
		{"keys", "-colour", "blue"},
		{"migrate", "up"},
		{"streams", "apply", "all"},
		{"streams", "apply", "-plan=maybe"},
		{"api-key", "create"},
		{"api-key", "create", "web", "app"},
		{"api-key", "remove"},
		{"api-key", "remove", "web", "app"},
		{"api-key", "create", "web", "-scopes", "everything"},
		{"api-key", "create", "web", "-scopes", ""},
		{"api-key", "create", "web", "-workspaces", "a/b"},
		{"api-key", "create", "web", "-workspaces", ""},
		{"api-key", "create", "web", "-workspaces", "acme,*"},
		{"front-end", "create"},
		{"front-end", "create", "a", "b"},
		{"dead-letters"},
		{"dead-letters", "list", "1"},
		{"dead-letters", "list", "-last", "-1"},
		{"dead-letters", "show", "first"},
		{"dead-letters", "replay", "0"},
		{"dead-letters", "replay", "-1"},
		{"dead-letters", "discard", "1"},
		{"dead-letters", "discard", "1", "-reason", " "},
		{"advisories", "list", "all"},
		{"channel", "pause", "pigeon"},
		{"channel", "pause", "sms", "-for", "0s"},
		{"channel", "pause", "sms", "-for", "soon"},
		{"channel", "resume"},
		{"country", "stop", "NL"},
		{"country", "stop", "nl", "-reason", "pumping"},
		{"country", "stop", "ZZ", "-reason", "pumping"},
		{"country", "allow", "NL", "-reason", ""},
		{"rollout"},
		{"rollout", "stop"},
		{"rollout", "show", "one"},
		{"audit"},
		{"audit", "export"},
		{"audit", "export", "-from", "2026-06-01"},
		{"audit", "export", "-operator", "anna"},
		{"audit", "export", "-operator", "anna@acme.example", "-from", "2026-06-01"},
		{"audit", "export", "-operator", "", "-from", "2026-06-01"},
		{"audit", "export", "-operator", "anna", "-from", "yesterday"},
		{"audit", "export", "-operator", "anna", "-from", "2026-06-01 08:00"},
		{"audit", "export", "-operator", "anna", "-from", "2026-06-02", "-to", "2026-06-02"},
		{"audit", "export", "-operator", "anna", "-from", "2026-06-01", "all"},
		{"audit", "export", "-operator", "anna", "-from", "2026-06-01", "-format", "xml"},
		{"audit", "export", "-operator", "anna", "-from", "2026-06-01", "-kind", "challenge"},
		{"audit", "export", "-operator", "anna", "-from", "2026-06-01", "-workspace", "a/b"},
		{"audit", "export", "-operator", "anna", "-from", "2026-06-01", "-challenge", ""},
	} {
		o.refused(t, 2, "doorcodectl -h", args...)
	}
}

func TestRun_NamesASettingThatNobodyKnows(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"DOORCODE_DOORCODECTL_COLOUR", "DOORCODE_COLOUR"} {
		o := newOperator(t)
		o.env[name] = "blue"
		o.refused(t, 1, name, "keys")
	}
}

func TestRun_NamesTheSettingThatACommandMisses(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.do(t, "keys")
	o.refused(t, 1, "DOORCODE_DATABASE_URL is not set", "migrate")
	o.refused(t, 1, "DOORCODE_DATABASE_URL is not set", "api-key", "create", "web")
	o.refused(t, 1, "DOORCODE_DATABASE_URL is not set", "api-key", "remove", "web")
	o.refused(t, 1, "DOORCODE_DOORCODECTL_NATS_KEY_FILE is not set", "streams", "apply")
	o.env["DOORCODE_DOORCODECTL_AUTH_PASSWORD_FILE"] = "/nowhere"
	o.refused(t, 1, "DOORCODE_DOORCODECTL_AUTH_PASSWORD_FILE", "migrate")
}

// It shows SEC-70 of deploy/SECURITY.md.
func TestP4_AnAddressIsNeverQuoted(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.do(t, "keys")
	o.secrets = append(o.secrets, "hunter2")
	for address, why := range map[string]string{
		"postgres://owner:hunter2@127.0.0.1/doorcode":          "holds a password",
		"postgres://owner@127.0.0.1/doorcode?password=hunter2": "holds a password",
		"host=127.0.0.1 password=hunter2":                      "is not an address",
		"postgres://owner:hunter2@127.0.0.1:port/doorcode":     "is not an address",
	} {
		o.env["DOORCODE_DATABASE_URL"] = address
		o.refused(t, 1, why, "migrate")
		o.refused(t, 1, why, "api-key", "remove", "web")
	}
	o.env["DOORCODE_DATABASE_URL"] = "postgres://owner@127.0.0.1:1/doorcode"
	o.env["DOORCODE_DOORCODECTL_DATABASE_PASSWORD_FILE"] = o.keep(t, "owner", "swordfish")
	o.refused(t, 1, "connect to database", "migrate")
	o.refused(t, 1, "connect to database", "api-key", "create", "web")
}
