package bus_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
)

// grant is what a user of nats.conf may do, and a sample of what it may not.
type grant struct {
	inbox       string
	publish     []string
	subscribe   []string
	noPublish   []string
	noSubscribe []string
}

const (
	jsAPI = "doorcode.jetstream."
	acks  = "1.1.1.1.0"
)

// forbiddenToServices is what no service may send: the administration of JetStream under either name, and the other
// ends of its own requests.
func forbiddenToServices(more ...string) []string {
	forbidden := []string{
		"doorcode.dlq.other", "doorcode.verifier.other", "$SRV.PING", "_R_.x",
		"_INBOX_auth.x", "_INBOX_verifier.x", "_INBOX_email_dispatcher.x", "_INBOX_sms_dispatcher.x", "_INBOX_receipts.x",
	}
	for _, call := range []string{
		"INFO", "STREAM.NAMES", "STREAM.LIST", "STREAM.CREATE.X", "STREAM.UPDATE.DOORCODE_CHALLENGES",
		"STREAM.DELETE.DOORCODE_CHALLENGES", "STREAM.PURGE.DOORCODE_DLQ", "STREAM.MSG.DELETE.DOORCODE_CHALLENGES",
		"STREAM.MSG.GET.DOORCODE_OUTCOMES", "STREAM.MSG.GET.DOORCODE_DLQ", "DIRECT.GET.DOORCODE_CHALLENGES",
		"STREAM.SNAPSHOT.DOORCODE_CHALLENGES", "STREAM.RESTORE.DOORCODE_CHALLENGES",
		"CONSUMER.CREATE.DOORCODE_CHALLENGES", "CONSUMER.CREATE.DOORCODE_CHALLENGES.spy",
		"CONSUMER.DURABLE.CREATE.DOORCODE_CHALLENGES.spy", "CONSUMER.DELETE.DOORCODE_CHALLENGES.recorder",
		"CONSUMER.DELETE.DOORCODE_CHALLENGES.email-dispatcher", "CONSUMER.PAUSE.DOORCODE_CHALLENGES.email-dispatcher",
		"CONSUMER.DELETE.DOORCODE_CHALLENGES.sms-dispatcher", "CONSUMER.PAUSE.DOORCODE_CHALLENGES.sms-dispatcher",
		"CONSUMER.DELETE.DOORCODE_DIRECTORY.notices", "CONSUMER.PAUSE.DOORCODE_DIRECTORY.notices",
		"CONSUMER.DELETE.DOORCODE_OUTCOMES.notices", "CONSUMER.PAUSE.DOORCODE_OUTCOMES.notices",
		"CONSUMER.RESET.DOORCODE_CHALLENGES.recorder", "CONSUMER.MSG.NEXT.DOORCODE_CHALLENGES.other",
	} {
		forbidden = append(forbidden, jsAPI+call, "$JS.API."+call)
	}
	return append(forbidden, more...)
}

func consumerGrants(stream, durable string) []string {
	return []string{
		jsAPI + "CONSUMER.MSG.NEXT." + stream + "." + durable,
		jsAPI + "CONSUMER.INFO." + stream + "." + durable,
		"$JS.ACK." + stream + "." + durable + "." + acks,
		"$JS.ACK._.hash." + stream + "." + durable + "." + acks,
	}
}

