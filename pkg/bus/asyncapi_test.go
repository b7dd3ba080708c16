package bus_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"go.yaml.in/yaml/v4"

	"doorcode/pkg/bus"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
	"doorcode/schemas"
)

// asyncAPI is schemas/asyncapi.yaml as far as subjects go.
type asyncAPI struct {
	Channels   map[string]asyncChannel
	Operations map[string]struct {
		Channel    ref
		Messages   []ref
		Parameters map[string]string `yaml:"x-parameters"`
		SentBy     []string          `yaml:"x-sent-by"`
		HeardBy    []string          `yaml:"x-heard-by"`
		Consumers  []string          `yaml:"x-consumers"`
	}
	Components struct {
		Parameters map[string]struct{ Enum []string }
		Messages   map[string]struct {
			Name       string
			Parameters map[string]string `yaml:"x-parameters"`
			Payload    any
		}
		Schemas map[string]struct {
			Required   []string
			Properties map[string]any
		}
	}
}

// asyncChannel is one family of subjects.
type asyncChannel struct {
	Address    string
	Stream     string `yaml:"x-stream"`
	Parameters map[string]struct {
		Ref  string `yaml:"$ref"`
		Enum []string
	}
	Messages map[string]ref
}

// ref is a reference inside the document or to a file beside it.
type ref struct {
	Ref string `yaml:"$ref"`
}

// name is the last part of a reference.
func (r ref) name() string { return path.Base(r.Ref) }

// set is a set of subjects or names.
type set = map[string]bool

func setOf(names ...string) set {
	s := set{}
	for _, name := range names {
		s[name] = true
	}
	return s
}

func document(t *testing.T) asyncAPI {
	t.Helper()
	var d asyncAPI
	err := yaml.Unmarshal(schemas.AsyncAPI, &d)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// subjects returns every subject of a channel whose parameters have the fixed values.
func (d asyncAPI) subjects(t *testing.T, channel string, fixed ...map[string]string) set {
	t.Helper()
	c, found := d.Channels[channel]
	if !found {
		t.Fatalf("no channel %q", channel)
	}
	subjects := setOf(c.Address)
	for name, parameter := range c.Parameters {
		values := parameter.Enum
		if parameter.Ref != "" {
			values = d.Components.Parameters[path.Base(parameter.Ref)].Enum
		}
		for _, f := range fixed {
			if value, bound := f[name]; bound {
				if !slices.Contains(values, value) {
					t.Errorf("%s: %s is no %s of it", channel, value, name)
				}
				values = []string{value}
			}
		}
		expanded := set{}
		for subject := range subjects {
			for _, value := range values {
				expanded[strings.ReplaceAll(subject, "{"+name+"}", value)] = true
			}
		}
		subjects = expanded
	}
	delete(subjects, "") // The inbox of an answer is known at run time alone.
	return subjects
}

// all returns every documented subject.
func (d asyncAPI) all(t *testing.T) set {
	t.Helper()
	subjects := set{}
	for name := range d.Channels {
		maps.Copy(subjects, d.subjects(t, name))
	}
	return subjects
}

// matching returns those of the subjects that a NATS pattern covers.
func matching(subjects set, pattern string) set {
	found := set{}
	for subject := range subjects {
		if server.SubjectsCollide(subject, pattern) {
			found[subject] = true
		}
	}
	return found
}

// differ fails the test unless both sides are equal.
func differ(t *testing.T, what string, running, documented any) {
	t.Helper()
	if diff := cmp.Diff(running, documented); diff != "" {
		t.Errorf("%s (-running +documented):\n%s", what, diff)
	}
}

func TestAsyncAPI_EveryEventTypeHasItsSubjectsAndSchema(t *testing.T) {
	t.Parallel()
	d := document(t)
	running, documented := map[string]set{}, map[string]set{}
	for _, typ := range event.Types() {
		running[string(typ)] = set{}
		for _, channel := range delivery.Channels() {
			subject, err := event.SubjectOf(typ, string(channel))
			if err != nil {
				t.Fatal(err)
			}
			running[string(typ)][subject] = true
		}
	}
	for name, channel := range d.Channels {
		for _, message := range channel.Messages {
			m := d.Components.Messages[message.name()]
			payload, _ := m.Payload.(map[string]any)
			schema, _ := payload["$ref"].(string)
			if !strings.HasPrefix(schema, "./events/") {
				continue
			}
			if schema != "./events/"+m.Name+".json" {
				t.Errorf("%s has the schema %s", m.Name, schema)
			}
			documented[m.Name] = d.subjects(t, name, m.Parameters)
		}
	}
	differ(t, "event types", running, documented)
}

// The constants of package event that are subjects are the verbs and the hint.
func TestAsyncAPI_EverySubjectOfCoreNATSIsDocumented(t *testing.T) {
	t.Parallel()
	running := set{}
	file, err := parser.ParseFile(token.NewFileSet(), "../event/verifier.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range literals(t, file) {
		if strings.HasPrefix(text, "doorcode.") {
			running[text] = true
		}
	}
	all := document(t).all(t)
	documented := matching(all, "doorcode.verifier.*")
	maps.Copy(documented, matching(all, "doorcode.changed"))
	differ(t, "verbs and hints", running, documented)
}

// The verbs of the challenge API are those that its service is made of.
// It shows SEC-54 of deploy/SECURITY.md.
func TestAsyncAPI_EveryVerbOfTheChallengeAPIIsDocumented(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "../../services/auth/internal/natsapi/natsapi.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	running := set{}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if name, ok := call.Fun.(*ast.Ident); !ok || name.Name != "endpoint" {
			return true
		}
		for _, argument := range call.Args {
			if verb, ok := argument.(*ast.BasicLit); ok {
				running["doorcode.api.challenges."+strings.Trim(verb.Value, `"`)] = true
			}
		}
		return true
	})
	differ(t, "verbs of the challenge API", running, matching(document(t).all(t), "doorcode.api.challenges.*"))
}

