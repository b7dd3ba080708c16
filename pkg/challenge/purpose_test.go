package challenge

import (
	"errors"
	"testing"
)

func TestPurpose_IsAboutWhatItKnows(t *testing.T) {
	t.Parallel()
	for _, p := range Purposes() {
		for _, about := range p.Abouts() {
			err := p.Check(about)
			if err != nil {
				t.Errorf("%s is not about %s: %v", p, about, err)
			}
		}
	}
	for p, about := range map[Purpose]About{SignIn: AboutSMS, Approval: AboutInvitation, Proof: AboutSettings, "": "", "door": AboutSMS} {
		err := p.Check(about)
		if !errors.Is(err, ErrPurpose) {
			t.Errorf("%s is about %s: %v", p, about, err)
		}
	}
	if SignIn.Check("") != nil || Approval.Check("") == nil || Proof.Check("") == nil {
		t.Error("a sign-in is about nothing, and the others about something")
	}
}