func grants() map[string]grant {
	email, challenges, deliveries := consumerGrants("DOORCODE_CHALLENGES", "email-dispatcher"),
		consumerGrants("DOORCODE_CHALLENGES", "recorder"), consumerGrants("DOORCODE_DELIVERIES", "recorder")
	sms, recorder := consumerGrants("DOORCODE_CHALLENGES", "sms-dispatcher"), slices.Concat(challenges, deliveries)
	receipts := []string{"doorcode.receipt.email", "doorcode.receipt.sms"}
	notices := slices.Concat(consumerGrants("DOORCODE_DIRECTORY", "notices"), consumerGrants("DOORCODE_OUTCOMES", "notices"), []string{"doorcode.dlq.notices"})
	read := jsAPI + "STREAM.MSG.GET.DOORCODE_CHALLENGES"
	info := jsAPI + "STREAM.INFO."
	return map[string]grant{
		"auth": {
			inbox: "_INBOX_auth",
			publish: slices.Concat(notices, []string{
				"doorcode.challenge.email", "doorcode.challenge.sms", read, info + "DOORCODE_CHALLENGES",
				"doorcode.verifier.check", "doorcode.verifier.resend", "doorcode.verifier.cancel", "doorcode.verifier.state",
				"doorcode.verifier.unlock", "doorcode.verifier.waive", "doorcode.verifier.skip",
			}),
			subscribe: []string{"_INBOX_auth.>", "doorcode.api.challenges.*", "doorcode.changed", "$SRV.>"},
			noPublish: forbiddenToServices(slices.Concat(recorder, email, sms, receipts, []string{
				"doorcode.api.challenges.create", "doorcode.outcome.approved", "doorcode.delivery.sms.attempted", "doorcode.dlq.sms",
				"doorcode.delivery.email.attempted", "doorcode.directory.login_put", "doorcode.dlq.email", "doorcode.dlq.recorder",
				"doorcode.changed", "doorcode.verifier.delivery", info + "DOORCODE_OUTCOMES", "doorcode.challenge.a.b",
				"doorcode.directory.login_locked", info + "DOORCODE_DIRECTORY", jsAPI + "CONSUMER.DELETE.DOORCODE_DIRECTORY.notices",
				jsAPI + "CONSUMER.CREATE.DOORCODE_DIRECTORY.spy", jsAPI + "STREAM.MSG.GET.DOORCODE_DIRECTORY",
				jsAPI + "CONSUMER.CREATE.DOORCODE_OUTCOMES.spy", jsAPI + "CONSUMER.MSG.NEXT.DOORCODE_OUTCOMES.other", "doorcode.outcome.check_rejected",
			})...),
			noSubscribe: []string{"doorcode.verifier.check", "doorcode.verifier.*", "_INBOX_verifier.>", "_INBOX_front_end.>"},
		},
		"email-dispatcher": {
			inbox: "_INBOX_email_dispatcher",
			publish: slices.Concat(email, []string{
				"doorcode.delivery.email.attempted", "doorcode.delivery.email.postponed", "doorcode.dlq.email",
				"doorcode.verifier.delivery",
			}),
			subscribe: []string{"_INBOX_email_dispatcher.>"},
			noPublish: forbiddenToServices(slices.Concat(recorder, sms, receipts, notices, []string{
				"doorcode.api.challenges.create", "doorcode.challenge.email", "doorcode.challenge.sms", "doorcode.outcome.approved",
				"doorcode.directory.login_put", "doorcode.dlq.recorder", "doorcode.changed", "doorcode.seal.made",
				"doorcode.verifier.check", "doorcode.verifier.resend", read, info + "DOORCODE_CHALLENGES",
			})...),
			noSubscribe: []string{
				"doorcode.api.challenges.*", "doorcode.verifier.*", "doorcode.changed", "$SRV.>", "_INBOX_auth.>", "_INBOX_verifier.>",
				"_INBOX_sms_dispatcher.>",
			},
		},
		"verifier": {
			inbox: "_INBOX_verifier",
			publish: slices.Concat(recorder, []string{
				read, info + "DOORCODE_CHALLENGES", info + "DOORCODE_DELIVERIES", "doorcode.challenge.email", "doorcode.challenge.sms",
				"doorcode.outcome.approved", "doorcode.directory.login_put", "doorcode.changed", "doorcode.dlq.recorder", "doorcode.seal.made",
			}),
			subscribe: []string{"_INBOX_verifier.>", "doorcode.verifier.*", "$SRV.>"},
			noPublish: forbiddenToServices(slices.Concat(email, sms, receipts, notices, []string{
				"doorcode.api.challenges.create", "doorcode.delivery.email.attempted", "doorcode.dlq.email", "doorcode.verifier.check",
				"doorcode.delivery.sms.attempted", "doorcode.dlq.sms",
			})...),
			noSubscribe: []string{"doorcode.api.challenges.*", "_INBOX_auth.>", "_INBOX_email_dispatcher.>"},
		},
		"sms-dispatcher": {
			inbox: "_INBOX_sms_dispatcher",
			publish: slices.Concat(sms, []string{
				"doorcode.delivery.sms.attempted", "doorcode.delivery.sms.postponed", "doorcode.dlq.sms", "doorcode.verifier.delivery",
			}),
			subscribe: []string{"_INBOX_sms_dispatcher.>"},
			noPublish: forbiddenToServices(slices.Concat(recorder, email, receipts, notices, []string{
				"doorcode.api.challenges.create", "doorcode.challenge.email", "doorcode.challenge.sms", "doorcode.outcome.approved",
				"doorcode.directory.login_put", "doorcode.dlq.recorder", "doorcode.changed", "doorcode.seal.made",
				"doorcode.verifier.check", "doorcode.verifier.resend", read, info + "DOORCODE_CHALLENGES",
			})...),
			noSubscribe: []string{
				"doorcode.api.challenges.*", "doorcode.verifier.*", "doorcode.changed", "$SRV.>", "_INBOX_auth.>", "_INBOX_email_dispatcher.>",
			},
		},
		"receipts": {
			inbox:     "_INBOX_receipts",
			publish:   receipts,
			subscribe: []string{"_INBOX_receipts.>"},
			noPublish: forbiddenToServices(slices.Concat(recorder, email, sms, notices, []string{
				"doorcode.api.challenges.create", "doorcode.challenge.email", "doorcode.outcome.approved",
				"doorcode.delivery.sms.attempted", "doorcode.dlq.email", "doorcode.dlq.sms", "doorcode.delivery.email.attempted", "doorcode.directory.login_put", "doorcode.dlq.recorder", "doorcode.changed", "doorcode.seal.made",
				"doorcode.verifier.check", "doorcode.verifier.delivery", "doorcode.receipt.email.x", read, info + "DOORCODE_DELIVERIES",
			})...),
			noSubscribe: []string{
				"doorcode.receipt.*", "doorcode.challenge.*", "doorcode.changed", "doorcode.verifier.*", "$SRV.>", "_INBOX_verifier.>",
			},
		},
		"auditor": {
			inbox: "_INBOX_auditor",
			subscribe: []string{
				"doorcode.challenge.>", "doorcode.delivery.>", "doorcode.receipt.>", "doorcode.outcome.>", "doorcode.directory.>",
				"doorcode.seal.>",
			},
			noPublish: forbiddenToServices(slices.Concat(recorder, email, sms, receipts, notices, []string{
				"doorcode.api.challenges.create", "doorcode.challenge.email", "doorcode.outcome.approved", read, "doorcode.seal.made",
			})...),
			noSubscribe: []string{"doorcode.dlq.>", "doorcode.api.challenges.*", "doorcode.verifier.*", "_INBOX_auditor.>", "_INBOX_auth.>"},
		},
		"doorcodectl": {
			inbox: "_INBOX_doorcodectl",
			publish: []string{
				jsAPI + "STREAM.NAMES", "$JS.API.STREAM.NAMES", "doorcode.challenge.email", "doorcode.delivery.email.attempted",
				"doorcode.receipt.email", "doorcode.outcome.approved", "doorcode.directory.login_put",
			},
			subscribe:   []string{"_INBOX_doorcodectl.>"},
			noPublish:   []string{challenges[2], challenges[3], "doorcode.seal.made", "doorcode.verifier.check", "doorcode.api.challenges.create", "doorcode.changed", "$SRV.PING"},
			noSubscribe: []string{"doorcode.verifier.*", "doorcode.api.challenges.*", "_INBOX_auth.>", "$SRV.>"},
		},
		"front-end": {
			inbox:     "_INBOX_front_end",
			publish:   []string{"doorcode.api.challenges.create", "doorcode.api.challenges.check"},
			subscribe: []string{"_INBOX_front_end.>"},
			noPublish: forbiddenToServices(slices.Concat(recorder, email, sms, receipts, notices, []string{
				"doorcode.challenge.email", "doorcode.outcome.approved", "doorcode.verifier.check", "doorcode.api.workspaces.put",
				"doorcode.api.challenges.a.b",
			})...),
			noSubscribe: []string{"doorcode.api.challenges.*", "_INBOX_auth.>", "_INBOX_verifier.>", "doorcode.changed", "$SRV.>"},
		},
	}
}

