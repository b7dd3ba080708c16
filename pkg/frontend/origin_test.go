package frontend_test

import (
	"testing"

	"doorcode/pkg/frontend"
)

func TestParseOrigin_TakesOriginsInOneForm(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"https://app.example.com": "https://app.example.com", "https://APP.example.com:443/": "https://app.example.com",
		"https://app.example.com:8443": "https://app.example.com:8443", "http://127.0.0.1:8090": "http://127.0.0.1:8090",
		"http://localhost": "http://localhost", "https://10.0.0.7": "https://10.0.0.7",
		"http://app.example.com": "", "https://": "", "https://a/b": "", "https://a?b": "", "https://a#": "", "https://a@b": "", "https://*.a": "",
		"https://a;script-src": "", "https://a b": "", "https://a,b": "", "ftp://a": "", "//a": "", "": "", "https:a": "", "https://é.example": "",
		"http://127.0.0.1.evil.example": "", "http://localhost.evil.example": "",
	} {
		got, err := frontend.ParseOrigin(s)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v", s, got, err)
		}
	}
}

func TestFrontEnd_ReturnsToItsOwnOriginsAlone(t *testing.T) {
	t.Parallel()
	f := frontend.FrontEnd{ReturnOrigins: []string{"https://app.example.com", "http://127.0.0.1", "http://localhost:8090"}}
	for address, want := range map[string]bool{
		"https://app.example.com/in?a=b#c": true, "https://APP.EXAMPLE.com:443": true, "http://127.0.0.1:1234/in": true, "http://127.0.0.1/in": true,
		"http://localhost:8090/": true, "http://localhost:8091/": false, "https://app.example.com:8443/in": false, "http://app.example.com/in": false,
		"https://127.0.0.1:1234/in": false, "https://app.example.com.evil.example/": false, "https://evil.example/https://app.example.com": false,
		"https://app.example.com@evil.example/": false, "https://app.example.com\\@evil.example/": false, "javascript:alert(1)": false, "/in": false, "": false,
	} {
		if got := f.Returns(address); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
	if (frontend.FrontEnd{}).Returns("https://app.example.com/") {
		t.Error("a front-end without origins has a way back")
	}
	origin, err := frontend.OriginOf("http://127.0.0.1:1234/in;x?y")
	if err != nil || origin != "http://127.0.0.1:1234" {
		t.Errorf("origin %s, %v", origin, err)
	}
}
