// Package eventtest gives tests the event vectors of schemas/events/testdata
// and checks events against their JSON Schemas. Every producer's and every
// consumer's test uses it, so that no two of them drift apart.
package eventtest

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"doorcode/pkg/event"
	"doorcode/schemas"
)

// Vector is one file of schemas/events/testdata: a message on the bus and what
// a consumer has to make of it.
type Vector struct {
	Name    string            `json:"-"`
	Expect  string            `json:"expect"` // accepted or malformed
	Why     string            `json:"why"`
	Subject string            `json:"nats_subject"`
	Header  map[string]string `json:"header"`
	Data    json.RawMessage   `json:"data"`
}

// Vectors returns all vectors, those to be refused included.
func Vectors(t testing.TB) []Vector {
	t.Helper()
	names, err := fs.Glob(schemas.Events, "events/testdata/*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("no event vectors: %v", err)
	}
	vectors := make([]Vector, 0, len(names))
	for _, name := range names {
		data, err := schemas.Events.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		v := Vector{Name: strings.TrimSuffix(path.Base(name), ".json")}
		err = json.Unmarshal(data, &v)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		vectors = append(vectors, v)
	}
	return vectors
}

// Accepted returns the vector of one type as an event.
func Accepted(t testing.TB, want event.Type) event.Event {
	t.Helper()
	for _, v := range Vectors(t) {
		if v.Name == string(want) {
			e, err := event.Parse(v.Subject, v.Header, v.Data)
			if err != nil {
				t.Fatalf("vector %s: %v", v.Name, err)
			}
			return e
		}
	}
	t.Fatalf("no vector of type %s", want)
	return event.Event{}
}

// Validate fails the test unless the event's data fits the JSON Schema of its
// type and the event reads back from its own headers.
func Validate(t testing.TB, natsSubject string, e event.Event) {
	t.Helper()
	back, err := event.Parse(natsSubject, e.Header(), e.Data)
	if err != nil {
		t.Errorf("event %s does not read back from %s: %v", e.Type, natsSubject, err)
		return
	}
	if back.ID != e.ID || !back.Time.Equal(e.Time) {
		t.Errorf("event %s changed on its way: id %s became %s", e.Type, e.ID, back.ID)
	}
	ValidateData(t, e.Type, e.Data)
}

// ValidateData fails the test unless the data fits the JSON Schema of the type.
func ValidateData(t testing.TB, typ event.Type, data []byte) {
	t.Helper()
	raw, err := schemas.Events.ReadFile("events/" + string(typ) + ".json")
	if err != nil {
		t.Errorf("type %s has no schema: %v", typ, err)
		return
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("schema of %s: %v", typ, err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	err = c.AddResource("schema.json", doc)
	if err != nil {
		t.Fatalf("schema of %s: %v", typ, err)
	}
	schema, err := c.Compile("schema.json")
	if err != nil {
		t.Fatalf("schema of %s: %v", typ, err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Errorf("data of %s is no JSON: %v", typ, err)
		return
	}
	err = schema.Validate(value)
	if err != nil {
		t.Errorf("data of %s does not fit its schema: %v", typ, err)
	}
}