func TestAsyncAPI_EveryStreamKeepsWhatItSays(t *testing.T) {
	t.Parallel()
	d := document(t)
	running, documented := map[string]set{}, map[string]set{}
	for name, channel := range d.Channels {
		if channel.Stream != "" {
			if documented[channel.Stream] == nil {
				documented[channel.Stream] = set{}
			}
			maps.Copy(documented[channel.Stream], d.subjects(t, name))
		}
	}
	for _, stream := range bus.Streams() {
		if stream.Name == bus.Advisories { // The server's own words, not ours.
			continue
		}
		running[stream.Name] = set{}
		for _, pattern := range stream.Subjects {
			found := matching(d.all(t), pattern)
			if len(found) == 0 {
				t.Errorf("%s of %s is not documented", pattern, stream.Name)
			}
			maps.Copy(running[stream.Name], found)
		}
	}
	differ(t, "streams", running, documented)
}

func TestAsyncAPI_EveryConsumerIsHandedWhatItSays(t *testing.T) {
	t.Parallel()
	d := document(t)
	running, documented := map[string]set{}, map[string]set{}
	for _, stream := range bus.Streams() {
		for _, consumer := range stream.Consumers {
			if running[consumer.Durable] == nil {
				running[consumer.Durable] = set{}
			}
			patterns := stream.Subjects
			if len(consumer.Filters) > 0 {
				patterns = consumer.Filters
			}
			for _, pattern := range patterns {
				maps.Copy(running[consumer.Durable], matching(d.all(t), pattern))
			}
		}
	}
	for _, operation := range d.Operations {
		for _, consumer := range operation.Consumers {
			if documented[consumer] == nil {
				documented[consumer] = set{}
			}
			maps.Copy(documented[consumer], d.subjects(t, operation.Channel.name(), operation.Parameters))
		}
	}
	differ(t, "consumers", running, documented)
}

