package e2e

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// composeFile is docker-compose.yml as far as doorcode uses it. A field that is not here is refused: whoever needs it
// says here what it is for.
type composeFile struct {
	Name     string
	Services map[string]container
	Networks map[string]struct{ Internal bool }
	Volumes  map[string]struct{}
	Configs  map[string]struct{ File string }
	Secrets  map[string]struct{ File string }
}

// container is one service of the file.
type container struct {
	Image string
	Build struct {
		Context, Dockerfile string
		Args                map[string]string
	}
	User            string
	ReadOnly        bool     `yaml:"read_only"`
	CapDrop         []string `yaml:"cap_drop"`
	SecurityOpt     []string `yaml:"security_opt"`
	Restart         string
	StopGracePeriod string `yaml:"stop_grace_period"`
	Command         []string
	Environment     map[string]string
	Volumes         []string
	Tmpfs           []string
	Configs         []struct{ Source, Target string }
	Secrets         []string
	Networks        []string
	NetworkMode     string   `yaml:"network_mode"`
	Profiles        []string // a container with one runs only when it is asked for
	Ports           []string
	Healthcheck     *struct {
		Test              []string
		Interval, Timeout string
		Retries           int
	}
	DependsOn map[string]struct{ Condition string } `yaml:"depends_on"`
}

// compose reads the file.
func compose(t testing.TB) composeFile {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(repository(t), "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var top map[string]any
	err = yaml.Load(data, &top)
	if err != nil {
		t.Fatal(err)
	}
	// What begins with x- is there to be referred to, and has been by now.
	maps.DeleteFunc(top, func(name string, _ any) bool { return strings.HasPrefix(name, "x-") })
	data, err = yaml.Dump(top)
	if err != nil {
		t.Fatal(err)
	}
	var file composeFile
	err = yaml.Load(data, &file, yaml.WithKnownFields())
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// service is the process that a container runs; empty for an image of others.
func (c container) service() string { return c.Build.Args["SERVICE"] }

// job reports whether a container ends by itself.
func (c container) job() bool { return c.service() == "doorcodectl" }

// mount is a volume at its place in a container.
type mount struct {
	volume, path string
	readOnly     bool
}

// mounts lists the volumes of a container.
func (c container) mounts(t testing.TB) []mount {
	t.Helper()
	var all []mount
	for _, text := range c.Volumes {
		parts := strings.Split(text, ":")
		if len(parts) < 2 || len(parts) > 3 || len(parts) == 3 && parts[2] != "ro" {
			t.Fatalf("not a mount of a volume: %s", text)
		}
		all = append(all, mount{volume: parts[0], path: parts[1], readOnly: len(parts) == 3})
	}
	return all
}

// order lists the containers so that each comes after those that it waits for.
func (f composeFile) order(t testing.TB) []string {
	t.Helper()
	var order []string
	state := map[string]string{}
	var visit func(name string)
	visit = func(name string) {
		c, there := f.Services[name]
		switch {
		case !there:
			t.Fatalf("something waits for %s, which there is not", name)
		case state[name] == "done":
			return
		case state[name] == "open":
			t.Fatalf("%s waits for itself", name)
		}
		state[name] = "open"
		for _, other := range slices.Sorted(maps.Keys(c.DependsOn)) {
			visit(other)
		}
		state[name] = "done"
		order = append(order, name)
	}
	for _, name := range slices.Sorted(maps.Keys(f.Services)) {
		visit(name)
	}
	return order
}

// waitsFor reports whether a container starts after another one, directly or not, and after it is there in earnest:
// a job has ended well, a server is healthy.
func (f composeFile) waitsFor(name, other string) bool {
	for direct, how := range f.Services[name].DependsOn {
		if how.Condition == "service_started" {
			continue
		}
		if direct == other || f.waitsFor(direct, other) {
			return true
		}
	}
	return false
}
