package strictjson_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"doorcode/pkg/strictjson"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

type client struct {
	Address string `json:"address"`
	Port    uint16 `json:"port"`
}

type common struct {
	Locale string `json:"locale"`
	Hidden string `json:"-"`
}

// request has a field of every kind that a format of ours may use.
type request struct {
	common
	Workspace string            `json:"workspace"`
	Count     int               `json:"count,omitempty"`
	Share     float64           `json:"share"`
	Trusted   bool              `json:"trusted"`
	Client    client            `json:"client"`
	Next      *request          `json:"next"`
	Logins    []client          `json:"logins"`
	Pair      [2]int            `json:"pair"`
	Facts     map[string]string `json:"facts"`
	Any       any               `json:"any"`
	Raw       json.RawMessage   `json:"raw,omitempty"`
	Sealed    []byte            `json:"sealed"`
	At        time.Time         `json:"at"`
	Sequence  uint64            `json:"sequence,string"`
	Plain     string
}

func TestDecode_FillsEveryKindOfField(t *testing.T) {
	t.Parallel()
	var got request
	err := strictjson.Decode([]byte(` {"locale":"de","workspace":"acme","count":-3,"share":0.5,"trusted":true,
		"client":{"address":"::1","port":65535},"next":{"count":1,"next":null},"logins":[{"port":1},{}],
		"pair":[1,2],"facts":{"a":"b"},"any":{"x":[1,null]},"raw":{"y":1},"sealed":"AQI=",
		"at":"2026-01-02T03:04:05Z","sequence":"18446744073709551615","Plain":"p"} `), &got)
	if err != nil {
		t.Fatal(err)
	}
	want := request{
		common: common{Locale: "de"}, Workspace: "acme", Count: -3, Share: 0.5, Trusted: true,
		Client: client{"::1", 65535}, Next: &request{Count: 1}, Logins: []client{{Port: 1}, {}},
		Pair: [2]int{1, 2}, Facts: map[string]string{"a": "b"}, Any: map[string]any{"x": []any{1.0, nil}},
		Raw: json.RawMessage(`{"y":1}`), Sealed: []byte{1, 2}, At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Sequence: 1<<64 - 1, Plain: "p",
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(request{}, common{})); diff != "" {
		t.Error(diff)
	}
}

func TestDecode_TakesAMap(t *testing.T) {
	t.Parallel()
	var got map[string]int
	err := strictjson.Decode([]byte(`{"a":1}`), &got)
	if err != nil || got["a"] != 1 {
		t.Errorf("got %v, %v", got, err)
	}
}

