package event

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"time"
)

// The kinds of notices.
const (
	// NoticeLoginLocked tells that too many wrong codes in a row locked a login.
	NoticeLoginLocked = "login_locked"
	// NoticeFactorChanged tells a former route that codes go elsewhere now.
	NoticeFactorChanged = "factor_changed"
	// NoticeInvited asks somebody to become an administrator.
	NoticeInvited = "invited"
	// NoticeJoinRequested tells an owner that somebody asks to be invited.
	NoticeJoinRequested = "join_requested"
	// NoticeLoginRemoved tells a person that their login was removed, and the owner
	// of the workspace that one was.
	NoticeLoginRemoved = "login_removed"
	// NoticeCodeUsed tells those who share a mailbox that one of them used a code.
	NoticeCodeUsed = "code_used"
	// These tell the owner of a workspace and its administrators of its way to
	// codes: see rollout.Notice.
	NoticeRolloutAnnounced = "rollout_announced"
	NoticeRolloutReminded  = "rollout_reminded"
	NoticeRolloutGrace     = "rollout_grace"
	NoticeRolloutEnforced  = "rollout_enforced"
	NoticeRolloutWithdrawn = "rollout_withdrawn"
	NoticeRolloutMoved     = "rollout_moved"
)

// NoticeKinds lists what people are told of; it doubles as the closed set of a
// metric label, and every language has words for each.
func NoticeKinds() []string {
	return append([]string{NoticeLoginLocked, NoticeFactorChanged, NoticeInvited, NoticeJoinRequested, NoticeLoginRemoved, NoticeCodeUsed},
		RolloutNotices()...)
}

// RolloutNotices lists those kinds that a directory.v1.rollout_notice_ordered
// can order.
func RolloutNotices() []string {
	return []string{
		NoticeRolloutAnnounced, NoticeRolloutReminded, NoticeRolloutGrace, NoticeRolloutEnforced, NoticeRolloutWithdrawn, NoticeRolloutMoved,
	}
}

// NoticeLife is how long after its cause a notice may be sent at most: it is no
// code, and yesterday's lock is news to whoever was asleep.
const NoticeLife = 24 * time.Hour

// CodeUsedLife is how long after a sign-in those who share its mailbox may be
// told at most. The mail with the code has been worth nothing for long by then,
// and an hour's worth is what a mailbox gets at most when telling was held up.
const CodeUsedLife = time.Hour

// Notice is the data of notice.v1.requested: one message without a code to one
// proven address, sealed by auth for the dispatcher of its channel.
//
// A notice is sent once, so it has no row and no state: its id stands where a
// challenge's does, in deliveries, receipts and the audit.
type Notice struct {
	Notice    string `json:"notice"` // its id
	Kind      string `json:"kind"`
	Cause     string `json:"cause"` // id of the event that it tells of
	Workspace string `json:"workspace"`
	Login     string `json:"login"`
	Channel   string `json:"channel"`
	// Destination is the masked recipient.
	Destination string `json:"destination"`
	// SupportReference is the same in all notices of one cause.
	SupportReference string `json:"support_reference"`
	Locale           string `json:"locale"`
	Envelope         string `json:"envelope,omitempty"`
	// NotAfter is the latest time at which a call to a provider may start.
	NotAfter time.Time `json:"not_after"`
}

// NoticeID names the notice of a cause to a recipient, of whom it takes a keyed
// hash: whoever makes it again, or at the same time, makes the same one. It has
// the form of a challenge's id.
func NoticeID(cause string, recipient []byte) string {
	h := sha256.New()
	for _, part := range [][]byte{[]byte("doorcode notice v1"), []byte(cause), recipient} {
		_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part)))) // A hash takes everything.
		_, _ = h.Write(part)
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}

// noticeSend is SendOf for a notice.
func noticeSend(e Event) (Send, error) {
	var p Notice
	err := e.Decode(&p)
	if err != nil {
		return Send{}, err
	}
	if p.Notice == "" || p.Kind == "" || p.Envelope == "" || p.NotAfter.IsZero() {
		return Send{}, fmt.Errorf("%w: no notice", ErrMalformed)
	}
	return Send{
		Challenge: p.Notice, Number: 1, Channel: p.Channel, Envelope: p.Envelope,
		NotAfter: p.NotAfter, ExpiresAt: p.NotAfter, At: e.Time, Notice: p.Kind,
	}, nil
}

// RolloutNotice is the kind of a notice of the roll-out, by its name in package
// rollout.
func RolloutNotice(name string) string { return "rollout_" + name }
