package app_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// handOut makes an installation and hands it out; it returns the folder of the processes' folders and how to do it
// again.
func handOut(t *testing.T) (to string, again func()) {
	t.Helper()
	o := newOperator(t)
	o.do(t, "keys")
	certificates := filepath.Join(o.dir, "certificates")
	o.do(t, "certificates", "-dir", certificates)
	to = filepath.Join(o.dir, "volumes")
	again = func() {
		o.do(t, "hand-out", "-to", to, "-certificates", certificates, "-passwords", filepath.Join(o.dir, "passwords"))
	}
	again()
	return to, again
}

// It shows SEC-70 of deploy/SECURITY.md.
func TestP10_HandOutGivesAProcessWhatItHoldsAndNothingElse(t *testing.T) {
	t.Parallel()
	to, _ := handOut(t)
	for process, want := range map[string]string{
		"auth": "address.json api-key.json auth.nk auth.password ca.pem channel-email.json channel-sms.json digest.json " +
			"handle.json idempotency.json jwks.json row.json tag.json",
		"verifier":         "assertion.json ca.pem check-id.json digest.json handle.json verifier.nk verifier.password",
		"email-dispatcher": "ca.pem channel-email.json email-dispatcher.nk",
		"sms-dispatcher":   "ca.pem channel-sms.json sms-dispatcher.nk",
		"receipts":         "address.json ca.pem receipts.nk",
		"console":          "ca.pem console.json console.password",
		"nats":             "front-ends.conf nats-tls.conf nats.conf nats.key nats.pem nkeys.conf",
		"postgres":         "owner.password postgres.key postgres.pem",
		"doorcodectl":      "api-key.json auth.password ca.pem console.json console.password doorcodectl.nk owner.password row.json verifier.password",
	} {
		got := strings.Join(slices.Sorted(maps.Keys(files(t, filepath.Join(to, process)))), " ")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", process, diff)
		}
	}
	processes, err := os.ReadDir(to)
	if err != nil || len(processes) != 9 {
		t.Errorf("folders: %v, %v", processes, err)
	}
}

func TestHandOut_AgainKeepsPasswordsAndWhatOthersPutThere(t *testing.T) {
	t.Parallel()
	to, again := handOut(t)
	mine := filepath.Join(to, "auth", "mine")
	err := os.WriteFile(mine, []byte("mine"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	before := map[string]map[string][]byte{}
	for _, process := range []string{"auth", "doorcodectl", "postgres"} {
		before[process] = files(t, filepath.Join(to, process))
	}
	again()
	for process, want := range before {
		if diff := cmp.Diff(want, files(t, filepath.Join(to, process))); diff != "" {
			t.Errorf("%s was changed", process)
		}
	}
	passwords := []string{
		string(before["postgres"]["owner.password"]), string(before["auth"]["auth.password"]), string(before["doorcodectl"]["verifier.password"]),
	}
	for i, password := range passwords {
		if len(password) < 26 || slices.Contains(passwords[:i], password) {
			t.Errorf("password %d has %d characters, or is another's", i, len(password))
		}
	}
}

func TestHandOut_SaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	passwords := filepath.Join(o.dir, "passwords")
	o.refused(t, 2, "-to is missing", "hand-out", "-passwords", passwords)
	o.do(t, "keys")
	o.refused(t, 1, "ca.pem", "hand-out", "-to", filepath.Join(o.dir, "to"),
		"-passwords", passwords, "-certificates", filepath.Join(o.dir, "none"))
}
