package app_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"

	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/postgres"
	"doorcode/pkg/postgres/pgtest"
)

// putChallenge records a challenge, as it was issued at eight, that bounced, and returns its id.
func putChallenge(t *testing.T, db *pgtest.Database, reference string) string {
	t.Helper()
	id := strings.Repeat("-", 21) + "A"
	at := time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	routes := []event.Route{
		{Channel: "email", Recipient: "j•••@acme.example", Address: []byte("hash"), PerHour: 1, PerDay: 1, Envelope: "sealed"},
		{Channel: "sms", Recipient: "•••48", Address: []byte("other"), PerHour: 1, PerDay: 1, Envelope: "sealed"},
	}
	audit := func(name string, in time.Duration, kind event.Type, detail string) postgres.Audit {
		return postgres.Audit{ID: id + name, At: at.Add(in), Kind: kind, Workspace: "acme", Login: "jo", Challenge: id, Actor: "web", Detail: json.RawMessage(detail)}
	}
	err := db.Verifier(t).Record(t.Context(), postgres.Batch{
		Challenges: []postgres.Issued{{Event: event.Issued{
			Challenge: id, Workspace: "acme", Login: "jo", LoginVersion: 1, FrontEnd: "web", Purpose: challenge.SignIn, Channel: "email",
			Label: "KTM", SupportReference: reference, DigestKey: 1, Digest: []byte("digest"), TagKey: 1, Routes: routes,
			Policy: challenge.DefaultPolicy(), CreatedAt: at, ResendAt: at, ExpiresAt: at.Add(10 * time.Minute),
		}}},
		Audit: []postgres.Audit{
			audit(".1", 0, event.ChallengeIssued, `{"channel": "email", "support_reference": "`+reference+`", "label": "KTM"}`),
			audit(".2", 2*time.Second, event.DeliveryAttempted, `{"send": 1, "attempt": "a", "provider": "sendgrid", "result": "accepted"}`),
			audit(".3", 3*time.Second, event.ReceiptRecorded, `{"send": 1, "provider": "sendgrid", "status": "failed", "reason": "invalid_recipient",
				"detail": "550 <jo@acme.example>\u001b[2J or +31612345678 unknown"}`),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// A caller reads the reference out with the letter O in place of zero (edge case 25).
func TestChallengeShow_TellsItsStoryByWhatPeopleSay(t *testing.T) {
	t.Parallel()
	o, db := atAudit(t)
	reference := challenge.ReferenceOf([]byte{0, 1, 0, 15, 1, 20, 7})
	id := putChallenge(t, db, reference)
	want := `reference  ` + challenge.ShowReference(reference) + `
challenge  ` + id + `
state      expired
workspace  acme
login      jo
front-end  web
purpose    sign_in
label      KTM
route      email j•••@acme.example
route      sms •••48

2026-03-02 08:00:00Z  sign-in   a code was asked for by front-end web
2026-03-02 08:00:00Z  send 1    code ordered to j•••@acme.example by e-mail
2026-03-02 08:00:02Z  send 1    handed to sendgrid: accepted
2026-03-02 08:00:03Z  send 1    sendgrid reports: bounced, the receiver did not take it (invalid recipient): 550 <j•••@acme.example>�[2J or •••78 unknown

what to try: The recipient did not get it and will not: offer another proven route, •••48 by SMS; then have the person sign in again.
`
	said := "oi of - " + strings.ToLower(reference[4:])
	got := o.do(t, "challenge", "show", said, "-operator", "sue")
	if got != want {
		t.Errorf("it shows\n%s\nwant\n%s", got, want)
	}
	// Its id begins with a dash, and the audit knows by now who looked.
	got = o.do(t, "challenge", "show", id, "-operator", "bob")
	contains(t, got, "  shown to operator sue\n")
	if strings.ContainsFunc(strings.ReplaceAll(got, "\n", ""), func(r rune) bool { return !unicode.IsPrint(r) }) || strings.Contains(got, "sealed") {
		t.Errorf("it shows %q", got)
	}
	db.Exec(t, `DELETE FROM challenges`)
	contains(t, o.do(t, "challenge", "show", "-operator", "bob", id), "no end is on record", "login      jo\n", "label      KTM",
		"own row is gone", "code ordered by e-mail", "shown to operator bob")
	var record string
	db.Scan(t, `SELECT string_agg(actor || ' ' || workspace || ' ' || login, ', ' ORDER BY at) FROM audit WHERE kind = 'challenge.v1.shown' AND challenge_id = $1`,
		[]any{id}, &record)
	if record != "sue acme jo, bob acme jo, bob acme jo" {
		t.Errorf("the record is %s", record)
	}
}

func TestChallengeShow_SaysWhyItShowsNothing(t *testing.T) {
	t.Parallel()
	o, _ := atAudit(t)
	good := challenge.ReferenceOf([]byte("support"))
	for _, c := range []struct {
		args, says string
		code       int
	}{
		{"challenge show " + good, "-operator is missing", 2},
		{"challenge show -operator sue", "takes 1 words", 2},
		{"challenge show " + good + " -operator sue@acme.example", "-operator", 2},
		{"challenge show " + good[:7] + " -operator sue", "too short with 7", 1},
		{"challenge show U" + good[1:] + " -operator sue", "mistyped: please read it again", 1},
		{"challenge show " + good + " -operator sue", "nothing is on record about it", 1},
		{"challenge show AAAAAAAAAAAAAAAAAAAAAA -operator sue", "nothing is on record about it", 1},
	} {
		a := o.run(t, strings.Fields(c.args)...)
		if a.code != c.code || a.out != "" || !strings.Contains(a.complaint, c.says) {
			t.Errorf("%s: %d, %q and %q", c.args, a.code, a.out, a.complaint)
		}
	}
}