// It shows SEC-04 of deploy/SECURITY.md.
func TestDecode_RefusesByPath(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]strictjson.Error{
		// The text as a whole.
		``:                           {"", "There is no JSON object."},
		" \n":                        {"", "There is no JSON object."},
		`null`:                       {"", "The text is not a JSON object."},
		`[]`:                         {"", "The text is not a JSON object."},
		`"workspace"`:                {"", "The text is not a JSON object."},
		`{`:                          {"", "The text is not valid JSON at byte 1."},
		`{} {}`:                      {"", "The text is not valid JSON at byte 4."},
		`{"count":1,}`:               {"", "The text is not valid JSON at byte 12."},
		`{"count":01}`:               {"", "The text is not valid JSON at byte 11."},
		"{\"workspace\":\"\xff\"}":   {"", "The text is not valid UTF-8."},
		"\xef\xbb\xbf{}":             {"", "The text is not valid JSON at byte 1."},
		"{\"workspace\":\"a\nb\"}":   {"", "The text is not valid JSON at byte 16."},
		`{"workspace":"` + "\x00\"}": {"", "The text is not valid JSON at byte 15."},
		// Names.
		`{"worksapce":"a"}`:                       {"worksapce", "There is no such field."},
		`{"Workspace":"a"}`:                       {"Workspace", "There is no such field."},
		`{"plain":"a"}`:                           {"plain", "There is no such field."},
		`{"request":"a"}`:                         {"request", "There is no such field."},
		`{"Hidden":"a"}`:                          {"Hidden", "There is no such field."},
		`{"-":"a"}`:                               {"-", "There is no such field."},
		`{"common":{}}`:                           {"common", "There is no such field."},
		`{"client":{"addr":"a"}}`:                 {"client.addr", "There is no such field."},
		`{"next":{"next":{"x":1}}}`:               {"next.next.x", "There is no such field."},
		`{"logins":[{},{"x":1}]}`:                 {"logins[1].x", "There is no such field."},
		`{"":1}`:                                  {"", "There is no such field."},
		`{"count":1,"count":1}`:                   {"count", "The field stands there twice."},
		`{"count":1,"\u0063ount":1}`:              {"count", "The field stands there twice."},
		`{"client":{"port":1,"port":2}}`:          {"client.port", "The field stands there twice."},
		`{"any":[{"a":{"b":1,"b":1}}]}`:           {"any[0].a.b", "The field stands there twice."},
		`{"facts":{"x":"1","x":"2"}}`:             {"facts.x", "The field stands there twice."},
		`{"raw":{"x":1,"x":1}}`:                   {"raw.x", "The field stands there twice."},
		`{"any":` + strings.Repeat("[", 32) + `1`: {"", "The text is not valid JSON at byte 40."},
		// Types.
		`{"workspace":1}`:               {"workspace", "The value is not a string."},
		`{"workspace":{}}`:              {"workspace", "The value is not a string."},
		`{"workspace":null}`:            {"workspace", "The value is null, but must be a string."},
		`{"locale":[]}`:                 {"locale", "The value is not a string."},
		`{"count":"1"}`:                 {"count", "The value is not a whole number in the range of the field."},
		`{"count":1.5}`:                 {"count", "The value is not a whole number in the range of the field."},
		`{"count":null}`:                {"count", "The value is null, but must be a whole number in the range of the field."},
		`{"client":{"port":65536}}`:     {"client.port", "The value is not a whole number in the range of the field."},
		`{"client":{"port":-1}}`:        {"client.port", "The value is not a whole number in the range of the field."},
		`{"share":1e999}`:               {"share", "The value is not a number in the range of the field."},
		`{"any":1e999}`:                 {"any", "The value is not what the field takes."},
		`{"trusted":"yes"}`:             {"trusted", "The value is not true or false."},
		`{"client":[]}`:                 {"client", "The value is not an object."},
		`{"client":null}`:               {"client", "The value is not an object."},
		`{"next":3}`:                    {"next", "The value is not an object."},
		`{"logins":{}}`:                 {"logins", "The value is not a list."},
		`{"logins":[{},null]}`:          {"logins[1]", "The value is not an object."},
		`{"logins":[{"address":true}]}`: {"logins[0].address", "The value is not a string."},
		`{"pair":[1]}`:                  {"pair", "The list has not 2 elements."},
		`{"pair":"ab"}`:                 {"pair", "The value is not a list."},
		`{"facts":[]}`:                  {"facts", "The value is not an object."},
		`{"facts":{"a":1}}`:             {"facts.a", "The value is not a string."},
		`{"sealed":"%"}`:                {"sealed", "The value is not a base64 string."},
		`{"at":"yesterday"}`:            {"at", "The value is not what the field takes."},
		`{"at":null}`:                   {"at", "The value is null, but must be what the field takes."},
		`{"sequence":5}`:                {"", "The value has the wrong type."},
	} {
		got := request{Workspace: "before"}
		err := strictjson.Decode([]byte(data), &got)
		var refused *strictjson.Error
		if !errors.As(err, &refused) {
			t.Errorf("%s: not refused, but %v", data, err)
			continue
		}
		if diff := cmp.Diff(want, *refused); diff != "" {
			t.Errorf("%s: %s", data, diff)
		}
		if got.Workspace != "before" && !strings.Contains(data, "sequence") {
			t.Errorf("%s: the target changed", data)
		}
	}
}

