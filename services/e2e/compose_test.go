package e2e

import (
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/config"
	auth "doorcode/services/auth/app"
	console "doorcode/services/console/app"
	demo "doorcode/services/demo/app"
	ctl "doorcode/services/doorcodectl/app"
	email "doorcode/services/email-dispatcher/app"
	receipts "doorcode/services/receipts/app"
	sandbox "doorcode/services/sandbox/app"
	sms "doorcode/services/sms-dispatcher/app"
	verifier "doorcode/services/verifier/app"
)

// settingsOf lists the settings of each process that runs in a container.
func settingsOf() map[string][]config.Setting {
	return map[string][]config.Setting{
		"auth":             config.Describe[auth.Config](),
		"verifier":         config.Describe[verifier.Config](),
		"email-dispatcher": config.Describe[email.Config](),
		"sms-dispatcher":   config.Describe[sms.Config](),
		"receipts":         config.Describe[receipts.Config](),
		"console":          config.Describe[console.Config](),
		"sandbox":          config.Describe[sandbox.Config](),
		"demo":             config.Describe[demo.Config](),
		"doorcodectl":      config.Describe[ctl.Config](),
	}
}

func TestCompose_HasAContainerForEveryProcess(t *testing.T) {
	t.Parallel()
	file := compose(t)
	mains, err := filepath.Glob(filepath.Join(repository(t), "services", "*", "main.go"))
	if err != nil || len(mains) == 0 {
		t.Fatalf("no processes: %v", err)
	}
	for _, main := range mains {
		name := filepath.Base(filepath.Dir(main))
		// All in one; the jobs, which have names of their own; and what measures an installation and is no part of one.
		if name == "standalone" || name == "doorcodectl" || name == "bench" {
			continue
		}
		c, there := file.Services[name]
		if !there || c.service() != name || c.Image != "doorcode/"+name+":local" {
			t.Errorf("%s: container %v, service %q, image %q", name, there, c.service(), c.Image)
		}
	}
	for name, c := range file.Services {
		if c.service() == "" {
			continue
		}
		if c.Build.Context != "." || c.Build.Dockerfile != "deploy/Dockerfile" {
			t.Errorf("%s is built from %+v", name, c.Build)
		}
		if (len(c.Command) > 0) != c.job() {
			t.Errorf("%s: command %v", name, c.Command)
		}
	}
}

func TestCompose_EnvironmentIsWhatTheProcessesKnow(t *testing.T) {
	t.Parallel()
	known := settingsOf()
	for name, c := range compose(t).Services {
		if c.service() == "" {
			continue
		}
		settings := map[string]config.Setting{}
		for _, s := range known[c.service()] {
			settings[s.Name] = s
			if s.Required && c.Environment[s.Name] == "" {
				t.Errorf("%s: %s is required and missing", name, s.Name)
			}
		}
		for variable := range c.Environment {
			_, there := settings[variable]
			if !there {
				t.Errorf("%s: %s is no setting of %s", name, variable, c.service())
			}
		}
		_, onBus := settings["DOORCODE_NATS_URL"]
		if onBus && slices.Contains(c.Networks, "bus") && c.Environment["DOORCODE_NATS_CA_FILE"] == "" {
			t.Errorf("%s speaks to NATS in plain", name)
		}
	}
}

