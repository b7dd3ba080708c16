package httpserver_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/httpserver"
	"doorcode/pkg/problem"
)

// router returns one with a few operations, each of which answers with its pattern and path values.
func router(log *slog.Logger) *httpserver.Router {
	r := httpserver.NewRouter(log)
	echo := func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.WriteString(w, req.Pattern+" "+req.PathValue("id"))
	}
	r.HandleFunc(http.MethodGet, "/v1/items", echo)
	r.HandleFunc(http.MethodPost, "/v1/items", echo)
	r.HandleFunc(http.MethodPut, "/v1/items/{id}", echo)
	r.HandleFunc(http.MethodDelete, "/v1/items/{id}/lock", echo)
	r.HandleFunc(http.MethodGet, "/pages/", echo)
	r.HandleFunc(http.MethodGet, "/{$}", echo)
	return r
}

// ask lets a handler answer a request in memory.
func ask(t *testing.T, h http.Handler, method, target string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, target, http.NoBody))
	return w
}

func TestRouter_ServesItsRoutes(t *testing.T) {
	t.Parallel()
	r := router(silent())
	for target, want := range map[string]string{
		"GET /v1/items":              "GET /v1/items ",
		"HEAD /v1/items":             "GET /v1/items ",
		"POST /v1/items?x=//..":      "POST /v1/items ",
		"PUT /v1/items/a.b":          "PUT /v1/items/{id} a.b",
		"PUT /v1/items/...":          "PUT /v1/items/{id} ...",
		"PUT /v1/items/a%2Fb":        "PUT /v1/items/{id} a/b",
		"DELETE /v1/items/a~b-/lock": "DELETE /v1/items/{id}/lock a~b-",
		"GET /pages/":                "GET /pages/ ",
		"GET /pages/a":               "GET /pages/ ",
		"GET /":                      "GET /{$} ",
	} {
		method, path, _ := strings.Cut(target, " ")
		w := ask(t, r, method, path)
		if w.Code != http.StatusOK || w.Body.String() != want {
			t.Errorf("%s is answered by %d %q", target, w.Code, w.Body)
		}
	}
}

// It shows SEC-54 of deploy/SECURITY.md.
func TestRouter_AnswersTheRestWithProblems(t *testing.T) {
	t.Parallel()
	r := router(silent())
	for target, want := range map[string]struct {
		status int
		allow  string
	}{
		"GET /nothing":                {404, ""},
		"GET /v1/items/":              {404, ""},
		"GET /pages":                  {404, ""},
		"GET //":                      {404, ""},
		"GET //v1/items":              {404, ""},
		"GET /v1//items":              {404, ""},
		"POST /v1/./items":            {404, ""},
		"POST /v1/x/../items":         {404, ""},
		"PUT /v1/items/..":            {404, ""},
		"PUT /v1/items/%2e%2e":        {404, ""},
		"PUT /v1/items/..%2fx":        {404, ""},
		"PUT /v1/items/a%2F%2Fb":      {404, ""},
		"DELETE /v1/items//lock":      {404, ""},
		"OPTIONS *":                   {404, ""},
		"DELETE /v1/items":            {405, "GET, HEAD, POST"},
		"BREW /v1/items":              {405, "GET, HEAD, POST"},
		"OPTIONS /v1/items":           {405, "GET, HEAD, POST"},
		"GET /v1/items/a":             {405, "PUT"},
		"HEAD /v1/items/a/lock":       {405, "DELETE"},
		"POST /pages/a":               {405, "GET, HEAD"},
		"POST /":                      {405, "GET, HEAD"},
		"CONNECT /v1/items":           {405, "GET, HEAD, POST"},
		"CONNECT upstream.example:25": {404, ""},
	} {
		method, path, _ := strings.Cut(target, " ")
		req := httptest.NewRequestWithContext(t.Context(), method, "/", http.NoBody)
		if strings.HasPrefix(path, "/") {
			u, err := url.Parse("http://doorcode.example" + path)
			if err != nil {
				t.Fatal(err)
			}
			req.URL = u
		} else {
			req.URL.Path = path
		}
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		if w.Code != want.status || w.Header().Get("Allow") != want.allow {
			t.Errorf("%s is answered by %d, Allow %q", target, w.Code, w.Header().Get("Allow"))
		}
		if kind := w.Header().Get("Content-Type"); kind != problem.ContentType || w.Header().Get("Location") != "" {
			t.Errorf("%s is answered by %q to %q", target, kind, w.Header().Get("Location"))
		}
		var p problem.Problem
		err := json.Unmarshal(w.Body.Bytes(), &p)
		if err != nil || p.Status != want.status || p.Code == "" {
			t.Errorf("%s: no problem document, but %s", target, w.Body)
		}
	}
}