// refused says whether the server refuses what act does on a connection of its own. Everyone who publishes names an
// inbox of its own to answer to; the flush brings the refusal back.
func refused(t *testing.T, b *bustest.Bus, user, inbox string, act func(*nats.Conn) error) bool {
	t.Helper()
	nc := raw(t, b, user, inbox)
	defer nc.Close()
	err := act(nc)
	if err == nil {
		err = nc.FlushTimeout(20 * time.Second)
	}
	if err != nil {
		t.Fatalf("%s: %v", user, err)
	}
	return errors.Is(nc.LastError(), nats.ErrPermissionViolation)
}

// It shows SEC-30 of deploy/SECURITY.md.
func TestP10_EachCredentialCanDoItsJobAndNothingElse(t *testing.T) {
	t.Parallel()
	for user, g := range grants() {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			b := bustest.Start(t)
			check := func(verb string, subjects []string, want bool, act func(*nats.Conn, string) error) {
				for _, subject := range subjects {
					got := refused(t, b, user, g.inbox, func(nc *nats.Conn) error { return act(nc, subject) })
					if got != want {
						t.Errorf("%s %s: refused %t, want %t", verb, subject, got, want)
					}
				}
			}
			send := func(nc *nats.Conn, subject string) error {
				return nc.PublishRequest(subject, g.inbox+".answer", nil)
			}
			listen := func(nc *nats.Conn, subject string) error {
				_, err := nc.SubscribeSync(subject)
				return err
			}
			check("publish", g.publish, false, send)
			check("publish", g.noPublish, true, send)
			check("subscribe", g.subscribe, false, listen)
			check("subscribe", append(g.noSubscribe, ">", "*", "doorcode.>", "$JS.>", "_INBOX.>", "_R_.>"), true, listen)
		})
	}
}

