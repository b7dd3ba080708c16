package phone_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"doorcode/pkg/phone"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestParse_TakesWhatCanGetACode holds the rows of providers.md 10 that end in
// a message.
// It shows SEC-65 of deploy/SECURITY.md.
func TestParse_TakesWhatCanGetACode(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]phone.Number{
		"+12025550123":                 {E164: "+12025550123", Region: "US", Kind: phone.FixedOrMobile},
		"+1 (202) 555-0123":            {E164: "+12025550123", Region: "US", Kind: phone.FixedOrMobile},
		"+447911123456":                {E164: "+447911123456", Region: "GG", Kind: phone.Mobile},
		"+44 (0)7911 123456":           {E164: "+447911123456", Region: "GG", Kind: phone.Mobile},
		"+4407911123456":               {E164: "+447911123456", Region: "GG", Kind: phone.Mobile},
		"\uff0b\uff14\uff147911123456": {E164: "+447911123456", Region: "GG", Kind: phone.Mobile},
		"+\u0664\u0664\u0667911123456": {E164: "+447911123456", Region: "GG", Kind: phone.Mobile},
		"+44\u00a07911–123.456":        {E164: "+447911123456", Region: "GG", Kind: phone.Mobile},
		"+18765551234":                 {E164: "+18765551234", Region: "JM", Kind: phone.Mobile},
		"+34600111222":                 {E164: "+34600111222", Region: "ES", Kind: phone.Mobile},
		"+33612345678":                 {E164: "+33612345678", Region: "FR", Kind: phone.Mobile},
		"+4915123456789":               {E164: "+4915123456789", Region: "DE", Kind: phone.Mobile},
	} {
		got, err := phone.Parse(text)
		if err != nil || got.E164 != want.E164 || got.Region != want.Region || got.Kind != want.Kind {
			t.Errorf("%q: got %s %s %s, %v", text, got.E164, got.Region, got.Kind, err)
		}
	}
}

// TestParse_RefusesEverythingElse holds the other rows.
// It shows SEC-41 and SEC-65 of deploy/SECURITY.md.
func TestParse_RefusesEverythingElse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]error{
		"":                            phone.ErrMalformed,
		"+":                           phone.ErrMalformed,
		"+1":                          phone.ErrMalformed,
		"(415) 555-2671":              phone.ErrMalformed, // No country is guessed.
		"00447911123456":              phone.ErrMalformed,
		"447911123456":                phone.ErrMalformed,
		"+1-800-FLOWERS":              phone.ErrMalformed,
		"1-800-FLOWERS":               phone.ErrMalformed,
		"tel:+447911123456":           phone.ErrMalformed,
		"+447911123456;ext=5":         phone.ErrMalformed,
		"+447911123456 x5":            phone.ErrMalformed,
		"+12025550123#5":              phone.ErrMalformed,
		"+12025550123,5":              phone.ErrMalformed,
		"+12025550123/+12025550124":   phone.ErrMalformed,
		"+44\r\n7911123456":           phone.ErrMalformed,
		" +447911123456":              phone.ErrMalformed,
		"++447911123456":              phone.ErrMalformed,
		"+44\x007911123456":           phone.ErrMalformed,
		"+44\xff7911123456":           phone.ErrMalformed,
		"+" + strings.Repeat("4", 70): phone.ErrMalformed,
		"+999123456789":               phone.ErrMalformed, // No such calling code.
		"+447700900123":               phone.ErrInvalid,   // The range for films.
		"+5215512345678":              phone.ErrInvalid,   // An old plan.
		"+22512345678":                phone.ErrInvalid,
		"+99677123456":                phone.ErrInvalid,
		"+1202555012":                 phone.ErrInvalid,
		"+19005551234":                phone.ErrKind, // Premium rate.
		"+449012345678":               phone.ErrKind,
		"+979123456789":               phone.ErrKind,
		"+447012345678":               phone.ErrKind, // Personal.
		"+15005550123":                phone.ErrKind,
		"+881612345678":               phone.ErrKind, // Satellite: mobile, and of no country.
		"+870301234567":               phone.ErrKind,
		"+88213300655":                phone.ErrKind, // Over the Internet.
		"+80012345678":                phone.ErrKind, // Toll-free.
		"+18002345678":                phone.ErrKind,
		"+493012345678":               phone.ErrKind, // A fixed line.
	} {
		got, err := phone.Parse(text)
		if !errors.Is(err, want) || got.E164 != "" {
			t.Errorf("%q: got %s, %v; want %v", text, got.E164, err, want)
		}
		if err != nil && strings.ContainsAny(err.Error(), "0123456789") {
			t.Errorf("%q: a number shows in %q", text, err)
		}
	}
}