// It shows SEC-69 of deploy/SECURITY.md.
func TestCompose_EveryContainerIsConfined(t *testing.T) {
	t.Parallel()
	pinned := regexp.MustCompile(`^(nats:2\.\d+\.\d+|postgres:17\.\d+|prom/prometheus:v3\.\d+\.\d+$|grafana/grafana:\d+\.\d+\.\d+$|doorcode/[a-z-]+:local$)`)
	for name, c := range compose(t).Services {
		user, group, _ := strings.Cut(c.User, ":")
		if user == "" || user == "0" || user == "root" || group == "" || group == "0" {
			t.Errorf("%s runs as %q", name, c.User)
		}
		if !c.ReadOnly || !slices.Equal(c.CapDrop, []string{"ALL"}) || !slices.Contains(c.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s: read-only %v, without %v, %v", name, c.ReadOnly, c.CapDrop, c.SecurityOpt)
		}
		if !pinned.MatchString(c.Image) {
			t.Errorf("%s: the image %s is not pinned", name, c.Image)
		}
		want, grace := "unless-stopped", "30s"
		if c.job() {
			want, grace = "no", ""
		}
		if c.Restart != want || c.StopGracePeriod != grace {
			t.Errorf("%s: restart %q, grace %q", name, c.Restart, c.StopGracePeriod)
		}
	}
}

func TestCompose_JobsRunInTheirOrder(t *testing.T) {
	t.Parallel()
	file := compose(t)
	for _, pair := range [][2]string{
		{"certificates", "keys"},
		{"hand-out", "certificates"},
		{"nats", "hand-out"},
		{"postgres", "hand-out"},
		{"migrate", "postgres"},
		{"streams", "migrate"}, // the database numbers the streams
		{"streams", "nats"},
		{"api-key", "migrate"},
		{"demo", "api-key"},
		{"console-key", "migrate"},
		{"console", "console-key"},
		{"support-key", "migrate"},
		{"console", "support-key"},
		{"auth", "streams"},
		{"verifier", "streams"},
		{"email-dispatcher", "streams"},
		{"sms-dispatcher", "streams"},
		{"receipts", "streams"},
	} {
		if !file.waitsFor(pair[0], pair[1]) {
			t.Errorf("%s does not wait for %s", pair[0], pair[1])
		}
	}
	file.order(t) // nothing waits for itself
	for name, c := range file.Services {
		for other, how := range c.DependsOn {
			there := file.Services[other]
			good := how.Condition == "service_started" && there.service() != "" && !there.job()
			switch {
			case there.job():
				good = how.Condition == "service_completed_successfully"
			case there.Healthcheck != nil:
				good = how.Condition == "service_healthy"
			}
			if !good {
				t.Errorf("%s waits for %s by %s", name, other, how.Condition)
			}
		}
	}
}

