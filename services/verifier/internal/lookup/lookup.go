// Package lookup finds the challenge that a handle names, recorded or not: a code may be typed a millisecond after its
// challenge was created, or while the recorder is an hour behind (P8).
package lookup

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/faultpoint"
	"doorcode/pkg/keyring"
	"doorcode/pkg/postgres"
	"doorcode/pkg/problem"
	"doorcode/services/verifier/internal/intake"
)

// store is what a lookup needs of Postgres.
type store interface {
	Facts(ctx context.Context, id string) (postgres.Facts, error)
	Materialise(ctx context.Context, c postgres.Issued) (expired bool, err error)
	MaterialiseAll(ctx context.Context, all []postgres.Issued) (expired []bool, err error)
}

// stream is what a lookup needs of the bus.
type stream interface {
	Get(ctx context.Context, stream string, sequence uint64) (bus.Message, error)
	StreamNumber(ctx context.Context, stream string) (uint16, error)
}

// Finder finds challenges by handle. It is safe for concurrent use.
type Finder struct {
	store    store
	stream   stream
	handles  *keyring.Ring
	number   atomic.Uint32 // of the stream, as far as it is known; no stream has the number 0
	arrivals arrivals
}

// New returns a finder over the store, the bus and the ring of the handle keys.
func New(s store, b stream, handles *keyring.Ring) *Finder {
	return &Finder{store: s, stream: b, handles: handles, arrivals: arrivals{waiting: map[string]*arrival{}}}
}

// Found is a challenge.
type Found struct {
	Facts postgres.Facts
	// Unrecorded says that the challenge expired before it was recorded: there is no row, and none is made, since
	// nothing can be done about it any more. The recorder and the sweep will write its end.
	Unrecorded bool
}

// Unknown is the one answer to a handle that is mangled, foreign, or names nothing.
func Unknown() error {
	return problem.New(http.StatusNotFound, "unknown_challenge", "There is no such challenge.")
}

// Find returns the challenge of a handle for the front-end that created it. A challenge that is not recorded yet is
// read from the bus at the sequence inside the handle and recorded, once; one that the recorder has at hand needs no
// reading. It fails with Unknown, or with what Postgres or the bus failed with.
func (f *Finder) Find(ctx context.Context, r event.HandleRequest) (Found, error) {
	h, err := challenge.DecodeHandle(f.handles, r.Handle)
	if err != nil {
		return Found{}, Unknown()
	}
	found, ok := f.arrived(ctx, h, r.FrontEnd)
	if ok {
		return found, nil
	}
	facts, err := f.store.Facts(ctx, h.Challenge)
	if errors.Is(err, postgres.ErrNoChallenge) {
		return f.materialise(ctx, h, r.FrontEnd)
	}
	if err != nil {
		return Found{}, err
	}
	if facts.FrontEnd != r.FrontEnd {
		return Found{}, Unknown()
	}
	return Found{Facts: facts}, nil
}

// materialise records the event that a handle points at. The row holds the event's own facts, whoever wrote it.
func (f *Finder) materialise(ctx context.Context, h challenge.Handle, frontEnd string) (Found, error) {
	issued, err := f.read(ctx, h)
	if err != nil {
		return Found{}, err
	}
	if issued.FrontEnd != frontEnd {
		return Found{}, Unknown()
	}
	faultpoint.Hit("lookup.read")
	expired, err := f.store.Materialise(ctx, postgres.Issued{Event: issued, Stream: h.Stream, Sequence: h.Sequence})
	if err != nil {
		return Found{}, err
	}
	faultpoint.Hit("lookup.inserted")
	if expired {
		return Found{Facts: factsOf(issued), Unrecorded: true}, nil
	}
	return Found{Facts: factsOf(issued)}, nil
}

// read gets the event of a handle from the bus. It must be that of the handle's challenge: in a stream that was made anew
// the sequences mean other events.
func (f *Finder) read(ctx context.Context, h challenge.Handle) (event.Issued, error) {
	err := f.sameStream(ctx, h)
	if err != nil {
		return event.Issued{}, err
	}
	m, err := f.stream.Get(ctx, event.StreamChallenges, h.Sequence)
	if errors.Is(err, bus.ErrNotFound) {
		return event.Issued{}, Unknown()
	}
	if err != nil {
		return event.Issued{}, err
	}
	e, err := intake.Parse(m)
	if err != nil {
		return event.Issued{}, Unknown()
	}
	issued, err := intake.Issued(e)
	if err != nil || issued.Challenge != h.Challenge {
		return event.Issued{}, Unknown()
	}
	return issued, nil
}

// sameStream fails with Unknown when a handle is of another stream. The number is asked for when it is not the one that
// was answered last: only a stream that was made anew has another.
func (f *Finder) sameStream(ctx context.Context, h challenge.Handle) error {
	if h.Stream == 0 {
		return Unknown() // which is what number holds as long as nothing is known
	}
	if f.number.Load() == uint32(h.Stream) {
		return nil
	}
	number, err := f.stream.StreamNumber(ctx, event.StreamChallenges)
	if err != nil {
		return err
	}
	f.number.Store(uint32(number))
	if number != h.Stream {
		return Unknown()
	}
	return nil
}

// factsOf returns the facts that an event tells, as Postgres keeps them.
func factsOf(e event.Issued) postgres.Facts {
	return postgres.Facts{
		ID: e.Challenge, Workspace: e.Workspace, Login: e.Login, LoginVersion: e.LoginVersion, FrontEnd: e.FrontEnd,
		Purpose: string(e.Purpose), Label: e.Label, SupportReference: e.SupportReference, TagKey: e.TagKey, DigestKey: e.DigestKey,
		Routes: e.Routes, Skip: e.Skip, CreatedAt: e.CreatedAt.Truncate(time.Microsecond), ExpiresAt: e.ExpiresAt.Truncate(time.Microsecond),
	}
}
