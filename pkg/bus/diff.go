package bus

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// difference is one setting that runs otherwise than wanted.
type difference struct {
	field       string // X.max_age, or X/durable.ack_wait
	from, to    string
	destructive bool
}

// String reads `X.max_age 1h0m0s → 168h0m0s`.
func (d difference) String() string {
	return fmt.Sprintf("%s %s → %s", d.field, d.from, d.to)
}

// differ collects the differences of one stream or consumer.
type differ struct {
	name  string
	found []difference
}

func (d *differ) add(field string, from, to any, destructive bool) {
	d.found = append(d.found, difference{
		field: d.name + "." + field, from: fmt.Sprint(from), to: fmt.Sprint(to), destructive: destructive,
	})
}

// compare notes a setting that may be changed either way.
func compare[T comparable](d *differ, field string, running, wanted T) {
	if running != wanted {
		d.add(field, running, wanted, false)
	}
}

// fixed notes a setting that cannot be changed without loss.
func fixed[T comparable](d *differ, field string, running, wanted T) {
	if running != wanted {
		d.add(field, running, wanted, true)
	}
}

// limit notes a limit, which may rise. Zero and less mean that there is none, so that any limit is a lower one.
func limit[T ~int32 | ~int64](d *differ, field string, running, wanted T) {
	if running != wanted {
		d.add(field, running, wanted, wanted > 0 && (running <= 0 || wanted < running))
	}
}

func diffStream(wanted Stream, running jetstream.StreamConfig) []difference {
	d := &differ{name: wanted.Name}
	if !slices.Equal(slices.Sorted(slices.Values(running.Subjects)), slices.Sorted(slices.Values(wanted.Subjects))) {
		removed := slices.ContainsFunc(running.Subjects, func(s string) bool { return !isCovered(s, wanted.Subjects) })
		d.add("subjects", running.Subjects, wanted.Subjects, removed)
	}
	config := wanted.config(running)
	fixed(d, "retention", running.Retention, config.Retention)
	fixed(d, "storage", running.Storage, config.Storage)
	compare(d, "discard", running.Discard, config.Discard)
	limit(d, "max_age", running.MaxAge, config.MaxAge)
	limit(d, "max_bytes", running.MaxBytes, config.MaxBytes)
	limit(d, "max_msg_size", running.MaxMsgSize, config.MaxMsgSize)
	compare(d, "duplicate_window", running.Duplicates, config.Duplicates)
	compare(d, "deny_delete", running.DenyDelete, config.DenyDelete)
	compare(d, "deny_purge", running.DenyPurge, config.DenyPurge)
	compare(d, "allow_rollup", running.AllowRollup, config.AllowRollup)
	compare(d, "allow_direct", running.AllowDirect, config.AllowDirect)
	// The server never takes these two back.
	fixed(d, "allow_msg_ttl", running.AllowMsgTTL, config.AllowMsgTTL)
	fixed(d, "allow_msg_schedules", running.AllowMsgSchedules, config.AllowMsgSchedules)
	return d.found
}

func diffConsumer(stream string, wanted ConsumerSpec, running jetstream.ConsumerConfig) []difference {
	d := &differ{name: stream + "/" + wanted.Durable}
	config := wanted.config(running)
	filter(d, filtersOf(running), wanted.Filters)
	fixed(d, "deliver_policy", running.DeliverPolicy, config.DeliverPolicy)
	fixed(d, "ack_policy", running.AckPolicy, config.AckPolicy)
	compare(d, "ack_wait", running.AckWait, config.AckWait)
	if len(running.BackOff) > 0 {
		d.add("backoff", running.BackOff, "none", false)
	}
	compare(d, "max_deliver", running.MaxDeliver, config.MaxDeliver)
	compare(d, "max_ack_pending", running.MaxAckPending, config.MaxAckPending)
	// The server refuses to change how many pull requests may wait.
	fixed(d, "max_waiting", running.MaxWaiting, config.MaxWaiting)
	return d.found
}

// isCovered tells whether one of the patterns takes every subject that s takes.
func isCovered(s string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		parts, wider := strings.Split(s, "."), strings.Split(pattern, ".")
		for i, part := range wider {
			switch {
			case i >= len(parts):
				return false
			case part == ">":
				return true
			case part != parts[i] && (part != "*" || parts[i] == ">"):
				return false
			}
		}
		return len(parts) == len(wider)
	})
}

// filtersOf lists the filters of a consumer.
func filtersOf(running jetstream.ConsumerConfig) []string {
	if running.FilterSubject != "" {
		return []string{running.FilterSubject}
	}
	return running.FilterSubjects
}

// filter notes subjects that a consumer is handed. Further ones may join those that it names; any other change is fixed,
// because what was passed over stays passed over.
func filter(d *differ, running, wanted []string) {
	if slices.Equal(slices.Sorted(slices.Values(running)), slices.Sorted(slices.Values(wanted))) {
		return
	}
	lost := len(running) == 0 || slices.ContainsFunc(running, func(s string) bool { return !slices.Contains(wanted, s) })
	d.add("filter_subject", strings.Join(running, " "), strings.Join(wanted, " "), lost || len(wanted) == 0)
}
