package account

import (
	"net/mail"
	"strings"
	"testing"
)

// FuzzValidateEmail holds that what is taken is one address to everybody who reads it, and that its mask shows the first
// letter and the domain alone.
func FuzzValidateEmail(f *testing.F) {
	for _, seed := range []string{
		"jo@acme.example", "j.o+tag@acme.example", "a@b", "jo@acme.example,eve@evil.example", "jo@acme.example\r\nBcc: eve@evil.example", `"jo@x"@acme.example`,
		"jo@@acme.example", "jo@acme.example@evil.example", "jo@", "@acme.example", ".jo@acme.example", "jo..x@acme.example", "jo@-acme.example", "jo@acme..example",
		"jo@[127.0.0.1]", "jö@acme.example", "jo@ácme.example", "jo@acme.example\x00", "<jo@acme.example>", "jo @acme.example", "jo@acme_x.example", "=?utf-8?q?jo?=@acme.example",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		mask := Mask(address)
		local, domain, _ := strings.Cut(address, "@")
		if ValidateEmail(address) != nil {
			return
		}
		parsed, err := mail.ParseAddress(address)
		if err != nil || parsed.Address != address || parsed.Name != "" {
			t.Errorf("%q is an address to us, and %v %v to net/mail", address, parsed, err)
		}
		if strings.ContainsAny(address, "\r\n\x00 ,;<>\"") || strings.Count(address, "@") != 1 {
			t.Errorf("%q can hide another recipient", address)
		}
		if ValidateEmail(CompareForm(address)) != nil || CompareForm(CompareForm(address)) != CompareForm(address) {
			t.Errorf("the form of %q that is compared is no address", address)
		}
		if want := local[:1] + "•••@" + domain; mask != want {
			t.Errorf("%q is shown as %q", address, mask)
		}
	})
}

// FuzzValidate holds that ids, names, locales and roles that are taken do nothing in a path, a header, a page or a log.
func FuzzValidate(f *testing.F) {
	for _, seed := range []string{"", "w-1042", "..", ".", "a/b", "Acme", "Acme\u202e", "https://x", "nl-BE", "zh-Hant-TW", "804613", "owner", "é", "\xff", strings.Repeat("x", 65)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if ValidateID(s) == nil && (s == "" || len(s) > MaxID || strings.ContainsAny(s, "/?#%\\ \"'<>&@:\x00\r\n")) {
			t.Errorf("%q is an id", s)
		}
		if ValidateName(s) == nil && strings.ContainsAny(s, "\r\n\x00\u2028\u2029\u202e\u2066") {
			t.Errorf("%q is a name", s)
		}
		if ValidateLocale(s) == nil {
			digits := 0
			for _, c := range []byte(s) {
				if c >= '0' && c <= '9' {
					digits++
				} else {
					digits = 0
				}
				if digits >= 6 || c >= 0x80 || c <= ' ' {
					t.Fatalf("%q is a locale", s)
				}
			}
		}
		role, err := ParseRole(s)
		if err == nil && string(role) != s {
			t.Errorf("%q is the role %q", s, role)
		}
	})
}