// It shows SEC-70 of deploy/SECURITY.md.
func TestCompose_NoSecretStandsInTheFile(t *testing.T) {
	t.Parallel()
	file := compose(t)
	for name, c := range file.Services {
		for variable, value := range c.Environment {
			if regexp.MustCompile(`PASSWORD|SECRET|_KEYS?$`).MatchString(variable) && !strings.HasSuffix(variable, "_FILE") {
				t.Errorf("%s: %s is in the environment", name, variable)
			}
			if strings.HasSuffix(variable, "_FILE") && !strings.HasPrefix(value, "/doorcode/") && !strings.HasPrefix(value, "/run/secrets/") {
				t.Errorf("%s: %s is %s", name, variable, value)
			}
			u, err := url.Parse(value)
			if err != nil || u.User == nil {
				continue
			}
			_, found := u.User.Password()
			if found {
				t.Errorf("%s: %s holds a password", name, variable)
			}
		}
	}
	for name, from := range mapsOf(file.Configs, file.Secrets) {
		if !strings.HasPrefix(from, "./deploy/") {
			t.Errorf("%s comes from %s", name, from)
		}
		_, err := os.Stat(filepath.Join(repository(t), from))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// mapsOf returns the files of configurations and secrets by their names.
func mapsOf(all ...map[string]struct{ File string }) map[string]string {
	files := map[string]string{}
	for _, some := range all {
		for name, one := range some {
			files[name] = one.File
		}
	}
	return files
}

// It shows SEC-70 of deploy/SECURITY.md.
func TestP10_ComposeShowsEachVolumeToItsProcessAlone(t *testing.T) {
	t.Parallel()
	file := compose(t)
	users := map[string][]string{}
	for name, c := range file.Services {
		for _, m := range c.mounts(t) {
			_, declared := file.Volumes[m.volume]
			if !declared {
				t.Errorf("%s mounts %s, which is no volume", name, m.volume)
			}
			how := name
			if !m.readOnly {
				how += " rw"
			}
			users[m.volume] = append(users[m.volume], how)
		}
	}
	for _, names := range users {
		slices.Sort(names)
	}
	if diff := cmp.Diff(map[string][]string{
		"operator":         {"certificates rw", "hand-out rw", "keys rw"},
		"doorcodectl":      {"api-key", "console-key", "hand-out rw", "migrate", "streams", "support-key"},
		"demo":             {"api-key rw", "demo", "hand-out rw"},
		"auth":             {"auth", "hand-out rw"},
		"verifier":         {"hand-out rw", "verifier"},
		"email-dispatcher": {"email-dispatcher", "hand-out rw"},
		"sms-dispatcher":   {"hand-out rw", "sms-dispatcher"},
		"receipts":         {"hand-out rw", "receipts"},
		"console":          {"console", "console-key rw", "hand-out rw", "support-key rw"},
		"nats":             {"hand-out rw", "nats"},
		"postgres":         {"hand-out rw", "postgres"},
		"nats-data":        {"hand-out rw", "nats rw"},
		"postgres-data":    {"postgres rw"},
		"prometheus-data":  {"prometheus rw"},
	}, users); diff != "" {
		t.Errorf("who sees which volume (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(users)), slices.Sorted(maps.Keys(file.Volumes))); diff != "" {
		t.Errorf("volumes that nobody mounts (-mounted +declared):\n%s", diff)
	}
}

func TestCompose_OnlyWhatPeopleUseCanBeReached(t *testing.T) {
	t.Parallel()
	file := compose(t)
	published := map[string][]string{}
	for name, c := range file.Services {
		if len(c.Ports) > 0 {
			published[name] = c.Ports
		}
		open := slices.ContainsFunc(c.Networks, func(n string) bool { return !file.Networks[n].Internal })
		// Grafana is what people look at; it sees Prometheus and the operations addresses, and no bus, database or volume.
		if (c.service() == "" && name != "grafana" || c.job()) && open {
			t.Errorf("%s can be reached, or reaches out", name)
		}
		watched := c.service() != "" && !c.job() || len(c.Profiles) > 0
		if slices.Contains(c.Networks, "operations") != watched {
			t.Errorf("%s: networks %v", name, c.Networks)
		}
		if len(c.Profiles) > 0 && slices.ContainsFunc(c.Networks, func(n string) bool { return n != "operations" && n != "watch" }) {
			t.Errorf("%s watches from the networks %v", name, c.Networks)
		}
		if (c.NetworkMode == "none") == (len(c.Networks) > 0) {
			t.Errorf("%s: networks %v, mode %q", name, c.Networks, c.NetworkMode)
		}
		for _, n := range c.Networks {
			_, declared := file.Networks[n]
			if !declared {
				t.Errorf("%s is on %s, which is no network", name, n)
			}
		}
		_, onDatabase := c.Environment["DOORCODE_DATABASE_URL"]
		if slices.Contains(c.Networks, "database") != (onDatabase || name == "postgres") {
			t.Errorf("%s: networks %v", name, c.Networks)
		}
	}
	// A port of its own is also what a container that is to run four times may not have.
	if diff := cmp.Diff(map[string][]string{
		"auth": {"127.0.0.1:8080:8080"}, "receipts": {"127.0.0.1:8081:8081"}, "console": {"127.0.0.1:8082:8082"},
		"sandbox": {"127.0.0.1:8025:8025"}, "demo": {"127.0.0.1:8090:8090"},
		"grafana": {"127.0.0.1:3000:3000"},
	}, published); diff != "" {
		t.Errorf("published (-want +got):\n%s", diff)
	}
}
