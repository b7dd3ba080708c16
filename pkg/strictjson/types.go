package strictjson

import (
	"bytes"
	"encoding"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
)

// checkValue judges raw, which is well formed, as a value of type t.
func checkValue(path string, raw []byte, t reflect.Type) error {
	switch {
	case decodesItself(t):
		return checkLeaf(path, raw, t)
	case t.Kind() == reflect.Pointer:
		if kindOf(raw) == 'n' {
			return nil
		}
		return checkValue(path, raw, t.Elem())
	case t.Kind() == reflect.Struct:
		if kindOf(raw) != '{' {
			return refuse(path, "The value is not an object.")
		}
		return checkObject(path, raw, fieldsOf(t), nil)
	case t.Kind() == reflect.Map:
		if kindOf(raw) == '{' {
			return checkObject(path, raw, nil, t.Elem())
		}
		return checkLeaf(path, raw, t)
	case t.Kind() == reflect.Array, t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8:
		if kindOf(raw) == '[' {
			return checkList(path, raw, t)
		}
		return checkLeaf(path, raw, t)
	default:
		return checkLeaf(path, raw, t)
	}
}

// decodesItself reports whether t has an unmarshal method, which alone knows what it accepts.
func decodesItself(t reflect.Type) bool {
	pointer := reflect.PointerTo(t)
	return pointer.Implements(reflect.TypeFor[json.Unmarshaler]()) ||
		pointer.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// checkLeaf lets encoding/json decode one value into a fresh t.
func checkLeaf(path string, raw []byte, t reflect.Type) error {
	if kindOf(raw) == 'n' && !nullable(t) {
		return refuse(path, "The value is null, but must be "+describe(t)+".")
	}
	err := json.Unmarshal(raw, reflect.New(t).Interface())
	if err != nil {
		return refuse(path, "The value is not "+describe(t)+".")
	}
	return nil
}

// nullable reports whether null means something to t. (Of a type that decodes text, null never reaches the method.)
func nullable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Interface:
		return true
	default:
		return false
	}
}

// describe names what the caller should have sent.
func describe(t reflect.Type) string {
	if decodesItself(t) {
		return "what the field takes"
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number in the range of the field"
	case reflect.Float32, reflect.Float64:
		return "a number in the range of the field"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "a base64 string"
		}
		return "a list"
	case reflect.Array:
		return "a list"
	case reflect.Map:
		return "an object"
	default:
		return "what the field takes"
	}
}

// checkObject walks over the fields of an object: those of a struct, or those of a map, whose values are all of type
// element.
func checkObject(path string, raw []byte, fields map[string]field, element reflect.Type) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	_, err := dec.Token() // The opening bracket.
	for err == nil && dec.More() {
		var name json.Token
		name, err = dec.Token()
		if err != nil {
			break
		}
		var value json.RawMessage
		err = dec.Decode(&value)
		if err != nil {
			break
		}
		key, _ := name.(string)
		below := join(path, key)
		f := field{element, false}
		if element == nil {
			var known bool
			f, known = fields[key]
			if !known {
				return refuse(below, "There is no such field.")
			}
		}
		if f.quoted {
			continue // A number in a string: Decode finds out in the end.
		}
		refused := checkValue(below, value, f.t)
		if refused != nil {
			return refused
		}
	}
	if err != nil {
		return refuse(path, "The text is not valid JSON.")
	}
	return nil
}

// checkList walks over the elements of a list. A list for an array must fill it exactly.
func checkList(path string, raw []byte, t reflect.Type) error {
	var elements []json.RawMessage
	err := json.Unmarshal(raw, &elements)
	if err != nil {
		return refuse(path, "The value is not a list.")
	}
	if t.Kind() == reflect.Array && len(elements) != t.Len() {
		return refuse(path, "The list has not "+strconv.Itoa(t.Len())+" elements.")
	}
	for i, element := range elements {
		refused := checkValue(path+"["+strconv.Itoa(i)+"]", element, t.Elem())
		if refused != nil {
			return refused
		}
	}
	return nil
}

// field is a struct's field as JSON knows it.
type field struct {
	t      reflect.Type
	quoted bool // Has the option ",string".
}

// fieldsOf lists the JSON names of a struct, those of embedded structs included.
func fieldsOf(t reflect.Type) map[string]field {
	fields := make(map[string]field)
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" && options == "" {
			continue
		}
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if f.Anonymous && name == "" && inner.Kind() == reflect.Struct {
			for name, promoted := range fieldsOf(inner) {
				if _, own := fields[name]; !own {
					fields[name] = promoted
				}
			}
			continue
		}
		if !f.IsExported() {
			continue
		}
		if name == "" {
			name = f.Name
		}
		fields[name] = field{t: f.Type, quoted: options == "string" || strings.HasSuffix(options, ",string")}
	}
	return fields
}
