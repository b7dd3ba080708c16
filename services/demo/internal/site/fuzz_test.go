package site

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"doorcode/pkg/client"
)

// doorcode is one that says yes to a create and wrong to every code, without a network.
type doorcode struct{}

func (doorcode) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := http.StatusUnprocessableEntity, `{"status": 422, "code": "wrong_code", "detail": "no", "checks_left": 3}`
	switch {
	case r.Method == http.MethodPost && r.URL.Path == "/v1/challenges":
		status, body = http.StatusCreated, `{"decision": "required", "handle": "AQEAAA", "label": "KRT", "channel": "email", "recipient": "j•••@acme.example"}`
	case r.Method != http.MethodPost:
		status, body = http.StatusOK, `{"state": "pending", "label": "KRT", "deliveries": [{"send": 1, "status": "accepted", "text": "<b>taken</b>"}]}`
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// FuzzSite holds that no form, path or cookie breaks a page, lets anybody in or comes back as markup.
func FuzzSite(f *testing.F) {
	hc := &http.Client{Transport: doorcode{}}
	c, err := client.New(client.Config{URL: "http://doorcode.example", Key: "dck_demo_" + strings.Repeat("s", 43), HTTP: hc})
	if err != nil {
		f.Fatal(err)
	}
	var log bytes.Buffer
	s, err := New(Config{Doorcode: c, InboxURL: "http://inbox.example", Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		f.Fatal(err)
	}
	handler := s.Handler()
	rec := httptest.NewRecorder()
	signIn := httptest.NewRequestWithContext(f.Context(), http.MethodPost, "/sign-in", strings.NewReader("email="+Email+"&password="+Password))
	signIn.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	handler.ServeHTTP(rec, signIn)
	if rec.Code != http.StatusSeeOther || len(rec.Result().Cookies()) == 0 {
		f.Fatalf("the sign-in is answered %d", rec.Code)
	}
	var waiting *http.Cookie
	for _, c := range rec.Result().Cookies() {
		if c.Name == cookieName {
			waiting = c
		}
	}
	for _, path := range []string{"/", "/sign-in", "/code", "/code/resend", "/code/cancel?x", "/home", "/settings", "/sign-out", "/nothing", "/%00"} {
		for _, body := range []string{"", "code=123456", "code=%00", "code=<script>alert(1)</script>", "email=jo&password=", "a;b", "%zz", "code=1&code=2"} {
			f.Add("POST", path, body, "application/x-www-form-urlencoded", "")
		}
		f.Add("GET", path, "", "", waiting.Name+"=x")
	}
	f.Add("POST", "/code", "--x\r\n", "multipart/form-data; boundary=x", "")
	f.Fuzz(func(t *testing.T, method, path, body, kind, cookie string) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://demo.example"+path, strings.NewReader(body))
		if err != nil || !strings.HasPrefix(path, "/") {
			return
		}
		req.Header.Set("Content-Type", kind)
		req.Header.Set("Cookie", cookie)
		if strings.HasPrefix(path, "/code") && !strings.Contains(path, "cancel") {
			req.AddCookie(waiting)
		}
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, req)
		page := rec.Body.String()
		if rec.Code >= 500 || strings.Contains(page, "<script") || strings.Contains(page, "<b>taken") {
			t.Errorf("%s %s %q is answered %d %s", method, path, body, rec.Code, page)
		}
		if rec.Header().Get("Location") == "/home" || strings.Contains(page, "Dashboard") {
			t.Errorf("%s %s %q with %q lets somebody in", method, path, body, cookie)
		}
	})
}
