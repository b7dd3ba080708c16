package sandbox

import (
	"bytes"
	"encoding/json"
	"testing"
)

// FuzzDecodeMail proves that no body breaks the decoder or the rules, and that
// an accepted one means the same after it was decoded and encoded loosely.
func FuzzDecodeMail(f *testing.F) {
	small, err := json.Marshal(plain())
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{
		small, codeBody("ada@example.net", "c.1.a"),
		nil, []byte("null"), []byte("{}"), []byte("[]"), []byte(`{"from":null}`), []byte(`{"from":{"email":"\ud800"}}`),
		[]byte(`{"send_at":1e3}`), []byte(`{"send_at":9223372036854775808}`), []byte(`{"FROM":{}}`), []byte(`{"content":[{}]}`),
		[]byte(`{"personalizations":[{"to":[{"email":"a@b"},{"email":"A@b"}],"dynamic_template_data":{"x":[[[]]]}}]}`),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		request, ok := decodeMail(body)
		if !ok || len(request.refusals(noon())) > 0 {
			return
		}
		batch := request.messages("id", noon(), body)
		if len(batch) != len(request.addresses()) || len(batch) == 0 {
			t.Fatalf("%d messages for %d recipients", len(batch), len(request.addresses()))
		}
		for _, m := range batch {
			if !validAddress(m.To) || !validAddress(m.From) {
				t.Errorf("accepted %q to %q", m.From, m.To)
			}
		}
		var loose any
		err := json.Unmarshal(body, &loose)
		if err != nil {
			t.Fatalf("accepted what is no JSON: %v", err)
		}
		again, err := json.Marshal(loose)
		if err != nil {
			t.Fatal(err)
		}
		second, ok := decodeMail(again)
		if !ok {
			t.Fatalf("refused its own encoding: %s", again)
		}
		first, err := json.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		other, err := json.Marshal(second)
		if err != nil || !bytes.Equal(first, other) {
			t.Errorf("the meaning changed from %s to %s (%v)", first, other, err)
		}
	})
}
