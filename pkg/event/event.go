// Package event holds what doorcode says on the bus: CloudEvents 1.0 in binary
// mode over NATS headers, with JSON data (DESIGN 4). Types are versioned;
// within a version fields are only added. No event carries a code or a full
// recipient in clear.
//
// The JSON Schemas stand in schemas/events, the vectors that every producer's
// and consumer's test reads in schemas/events/testdata.
package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Type is a versioned event type.
type Type string

// The types of DESIGN 4.
const (
	ChallengeIssued     Type = "challenge.v1.issued"
	ChallengeApproved   Type = "challenge.v1.approved"
	ChallengeExpired    Type = "challenge.v1.expired"
	ChallengeCanceled   Type = "challenge.v1.canceled"
	ChallengeExhausted  Type = "challenge.v1.exhausted"
	ChallengeWaived     Type = "challenge.v1.waived"
	CheckRejected       Type = "check.v1.rejected"
	DeliveryRequested   Type = "delivery.v1.requested"
	DeliveryAttempted   Type = "delivery.v1.attempted"
	DeliveryPostponed   Type = "delivery.v1.postponed"
	DeliveryAbandoned   Type = "delivery.v1.abandoned"
	ReceiptRecorded     Type = "receipt.v1.recorded"
	NoticeRequested     Type = "notice.v1.requested"
	SealMade            Type = "seal.v1.made"
	WorkspacePut        Type = "directory.v1.workspace_put"
	WorkspaceRemoved    Type = "directory.v1.workspace_removed"
	LoginPut            Type = "directory.v1.login_put"
	LoginRemoved        Type = "directory.v1.login_removed"
	LoginLocked         Type = "directory.v1.login_locked"
	LoginUnlocked       Type = "directory.v1.login_unlocked"
	InvitationMade      Type = "directory.v1.invitation_made"
	InvitationRepeated  Type = "directory.v1.invitation_repeated"
	InvitationWithdrawn Type = "directory.v1.invitation_withdrawn"
	InvitationAccepted  Type = "directory.v1.invitation_accepted"
	JoinRequested       Type = "directory.v1.join_requested"
	JoinDeclined        Type = "directory.v1.join_declined"
	GroupTestStarted    Type = "directory.v1.group_test_started"
	GroupAddressProven  Type = "directory.v1.group_address_proven"
	FactorRequested     Type = "directory.v1.factor_requested"
	FactorChanged       Type = "directory.v1.factor_changed"
	FactorCanceled      Type = "directory.v1.factor_canceled"
	FactorReverted      Type = "directory.v1.factor_reverted"
	RolloutOrdered      Type = "directory.v1.rollout_notice_ordered"
	RolloutPractised    Type = "directory.v1.rollout_practised"
	RolloutPostponed    Type = "directory.v1.rollout_postponed"
)

// Types lists every type.
func Types() []Type {
	return []Type{
		ChallengeIssued, ChallengeApproved, ChallengeExpired, ChallengeCanceled, ChallengeExhausted, ChallengeWaived,
		CheckRejected,
		DeliveryRequested, DeliveryAttempted, DeliveryPostponed, DeliveryAbandoned, ReceiptRecorded,
		NoticeRequested, SealMade,
		WorkspacePut, WorkspaceRemoved, LoginPut, LoginRemoved, LoginLocked, LoginUnlocked,
		FactorRequested, FactorChanged, FactorCanceled, FactorReverted,
		InvitationMade, InvitationRepeated, InvitationWithdrawn, InvitationAccepted, JoinRequested, JoinDeclined,
		GroupTestStarted, GroupAddressProven, RolloutOrdered, RolloutPractised, RolloutPostponed,
	}
}

// The streams that carry events.
const (
	StreamChallenges = "DOORCODE_CHALLENGES"
	StreamDeliveries = "DOORCODE_DELIVERIES"
	StreamOutcomes   = "DOORCODE_OUTCOMES"
	StreamDirectory  = "DOORCODE_DIRECTORY"
	StreamSeals      = "DOORCODE_SEALS"
)

// ErrMalformed says that a message is not an event of ours, or came on a
// subject that its type and channel do not fit. Such a message belongs to the
// dead letters; no consumer trusts a subject.
var ErrMalformed = errors.New("malformed event")

// Event is one fact: past tense, immutable, named by an id that follows from
// its cause, so that a second arrival changes nothing.
type Event struct {
	ID     string
	Type   Type
	Source string // the process, such as `doorcode/auth`
	Time   time.Time
	// Subject is the id of the challenge or notice, of the workspace for
	// directory events, or the number of the seal (a CloudEvents attribute, not a NATS subject). It is
	// empty for a receipt that names neither.
	Subject string
	// Traceparent is the W3C trace context of the cause; it may be empty.
	Traceparent string
	Data        json.RawMessage
}