// It shows SEC-41 and SEC-65 of deploy/SECURITY.md.
func TestNumber_IsAllowedByCountryAlone(t *testing.T) {
	t.Parallel()
	jamaica, err := phone.Parse("+18765551234")
	if err != nil {
		t.Fatal(err)
	}
	if jamaica.Allowed(nil) || jamaica.Allowed([]string{"US", "CA", "1"}) || !jamaica.Allowed([]string{"US", "JM"}) {
		t.Error("a country is not what decides")
	}
}

func TestIsRegion_KnowsCountriesAlone(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"US", "CA", "DE", "GB", "GG", "JM", "IN"} {
		if !phone.IsRegion(code) {
			t.Errorf("%s is no region", code)
		}
	}
	for _, code := range []string{"", "us", "UK", "001", "USA", "ZZ", "1"} {
		if phone.IsRegion(code) {
			t.Errorf("%q is a region", code)
		}
	}
}

// It shows SEC-25 of deploy/SECURITY.md.
func TestMask_ShowsTheLastTwoDigits(t *testing.T) {
	t.Parallel()
	for number, want := range map[string]string{
		"+12025550148": "•••48", "12025550148": "•••48", "+1 202 555 01 48": "•••48",
		"": "•••", "4": "•••", "48": "•••", "123456": "•••", "+1202555014x": "•••", "+1202555014８": "•••",
	} {
		if got := phone.Mask(number); got != want {
			t.Errorf("%q shown as %q", number, got)
		}
	}
}

func TestNumber_ShowsItselfMasked(t *testing.T) {
	t.Parallel()
	n, err := phone.Parse("+12025550148")
	if err != nil {
		t.Fatal(err)
	}
	var shown bytes.Buffer
	slog.New(slog.NewTextHandler(&shown, nil)).Info("parsed", "number", n, "pointer", &n)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&shown, verb+verb+verb, n, &n, []phone.Number{n})
	}
	text, err := json.Marshal([]any{n, &n})
	if err != nil {
		t.Fatal(err)
	}
	shown.Write(text)
	if strings.Contains(shown.String(), "555") || !strings.Contains(shown.String(), "•••48") {
		t.Errorf("shown as %s", shown.String())
	}
}

func TestParse_IsSafeForManyGoroutines(t *testing.T) {
	t.Parallel()
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for n := range 20 {
				want := fmt.Sprintf("+12025550%03d", n+100)
				got, err := phone.Parse(want)
				if err != nil || got.E164 != want {
					t.Errorf("%s: got %s, %v", want, got.E164, err)
				}
			}
		})
	}
	group.Wait()
}

// FuzzParse proves that what is accepted is stored in a form that is accepted
// again and is the same number.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"+12025550123", "+44 (0)7911 123456", "+٤٤٧٩١١١٢٣٤٥٦", "+1(", "+447700900123", "tel:+1", "+\xff", "+39 06 1234"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := phone.Parse(text)
		if err != nil {
			return
		}
		if len(n.E164) < 8 || len(n.E164) > 16 || n.E164[0] != '+' || strings.Trim(n.E164[1:], "0123456789") != "" || !phone.IsRegion(n.Region) {
			t.Fatalf("%q became %q of %q", text, n.E164, n.Region)
		}
		again, err := phone.Parse(n.E164)
		if err != nil || again.E164 != n.E164 || again.Region != n.Region || again.Kind != n.Kind {
			t.Errorf("%q became %q, and that %q, %v", text, n.E164, again.E164, err)
		}
	})
}

func TestCallingCode_IsThatOfACountry(t *testing.T) {
	t.Parallel()
	for region, want := range map[string]string{"ES": "+34", "US": "+1", "GG": "+44", "XX": "", "": ""} {
		if got := phone.CallingCode(region); got != want {
			t.Errorf("%s: %q, not %q", region, got, want)
		}
	}
}
