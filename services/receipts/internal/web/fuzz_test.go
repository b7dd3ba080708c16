package web_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"doorcode/services/receipts/internal/sendgrid"
)

// FuzzWebhooks holds that no webhook, signed or not, is answered with a 5xx, and that the log has no address of it.
func FuzzWebhooks(f *testing.F) {
	b := newBench(f)
	for _, body := range []string{
		"", "[]", "{}", "null", "[" + entry("delivered", 1_795_472_100, "") + "]", "[" + entry("bounce", 1_795_472_100, `,"reason":"550 <jo@acme.example>\u0000"`) + ",7]",
		`[{"email":"jo@acme.example","event":"bounce","timestamp":1795472100}]`, `{"status":"delivered","client-ref":"` + ref + `"}`, "status=delivered&to=x", "\xff",
	} {
		for _, path := range []string{"/webhooks/sendgrid", "/webhooks/vonage", "/webhooks/vonage?status=delivered&timestamp=1795472109&sig=00", "/webhooks/x", "/"} {
			f.Add("POST", path, "application/json", body, true)
			f.Add("GET", path, "", body, false)
		}
		f.Add("POST", "/webhooks/vonage", "application/x-www-form-urlencoded", body, false)
	}
	f.Fuzz(func(t *testing.T, method, path, kind, body string, signed bool) {
		target, err := url.ParseRequestURI(path)
		if err != nil || !strings.HasPrefix(path, "/") {
			return
		}
		req, err := http.NewRequestWithContext(t.Context(), method, "http://receipts", strings.NewReader(body))
		if err != nil {
			return
		}
		req.URL = target
		req.Header.Set("Content-Type", kind)
		if signed {
			timestamp := fmt.Sprint(now().Unix())
			sum := sha256.Sum256([]byte(timestamp + body))
			der, err := ecdsa.SignASN1(rand.Reader, b.key, sum[:])
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set(sendgrid.SignatureHeader, base64.StdEncoding.EncodeToString(der))
			req.Header.Set(sendgrid.TimestampHeader, timestamp)
		}
		rec := httptest.NewRecorder()
		b.logs.mu.Lock()
		b.logs.buf.Reset()
		b.logs.mu.Unlock()
		b.handler.ServeHTTP(rec, req)
		if rec.Code >= 500 {
			t.Errorf("%s %s %q is answered %d %s", method, path, body, rec.Code, rec.Body)
		}
		if lines := b.logs.String(); strings.Contains(lines, "@") {
			t.Errorf("%s %s %q is logged: %s", method, path, body, lines)
		}
	})
}
