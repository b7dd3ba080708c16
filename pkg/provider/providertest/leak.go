package providertest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"strings"
	"testing"

	"doorcode/pkg/provider"
)

// RunNoLeak is the suite for a provider that carries e-mail.
func RunNoLeak(t *testing.T, newProvider NewHTTPProvider, secrets ...string) {
	t.Helper()
	Suite{}.RunNoLeak(t, newProvider, secrets...)
}

// RunNoLeak lets a provider fail in every way in the middle of a request, also
// against servers that repeat the request in their answer, and searches all
// that could be shown of it (errors, values in every format, log lines) for
// the code, the recipient and the further secrets, such as the key.
func (s Suite) RunNoLeak(t *testing.T, newProvider NewHTTPProvider, secrets ...string) {
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
	behaviors := map[string]Behavior{
		"a refusal that repeats it all":   Echo(Reply{Status: 400, Body: list}, quoted),
		"a bad key that repeats it all":   Echo(Reply{Status: 401, Body: list}, quoted),
		"an escaped repetition":           Echo(Reply{Status: 400, Body: list}, url.QueryEscape),
		"a page that repeats it all":      Echo(Reply{Status: 502, Body: "<pre>%s</pre>"}, plain),
		"an odd id that repeats it all":   Answer(Reply{Status: 202, Header: map[string]string{"X-Message-Id": "ada.7@example.net " + SampleCode}}),
		"the code as id":                  Answer(Reply{Status: 202, Header: map[string]string{"X-Message-Id": "m." + SampleCode}}),
		"a redirect that repeats it":      Answer(Reply{Status: 307, Header: map[string]string{"Location": "/?to=ada.7@example.net&code=" + SampleCode}}),
		"a reset":                         Reset(),
		"an answer that is no HTTP":       Garbage(),
		"a refusal that breaks off":       Cut(Reply{Status: 400}),
		"an acceptance that breaks off":   Cut(Reply{Status: 202}),
		"a flood":                         Flood(Reply{Status: 400}, 1<<20),
		"silence until the caller leaves": Hang(),
	}
	maps.Copy(behaviors, s.Careless)
	for name, behavior := range behaviors {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := NewServer(t)
			server.Use(behavior)
			s.search(t, server, newProvider(t, server), secrets)
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		t.Parallel()
		server := NewServer(t)
		p := newProvider(t, server)
		server.Close()
		s.search(t, server, p, secrets)
	})
}

// search sends one message, giving up when it has arrived at a silent server,
// and searches what can be shown of it.
func (s Suite) search(t *testing.T, server *Server, p provider.Provider, secrets []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if strings.HasSuffix(t.Name(), "silence_until_the_caller_leaves") {
		go func() {
			_ = server.Await(ctx, 1) // Ends with the test at the latest.
			cancel()
		}()
	}
	m := s.sample(7)
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
	digits := strings.TrimPrefix(m.Recipient, "+")
	for _, secret := range append([]string{SampleCode, m.Recipient, local, digits, m.Text}, secrets...) {
		for _, form := range []string{secret, url.QueryEscape(secret)} {
			if strings.Contains(shown.String(), form) {
				t.Errorf("%q can be seen in %s", form, shown.String())
			}
		}
	}
}
