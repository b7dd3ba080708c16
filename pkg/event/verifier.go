package event

import "time"

// The subjects of the verifier's verbs: core NATS requests with JSON.
const (
	VerbCheck    = "doorcode.verifier.check"
	VerbResend   = "doorcode.verifier.resend"
	VerbCancel   = "doorcode.verifier.cancel"
	VerbState    = "doorcode.verifier.state"
	VerbUnlock   = "doorcode.verifier.unlock"
	VerbDelivery = "doorcode.verifier.delivery"
	VerbWaive    = "doorcode.verifier.waive"
	VerbSkip     = "doorcode.verifier.skip"
)

// HandleRequest names a challenge for one front-end: the request of state and
// cancel, and a part of check and resend. The verifier checks the handle's MAC
// itself; the challenge of another front-end is unknown to this one.
type HandleRequest struct {
	Handle   string `json:"handle"`
	FrontEnd string `json:"front_end"`
}

// CheckRequest asks for the judgement of one typed code.
type CheckRequest struct {
	HandleRequest
	// Tags holds the tag of the typed code by tag key id.
	Tags map[uint8][]byte `json:"tags"`
	// CheckID names this check; a repeat gets the same answer and counts
	// nothing.
	CheckID string `json:"check_id"`
}

// CheckReply answers an approved check, a waiver and a skip; every other
// judgement travels as a problem document.
type CheckReply struct {
	Assertion string `json:"assertion"`
}

// WaiveRequest asks for the assertion of a sign-in that needs no code. The
// challenge is recorded as waived; asked for again it is the same one.
type WaiveRequest struct {
	Challenge        string    `json:"challenge"`
	Workspace        string    `json:"workspace"`
	Login            string    `json:"login"`
	LoginVersion     int64     `json:"login_version"`
	FrontEnd         string    `json:"front_end"`
	SupportReference string    `json:"support_reference"`
	CreatedAt        time.Time `json:"created_at"`
	Network          string    `json:"network,omitempty"`
	Browser          []byte    `json:"browser,omitempty"`
	Agent            string    `json:"agent,omitempty"`
	// Fingerprint is a keyed hash of the request, as of an issued challenge.
	Fingerprint []byte `json:"fingerprint"`
	Waiver      Waiver `json:"waiver"`
}

// ResendRequest asks for one more message of the same code.
type ResendRequest struct {
	HandleRequest
	// Channel picks a proven route; empty repeats the first one.
	Channel string `json:"channel,omitempty"`
	// Key names the request; the same key gets the same send.
	Key []byte `json:"key"`
}

// ResendReply tells which send was ordered and when the next may be asked for.
type ResendReply struct {
	Send      int        `json:"send"`
	Channel   string     `json:"channel"`
	Recipient string     `json:"recipient"` // masked
	ResendAt  *time.Time `json:"resend_at"` // nil when no further one is possible
	ExpiresAt time.Time  `json:"expires_at"`
}

// StateReply tells where a challenge stands; cancel answers with it too.
type StateReply struct {
	State            string         `json:"state"`
	Label            string         `json:"label"`
	Channel          string         `json:"channel"`
	Recipient        string         `json:"recipient"` // masked
	Routes           []OfferedRoute `json:"routes"`    // others that a resend may take
	SupportReference string         `json:"support_reference"`
	ExpiresAt        time.Time      `json:"expires_at"`
	ResendAt         *time.Time     `json:"resend_at"`
	ChecksLeft       int            `json:"checks_left"`
	// Waiting counts the live challenges at the recipient, this one among them; 0 when it has ended.
	Waiting int `json:"waiting"`
	// Skip says that the person may go on without the code; nil: they may not, or it has ended.
	Skip       *SkipOffer      `json:"skip,omitempty"`
	Deliveries []DeliveryState `json:"deliveries"`
}

// OfferedRoute is a proven route as a person may see it.
type OfferedRoute struct {
	Channel   string `json:"channel"`
	Recipient string `json:"recipient"` // masked
}

// SkipOffer is what a person may know of a code that may be skipped.
type SkipOffer struct {
	Left      int        `json:"left"`                 // skips, this one counted
	EnforceAt *time.Time `json:"enforce_at,omitempty"` // when codes become required, if that is known
}

// DeliveryState is the status of one message in closed words and in plain ones.
type DeliveryState struct {
	Send      int       `json:"send"`
	Channel   string    `json:"channel"`
	Recipient string    `json:"recipient"` // masked
	Status    string    `json:"status"`
	Text      string    `json:"text"`
	At        time.Time `json:"at"`
}

// UnlockRequest asks for the end of a login's lock.
type UnlockRequest struct {
	Workspace string `json:"workspace"`
	Login     string `json:"login"`
	By        string `json:"by"`
}

// DeliveryRequest asks, before a redelivered send is sent, whether it still
// should be.
type DeliveryRequest struct {
	Challenge string `json:"challenge"`
	Send      int    `json:"send"`
}

// DeliveryReply says whether the challenge ended and whether the provider
// already took this send.
type DeliveryReply struct {
	Ended    bool `json:"ended"`
	Accepted bool `json:"accepted"`
}

// SubjectChanged carries, on core NATS, the ids of challenges that were just
// changed: a hint that wakes whoever shows one, never a fact to rely on.
const SubjectChanged = "doorcode.changed"

// MaxChanged is how many ids one Changed holds at most, so that it fits a
// message of the bus (64 KB).
const MaxChanged = 1000

// Changed is the data on SubjectChanged.
type Changed struct {
	Challenges []string `json:"challenges"`
}
