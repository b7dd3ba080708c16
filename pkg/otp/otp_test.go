package otp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"doorcode/pkg/keyring"
)

// ring returns a fresh ring.
func ring(t testing.TB) *keyring.Ring {
	t.Helper()
	r, err := keyring.New()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// code parses digits that a test typed.
func code(t testing.TB, digits string) Code {
	t.Helper()
	c, err := Parse(digits)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// SEC-01: uniform over all values, leading zeros kept. 1 000 buckets of the
// first three digits over 200 000 draws: chi-square has 999 degrees of freedom;
// 1 200 is beyond the 99.999 % point, so a failure is no chance.
func TestDraw_IsUniformAndKeepsLeadingZeros(t *testing.T) {
	t.Parallel()
	const draws = 200_000
	var buckets [1000]int
	zeros := 0
	for range draws {
		c, err := Draw(6)
		if err != nil {
			t.Fatal(err)
		}
		d := c.Reveal()
		if len(d) != 6 {
			t.Fatalf("%d digits", len(d))
		}
		buckets[int(d[0]-'0')*100+int(d[1]-'0')*10+int(d[2]-'0')]++
		if d[0] == '0' {
			zeros++
		}
	}
	chi, want := 0.0, float64(draws)/1000
	for _, n := range buckets {
		chi += (float64(n) - want) * (float64(n) - want) / want
	}
	if chi > 1200 || chi < 800 {
		t.Errorf("chi-square %.0f on 999 degrees of freedom", chi)
	}
	if share := float64(zeros) / draws; share < 0.096 || share > 0.104 {
		t.Errorf("share of leading zeros %.4f", share)
	}
}

// It shows SEC-02 of deploy/SECURITY.md.
func TestDraw_RefusesLengthsOutsideSixToTen(t *testing.T) {
	t.Parallel()
	for _, digits := range []int{-1, 0, 5, 11} {
		_, err := Draw(digits)
		if err == nil {
			t.Errorf("%d digits were drawn", digits)
		}
	}
	for digits := MinDigits; digits <= MaxDigits; digits++ {
		c, err := Draw(digits)
		if err != nil || len(c.Reveal()) != digits {
			t.Errorf("%d digits: %v", digits, err)
		}
	}
}

// SEC-04: exactly one string of ASCII digits, spaces and dashes ignored.
func TestParse_TakesWhatPeopleTypeAndNothingElse(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{
		"482917": "482917", "482 917": "482917", "482-917": "482917", " 482917 ": "482917", "4 8 2 9 1 7": "482917",
		"000000": "000000", "0123456789": "0123456789",
	} {
		if got := code(t, typed).Reveal(); got != want {
			t.Errorf("%q became another code", typed)
		}
	}
	for _, typed := range []string{
		"", " ", "12345", "12345678901", "abcdef", "12345a", "１２３４５６", "٤٨٢٩١٧", "482917\n", "482917\x00", "+482917", "48.2917",
		"0x1234", "4829\t17", strings.Repeat("1", 100_000), strings.Repeat(" ", 200) + "482917",
	} {
		_, err := Parse(typed)
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%.20q was taken: %v", typed, err)
		}
	}
}

// It shows SEC-32 of deploy/SECURITY.md.
func TestCode_ShowsAMaskEverywhere(t *testing.T) {
	t.Parallel()
	c := code(t, "482917")
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("code", "code", c)
	inJSON, err := json.Marshal(map[string]any{"code": c})
	if err != nil {
		t.Fatal(err)
	}
	for name, shown := range map[string]string{
		"%v": fmt.Sprintf("%v", c), "%+v": fmt.Sprintf("%+v", c), "%#v": fmt.Sprintf("%#v", c), "%s": fmt.Sprintf("%s", c),
		"%x": fmt.Sprintf("%x", c), "%q": fmt.Sprintf("%q", c), "struct": fmt.Sprintf("%+v", struct{ C Code }{c}),
		"String": c.String(), "GoString": c.GoString(), "log": log.String(), "JSON": string(inJSON),
	} {
		if strings.Contains(shown, "482917") || strings.Contains(shown, "343832") {
			t.Errorf("%s shows the code", name)
		}
	}
}

// SEC-05: change one bound fact at a time; every other digest differs.
func TestDigest_BindsEveryFact(t *testing.T) {
	t.Parallel()
	r, tags := ring(t), ring(t)
	b := Binding{Challenge: "c", Workspace: "w", Login: "l", LoginVersion: 1, FrontEnd: "f", Purpose: "sign_in"}
	_, tag := NewTag(tags, "c", code(t, "482917"))
	id, want := Digest(r, b, tag)
	for name, change := range map[string]func(*Binding){
		"challenge":     func(b *Binding) { b.Challenge = "d" },
		"workspace":     func(b *Binding) { b.Workspace = "x" },
		"login":         func(b *Binding) { b.Login = "x" },
		"login version": func(b *Binding) { b.LoginVersion = 2 },
		"front-end":     func(b *Binding) { b.FrontEnd = "x" },
		"purpose":       func(b *Binding) { b.Purpose = "factor_change" },
		"swapped": func(b *Binding) {
			b.Workspace, b.Login = b.Login, b.Workspace
		},
		"shifted": func(b *Binding) { b.Login, b.Workspace = "lw", "" },
	} {
		other := b
		change(&other)
		got, err := DigestWith(r, id, other, tag)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(got, want) {
			t.Errorf("the digest does not bind: %s", name)
		}
	}
	same, err := DigestWith(r, id, b, tag)
	if err != nil || !bytes.Equal(same, want) {
		t.Errorf("the digest is not repeatable: %v", err)
	}
	_, err = DigestWith(r, 99, b, tag)
	if !errors.Is(err, keyring.ErrUnknownKey) {
		t.Errorf("unknown key: %v", err)
	}
}

func TestTag_DependsOnCodeChallengeAndKey(t *testing.T) {
	t.Parallel()
	r := ring(t)
	_, want := NewTag(r, "c", code(t, "482917"))
	_, otherCode := NewTag(r, "c", code(t, "482918"))
	_, otherChallenge := NewTag(r, "d", code(t, "482917"))
	_, otherKey := NewTag(ring(t), "c", code(t, "482917"))
	for name, tag := range map[string]Tag{"code": otherCode, "challenge": otherChallenge, "key": otherKey} {
		if bytes.Equal(tag, want) {
			t.Errorf("the tag does not depend on the %s", name)
		}
	}
	_, spaced := NewTag(r, "c", code(t, "482 917"))
	if !bytes.Equal(spaced, want) {
		t.Error("the same code typed with a space has another tag")
	}
}

func TestTags_HoldTheTagOfEveryKeyAfterARotation(t *testing.T) {
	t.Parallel()
	old := ring(t)
	id, want := NewTag(old, "c", code(t, "482917"))
	next, err := old.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	tags := Tags(next, "c", code(t, "482917"))
	if len(tags) != 2 || !bytes.Equal(tags[id], want) || bytes.Equal(tags[next.Active()], want) {
		t.Errorf("tags of %d keys", len(tags))
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"482917", "482 917", "48-29-17", "", "٤٨٢٩١٧", "12345678901", "  1 2 3 4 5 6"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		c, err := Parse(typed)
		if err != nil {
			return
		}
		again, err := Parse(c.Reveal())
		if err != nil || again.Reveal() != c.Reveal() {
			t.Fatal("an accepted code does not read back the same")
		}
		if n := len(c.Reveal()); n < MinDigits || n > MaxDigits {
			t.Fatalf("a code of %d digits was accepted", n)
		}
	})
}
