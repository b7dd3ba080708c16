package otp_test

import (
	"testing"
	"time"

	"doorcode/pkg/keyring"
	"doorcode/pkg/otp"
)

func TestWaiver_IsGoodForWhatItWasGivenForAlone(t *testing.T) {
	t.Parallel()
	ring, err := keyring.New()
	if err != nil {
		t.Fatal(err)
	}
	given := otp.Waiver{Binding: otp.Binding{Challenge: "c", Workspace: "w", Login: "l", LoginVersion: 3, FrontEnd: "f", Purpose: "sign_in"}, Why: "grace", Skips: 5, Until: time.UnixMicro(1_800_000_000_000_000)}
	key, mac := given.Seal(ring)
	if !given.Sealed(ring, key, mac) {
		t.Fatal("it does not fit itself")
	}
	for name, change := range map[string]func(*otp.Waiver){
		"another challenge": func(w *otp.Waiver) { w.Challenge = "d" }, "another workspace": func(w *otp.Waiver) { w.Workspace = "x" },
		"another login": func(w *otp.Waiver) { w.Login = "m" }, "a later version": func(w *otp.Waiver) { w.LoginVersion++ },
		"another front-end": func(w *otp.Waiver) { w.FrontEnd = "g" }, "another purpose": func(w *otp.Waiver) { w.Purpose = "proof" },
		"another reason": func(w *otp.Waiver) { w.Why = "exempt" }, "more skips": func(w *otp.Waiver) { w.Skips++ },
		"no skip": func(w *otp.Waiver) { w.Skips = 0 }, "a later end": func(w *otp.Waiver) { w.Until = w.Until.Add(time.Microsecond) },
	} {
		w := given
		change(&w)
		if w.Sealed(ring, key, mac) {
			t.Errorf("%s: the waiver is taken", name)
		}
	}
	// What fits a code is no waiver, and the reverse.
	_, digest := otp.Digest(ring, given.Binding, nil)
	if given.Sealed(ring, key, digest) || given.Sealed(ring, key, nil) || given.Sealed(ring, key+1, mac) {
		t.Error("something else is taken for a waiver")
	}
}
