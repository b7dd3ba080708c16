package bus_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
)

// counter is a sequence as the database has one: it never gives a number twice.
func counter(next uint16) bus.Numberer {
	return func(context.Context, string) (uint16, error) {
		next++
		return next - 1, nil
	}
}

func plan(t *testing.T, b *bustest.Bus, number bus.Numberer) bus.Changes {
	t.Helper()
	changes, err := bus.Plan(patience(t), b.Admin(), number)
	if err != nil {
		t.Fatalf("plan: %v", err)
	}
	return changes
}

func TestPlan_MakesEverythingOnceAndThenNothing(t *testing.T) {
	t.Parallel()
	b := bustest.StartEmpty(t)
	changes := plan(t, b, counter(41))
	want := `create stream DOORCODE_CHALLENGES
create consumer email-dispatcher of DOORCODE_CHALLENGES
create consumer sms-dispatcher of DOORCODE_CHALLENGES
create consumer recorder of DOORCODE_CHALLENGES
create stream DOORCODE_DELIVERIES
create consumer recorder of DOORCODE_DELIVERIES
create stream DOORCODE_OUTCOMES
create consumer notices of DOORCODE_OUTCOMES
create stream DOORCODE_DIRECTORY
create consumer notices of DOORCODE_DIRECTORY
create stream DOORCODE_SEALS
create stream DOORCODE_DLQ
create stream DOORCODE_ADVISORIES
`
	if diff := cmp.Diff(want, changes.String()); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	if changes.Empty() || len(changes.Destructive()) > 0 {
		t.Errorf("empty %t, destructive %v", changes.Empty(), changes.Destructive())
	}
	err := bus.Apply(patience(t), b.Admin(), changes)
	if err != nil {
		t.Fatalf("apply: %v", err)
	}
	again := plan(t, b, counter(99))
	if !again.Empty() || again.String() != "" {
		t.Errorf("a second plan wants:\n%s", again)
	}
	err = bus.Apply(patience(t), b.Admin(), again)
	if err != nil {
		t.Errorf("apply nothing: %v", err)
	}
	number, err := b.Admin().StreamNumber(patience(t), bus.Challenges)
	if err != nil || number != 41 {
		t.Errorf("stream number %d, %v; want 41", number, err)
	}
}

// It shows SEC-31 of deploy/SECURITY.md.
func TestApply_SetsTheProtectionsOfEveryStream(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	js := rawAdmin(t, b)
	var bytes int64
	for _, wanted := range bus.Streams() {
		stream, err := js.Stream(patience(t), wanted.Name)
		if err != nil {
			t.Fatal(err)
		}
		config := stream.CachedInfo().Config
		bytes += config.MaxBytes
		if config.Retention != jetstream.LimitsPolicy || config.Storage != jetstream.FileStorage ||
			config.Discard != jetstream.DiscardNew || !config.DenyDelete || !config.DenyPurge ||
			config.AllowRollup || config.AllowDirect || config.AllowMsgTTL || config.AllowMsgSchedules {
			t.Errorf("%s: %+v", wanted.Name, config)
		}
		err = stream.Purge(patience(t))
		if err == nil {
			t.Errorf("%s can be purged", wanted.Name)
		}
	}
	if bytes > 10<<30 {
		t.Errorf("the streams set aside %d bytes, more than an embedded server has", bytes)
	}
}

func TestPlan_NamesEachChange(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	js := rawAdmin(t, b)
	alterStream(t, js, bus.Challenges, func(c *jetstream.StreamConfig) {
		c.MaxAge, c.Subjects = time.Hour, []string{email}
	})
	alterConsumer(t, js, bus.Challenges, bus.EmailDispatcher, func(c *jetstream.ConsumerConfig) { c.AckWait = time.Minute })
	alterConsumer(t, js, bus.Challenges, bus.SMSDispatcher, func(c *jetstream.ConsumerConfig) { c.MaxAckPending = 512 })

	changes := plan(t, b, counter(99))
	want := `change DOORCODE_CHALLENGES.subjects [doorcode.challenge.email] → [doorcode.challenge.*]
change DOORCODE_CHALLENGES.max_age 1h0m0s → 168h0m0s
change DOORCODE_CHALLENGES/email-dispatcher.ack_wait 1m0s → 30s
change DOORCODE_CHALLENGES/sms-dispatcher.max_ack_pending 512 → 256
`
	if diff := cmp.Diff(want, changes.String()); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	err := bus.Apply(patience(t), b.Admin(), changes)
	if err != nil {
		t.Fatal(err)
	}
	if again := plan(t, b, nil); !again.Empty() {
		t.Errorf("still wanted:\n%s", again)
	}
}