// What one dispatcher may do, the other may not, but for the question that both put to the verifier.
// It shows SEC-30 of deploy/SECURITY.md.
func TestP10_ADispatcherTouchesNothingOfTheOtherChannel(t *testing.T) {
	t.Parallel()
	for user, other := range map[string]string{"email-dispatcher": "sms-dispatcher", "sms-dispatcher": "email-dispatcher"} {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			b := bustest.Start(t)
			own, foreign := grants()[user], grants()[other]
			for _, subject := range foreign.publish {
				if subject == "doorcode.verifier.delivery" {
					continue
				}
				if !refused(t, b, user, own.inbox, func(nc *nats.Conn) error { return nc.PublishRequest(subject, own.inbox+".answer", nil) }) {
					t.Errorf("publish %s is not refused", subject)
				}
			}
			for _, subject := range foreign.subscribe {
				if !refused(t, b, user, own.inbox, func(nc *nats.Conn) error { _, err := nc.SubscribeSync(subject); return err }) {
					t.Errorf("subscribe %s is not refused", subject)
				}
			}
		})
	}
}

// It shows SEC-30 of deploy/SECURITY.md.
func TestP10_NobodyConnectsWithoutAKey(t *testing.T) {
	t.Parallel()
	b := bustest.StartEmpty(t)
	nc, err := nats.Connect(b.URL())
	if err == nil {
		nc.Close()
	}
	if !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("connect without a key: %v", err)
	}
}

func TestP10_EveryUserOfTheConfigurationIsTested(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(slices.Sorted(slices.Values(bus.UserNames())), slices.Sorted(maps.Keys(grants()))); diff != "" {
		t.Errorf("users (-want +got):\n%s", diff)
	}
}

// hear subscribes with a user's real key and returns what waits for the next message.
func hear(t *testing.T, b *bustest.Bus, user, subject string) func() *nats.Msg {
	t.Helper()
	nc := raw(t, b, user, grants()[user].inbox)
	sub, err := nc.SubscribeSync(subject)
	if err == nil {
		err = nc.FlushTimeout(20 * time.Second)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() *nats.Msg {
		msg, err := sub.NextMsgWithContext(patience(t))
		if err != nil {
			t.Fatalf("%s hears nothing on %s: %v", user, subject, err)
		}
		return msg
	}
}

func TestBus_CarriesEventsToTheAuditorAndChangesToAuth(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	events, changes := hear(t, b, "auditor", "doorcode.challenge.>"), hear(t, b, "auth", "doorcode.changed")

	publish(t, b.Connect(t, "auth"), "event")
	if msg := events(); msg.Subject != email || string(msg.Data) != "event" {
		t.Errorf("the auditor heard %s %q", msg.Subject, msg.Data)
	}
	err := raw(t, b, "verifier", "_INBOX_verifier").Publish("doorcode.changed", []byte("id"))
	if err != nil {
		t.Fatal(err)
	}
	if msg := changes(); string(msg.Data) != "id" {
		t.Errorf("auth heard %q", msg.Data)
	}
}

func TestBus_CarriesAFrontEndsRequestWithItsHeaders(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	service, err := b.Connect(t, "auth").Serve(patience(t), bus.ServiceConfig{
		Name: "challenges", Version: "1.0.0", Workers: 1,
		Endpoints: []bus.Endpoint{{
			Name: "create", Subject: "doorcode.api.challenges.create",
			Handle: func(_ context.Context, r bus.Request) ([]byte, error) {
				return []byte(r.Header["Authorization"] + " " + r.Header["Idempotency-Key"] + " " + string(r.Data)), nil
			},
		}},
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
	request := nats.NewMsg("doorcode.api.challenges.create")
	request.Header.Set("Authorization", "Bearer key")
	request.Header.Set("Idempotency-Key", "once")
	request.Data = []byte("{}")
	answer, err := raw(t, b, "front-end", "_INBOX_front_end").RequestMsgWithContext(patience(t), request)
	if err != nil || string(answer.Data) != "Bearer key once {}" {
		t.Errorf("answer %v, %v", answer, err)
	}
}