func TestDecode_NeverTellsAValue(t *testing.T) {
	t.Parallel()
	for _, data := range []string{
		`{"count":"739105"}`, `{"workspace":739105}`, `{"trusted":739105}`, `{"at":"739105"}`, `{"client":739105}`,
		`{"workspace":"739105`, `{"workspace":"a" 739105}`, `{"sealed":"739105"}`, `{"sequence":"x739105"}`,
	} {
		var got request
		err := strictjson.Decode([]byte(data), &got)
		if err == nil || strings.Contains(err.Error(), "739105") {
			t.Errorf("%s: unexpected error: %v", data, err)
		}
	}
}

// It shows SEC-54 of deploy/SECURITY.md.
func TestDecode_BoundsDepthAndPath(t *testing.T) {
	t.Parallel()
	nested := func(n int) string {
		return `{"any":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}`
	}
	var got request
	err := strictjson.Decode([]byte(nested(31)), &got)
	if err != nil {
		t.Errorf("depth 32 is refused: %v", err)
	}
	for _, n := range []int{32, 9_000, 30_000} {
		err := strictjson.Decode([]byte(nested(n)), &got)
		if err == nil {
			t.Errorf("%d lists are accepted", n)
		}
	}
	for _, key := range []string{strings.Repeat("x", 60_000), strings.Repeat("\u00e4", 30_000)} {
		err := strictjson.Decode([]byte(`{"any":{"a":{"`+key+`":{"b":1,"b":1}}}}`), &got)
		var refused *strictjson.Error
		if !errors.As(err, &refused) || len(refused.Field) > 140 || !utf8.ValidString(refused.Field) {
			t.Errorf("unexpected error: %v", err)
		}
	}
}

func TestDecode_WantsAPointer(t *testing.T) {
	t.Parallel()
	var none *request
	for _, target := range []any{nil, request{}, none} {
		err := strictjson.Decode([]byte(`{}`), target)
		var refused *strictjson.Error
		if err == nil || errors.As(err, &refused) {
			t.Errorf("%T: unexpected error: %v", target, err)
		}
	}
}

func TestError_NamesTheField(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]*strictjson.Error{
		"strict json: There is no JSON object.":                        {"", "There is no JSON object."},
		`strict json: field "client.port": The value is not a string.`: {"client.port", "The value is not a string."},
	} {
		if e.Error() != want {
			t.Errorf("%q is not %q", e.Error(), want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		``, `null`, `{}`, `[]`, `{"workspace":"acme","client":{"address":"::1","port":1}}`,
		`{"count":1,"count":1}`, `{"next":{"next":{"next":null}}}`, `{"logins":[{"port":65536}]}`,
		`{"any":{"a":[1,2.5e300,"\ud800",null,true]}}`, `{"raw":[1 , 2]}`, `{"sealed":"AQI="}`,
		`{"at":"2026-01-02T03:04:05.000000001+23:59"}`, `{"sequence":"1"}`, `{"pair":[1,2]}`, `{"facts":{"\u0000":""}}`,
		"{\"workspace\":\"\xff\"}", `{"Workspace":1}`, strings.Repeat(`{"any":`, 40), `{"any":[[[[[[]]]]]]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, second request
		err := strictjson.Decode(data, &first)
		if err != nil {
			var refused *strictjson.Error
			if !errors.As(err, &refused) || refused.Detail == "" {
				t.Fatalf("unexpected error: %v", err)
			}
			return
		}
		again, err := json.Marshal(first)
		if err != nil {
			t.Fatalf("accepted, but cannot be encoded: %v", err)
		}
		err = strictjson.Decode(again, &second)
		if err != nil {
			t.Fatalf("accepted, but its encoding %s is not: %v", again, err)
		}
		third, err := json.Marshal(second)
		if err != nil || string(third) != string(again) {
			t.Fatalf("%s became %s, %v", again, third, err)
		}
	})
}
