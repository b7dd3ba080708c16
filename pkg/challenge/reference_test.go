package challenge

import (
	"errors"
	"strings"
	"testing"
)

// refusedAs fails the test unless a reference is refused with that error.
func refusedAs(t *testing.T, typed string, want error) {
	t.Helper()
	got, err := ParseReference(typed)
	if got != "" || !errors.Is(err, want) {
		t.Errorf("%q is read as %q, %v; want %v", typed, got, err, want)
	}
}

// Edge case 25: a reference read out with the letter O in place of zero.
func TestParseReference_ForgivesWhatPeopleDo(t *testing.T) {
	t.Parallel()
	want := ReferenceOf([]byte{0, 1, 0, 15, 1, 20, 7}) // 010F1M7 and its check character
	check := want[7:]
	for _, typed := range []string{
		want, ShowReference(want), strings.ToLower(want), "O1OF1M7" + check, "oioflm7" + check, "0L0fIm7" + strings.ToLower(check),
		" 0 1 0 F - 1 M 7 " + check + "\n", "010F\u20131M7" + check, "010F\u00a01M7" + check,
	} {
		got, err := ParseReference(typed)
		if err != nil || got != want {
			t.Errorf("%q is read as %q, %v; want %q", typed, got, err, want)
		}
	}
}

func TestParseReference_TellsShortFromMistyped(t *testing.T) {
	t.Parallel()
	good := ReferenceOf([]byte("support"))
	for _, typed := range []string{"", " - ", good[:7], good[1:], good + "0", good + good} {
		refusedAs(t, typed, ErrReferenceLength)
	}
	for _, typed := range []string{"U" + good[1:], good[:7] + "!", "\u00c4" + good[1:], good[:3] + "\x1b" + good[4:]} {
		refusedAs(t, typed, ErrReferenceMistyped)
	}
}

// Edge case 25 once more: whatever one character becomes, it is noticed.
func FuzzParseReference(f *testing.F) {
	f.Add([]byte("support"), "4f72-kq9r")
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0}, "OOOO OOOO")
	f.Add([]byte{31, 31, 31, 31, 31, 31, 31}, "\xff")
	f.Fuzz(func(t *testing.T, sum []byte, typed string) {
		got, err := ParseReference(typed)
		if err == nil {
			again, err := ParseReference(ShowReference(got))
			if err != nil || again != got || len(got) != 8 {
				t.Errorf("%q is read as %q, and that as %q, %v", typed, got, again, err)
			}
		}
		if len(sum) < 7 {
			return
		}
		drawn := ReferenceOf(sum)
		got, err = ParseReference(ShowReference(drawn))
		if err != nil || got != drawn {
			t.Fatalf("%q is read as %q, %v", ShowReference(drawn), got, err)
		}
		for place := range drawn {
			for _, other := range crockford + "U*" {
				if byte(other) != drawn[place] {
					refusedAs(t, drawn[:place]+string(other)+drawn[place+1:], ErrReferenceMistyped)
				}
			}
		}
	})
}
