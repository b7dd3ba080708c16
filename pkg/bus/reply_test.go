package bus_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
)

// What was measured on nats-server 2.15.2, and is the reason for the accounts of nats.conf:
//
// With all users in one account, a pull by the dispatcher that names an event subject as its reply stores the pulled
// message, or an empty `404`, in the stream of that subject; so do the acks of its own publishes and the answers of
// the API. A pull that finds nothing and names `$JS.API.STREAM.DELETE.<stream>` deletes that stream: JetStream
// publishes the empty answer with rights of its own, and an empty request is all that a deletion takes.
//
// With an account for each process the answer arrives in the account that asked. It leads nowhere from there, but to
// what that account imports, and that is what its user may publish anyway: a dispatcher can have answers written to its
// own dead letters and deliveries. So whoever reads a stream trusts no subject (package event checks what fits). Reply subjects that begin with `$JS.ACK.` would pass between
// accounts as they are, but the server refuses a request that names one.

// foreignReplies are reply subjects that would be worth something to whoever can have them written to.
func foreignReplies() []string {
	replies := []string{
		"doorcode.challenge.email", "doorcode.challenge.sms", "doorcode.delivery.email.attempted", "doorcode.delivery.sms.attempted",
		"doorcode.receipt.email", "doorcode.receipt.sms", "doorcode.outcome.approved",
		"doorcode.directory.login_put", "doorcode.dlq.x", "doorcode.dlq.email", "doorcode.dlq.sms", "doorcode.dlq.recorder",
		"doorcode.dlq.notices", "doorcode.directory.login_locked",
		"doorcode.verifier.check", "doorcode.verifier.unlock", "doorcode.api.challenges.create", "doorcode.changed",
		"_INBOX_auth.x", "_INBOX_verifier.x", "_INBOX_email_dispatcher.x", "_INBOX_sms_dispatcher.x", "_INBOX_receipts.x",
		"_INBOX_doorcodectl.x",
		"$JS.ACK.DOORCODE_CHALLENGES.recorder.1.1.1.1700000000000000000.0",
		"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.DOORCODE_CHALLENGES.email-dispatcher",
		"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.DOORCODE_CHALLENGES.sms-dispatcher",
	}
	for _, stream := range bus.Streams() {
		for _, call := range []string{"STREAM.PURGE.", "STREAM.DELETE.", "STREAM.INFO."} {
			replies = append(replies, "$JS.API."+call+stream.Name, jsAPI+call+stream.Name)
		}
	}
	return append(replies, jsAPI+"CONSUMER.DELETE.DOORCODE_CHALLENGES.recorder", "$JS.API.CONSUMER.DELETE.DOORCODE_CHALLENGES.recorder")
}

// body is a request that is answered: a pull that does not wait, a read of the first message, else nothing.
func body(subject string) []byte {
	switch {
	case strings.Contains(subject, ".MSG.NEXT."):
		return []byte(`{"batch":1,"no_wait":true}`)
	case strings.Contains(subject, ".MSG.GET."):
		return []byte(`{"seq":1}`)
	default:
		return nil
	}
}

