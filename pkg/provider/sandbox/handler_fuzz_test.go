package sandbox

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// FuzzHandler holds that no request breaks the stand-in: neither its look-alikes of the APIs nor its pages and controls.
// What is said to it never comes back as markup.
func FuzzHandler(f *testing.F) {
	s := New(Config{Clock: noon})
	for _, path := range []string{
		"/", "/api/messages?to=x", "/api/messages/%00", "/_sandbox/faults", "/_sandbox/webhooks", "/_sandbox/webhooks/faults", "/v3/mail/send", "/v3/user/webhooks/event/settings", "/v3/user/webhooks/event/settings/all",
		"/v3/user/webhooks/event/settings/signed/x", "/v3/user/webhooks/event/test", "/sms/json", "/sms/xml", "/help", "/messages/x", "/%ff", "/?to=<script>alert(1)</script>",
	} {
		for _, body := range []string{
			``, `{}`, `null`, `{"kind": "status", "status": 500, "count": 1}`, `{"kind": "latency", "delay_ms": -1}`, `{"kind": "hang", "to": "["}`, `{"url": "http://127.0.0.1:1/", "enabled": true}`, `{"enabled": true}`, "api_key=x&text=%00",
		} {
			f.Add("POST", path, body, "application/json")
			f.Add("GET", path, body, "")
		}
		f.Add("PATCH", path, `{"enabled": true}`, "application/json")
		f.Add("DELETE", path, ``, "")
	}
	f.Fuzz(func(t *testing.T, method, path, body, kind string) {
		target, err := url.ParseRequestURI(path)
		if err != nil || !strings.HasPrefix(path, "/") || strings.Contains(path, "flush") {
			return // Flush posts to where somebody said.
		}
		s.ClearFaults() // One that hangs would hang here, too.
		req, err := http.NewRequestWithContext(t.Context(), method, "http://sandbox", strings.NewReader(body))
		if err != nil {
			return
		}
		req.URL = target
		req.Header.Set("Content-Type", kind)
		req.Header.Set("Authorization", "Bearer SG.sandbox")
		rec := httptest.NewRecorder()
		s.Handler().ServeHTTP(rec, req)
		page := rec.Body.String()
		if rec.Code >= 500 || strings.HasPrefix(rec.Header().Get("Content-Type"), "text/html") && strings.Contains(page, "<script>alert") {
			t.Errorf("%s %s %q is answered %d %s", method, path, body, rec.Code, page)
		}
	})
}
