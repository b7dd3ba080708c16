package vonage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/url"
	"strings"
	"unicode/utf8"

	"doorcode/services/receipts/internal/report"
)

// maxFields bounds how many fields a receipt may have; the provider sends fourteen.
const maxFields = 64

// Fields are the fields of a receipt by name, each with its one value. What comes more than once, or is no text, could
// not be signed without doubt and is refused.
type Fields map[string]string

// Decode reads a receipt from a request: from its body when there is one, by its content type, else from its query. It
// fails with report.ErrUnreadable.
func Decode(contentType, query string, body []byte) (Fields, error) {
	var f Fields
	var err error
	switch {
	case len(body) == 0:
		f, err = fromForm(query)
	case isJSON(contentType, body):
		f, err = fromJSON(body)
	default:
		f, err = fromForm(string(body))
	}
	if err == nil && (len(f) == 0 || len(f) > maxFields) {
		err = errors.New("no fields, or too many")
	}
	for name := range f {
		if strings.ContainsAny(name, "&=") { // The signature flattens values alone: such a name could hold other fields.
			err = errors.New("a name that could hold other fields")
		}
	}
	if err != nil {
		// The cause may quote the receipt, so it goes no further.
		return nil, fmt.Errorf("read receipt: %w", report.ErrUnreadable)
	}
	return f, nil
}

// isJSON goes by the content type, and by the first byte when there is none.
func isJSON(contentType string, body []byte) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return body[0] == '{'
	}
	return kind == "application/json"
}

// fromForm reads a query, or a form, which has the same form.
func fromForm(text string) (Fields, error) {
	values, err := url.ParseQuery(text)
	if err != nil {
		return nil, err
	}
	f := make(Fields, len(values))
	for name, all := range values {
		if len(all) != 1 || !utf8.ValidString(name) || !utf8.ValidString(all[0]) {
			return nil, errors.New("a field is ambiguous")
		}
		f[name] = all[0]
	}
	return f, nil
}

// fromJSON reads one flat object of strings; a number or a truth value counts as it is written.
func fromJSON(body []byte) (Fields, error) {
	if !utf8.Valid(body) {
		return nil, errors.New("not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	open, err := dec.Token()
	if err != nil || open != json.Delim('{') {
		return nil, errors.New("not an object")
	}
	f := Fields{}
	for dec.More() {
		name, value, err := member(dec)
		if err != nil {
			return nil, err
		}
		if _, twice := f[name]; twice {
			return nil, errors.New("a field comes twice")
		}
		f[name] = value
	}
	_, err = dec.Token() // The closing brace.
	if err != nil {
		return nil, err
	}
	_, err = dec.Token()
	if !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the object")
	}
	return f, nil
}

// member reads one name and its value.
func member(dec *json.Decoder) (name, value string, err error) {
	key, err := dec.Token()
	if err != nil {
		return "", "", err
	}
	name, ok := key.(string)
	if !ok {
		return "", "", errors.New("a name is no text")
	}
	token, err := dec.Token()
	if err != nil {
		return "", "", err
	}
	switch v := token.(type) {
	case string:
		return name, v, nil
	case json.Number:
		return name, v.String(), nil
	case bool:
		return name, fmt.Sprint(v), nil
	}
	return "", "", errors.New("a value is no text")
}
