// Package strictjson decodes JSON that comes from outside.
//
// It refuses what encoding/json lets pass: unknown fields, names that differ in case, a name that stands twice, null
// for a plain value, invalid UTF-8, more than one value. Whatever is refused is named by the path of the field, never
// by what stood in it, since that may be a code.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds how deep objects and lists may be nested. Our formats need four levels; the bound keeps the work on
// hostile input linear.
const maxDepth = 32

// maxPath bounds the path in an error in bytes, since names of unknown fields are the caller's.
const maxPath = 128

// Error says what is wrong with a JSON text, in words that may be told to whoever sent it.
type Error struct {
	Field  string // Path of the field, as in "client.address" or "logins[2].email"; empty for the text as a whole.
	Detail string // One sentence.
}

// Error joins path and sentence.
func (e *Error) Error() string {
	if e.Field == "" {
		return "strict json: " + e.Detail
	}
	return fmt.Sprintf("strict json: field %q: %s", e.Field, e.Detail)
}

// refuse makes an Error with a path of bounded length.
func refuse(path, detail string) *Error {
	if len(path) > maxPath {
		path = strings.ToValidUTF8(path[:maxPath], "") + "..."
	}
	return &Error{Field: path, Detail: detail}
}

// Decode reads data, which must be exactly one JSON object, into v, a pointer to a struct or map. A field's value must
// have the type of the field; null stands only for what has a nil. A type with an unmarshal method of its own judges
// its part itself.
//
// When data is refused the error is an *Error and v is untouched.
func Decode(data []byte, v any) error {
	target := reflect.TypeOf(v)
	if target == nil || target.Kind() != reflect.Pointer || reflect.ValueOf(v).IsNil() {
		return errors.New("strict json: the target is not a pointer")
	}
	err := checkText(data)
	if err != nil {
		return err
	}
	err = checkValue("", data, target.Elem())
	if err != nil {
		return err
	}
	err = json.Unmarshal(data, v)
	if err != nil { // Only options that checkValue does not follow, such as ",string".
		return refuse(fieldOf(err), "The value has the wrong type.")
	}
	return nil
}

// checkText judges data as JSON, before its types matter: one object, well formed, not too deep, no name twice.
func checkText(data []byte) error {
	if len(bytes.TrimSpace(data)) == 0 {
		return refuse("", "There is no JSON object.")
	}
	if !utf8.Valid(data) {
		return refuse("", "The text is not valid UTF-8.")
	}
	var whole json.RawMessage
	err := json.Unmarshal(data, &whole)
	if err != nil {
		detail := "The text is not valid JSON."
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			detail = fmt.Sprintf("The text is not valid JSON at byte %d.", syntax.Offset)
		}
		return refuse("", detail)
	}
	if kindOf(data) != '{' {
		return refuse("", "The text is not a JSON object.")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	return checkNames(dec, "", 0)
}

// checkNames walks over the next value of a text that is known to be well formed.
func checkNames(dec *json.Decoder, path string, depth int) error {
	part, err := dec.Token()
	if err != nil {
		return refuse(path, "The text is not valid JSON.")
	}
	open, container := part.(json.Delim)
	if !container {
		return nil
	}
	if depth == maxDepth {
		return refuse(path, "The value is nested too deeply.")
	}
	seen := make(map[string]bool)
	for i := 0; dec.More(); i++ {
		below := path + "[" + strconv.Itoa(i) + "]"
		if open == '{' {
			name, err := dec.Token()
			if err != nil {
				return refuse(path, "The text is not valid JSON.")
			}
			key, _ := name.(string)
			below = join(path, key)
			if seen[key] {
				return refuse(below, "The field stands there twice.")
			}
			seen[key] = true
		}
		err := checkNames(dec, below, depth+1)
		if err != nil {
			return err
		}
	}
	_, err = dec.Token() // The closing bracket.
	if err != nil {
		return refuse(path, "The text is not valid JSON.")
	}
	return nil
}

// join appends an object's key to a path. The length stays bounded on the way, too: hostile keys nest.
func join(path, key string) string {
	if path == "" {
		return key
	}
	if len(path) > maxPath {
		return path
	}
	return path + "." + key
}

// kindOf returns the first byte of the value in raw: one of { [ " t f n - or a digit.
func kindOf(raw []byte) byte {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	if len(raw) == 0 {
		return 0
	}
	return raw[0]
}

// fieldOf returns the path in an error of encoding/json, when it has one.
func fieldOf(err error) string {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return wrong.Field
	}
	return ""
}
