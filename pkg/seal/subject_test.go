package seal

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

// It shows SEC-64 of deploy/SECURITY.md.
func TestSubject_OpensWithBothHalvesForItAtItsTimeAlone(t *testing.T) {
	t.Parallel()
	r, half := ring(t), bytes.Repeat([]byte{7}, SubjectSize)
	s, plain := Subject{Workspace: "acme", Login: "jo"}, []byte(`{"email": "jo@acme.example"}`)
	sealed, err := s.Seal(r, half, at, plain)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Open(r, half, at, sealed)
	if err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("it opens as %q: %v", got, err)
	}
	longer, err := s.Seal(r, half, at, append(plain, plain...))
	if err != nil || len(longer) != len(sealed) {
		t.Errorf("a longer address has another length: %v", err)
	}
	for name, open := range map[string]func() ([]byte, error){
		"another ring":    func() ([]byte, error) { return s.Open(ring(t), half, at, sealed) },
		"another half":    func() ([]byte, error) { return s.Open(r, bytes.Repeat([]byte{8}, SubjectSize), at, sealed) },
		"no half":         func() ([]byte, error) { return s.Open(r, nil, at, sealed) },
		"another time":    func() ([]byte, error) { return s.Open(r, half, at.Add(time.Microsecond), sealed) },
		"another subject": func() ([]byte, error) { return Subject{Workspace: "acmej", Login: "o"}.Open(r, half, at, sealed) },
		"cut":             func() ([]byte, error) { return s.Open(r, half, at, sealed[:len(sealed)-4]) },
		"nothing":         func() ([]byte, error) { return s.Open(r, half, at, "") },
		"not base64":      func() ([]byte, error) { return s.Open(r, half, at, "a|b") },
	} {
		_, err := open()
		if !errors.Is(err, ErrNotOpened) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = s.Seal(r, half[:31], at, plain)
	if err == nil {
		t.Error("a short half was taken")
	}
}

func TestNewHalf_IsDrawn(t *testing.T) {
	t.Parallel()
	a, err := NewHalf()
	b, err2 := NewHalf()
	if err != nil || err2 != nil || len(a) != SubjectSize || bytes.Equal(a, b) {
		t.Errorf("%d and %d bytes, %v, %v", len(a), len(b), err, err2)
	}
}
