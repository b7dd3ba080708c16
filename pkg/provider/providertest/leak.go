package providertest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"doorcode/pkg/provider"
)

// RunNoLeak lets a provider fail in every way in the middle of a request, also
// against servers that repeat the request in their answer, and searches all
// that could be shown of it (errors, values in every format, log lines) for
// the code, the recipient and the further secrets, such as the key.
func RunNoLeak(t *testing.T, newProvider NewHTTPProvider, secrets ...string) {
	t.Helper()
	plain := func(s string) string { return s }
	quoted := func(s string) string {
		text, err := json.Marshal(s)
		if err != nil {
			return ""
		}
		return strings.Trim(string(text), `"`)
	}
	list := `{"errors":[{"message":"%s","field":"%s"}]}`
	for name, behavior := range map[string]Behavior{
		"a refusal that repeats it all":   Echo(Reply{Status: 400, Body: list}, quoted),
		"a bad key that repeats it all":   Echo(Reply{Status: 401, Body: list}, quoted),
		"an escaped repetition":           Echo(Reply{Status: 400, Body: list}, url.QueryEscape),
		"a page that repeats it all":      Echo(Reply{Status: 502, Body: "<pre>%s</pre>"}, plain),
		"an odd id that repeats it all":   Answer(Reply{Status: 202, Header: map[string]string{"X-Message-Id": "ada.7@example.net " + SampleCode}}),
		"a redirect that repeats it":      Answer(Reply{Status: 307, Header: map[string]string{"Location": "/?to=ada.7@example.net&code=" + SampleCode}}),
		"a reset":                         Reset(),
		"an answer that is no HTTP":       Garbage(),
		"a refusal that breaks off":       Cut(Reply{Status: 400}),
		"an acceptance that breaks off":   Cut(Reply{Status: 202}),
		"a flood":                         Flood(Reply{Status: 400}, 1<<20),
		"silence until the caller leaves": Hang(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := NewServer(t)
			s.Use(behavior)
			search(t, s, newProvider(t, s), secrets)
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		t.Parallel()
		s := NewServer(t)
		p := newProvider(t, s)
		s.Close()
		search(t, s, p, secrets)
	})
}

// search sends one message, giving up when it has arrived at a silent server,
// and searches what can be shown of it.
func search(t *testing.T, s *Server, p provider.Provider, secrets []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if strings.HasSuffix(t.Name(), "silence_until_the_caller_leaves") {
		go func() {
			_ = s.Await(ctx, 1) // Ends with the test at the latest.
			cancel()
		}()
	}
	m := Sample(7)
	accepted, err := p.Send(ctx, m)

	var shown bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&shown, nil), slog.NewTextHandler(&shown, nil)} {
		slog.New(handler).Info("attempted", "error", err, "message", m, "provider", p, "accepted", accepted)
	}
	for _, value := range []any{err, p, m, &m, accepted, []any{p, m, err}, struct{ M provider.Message }{m}} {
		fmt.Fprintf(&shown, "%v %+v %#v %s\n", value, value, value, value)
	}
	text, jsonErr := json.Marshal([]any{m, &m, err, accepted})
	if jsonErr != nil {
		t.Fatal(jsonErr)
	}
	shown.Write(text)

	local, _, _ := strings.Cut(m.Recipient, "@")
	for _, secret := range append([]string{SampleCode, m.Recipient, local, m.Text}, secrets...) {
		for _, form := range []string{secret, url.QueryEscape(secret)} {
			if strings.Contains(shown.String(), form) {
				t.Errorf("%q can be seen in %s", form, shown.String())
			}
		}
	}
}
