package bus

import (
	"maps"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Names of the streams.
const (
	Challenges = "DOORCODE_CHALLENGES"
	Deliveries = "DOORCODE_DELIVERIES"
	Outcomes   = "DOORCODE_OUTCOMES"
	Directory  = "DOORCODE_DIRECTORY"
	Seals      = "DOORCODE_SEALS"
	DeadLetter = "DOORCODE_DLQ"
	Advisories = "DOORCODE_ADVISORIES"
)

// Names of the durable consumers.
const (
	EmailDispatcher = "email-dispatcher"
	SMSDispatcher   = "sms-dispatcher"
	Recorder        = "recorder"
	Notices         = "notices"
)

const (
	day = 24 * time.Hour
	mib = 1 << 20
	gib = 1 << 30
)

// Stream is what we want of a stream. What is not said here is the same for all (see config): kept by limits on disk,
// full means refused, and nothing is ever deleted, purged or rolled up.
type Stream struct {
	Name     string
	Subjects []string
	MaxAge   time.Duration
	// MaxBytes is set aside when the stream is made; all of them fit the 10 GB of an embedded server.
	MaxBytes   int64
	MaxMsgSize int32 // headers and data
	// Duplicates is for how long a message id is remembered.
	Duplicates time.Duration
	// Numbered streams keep a number for handles in their metadata.
	Numbered  bool
	Consumers []ConsumerSpec
}

// ConsumerSpec is what we want of a durable pull consumer. All acknowledge explicitly, start at the first message and
// have no BackOff, which does not go with a delayed nak (nats-postgres.md 3).
type ConsumerSpec struct {
	Durable string
	Filters []string // subjects, or none for all of the stream
	AckWait time.Duration
	// MaxDeliver is how often a message is delivered at most; -1 is for ever.
	MaxDeliver    int
	MaxAckPending int // over all replicas
	MaxWaiting    int // pull requests of all replicas
}

// Streams is the whole layout: DESIGN 4, nats-postgres.md 0. Subjects carry no ids, because memory follows their
// number. An event stays for a week, so that a Postgres outage loses nothing.
func Streams() []Stream {
	recorder := ConsumerSpec{
		Durable: Recorder, AckWait: 30 * time.Second, MaxDeliver: -1, MaxAckPending: 4096, MaxWaiting: 512,
	}
	email := ConsumerSpec{
		Durable: EmailDispatcher, Filters: []string{"doorcode.challenge.email"},
		AckWait: 30 * time.Second, MaxDeliver: 6, MaxAckPending: 512, MaxWaiting: 512,
	}
	sms := ConsumerSpec{
		Durable: SMSDispatcher, Filters: []string{"doorcode.challenge.sms"},
		AckWait: 30 * time.Second, MaxDeliver: 6, MaxAckPending: 256, MaxWaiting: 512,
	}
	notices := ConsumerSpec{
		Durable: Notices, Filters: NoticeSubjects(),
		AckWait: 30 * time.Second, MaxDeliver: -1, MaxAckPending: 256, MaxWaiting: 512,
	}
	used := notices
	used.Filters = NoticeOutcomes()
	return []Stream{
		{
			Name: Challenges, Subjects: []string{"doorcode.challenge.*"}, Numbered: true,
			MaxAge: 7 * day, MaxBytes: 2 * gib, MaxMsgSize: 16 << 10, Duplicates: 10 * time.Minute,
			Consumers: []ConsumerSpec{email, sms, recorder},
		},
		{
			Name: Deliveries, Subjects: []string{"doorcode.delivery.*.*", "doorcode.receipt.*"},
			MaxAge: 7 * day, MaxBytes: 2 * gib, MaxMsgSize: 16 << 10, Duplicates: time.Hour,
			Consumers: []ConsumerSpec{recorder},
		},
		{
			Name: Outcomes, Subjects: []string{"doorcode.outcome.*"},
			MaxAge: 7 * day, MaxBytes: gib, MaxMsgSize: 16 << 10, Duplicates: time.Hour,
			Consumers: []ConsumerSpec{used},
		},
		{
			Name: Directory, Subjects: []string{"doorcode.directory.*"},
			MaxAge: 7 * day, MaxBytes: gib, MaxMsgSize: 16 << 10, Duplicates: time.Hour,
			Consumers: []ConsumerSpec{notices},
		},
		{
			// The heads of the audit, for as long as an auditor asks for: a minute's is half a kilobyte.
			Name: Seals, Subjects: []string{"doorcode.seal.*"},
			MaxAge: 400 * day, MaxBytes: gib, MaxMsgSize: 4 << 10, Duplicates: time.Hour,
		},
		{
			// A dead letter is a whole message and what was wrong with it.
			Name: DeadLetter, Subjects: []string{"doorcode.dlq.*"},
			MaxAge: 30 * day, MaxBytes: gib, MaxMsgSize: 48 << 10, Duplicates: time.Hour,
		},
		{
			Name: Advisories,
			Subjects: []string{
				"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>",
				"$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>",
			},
			MaxAge: 7 * day, MaxBytes: 256 * mib, MaxMsgSize: 16 << 10, Duplicates: 2 * time.Minute,
		},
	}
}

// NoticeSubjects lists the changes of the directory that people are told of. Most are told to nobody, and reach nobody.
func NoticeSubjects() []string {
	return []string{
		"doorcode.directory.login_locked",
		"doorcode.directory.invitation_made",
		"doorcode.directory.invitation_repeated",
		"doorcode.directory.join_requested",
		"doorcode.directory.factor_changed",
		"doorcode.directory.factor_reverted",
		"doorcode.directory.login_removed",
		"doorcode.directory.rollout_notice_ordered",
	}
}

// NoticeOutcomes lists the outcomes that people are told of: a right code, where several of them read its mailbox.
func NoticeOutcomes() []string { return []string{"doorcode.outcome.approved"} }

// config is the wanted stream for the server. What is ours to say is laid over what runs, so that replicas, placement
// and foreign metadata stay; running is the zero value for a stream to be made.
func (s Stream) config(running jetstream.StreamConfig) jetstream.StreamConfig {
	config := running
	config.Name = s.Name
	config.Subjects = s.Subjects
	config.Retention = jetstream.LimitsPolicy
	config.Storage = jetstream.FileStorage
	config.Discard = jetstream.DiscardNew
	config.MaxAge = s.MaxAge
	config.MaxBytes = s.MaxBytes
	config.MaxMsgSize = s.MaxMsgSize
	config.Duplicates = s.Duplicates
	config.DenyDelete = true
	config.DenyPurge = true
	config.AllowRollup = false
	config.AllowDirect = false
	config.AllowMsgTTL = false
	config.AllowMsgSchedules = false
	config.Metadata = map[string]string{}
	maps.Copy(config.Metadata, running.Metadata)
	// The server's own entries are its to write.
	maps.DeleteFunc(config.Metadata, func(key, _ string) bool { return strings.HasPrefix(key, "_nats.") })
	return config
}

// config is the wanted consumer for the server, laid over what runs in the same way.
func (c ConsumerSpec) config(running jetstream.ConsumerConfig) jetstream.ConsumerConfig {
	config := running
	config.Durable = c.Durable
	config.Name = c.Durable
	config.DeliverPolicy = jetstream.DeliverAllPolicy
	config.AckPolicy = jetstream.AckExplicitPolicy
	config.FilterSubject, config.FilterSubjects = "", nil
	if len(c.Filters) == 1 { // The server keeps one and several in two places.
		config.FilterSubject = c.Filters[0]
	} else {
		config.FilterSubjects = c.Filters
	}
	config.AckWait = c.AckWait
	config.BackOff = nil
	config.MaxDeliver = c.MaxDeliver
	config.MaxAckPending = c.MaxAckPending
	config.MaxWaiting = c.MaxWaiting
	return config
}
