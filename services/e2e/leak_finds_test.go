package e2e

import (
	"crypto/sha256"
	"encoding/base64"
	endian "encoding/binary"
	"encoding/hex"
	"fmt"
	"html"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"
)

// sample is a search for one secret of each kind.
func sample() *leakSearch {
	s := newLeakSearch()
	s.hide(issuedCode, "8046133911")
	s.hide(typedCode, "0070010200")
	s.hide(mailAddress, "qkim5rst7uvw")
	s.hide(phoneNumber, "2015550148")
	return s
}

// The search behind TestP4_NoCodeAndNoAddressLeaksAnywhere finds each form in which a log, an event, a row or a page may
// have a secret.
func TestP4_TheSearchFindsEveryForm(t *testing.T) {
	t.Parallel()
	const mail = "qkim5rst7uvw+a&b@acme.example"
	wide := func(s string) string {
		var b strings.Builder
		for _, unit := range utf16.Encode([]rune(s)) {
			b.Write([]byte{byte(unit), byte(unit >> 8)})
		}
		return b.String()
	}
	standard, forURLs := base64.StdEncoding.EncodeToString, base64.RawURLEncoding.EncodeToString
	texts := map[string]string{
		"a log line":             `{"level":"DEBUG","msg":"checked","code":"8046133911"}`,
		"a row of the audit":     `{"kind": "check.v1.rejected", "detail": {"typed": 70010200, "code": "0070010200"}}`,
		"an event":               `{"specversion":"1.0","data_base64":"` + standard([]byte(`{"recipient":"`+mail+`"}`)) + `"}`,
		"a span":                 "\x0a\x10code\x12\x0a8046133911",
		"inside of more digits":  "at 17804613391122",
		"as a number in JSON":    `{"code":8046133911}`,
		"an address in capitals": "to " + strings.ToUpper(mail), "an address in a URL": "/?mail=" + url.QueryEscape(mail),
		"an address on a page": html.EscapeString("<" + mail + ">"), "a number with its plus": "+12015550148",
		"hex": hex.EncodeToString([]byte("8046133911")), "bytea of a dump": `\x` + hex.EncodeToString([]byte("x"+mail)),
		"HEX":  strings.ToUpper(hex.EncodeToString([]byte(mail))),
		"wide": "x" + wide("8046133911"), "wide address": wide(mail),
		"JSON escaped": `"\u0038\u0030\u0034\u0036\u0031\u0033\u0033\u0039\u0031\u0031"`, "URL escaped": "%38%30%34%36%31%33%33%39%31%31",
	}
	for i := range 3 {
		before := strings.Repeat(">", i)
		texts[fmt.Sprint("base64 after ", i)] = standard([]byte(before + "8046133911" + "<"))
		texts[fmt.Sprint("base64 for URLs after ", i)] = forURLs([]byte(before + mail))
	}
	for name, text := range texts {
		s := sample()
		s.read(evidence{source: "logs", name: name, data: []byte(text)})
		if len(s.leaks()) == 0 {
			t.Errorf("%s is not found: %q", name, text)
		}
	}
}

func TestP4_TheSearchTakesTheDirectoryAndMasksForGood(t *testing.T) {
	t.Parallel()
	s := sample()
	for _, d := range []evidence{
		{source: "dump", name: "logins", inDirectory: true, data: []byte("w\tkim\tqkim5rst7uvw@acme.example\t+12015550148")},
		{source: "logs", name: "auth", data: []byte(`q•••@acme.example •••48 804613391 1 8046-133911 qkim5rst7uv`)},
	} {
		s.read(d)
	}
	if leaks := s.leaks(); len(leaks) > 0 || len(s.found) != 2 {
		t.Errorf("leaks %v, found %v", leaks, s.found)
	}
	s.read(evidence{source: "dump", name: "logins", inDirectory: true, data: []byte("8046133911")})
	if leaks := s.leaks(); len(leaks) != 1 {
		t.Errorf("a code in the directory: %v", leaks)
	}
}

// Among so many random digits some codes are found by chance, and that is no leak.
func TestP4_TheSearchKnowsWhatChanceFinds(t *testing.T) {
	t.Parallel()
	// Octal digits, so that there are few codes and many hits; the same ones in every run.
	drawn := 0
	octal := func() string {
		drawn++
		sum := sha256.Sum256([]byte(strconv.Itoa(drawn)))
		return fmt.Sprintf("%010o", endian.BigEndian.Uint32(sum[:])>>2)
	}
	var noise strings.Builder
	for noise.Len() < 1<<20 {
		noise.WriteString(octal())
	}
	s := newLeakSearch()
	for range 20_000 {
		s.hide(controlCode, octal())
		s.hide(issuedCode, octal())
	}
	s.read(evidence{source: "files", name: "noise", data: []byte(noise.String())})
	if len(s.found) == 0 || len(s.leaks()) > 0 {
		t.Errorf("%d found, %.1f expected, %d allowed", len(s.found), s.expected("files"), s.allowed("files"))
	}
	for want, mean := range map[int]float64{0: 0, 1: 1e-6 * 2, 2: 0.005, 10: 1.5} {
		one := &leakSearch{windows: map[string]int{"x": int(mean * codeSpace)}, digits: map[string]secret{"": {}}, secrets: map[secretKind]int{}}
		if got := one.allowed("x"); got != want {
			t.Errorf("%g expected: %d allowed, not %d", mean, got, want)
		}
	}
}