// What each user of nats.conf may say and hear is what the document says of it; a grant that reaches no documented
// subject is a fault as well.
// It shows SEC-54 of deploy/SECURITY.md.
func TestAsyncAPI_EveryGrantIsDocumented(t *testing.T) {
	t.Parallel()
	d := document(t)
	sent, heard := map[string]set{}, map[string]set{}
	for _, user := range bus.UserNames() {
		sent[user], heard[user] = set{}, set{}
	}
	for id, operation := range d.Operations {
		subjects := d.subjects(t, operation.Channel.name(), operation.Parameters)
		for side, users := range map[*map[string]set][]string{&sent: operation.SentBy, &heard: operation.HeardBy} {
			for _, user := range users {
				if (*side)[user] == nil {
					t.Fatalf("operation %s: there is no user %s", id, user)
				}
				maps.Copy((*side)[user], subjects)
			}
		}
	}
	said := set{}
	for user, permissions := range granted(t) {
		publishes := reached(t, d, permissions.Publish)
		differ(t, user+" publishes", publishes, sent[user])
		differ(t, user+" subscribes", reached(t, d, permissions.Subscribe), heard[user])
		maps.Copy(said, publishes)
	}
	differ(t, "subjects that somebody may publish", said, d.all(t))
}

// A subject on which no message goes is one too many.
func TestAsyncAPI_EverySubjectCarriesAMessage(t *testing.T) {
	t.Parallel()
	d := document(t)
	for name, channel := range d.Channels {
		carried := set{}
		for _, message := range channel.Messages {
			maps.Copy(carried, d.subjects(t, name, d.Components.Messages[message.name()].Parameters))
		}
		differ(t, "subjects of "+name+" with a message", carried, d.subjects(t, name))
	}
}

// granted returns what nats.conf allows to each user, as the server reads it.
func granted(t *testing.T) map[string]*server.Permissions {
	t.Helper()
	dir := t.TempDir()
	_, err := bus.WriteKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	options, err := server.ProcessConfigFile(filepath.Join(dir, "nats.conf"))
	if err != nil {
		t.Fatal(err)
	}
	users := map[string]*server.Permissions{}
	for _, user := range options.Nkeys {
		name := strings.ToLower(strings.ReplaceAll(user.Account.Name, "_", "-"))
		switch name {
		case "doorcode": // It has the operator's two, of whom one may not publish.
			name = "doorcodectl"
			if len(user.Permissions.Publish.Allow) == 0 {
				name = "auditor"
			}
		case "front-end-example":
			name = "front-end"
		}
		users[name] = user.Permissions
	}
	if names := slices.Sorted(maps.Keys(users)); !slices.Equal(names, slices.Sorted(slices.Values(bus.UserNames()))) {
		t.Fatalf("the users of nats.conf are %q", names)
	}
	return users
}

// reached returns the documented subjects that a user's grants reach. The server's own subjects, which begin with a
// dollar sign, inboxes and the API of JetStream are no channels of ours.
func reached(t *testing.T, d asyncAPI, p *server.SubjectPermission) set {
	t.Helper()
	subjects := set{}
	for _, grant := range p.Allow {
		if !strings.HasPrefix(grant, "doorcode.") || strings.HasPrefix(grant, "doorcode.jetstream.") {
			continue
		}
		found := matching(d.all(t), grant)
		if len(found) == 0 {
			t.Errorf("the grant of %s is not documented", grant)
		}
		maps.Copy(subjects, found)
	}
	return subjects
}

// No process speaks on a subject that the document does not have: whatever stands in the code as a subject is looked up.
// It shows SEC-13 and SEC-54 of deploy/SECURITY.md.
func TestAsyncAPI_KnowsEverySubjectInTheCode(t *testing.T) {
	t.Parallel()
	known := document(t).all(t)
	subject := regexp.MustCompile(`^doorcode\.(challenge|delivery|receipt|outcome|directory|seal|dlq|verifier|api|changed)(\.[a-z_*{}>]*)*$`)
	for _, root := range []string{"../../pkg", "../../services"} {
		err := filepath.WalkDir(root, func(name string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			if err != nil {
				return err
			}
			for _, text := range literals(t, file) {
				if !subject.MatchString(text) {
					continue
				}
				begins := func(s string) bool { return strings.HasSuffix(text, ".") && strings.HasPrefix(s, text) }
				if len(matching(known, text)) == 0 && !slices.ContainsFunc(slices.Collect(maps.Keys(known)), begins) {
					t.Errorf("%s: %s is not documented", name, text)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// literals returns the string literals of a file.
func literals(t *testing.T, file *ast.File) []string {
	t.Helper()
	var texts []string
	ast.Inspect(file, func(n ast.Node) bool {
		if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			text, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Error(err)
			}
			texts = append(texts, text)
		}
		return true
	})
	return texts
}
