package dispatch

import (
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
	"doorcode/pkg/provider"
	"doorcode/pkg/seal"
)

// Job is one hand-over of one send on its way through the stages. Each stage
// fills in its part.
type Job struct {
	// Message, Number, Received and Stored are what the broker handed over.
	Message  bus.Message
	Sequence uint64
	Stream   string
	Number   int
	Received time.Time
	Stored   time.Time // by the broker's clock

	// decode: what is asked for, and the name of this hand-over. Reference is
	// empty when the message was not understood.
	Send        event.Send
	Traceparent string
	Reference   delivery.Reference
	NotAfter    time.Time

	// open and render: what is sent. Both hold a code in clear.
	Content  seal.Content
	Rendered provider.Message

	// send: what is known after the call.
	Attempt Attempt
}

// Attempt is what is known after one call to a provider.
type Attempt struct {
	Result     delivery.Result
	Reason     delivery.Reason
	ProviderID string
	RetryAfter time.Duration
	Detail     string // redacted by the provider's adapter
	Duration   time.Duration
	At         time.Time // when the call had ended
}

// newJob begins a hand-over.
func newJob(d *bus.Delivery) *Job {
	return &Job{Message: d.Message, Sequence: d.Sequence, Stream: d.Stream, Number: d.Number, Received: d.Received, Stored: d.Stored}
}

// understood reports whether decode knew what the message asks for.
func (j *Job) understood() bool { return j.Reference.Attempt != "" }
