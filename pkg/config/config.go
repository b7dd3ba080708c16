// Package config decodes a process's settings from its environment, strictly.
//
// Settings are struct fields that carry the full name of their variable:
//
//	Listen   string        `env:"DOORCODE_AUTH_LISTEN" envDefault:"127.0.0.1:8080" help:"Address of the API."`
//	Password config.Secret `env:"DOORCODE_AUTH_DATABASE_PASSWORD_FILE,file,required" help:"Password of the role."`
//
// A misspelled name stops the start instead of being ignored: every name under the process's own prefix and every
// DOORCODE_ name under no process's prefix must be known. Secrets are read from files alone, so that they show in no
// process list and no container description. No error carries the value of a secret.
package config

import (
	"encoding"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"

	"github.com/caarlos0/env/v11"
)

// product begins every variable that is ours.
const product = "DOORCODE_"

// processes returns the names of all processes, as they stand after DOORCODE_ in the variables of each. A variable of
// another process is none of our business: all of them may share one environment file.
func processes() []string {
	return []string{
		"AUTH", "EMAIL_DISPATCHER", "SMS_DISPATCHER", "VERIFIER", "RECEIPTS", "CONSOLE", "SANDBOX", "DEMO", "STANDALONE", "DOORCODECTL",
	}
}

// shared returns the settings that belong to no single process. They are known to every process, also to one that has
// no use for them.
func shared() []string {
	return []string{"DOORCODE_LOG_LEVEL", "DOORCODE_OTLP_ENDPOINT", "DOORCODE_NATS_URL", "DOORCODE_NATS_CA_FILE", "DOORCODE_DATABASE_URL"}
}

// validator is what a configuration implements that has rules across its settings.
type validator interface{ Validate() error }

// Load decodes environ ("NAME=value" each, the last of equal names counts) into a T, for the process whose variables
// begin with prefix, e.g. "DOORCODE_AUTH_". If T has a method Validate, it judges the result.
//
// The error joins everything that is wrong, one line for each variable, with its name. A variable that is set to
// nothing counts as not set.
func Load[T any](prefix string, environ []string) (T, error) {
	var cfg, none T
	leaves, err := leavesOf(reflect.ValueOf(&cfg).Elem())
	if err != nil {
		return none, fmt.Errorf("configuration: %w", err)
	}
	values := env.ToMap(environ)
	problems := unknown(prefix, values, leaves)
	for _, l := range leaves {
		if !strings.HasPrefix(l.Name, prefix) && !slices.Contains(shared(), l.Name) {
			problems = append(problems, fmt.Errorf("%s: the setting is neither shared nor under %s", l.Name, prefix))
			continue
		}
		err := l.set(values)
		if err != nil {
			problems = append(problems, err)
		}
	}
	if len(problems) > 0 {
		return none, errors.Join(problems...)
	}
	if v, ok := any(&cfg).(validator); ok {
		err := v.Validate()
		if err != nil {
			return none, fmt.Errorf("configuration: %w", err)
		}
	}
	return cfg, nil
}

// unknown names the variables that nobody would read, in alphabetical order.
func unknown(prefix string, values map[string]string, leaves []leaf) []error {
	known := make(map[string]bool, len(leaves))
	for _, l := range leaves {
		known[l.Name] = true
	}
	for _, name := range shared() {
		known[name] = true
	}
	var problems []error
	for name := range values {
		if !strings.HasPrefix(name, product) || known[name] {
			continue
		}
		if strings.HasPrefix(name, prefix) {
			problems = append(problems, fmt.Errorf("%s: no such setting", name))
			continue
		}
		ofProcess := slices.ContainsFunc(processes(), func(process string) bool {
			return strings.HasPrefix(name, product+process+"_")
		})
		if !ofProcess {
			problems = append(problems, fmt.Errorf("%s: no process has a setting of that name", name))
		}
	}
	slices.SortFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return problems
}

// set decodes the leaf's variable. Each leaf is parsed alone, in a struct of its own, because the parser's errors name
// Go fields, while ours name the variable.
func (l leaf) set(values map[string]string) error {
	value := values[l.Name]
	if value == "" {
		value = l.Default
	}
	if value == "" {
		if l.Required {
			return fmt.Errorf("%s: required, but not set", l.Name)
		}
		return nil
	}
	holder := reflect.New(reflect.StructOf([]reflect.StructField{{
		Name: l.field.Name, Type: l.field.Type, Tag: l.field.Tag,
	}}))
	var content string
	err := env.ParseWithOptions(holder.Interface(), env.Options{
		Environment: map[string]string{l.Name: value},
		OnSet:       func(_ string, v any, _ bool) { content, _ = v.(string) },
	})
	if err != nil {
		return l.explain(value, err)
	}
	if l.File && strings.TrimSpace(content) == "" {
		return fmt.Errorf("%s: the file %q is empty", l.Name, value)
	}
	l.value.Set(holder.Elem().Field(0))
	return nil
}

// explain turns the parser's error into a sentence that begins with the variable. What stands in a file is never told.
func (l leaf) explain(value string, err error) error {
	var unread env.LoadFileContentError
	if errors.As(err, &unread) {
		cause := unread.Err
		var path *fs.PathError
		if errors.As(cause, &path) {
			cause = path.Err
		}
		return fmt.Errorf("%s: the file %q cannot be read: %w", l.Name, value, cause)
	}
	if l.File {
		return fmt.Errorf("%s: the content of the file %q is not what the setting needs", l.Name, value)
	}
	var parse env.ParseError
	if errors.As(err, &parse) {
		err = parse.Err
	}
	return fmt.Errorf("%s: the value cannot be used: %w", l.Name, err)
}

// checkFile refuses a file setting whose name does not say so, or whose type would show what was read.
func checkFile(name string, t reflect.Type) error {
	if !strings.HasSuffix(name, "_FILE") {
		return fmt.Errorf("%s: a setting that is read from a file ends in _FILE", name)
	}
	if !reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return fmt.Errorf("%s: a setting that is read from a file is a Secret, not a %s", name, t)
	}
	return nil
}
