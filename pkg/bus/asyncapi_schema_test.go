package bus_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"doorcode/pkg/event"
	"doorcode/schemas"
)

// The fields of a question and its answer are those of the structs that both sides decode.
func TestAsyncAPI_QuestionsHaveTheFieldsOfTheirStructs(t *testing.T) {
	t.Parallel()
	d := document(t)
	for _, payload := range []any{
		event.HandleRequest{},
		event.CheckRequest{},
		event.CheckReply{},
		event.ResendRequest{},
		event.ResendReply{},
		event.StateReply{},
		event.UnlockRequest{},
		event.DeliveryRequest{},
		event.DeliveryReply{},
		event.Changed{},
	} {
		name := reflect.TypeOf(payload).Name()
		fields, required := set{}, set{}
		for _, field := range reflect.VisibleFields(reflect.TypeOf(payload)) {
			tag, options, _ := strings.Cut(field.Tag.Get("json"), ",")
			if field.Anonymous {
				continue
			}
			fields[tag] = true
			if options != "omitempty" {
				required[tag] = true
			}
		}
		schema := d.Components.Schemas[name]
		differ(t, "fields of "+name, fields, setOf(slices.Collect(maps.Keys(schema.Properties))...))
		differ(t, "required fields of "+name, required, setOf(schema.Required...))
	}
}

// Every reference leads somewhere: inside the document, to a schema of an event, or into the OpenAPI document.
func TestAsyncAPI_EveryReferenceLeadsSomewhere(t *testing.T) {
	t.Parallel()
	var own, http any
	api, err := schemas.OpenAPI.ReadFile("openapi/doorcode.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for data, into := range map[string]*any{string(schemas.AsyncAPI): &own, string(api): &http} {
		err := yaml.Unmarshal([]byte(data), into)
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, target := range references(own) {
		file, pointer, _ := strings.Cut(target, "#")
		root := own
		switch {
		case file == "./openapi/doorcode.yaml":
			root = http
		case strings.HasPrefix(file, "./events/"):
			data, err := schemas.Events.ReadFile(strings.TrimPrefix(file, "./"))
			if err != nil || !json.Valid(data) {
				t.Errorf("%s leads to no schema: %v", target, err)
			}
			continue
		case file != "":
			t.Errorf("%s leads out of the contracts", target)
		}
		for step := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
			m, _ := root.(map[string]any)
			root = m[step]
		}
		if root == nil {
			t.Errorf("%s leads nowhere", target)
		}
	}
}

// references returns every reference below a node.
func references(node any) []string {
	var found []string
	switch n := node.(type) {
	case map[string]any:
		if target, ok := n["$ref"].(string); ok {
			found = append(found, target)
		}
		for _, child := range n {
			found = append(found, references(child)...)
		}
	case []any:
		for _, child := range n {
			found = append(found, references(child)...)
		}
	}
	return found
}