func TestRouter_ListsItsRoutes(t *testing.T) {
	t.Parallel()
	r := router(silent())
	want := []httpserver.Route{
		{Method: "GET", Pattern: "/v1/items"},
		{Method: "POST", Pattern: "/v1/items"},
		{Method: "PUT", Pattern: "/v1/items/{id}"},
		{Method: "DELETE", Pattern: "/v1/items/{id}/lock"},
		{Method: "GET", Pattern: "/pages/"},
		{Method: "GET", Pattern: "/{$}"},
	}
	got := r.Routes()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got[0].Method = "changed"
	if r.Routes()[0].Method != "GET" {
		t.Error("the list is the router's own")
	}
}

// It shows SEC-32 of deploy/SECURITY.md.
func TestRouter_AnswersAPanicWithAPlainProblem(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	r := httpserver.NewRouter(slog.New(slog.NewJSONHandler(&out, nil)))
	r.HandleFunc(http.MethodPost, "/value/{id}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Length", "3")
		w.Header().Set("Location", "/of-what-was-not-made")
		panic("code 739105 for a@b.example")
	})
	r.HandleFunc(http.MethodPost, "/error", func(http.ResponseWriter, *http.Request) {
		panic(errors.New("code 739105"))
	})
	r.HandleFunc(http.MethodPost, "/index", func(_ http.ResponseWriter, req *http.Request) {
		_ = make([]int, 1)[len(req.Method)]
	})
	for path, cause := range map[string]string{
		"/value/secret": `"cause":"withheld"`,
		"/error":        `"cause":"withheld"`,
		"/index":        `"cause":"runtime error: index out of range [4] with length 1"`,
	} {
		out.Reset()
		w := ask(t, r, http.MethodPost, path)
		if w.Code != http.StatusInternalServerError || w.Header().Get("Content-Type") != problem.ContentType ||
			w.Header().Get("Content-Length") != "" || w.Header().Get("Location") != "" || !strings.Contains(w.Body.String(), `"code":"internal"`) {
			t.Errorf("%s is answered by %d %s", path, w.Code, w.Body)
		}
		line := out.String()
		if !strings.Contains(line, cause) || !strings.Contains(line, "router_test.go") {
			t.Errorf("%s: cause or stack are not in %s", path, line)
		}
		for _, leak := range []string{"739105", "a@b.example", "secret"} {
			if strings.Contains(line+w.Body.String(), leak) {
				t.Errorf("%s: %q shows", path, leak)
			}
		}
	}
}

func TestRouter_BreaksOffAnAnswerThatHasBegun(t *testing.T) {
	t.Parallel()
	r := httpserver.NewRouter(silent())
	r.HandleFunc(http.MethodGet, "/begun", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic("the other half is missing")
	})
	r.HandleFunc(http.MethodGet, "/aborted", func(http.ResponseWriter, *http.Request) {
		panic(http.ErrAbortHandler)
	})
	s := start(t, r)
	for _, path := range []string{"/begun", "/aborted"} {
		status, body, err := get(t, client(t), "http://"+s.Addr()+path)
		if err == nil {
			t.Errorf("%s: a whole answer of %d %q", path, status, body)
		}
	}
}

func TestRouter_LetsHandlersStream(t *testing.T) {
	t.Parallel()
	r := httpserver.NewRouter(silent())
	r.HandleFunc(http.MethodGet, "/stream", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		err := http.NewResponseController(w).Flush()
		if err != nil {
			_, _ = io.WriteString(w, err.Error())
		}
	})
	s := start(t, r)
	status, body, err := get(t, client(t), "http://"+s.Addr()+"/stream")
	if err != nil || status != http.StatusOK || body != "" {
		t.Errorf("unexpected answer: %d %q, %v", status, body, err)
	}
}

func FuzzRouter(f *testing.F) {
	for _, seed := range []string{"/", "//", "/v1/items", "/v1/../v1/items", "/v1/items/%2e%2e", "/pages", "*", "/%zz", "/v1/items/ä?x"} {
		f.Add("GET", seed)
	}
	r := router(silent())
	f.Fuzz(func(t *testing.T, method, path string) {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
		req.Method = method
		u, err := url.Parse("http://doorcode.example" + path)
		if err != nil {
			return
		}
		req.URL = u
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		if w.Code != http.StatusOK && w.Header().Get("Content-Type") != problem.ContentType {
			t.Errorf("%s %s is answered by %d %q", method, path, w.Code, w.Header().Get("Content-Type"))
		}
	})
}