// An installation of before, whose people were told of locks alone, is told of more without loss.
func TestApply_HandsFurtherSubjectsToAConsumer(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	js := rawAdmin(t, b)
	alterConsumer(t, js, bus.Directory, bus.Notices, func(c *jetstream.ConsumerConfig) {
		c.FilterSubject, c.FilterSubjects = "doorcode.directory.login_locked", nil
	})
	_, err := b.Connect(t, "auth").Consumer(patience(t), bus.Directory, bus.Notices)
	if err == nil || !strings.Contains(err.Error(), "apply the streams first") {
		t.Errorf("opened before it is applied: %v", err)
	}
	changes := plan(t, b, nil)
	want := "change DOORCODE_DIRECTORY/notices.filter_subject doorcode.directory.login_locked → " + strings.Join(bus.NoticeSubjects(), " ") + "\n"
	if diff := cmp.Diff(want, changes.String()); diff != "" || len(changes.Destructive()) != 0 {
		t.Fatalf("plan (-want +got):\n%s\ndestructive %v", diff, changes.Destructive())
	}
	err = bus.Apply(patience(t), b.Admin(), changes)
	if err != nil {
		t.Fatal(err)
	}
	notices, err := b.Connect(t, "auth").Consumer(patience(t), bus.Directory, bus.Notices)
	if err != nil {
		t.Fatal(err)
	}
	speaker := b.Connect(t, "verifier")
	for _, subject := range append(bus.NoticeSubjects(), "doorcode.directory.login_put") {
		_, err = speaker.Publish(patience(t), bus.Message{Subject: subject, ID: subject, Data: []byte("{}")})
		if err != nil {
			t.Fatal(err)
		}
	}
	var handed []string
	bustest.Wait(t, "all of them are handed out", func() bool {
		all, err := notices.Fetch(patience(t), 10, 100*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range all {
			handed = append(handed, d.Subject)
			err = d.Ack()
			if err != nil {
				t.Fatal(err)
			}
		}
		return len(handed) >= len(bus.NoticeSubjects())
	})
	if diff := cmp.Diff(bus.NoticeSubjects(), handed); diff != "" {
		t.Errorf("subjects (-want +got):\n%s", diff)
	}
}

func TestApply_RaisesLimits(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	js := rawAdmin(t, b)
	publish(t, b.Connect(t, "auth"), "kept")
	alterStream(t, js, bus.Challenges, func(c *jetstream.StreamConfig) {
		c.MaxAge, c.MaxBytes, c.Duplicates, c.AllowDirect = time.Hour, 1<<20, time.Minute, true
		c.Metadata["note"] = "of the operator"
	})
	changes := plan(t, b, counter(99))
	err := bus.Apply(patience(t), b.Admin(), changes)
	if err != nil {
		t.Fatalf("apply:\n%s%v", changes, err)
	}
	if again := plan(t, b, nil); !again.Empty() {
		t.Errorf("still wanted:\n%s", again)
	}
	number, err := b.Admin().StreamNumber(patience(t), bus.Challenges)
	if err != nil || number != bustest.Number {
		t.Errorf("the number became %d, %v", number, err)
	}
	stream, err := js.Stream(patience(t), bus.Challenges)
	if err != nil || stream.CachedInfo().Config.Metadata["note"] != "of the operator" {
		t.Errorf("the operator's note is gone: %v", err)
	}
	if stored := b.Messages(t, bus.Challenges); len(stored) != 1 {
		t.Errorf("%d messages after the change", len(stored))
	}
}

func TestApply_RefusesWhatLosesEvents(t *testing.T) {
	t.Parallel()
	for name, alter := range map[string]func(*testing.T, jetstream.JetStream){
		"DOORCODE_OUTCOMES.subjects [doorcode.outcome.* old.outcome] → [doorcode.outcome.*]": func(t *testing.T, js jetstream.JetStream) {
			t.Helper()
			alterStream(t, js, bus.Outcomes, func(c *jetstream.StreamConfig) { c.Subjects = append(c.Subjects, "old.outcome") })
		},
		"DOORCODE_OUTCOMES.max_age 240h0m0s → 168h0m0s": func(t *testing.T, js jetstream.JetStream) {
			t.Helper()
			alterStream(t, js, bus.Outcomes, func(c *jetstream.StreamConfig) { c.MaxAge = 240 * time.Hour })
		},
		"DOORCODE_OUTCOMES.max_bytes -1 → 1073741824": func(t *testing.T, js jetstream.JetStream) {
			t.Helper()
			alterStream(t, js, bus.Outcomes, func(c *jetstream.StreamConfig) { c.MaxBytes = -1 })
		},
		"DOORCODE_OUTCOMES.max_msg_size 32768 → 16384": func(t *testing.T, js jetstream.JetStream) {
			t.Helper()
			alterStream(t, js, bus.Outcomes, func(c *jetstream.StreamConfig) { c.MaxMsgSize = 32 << 10 })
		},
		"DOORCODE_OUTCOMES.storage Memory → File": func(t *testing.T, js jetstream.JetStream) {
			t.Helper()
			remake(t, js, func(c *jetstream.StreamConfig) { c.Storage, c.MaxBytes = jetstream.MemoryStorage, 1<<20 })
		},
		"DOORCODE_OUTCOMES.retention Interest → Limits": func(t *testing.T, js jetstream.JetStream) {
			t.Helper()
			remake(t, js, func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy })
		},
		"DOORCODE_DIRECTORY/notices.filter_subject doorcode.directory.login_put → " + strings.Join(bus.NoticeSubjects(), " "): func(t *testing.T, js jetstream.JetStream) {
			t.Helper()
			alterConsumer(t, js, bus.Directory, bus.Notices, func(c *jetstream.ConsumerConfig) {
				c.FilterSubject, c.FilterSubjects = "doorcode.directory.login_put", nil
			})
		},
		"DOORCODE_CHALLENGES/recorder.filter_subject doorcode.challenge.email → ": func(t *testing.T, js jetstream.JetStream) {
			t.Helper()
			alterConsumer(t, js, bus.Challenges, bus.Recorder, func(c *jetstream.ConsumerConfig) { c.FilterSubject = email })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := bustest.Start(t)
			alter(t, rawAdmin(t, b))
			changes := plan(t, b, counter(99))
			if !slices.Contains(changes.Destructive(), name) {
				t.Fatalf("destructive: %q", changes.Destructive())
			}
			err := bus.Apply(patience(t), b.Admin(), changes)
			if !errors.Is(err, bus.ErrDestructive) || !strings.Contains(err.Error(), name) {
				t.Errorf("apply: %v", err)
			}
			if after := plan(t, b, counter(99)); after.String() != changes.String() {
				t.Errorf("a refused plan changed something:\n%s", after)
			}
		})
	}
}

