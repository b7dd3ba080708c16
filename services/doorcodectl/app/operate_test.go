package app_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/event"
	"doorcode/pkg/event/eventtest"
	"doorcode/pkg/postgres/pgtest"
)

// atWork is atBus with the streams.
func atWork(t *testing.T) (*operator, *bustest.Bus, *pgtest.Database) {
	t.Helper()
	o, b, db := newOperator(t), bustest.Start(t), pgtest.Open(t)
	o.useBus(t, b)
	o.useDatabase(t, db.OwnerURL())
	return o, b, db
}

// contains fails the test when a text lacks one of several.
func contains(t *testing.T, text string, wanted ...string) {
	t.Helper()
	for _, want := range wanted {
		if !strings.Contains(text, want) {
			t.Errorf("it lacks %q: %s", want, text)
		}
	}
}

// letter puts a dead letter as the e-mail dispatcher does.
func letter(t *testing.T, b *bustest.Bus, id, subject, data string) {
	t.Helper()
	_, err := b.Connect(t, "email-dispatcher").Publish(t.Context(), bus.Message{
		Subject: "doorcode.dlq.email", ID: id, Data: []byte(data),
		Header: map[string]string{"ce-type": "challenge.v1.issued", "ce-id": "e1", "doorcode-subject": subject, "doorcode-reason": "malformed\x1b[2Jevent"},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestDeadLetters_AreShownReplayedAndDiscarded(t *testing.T) {
	t.Parallel()
	o, b, db := atWork(t)
	if out := o.do(t, "dead-letters", "list"); out != "dead letters: 0\n" {
		t.Errorf("an empty list says %q", out)
	}
	const original = "doorcode.challenge.email"
	// The original stands in its stream under its own id, which is still remembered.
	_, err := b.Connect(t, "auth").Publish(t.Context(), bus.Message{
		Subject: original, ID: "e1", Header: map[string]string{"ce-type": "challenge.v1.issued", "ce-id": "e1"}, Data: []byte("{}"),
	})
	if err != nil {
		t.Fatal(err)
	}
	letter(t, b, "DOORCODE_CHALLENGES.1", original, "{}")
	letter(t, b, "DOORCODE_CHALLENGES.2", original, "{\x07}")
	out := o.do(t, "dead-letters", "list")
	contains(t, out, "1  ", "  open  doorcode.dlq.email  doorcode.challenge.email: malformed", "dead letters: 2\n")
	if strings.Contains(out, "\x1b") {
		t.Error("a letter may steer the terminal")
	}
	contains(t, o.do(t, "dead-letters", "show", "2"), "ce-type: challenge.v1.issued\n", "doorcode-subject: "+original, "\n\n{\uFFFD}\n")

	if out = o.do(t, "dead-letters", "replay", "1"); out != "1: replayed\n" {
		t.Errorf("it says %q", out)
	}
	o.refused(t, 1, "replayed or discarded before", "dead-letters", "replay", "1")
	o.refused(t, 1, "replayed or discarded before", "dead-letters", "discard", "1", "-reason", "late")
	stored := b.Messages(t, bus.Challenges)
	if len(stored) != 2 {
		t.Fatalf("the stream holds %d messages", len(stored))
	}
	again := stored[1]
	if again.Subject != original || again.ID == "e1" || again.ID == "" || string(again.Data) != "{}" ||
		len(again.Header) != 2 || again.Header["ce-id"] != "e1" {
		t.Errorf("what was replayed is %+v", again)
	}

	if out = o.do(t, "dead-letters", "discard", "2", "-reason", "a test of mine"); out != "2: discarded (a test of mine)\n" {
		t.Errorf("it says %q", out)
	}
	o.refused(t, 1, "replayed or discarded before", "dead-letters", "replay", "2")
	contains(t, o.do(t, "dead-letters", "list"), "  replayed  ", "  discarded (a test of mine)  ", "dead letters: 2\n")
	contains(t, o.do(t, "dead-letters", "list", "-last", "1"), "2  ", "dead letters: 1\n")
	if len(b.Messages(t, bus.DeadLetter)) != 2 || len(b.Messages(t, bus.Challenges)) != 2 {
		t.Error("a letter is gone, or a message too many is there")
	}
	var rows int
	db.Scan(t, `SELECT count(*) FROM audit WHERE actor = 'doorcodectl' AND kind LIKE 'dead_letter.v1.%'`, nil, &rows)
	if rows != 2 {
		t.Errorf("%d verdicts are on record", rows)
	}
}

func TestDeadLetters_AReplayThatCannotBeLeavesTheLetterOpen(t *testing.T) {
	t.Parallel()
	o, b, _ := atWork(t)
	subjects := []string{
		"doorcode.outcome.approved", "doorcode.directory.login_put", "doorcode.delivery.sms.attempted", "doorcode.challenge.sms", // not the owner's
		"", "doorcode.dlq.email", "$JS.API.STREAM.DELETE.DOORCODE_DLQ", "doorcode.challenge.", "doorcode.challenge.>", "challenge.email",
	}
	for i, subject := range subjects {
		letter(t, b, fmt.Sprint(i), subject, "{}")
		o.refused(t, 1, "only discarded", "dead-letters", "replay", fmt.Sprint(i+1))
	}
	out := o.do(t, "dead-letters", "list")
	if strings.Count(out, "  open  ") != len(subjects) {
		t.Errorf("the list is %s", out)
	}
	o.refused(t, 1, "no such message", "dead-letters", "show", "99")
	o.refused(t, 1, "no such message", "dead-letters", "replay", "99")
}

// What auth could not tell of goes back to the directory's events, and nowhere else.
func TestDeadLetters_ANoticesLetterIsReplayedToTheDirectoryAlone(t *testing.T) {
	t.Parallel()
	o, b, _ := atWork(t)
	e := eventtest.Accepted(t, event.LoginLocked)
	for i, subject := range []string{"doorcode.challenge.notices", "doorcode.directory.", "doorcode.outcome.approved", "doorcode.directory.login_put", "doorcode.directory.login_locked"} {
		header := e.Header()
		header["doorcode-subject"], header["doorcode-reason"] = subject, "malformed event"
		_, err := b.Connect(t, "auth").Publish(t.Context(), bus.Message{
			Subject: "doorcode.dlq.notices", ID: fmt.Sprint(i), Header: header, Data: e.Data,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 4 {
		o.refused(t, 1, "only discarded", "dead-letters", "replay", fmt.Sprint(i+1))
	}
	o.do(t, "dead-letters", "replay", "5")
	if m := b.Messages(t, event.StreamDirectory); len(m) != 1 || m[0].Subject != "doorcode.directory.login_locked" || m[0].Header["ce-id"] != e.ID {
		t.Errorf("replayed: %+v", m)
	}
}

// The dispatcher consumes what the recorder could not record, too: a replay while the code lives would send it again.
func TestP5_ARecordersLetterIsReplayedWhenItsCodeIsDead(t *testing.T) {
	t.Parallel()
	o, b, _ := atWork(t)
	live := eventtest.Accepted(t, event.ChallengeIssued)
	dead := live
	var payload event.Issued
	err := live.Decode(&payload)
	if err != nil {
		t.Fatal(err)
	}
	payload.ExpiresAt = time.Now().Add(time.Hour)
	live, err = event.New(live.Type, live.ID, live.Source, live.Time, live.Subject, payload)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range []event.Event{live, dead} {
		header := e.Header()
		header["doorcode-subject"], header["doorcode-reason"] = "doorcode.challenge.email", "refused"
		_, err := b.Connect(t, "verifier").Publish(t.Context(), bus.Message{
			Subject: "doorcode.dlq.recorder", ID: fmt.Sprint(i), Header: header, Data: e.Data,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	o.refused(t, 1, "when its code is dead", "dead-letters", "replay", "1")
	o.do(t, "dead-letters", "replay", "2")
}

func TestDeadLetters_TwoOperatorsReplayOnce(t *testing.T) {
	t.Parallel()
	o, b, _ := atWork(t)
	letter(t, b, "one", "doorcode.challenge.email", "{}")
	codes := make([]int, 4)
	var all sync.WaitGroup
	for i := range codes {
		all.Go(func() { codes[i] = o.run(t, "dead-letters", "replay", "1").code })
	}
	all.Wait()
	done := 0
	for _, code := range codes {
		if code == 0 {
			done++
		}
	}
	if done != 1 || len(b.Messages(t, bus.Challenges)) != 1 {
		t.Errorf("%d operators replayed %d messages", done, len(b.Messages(t, bus.Challenges)))
	}
}

func TestAdvisories_NameTheMessageThatWasGivenUp(t *testing.T) {
	t.Parallel()
	o, b, _ := atWork(t)
	contains(t, o.do(t, "advisories", "list"), "advisories: 0\n")
	_, err := b.Connect(t, "auth").Publish(t.Context(), bus.Message{Subject: "doorcode.challenge.email", ID: "one", Data: []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := b.Connect(t, "email-dispatcher").Consumer(t.Context(), bus.Challenges, bus.EmailDispatcher)
	if err != nil {
		t.Fatal(err)
	}
	got, err := consumer.Fetch(t.Context(), 1, 10*time.Second)
	if err != nil || len(got) != 1 {
		t.Fatalf("%d deliveries, %v", len(got), err)
	}
	err = got[0].Term("malformed event")
	if err != nil {
		t.Fatal(err)
	}
	bustest.Wait(t, "an advisory", func() bool { return len(b.Messages(t, bus.Advisories)) == 1 })
	contains(t, o.do(t, "advisories", "list"), "DOORCODE_CHALLENGES/email-dispatcher at 1 after 1 deliveries malformed event\n", "advisories: 1\n")
}

func TestChannel_IsPausedAndResumedApartFromTheOther(t *testing.T) {
	t.Parallel()
	o, b, _ := atWork(t)
	_, err := b.Connect(t, "auth").Publish(t.Context(), bus.Message{Subject: "doorcode.challenge.sms", ID: "one", Data: []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	contains(t, o.do(t, "channel", "show", "sms"), "sms: delivers; 1 messages wait, 0 are being sent\n")
	contains(t, o.do(t, "channel", "pause", "sms", "-for", "10m"), "sms: paused until ", "; 1 messages wait")
	contains(t, o.do(t, "channel", "show", "email"), "email: delivers; 0 messages wait")
	contains(t, o.do(t, "streams", "apply"), "nothing to change") // A pause is no difference that would be mended.
	contains(t, o.do(t, "channel", "pause", "sms"), "sms: paused until ")
	for range 2 {
		contains(t, o.do(t, "channel", "resume", "sms"), "sms: delivers; 1 messages wait")
	}
}

// It shows SEC-62 of deploy/SECURITY.md.
func TestCountry_IsStoppedAndAllowedOnRecord(t *testing.T) {
	t.Parallel()
	o, db := newOperator(t), pgtest.Open(t)
	o.useDatabase(t, db.OwnerURL())
	for _, step := range []struct{ args, says string }{
		{"country list", "stopped countries: 0\n"},
		{"country allow NL -reason none", "NL: it is not stopped\n"},
		{"country stop NL -reason pumping", "NL: stopped\n"},
		{"country stop NL -reason again", "NL: it was stopped before\n"},
		{"country stop GB -reason fraud", "GB: stopped\n"},
	} {
		if out := o.do(t, strings.Fields(step.args)...); out != step.says {
			t.Errorf("%s says %q", step.args, out)
		}
	}
	contains(t, o.do(t, "country", "list"), "GB  ", "  fraud\n", "NL  ", "  pumping\n", "stopped countries: 2\n")
	if out := o.do(t, "country", "allow", "NL", "-reason", "over"); out != "NL: no longer stopped; the settings decide\n" {
		t.Errorf("it says %q", out)
	}
	var record string
	db.Scan(t, `SELECT string_agg(kind || ' ' || (detail->>'region') || ' ' || (detail->>'reason'), ', ' ORDER BY at)
	              FROM audit WHERE actor = 'doorcodectl'`, nil, &record)
	if record != "country.v1.stopped NL pumping, country.v1.stopped GB fraud, country.v1.allowed NL over" {
		t.Errorf("the record is %s", record)
	}
}

func TestP10_FrontEndCreateMakesOneThatCanAskAndNothingElse(t *testing.T) {
	t.Parallel()
	o, b, _ := atWork(t)
	o.env["DOORCODE_DOORCODECTL_NATS_DIR"] = filepath.Dir(b.ConfigFile())
	contains(t, o.do(t, "front-end", "create", "shop"), "shop: made in ")
	if out := o.do(t, "front-end", "create", "shop"); out != "shop: it is there and stays\n" {
		t.Errorf("the second time it says %q", out)
	}
	b.Restart(t)
	bustest.Wait(t, "the bus is back", func() bool { return b.Admin().Ready(t.Context()) == nil })
	service, err := b.Connect(t, "auth").Serve(t.Context(), bus.ServiceConfig{
		Name: "challenges", Version: "1.0.0", Workers: 1,
		Endpoints: []bus.Endpoint{{
			Name: "read", Subject: "doorcode.api.challenges.read",
			Handle: func(_ context.Context, r bus.Request) ([]byte, error) { return r.Data, nil },
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = service.Stop(context.Background()) })
	refusals := make(refused, 64)
	shop := b.Open(t, bus.Config{
		Name: "shop", Log: slog.New(slog.NewTextHandler(refusals, nil)), Fatal: func(err error) { refusals <- err.Error() },
	})
	answer, err := shop.Request(t.Context(), "doorcode.api.challenges.read", []byte("asked"))
	if err != nil || string(answer) != "asked" {
		t.Errorf("the answer is %q, %v", answer, err)
	}
	for _, subject := range []string{
		"doorcode.challenge.email", "doorcode.verifier.check", "doorcode.outcome.approved", "doorcode.jetstream.STREAM.INFO.DOORCODE_CHALLENGES",
		"$JS.API.STREAM.DELETE.DOORCODE_CHALLENGES", "_INBOX_front_end.x",
	} {
		err := shop.Announce(subject, nil)
		if err != nil {
			t.Fatal(err)
		}
		refusals.of(t, subject)
	}
}

// refused is what a connection hears of its publishes: a refused answer is only logged, any other refusal is fatal.
type refused chan string

// Write takes a line of the log, while there is room.
func (r refused) Write(line []byte) (int, error) {
	select {
	case r <- string(line):
	default:
	}
	return len(line), nil
}

// of waits for the refusal of a publish.
func (r refused) of(t *testing.T, subject string) {
	t.Helper()
	patience := time.After(20 * time.Second)
	for {
		select {
		case said := <-r:
			if strings.Contains(said, "Permissions Violation for Publish") && strings.Contains(said, subject) {
				return
			}
		case <-patience:
			t.Errorf("publish %s is not refused", subject)
			return
		}
	}
}

func TestFrontEnd_RefusesBadNamesAndAFolderWithoutKeys(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.refused(t, 1, "read the accounts of front-ends", "front-end", "create", "shop")
	o.do(t, "keys")
	before := files(t, o.env["DOORCODE_DOORCODECTL_NATS_DIR"])
	for _, name := range []string{
		"", "Shop", "1shop", "shop_2", "../shop", "shop.nk", "a b", "shöp", "shop{", strings.Repeat("s", 33),
		"example", "auth", "verifier", "front-end", "doorcodectl", "email-dispatcher",
	} {
		o.refused(t, 1, "a front-end's name", "front-end", "create", name)
	}
	after := files(t, o.env["DOORCODE_DOORCODECTL_NATS_DIR"])
	if len(after) != len(before) || string(after["front-ends.conf"]) != string(before["front-ends.conf"]) {
		t.Error("a refused name left something")
	}
}

func TestOperating_NamesTheSettingThatIsMissing(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	for _, args := range []string{"dead-letters list", "advisories list", "channel show sms", "dead-letters replay 1"} {
		o.refused(t, 1, "DOORCODE_DOORCODECTL_NATS_KEY_FILE is not set", strings.Fields(args)...)
	}
	o.refused(t, 1, "DOORCODE_DATABASE_URL is not set", "country", "list")
	o.refused(t, 1, "DOORCODE_DATABASE_URL is not set", "country", "stop", "NL", "-reason", "pumping")
}