// New returns an event with the payload as its data.
func New(t Type, id, source string, at time.Time, subject string, payload any) (Event, error) {
	data, err := json.Marshal(payload)
	if err != nil {
		return Event{}, fmt.Errorf("make event %s: %w", t, err)
	}
	return Event{ID: id, Type: t, Source: source, Time: at.UTC(), Subject: subject, Data: data}, nil
}

// Header returns the event's attributes as NATS headers: lower case, as the
// CloudEvents NATS binding's binary mode has them.
func (e Event) Header() map[string]string {
	h := map[string]string{
		"ce-specversion":     "1.0",
		"ce-id":              e.ID,
		"ce-type":            string(e.Type),
		"ce-source":          e.Source,
		"ce-time":            e.Time.UTC().Format(time.RFC3339Nano),
		"ce-datacontenttype": "application/json",
	}
	if e.Subject != "" { // CloudEvents knows no empty one.
		h["ce-subject"] = e.Subject
	}
	if e.Traceparent != "" {
		h["traceparent"] = e.Traceparent
	}
	return h
}

// Parse reads a message from a NATS subject. It fails with ErrMalformed unless
// the headers are those of a known type and fit the subject.
func Parse(subject string, header map[string]string, data []byte) (Event, error) {
	if header["ce-specversion"] != "1.0" || header["ce-datacontenttype"] != "application/json" {
		return Event{}, fmt.Errorf("%w: not a CloudEvent with JSON data", ErrMalformed)
	}
	at, err := time.Parse(time.RFC3339Nano, header["ce-time"])
	if err != nil {
		return Event{}, fmt.Errorf("%w: unreadable time", ErrMalformed)
	}
	e := Event{
		ID: header["ce-id"], Type: Type(header["ce-type"]), Source: header["ce-source"], Time: at.UTC(),
		Subject: header["ce-subject"], Traceparent: header["traceparent"], Data: data,
	}
	channel, valid := channelOf(data)
	if e.ID == "" || e.Source == "" || !valid {
		return Event{}, fmt.Errorf("%w: missing attribute or invalid data", ErrMalformed)
	}
	want, err := SubjectOf(e.Type, channel)
	if err != nil {
		return Event{}, err
	}
	if want != subject {
		return Event{}, fmt.Errorf("%w: type %s does not belong on its subject", ErrMalformed, e.Type)
	}
	return e, nil
}

// channelOf reads the one field that the subjects of challenges, notices,
// deliveries and receipts are made of, and reports whether the data is JSON at
// all, which reading it tells anyway.
func channelOf(data []byte) (channel string, valid bool) {
	var c struct {
		Channel string `json:"channel"`
	}
	err := json.Unmarshal(data, &c)
	_, broken := errors.AsType[*json.SyntaxError](err)
	if err != nil {
		return "", !broken
	}
	return c.Channel, true
}

// SubjectOf returns the NATS subject of a type; channel counts for challenges,
// notices, deliveries and receipts alone. It fails with ErrMalformed for an unknown type or a
// channel that is no single lower-case word.
func SubjectOf(t Type, channel string) (string, error) {
	noun, verb, found := strings.Cut(string(t), ".v1.")
	if !found {
		return "", fmt.Errorf("%w: unknown type", ErrMalformed)
	}
	switch t {
	case ChallengeIssued, DeliveryRequested, NoticeRequested:
		return channelSubject("doorcode.challenge.", channel, "")
	case DeliveryAttempted, DeliveryPostponed, DeliveryAbandoned:
		return channelSubject("doorcode.delivery.", channel, "."+verb)
	case ReceiptRecorded:
		return channelSubject("doorcode.receipt.", channel, "")
	case ChallengeApproved, ChallengeExpired, ChallengeCanceled, ChallengeExhausted, ChallengeWaived:
		return "doorcode.outcome." + verb, nil
	case SealMade:
		return "doorcode.seal." + verb, nil
	case CheckRejected:
		return "doorcode.outcome." + noun + "_" + verb, nil
	case WorkspacePut, WorkspaceRemoved, LoginPut, LoginRemoved, LoginLocked, LoginUnlocked,
		FactorRequested, FactorChanged, FactorCanceled, FactorReverted,
		InvitationMade, InvitationRepeated, InvitationWithdrawn, InvitationAccepted, JoinRequested, JoinDeclined,
		GroupTestStarted, GroupAddressProven, RolloutOrdered, RolloutPractised, RolloutPostponed:
		return "doorcode.directory." + verb, nil
	}
	return "", fmt.Errorf("%w: unknown type", ErrMalformed)
}

// channelSubject puts a channel into a subject and refuses wildcards and dots.
func channelSubject(prefix, channel, suffix string) (string, error) {
	if channel == "" || strings.Trim(channel, "abcdefghijklmnopqrstuvwxyz") != "" {
		return "", fmt.Errorf("%w: missing channel", ErrMalformed)
	}
	return prefix + channel + suffix, nil
}