// seed puts messages into every event stream, of both channels where they differ, and a second one for a consumer.
func seed(t *testing.T, b *bustest.Bus) {
	t.Helper()
	for id, subject := range map[string]string{
		"1": email, "2": email, "3": "doorcode.delivery.email.attempted", "4": "doorcode.outcome.approved",
		"5": "doorcode.directory.login_put", "6": "doorcode.challenge.sms", "7": "doorcode.challenge.sms",
		"8": "doorcode.delivery.sms.attempted", "9": "doorcode.receipt.sms",
	} {
		_, err := b.Admin().Publish(patience(t), bus.Message{Subject: subject, ID: id, Data: []byte("seed")})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// contents counts the messages of every stream by stream and subject. A stream that is gone fails the test.
func contents(t *testing.T, b *bustest.Bus) map[string]int {
	t.Helper()
	count := map[string]int{}
	for _, stream := range bus.Streams() {
		for _, m := range b.Messages(t, stream.Name) {
			count[stream.Name+" "+m.Subject]++
		}
	}
	return count
}

// ownRight names the stream and subject that a user may store in by a publish of its own.
func ownRight(request string) (string, bool) {
	for prefix, stream := range map[string]string{
		"doorcode.challenge.": bus.Challenges, "doorcode.delivery.": bus.Deliveries, "doorcode.outcome.": bus.Outcomes,
		"doorcode.receipt.": bus.Deliveries, "doorcode.directory.": bus.Directory, "doorcode.seal.": bus.Seals, "doorcode.dlq.": bus.DeadLetter,
	} {
		if strings.HasPrefix(request, prefix) {
			return stream, true
		}
	}
	return "", false
}

// sendEverywhere sends each request of a user with every foreign reply subject, and then once more with an inbox to
// know that all before it was answered.
func sendEverywhere(t *testing.T, nc *nats.Conn, requests []string) {
	t.Helper()
	for _, request := range requests {
		for _, reply := range foreignReplies() {
			err := nc.PublishRequest(request, reply, body(request))
			if err != nil {
				t.Fatal(err)
			}
		}
		if strings.HasPrefix(request, "$JS.ACK.") || request == "doorcode.changed" {
			continue // Nobody answers.
		}
		_, err := nc.RequestWithContext(patience(t), request, body(request))
		if err != nil {
			t.Fatalf("%s with an inbox: %v", request, err)
		}
	}
	err := nc.FlushTimeout(20 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
}

// It shows SEC-30 of deploy/SECURITY.md.
func TestP10_AnAnswerToAForeignReplySubjectReachesNothing(t *testing.T) {
	t.Parallel()
	for user, g := range grants() {
		if user == "doorcodectl" || user == "auditor" {
			continue // The first may do all of it anyway, see below; the second cannot send.
		}
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			b := bustest.Start(t)
			serveAll(t, b)
			seed(t, b)
			heard := eavesdrop(t, b, user)
			before := contents(t, b)

			sendEverywhere(t, raw(t, b, user, g.inbox), g.publish)

			after := contents(t, b)
			for place, count := range before {
				if after[place] < count {
					t.Errorf("%s lost %d messages", place, count-after[place])
				}
			}
			allowed := places(g)
			for place, count := range after {
				if count > before[place] && !slices.Contains(allowed, place) {
					t.Errorf("%d messages were written to %s", count-before[place], place)
				}
			}
			for _, stream := range bus.Streams() {
				state, err := b.Admin().StreamState(patience(t), stream.Name)
				if err != nil || (state.Messages > 0 && state.First != 1) {
					t.Errorf("%s was purged or deleted: %+v, %v", stream.Name, state, err)
				}
			}
			for _, subject := range heard() {
				t.Errorf("an answer was written to %s", subject)
			}
			if changes := plan(t, b, nil); !changes.Empty() {
				t.Errorf("streams or consumers are no longer as planned:\n%s", changes)
			}
		})
	}
}

// places is where a user may store by a publish of its own. A pulled message keeps its subject also when an answer
// takes it to another stream, so that these count, too, in the streams the user may write to.
func places(g grant) []string {
	var allowed []string
	for _, subject := range g.publish {
		stream, ok := ownRight(subject)
		if ok {
			allowed = append(allowed, stream+" "+subject, stream+" "+email, stream+" doorcode.delivery.email.attempted",
				stream+" doorcode.challenge.sms", stream+" doorcode.delivery.sms.attempted", stream+" doorcode.receipt.sms")
		}
	}
	return allowed
}

// serveAll answers as auth and as the verifier.
func serveAll(t *testing.T, b *bustest.Bus) {
	t.Helper()
	answer := func(context.Context, bus.Request) ([]byte, error) { return []byte("answer"), nil }
	for user, subject := range map[string]string{"auth": "doorcode.api.challenges.*", "verifier": "doorcode.verifier.*"} {
		service, err := b.Connect(t, user).Serve(patience(t), bus.ServiceConfig{
			Name: user, Version: "1.0.0", Workers: 256,
			Endpoints: []bus.Endpoint{{Name: "all", Subject: subject, Handle: answer}},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			err := service.Stop(context.Background())
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// eavesdrop listens on the inboxes of all users but one and returns those that something arrived at.
func eavesdrop(t *testing.T, b *bustest.Bus, but string) func() []string {
	t.Helper()
	var subs []*nats.Subscription
	for user, inbox := range map[string]string{
		"auth": "_INBOX_auth", "verifier": "_INBOX_verifier", "email-dispatcher": "_INBOX_email_dispatcher",
		"sms-dispatcher": "_INBOX_sms_dispatcher", "receipts": "_INBOX_receipts", "doorcodectl": "_INBOX_doorcodectl",
	} {
		if user == but {
			continue
		}
		nc := raw(t, b, user, inbox)
		sub, err := nc.SubscribeSync(inbox + ".x")
		if err != nil {
			t.Fatal(err)
		}
		err = nc.FlushTimeout(20 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		subs = append(subs, sub)
	}
	return func() []string {
		var heard []string
		for _, sub := range subs {
			count, _, err := sub.Pending()
			if err != nil {
				t.Fatal(err)
			}
			if count > 0 {
				heard = append(heard, sub.Subject)
			}
		}
		return heard
	}
}

// The control: in the account of the streams itself an answer does reach them. If this test fails, the server has
// become stricter and the one above may no longer prove anything.
func TestP10_OnlyTheAccountKeepsAnswersFromTheStreams(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	nc := raw(t, b, "doorcodectl", "_INBOX_doorcodectl")
	err := nc.PublishRequest(jsAPI+"STREAM.INFO.DOORCODE_CHALLENGES", "doorcode.outcome.approved", nil)
	if err != nil {
		t.Fatal(err)
	}
	bustest.Wait(t, "an answer in a stream", func() bool { return len(b.Messages(t, bus.Outcomes)) == 1 })

	err = nc.PublishRequest(jsAPI+"CONSUMER.MSG.NEXT.DOORCODE_CHALLENGES.recorder", "$JS.API.STREAM.DELETE.DOORCODE_DIRECTORY",
		[]byte(`{"batch":1,"no_wait":true}`))
	if err != nil {
		t.Fatal(err)
	}
	bustest.Wait(t, "a stream that is gone", func() bool {
		_, err := b.Admin().StreamState(patience(t), bus.Directory)
		return err != nil
	})
}