func TestApply_NeverMakesANumberedStreamWithoutANumber(t *testing.T) {
	t.Parallel()
	broken := errors.New("no database")
	for name, number := range map[string]bus.Numberer{
		"nobody": nil,
		"zero":   func(context.Context, string) (uint16, error) { return 0, nil },
		"broken": func(context.Context, string) (uint16, error) { return 0, broken },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := bustest.StartEmpty(t)
			err := bus.Apply(patience(t), b.Admin(), plan(t, b, number))
			if err == nil {
				t.Fatal("applied")
			}
			_, err = rawAdmin(t, b).Stream(patience(t), bus.Challenges)
			if !errors.Is(err, jetstream.ErrStreamNotFound) {
				t.Errorf("the stream: %v", err)
			}
		})
	}
}

func TestPlan_GivesANumberToAStreamThatLostIt(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	alterStream(t, rawAdmin(t, b), bus.Challenges, func(c *jetstream.StreamConfig) { c.Metadata[bus.NumberKey] = "0" })
	changes := plan(t, b, counter(12))
	if want := "change DOORCODE_CHALLENGES.metadata.doorcode_number \"0\" → the next number\n"; changes.String() != want {
		t.Errorf("plan: %s", changes)
	}
	err := bus.Apply(patience(t), b.Admin(), changes)
	if err != nil {
		t.Fatal(err)
	}
	number, err := b.Admin().StreamNumber(patience(t), bus.Challenges)
	if err != nil || number != 12 {
		t.Errorf("number %d, %v", number, err)
	}
}

func alterStream(t *testing.T, js jetstream.JetStream, name string, alter func(*jetstream.StreamConfig)) {
	t.Helper()
	stream, err := js.Stream(patience(t), name)
	if err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	alter(&config)
	_, err = js.UpdateStream(patience(t), config)
	if err != nil {
		t.Fatalf("alter %s: %v", name, err)
	}
}

// remake is for what an update cannot change.
func remake(t *testing.T, js jetstream.JetStream, alter func(*jetstream.StreamConfig)) {
	t.Helper()
	stream, err := js.Stream(patience(t), bus.Outcomes)
	if err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	alter(&config)
	err = js.DeleteStream(patience(t), bus.Outcomes)
	if err != nil {
		t.Fatal(err)
	}
	_, err = js.CreateStream(patience(t), config)
	if err != nil {
		t.Fatalf("remake: %v", err)
	}
}

func alterConsumer(t *testing.T, js jetstream.JetStream, stream, name string, alter func(*jetstream.ConsumerConfig)) {
	t.Helper()
	consumer, err := js.Consumer(patience(t), stream, name)
	if err != nil {
		t.Fatal(err)
	}
	config := consumer.CachedInfo().Config
	alter(&config)
	_, err = js.UpdateConsumer(patience(t), stream, config)
	if err != nil {
		t.Fatalf("alter %s: %v", name, err)
	}
}
