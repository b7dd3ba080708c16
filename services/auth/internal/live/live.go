// Package live streams what became of a challenge as Server-Sent Events, to front-ends and to pages alike.
package live

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"time"

	"doorcode/pkg/challenge"
	"doorcode/pkg/problem"
	"doorcode/services/auth/internal/front"
)

// The pace of an event stream. Proxies cut what is silent for 30 to 60 seconds.
const (
	stateEvery  = 15 * time.Second
	sendTimeout = 10 * time.Second // for one event to leave
	readTimeout = 5 * time.Second  // for one look at the state
)

// Followed is an open look at a challenge.
type Followed interface {
	State(ctx context.Context) (front.View, error)
	Changed() <-chan struct{}
	Ended() <-chan struct{}
}

// Data writes a state as the one line of data of its event.
type Data func(front.View) ([]byte, error)

// Serve streams the state of a challenge as Server-Sent Events (HTML Living Standard §9.2): on connect, when it
// changed, and every 15 seconds at the latest. The stream ends with the challenge, after its last state, and whenever
// this process stops; a client that comes again gets the state at once, so events need no ids. It returns an error
// before it has answered anything, or nil.
func Serve(w http.ResponseWriter, r *http.Request, f Followed, view front.View, data Data) error {
	control := http.NewResponseController(w)
	err := control.SetReadDeadline(time.Time{}) // It would end the request, although nothing more is read.
	if err != nil {
		return fmt.Errorf("stream events: %w", err)
	}
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Accel-Buffering", "no") // nginx would collect events otherwise.
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	stream(r.Context(), f, view, data, func(event []byte) error {
		err := control.SetWriteDeadline(time.Now().Add(sendTimeout))
		if err != nil {
			return err
		}
		_, err = w.Write(event)
		if err != nil {
			return err
		}
		return control.Flush()
	})
	return nil
}

// stream sends states until the challenge has ended, the client is gone, or the process stops. A state that cannot be
// read now is a comment line, which keeps the connection alive; one that may no longer be read ends the stream.
func stream(ctx context.Context, f Followed, view front.View, data Data, send func([]byte) error) {
	ticker := time.NewTicker(stateEvery)
	defer ticker.Stop()
	var sent []byte
	for {
		next, err := eventOf(view, data)
		if err != nil || send(next) != nil {
			return
		}
		sent = next
		if view.State != string(challenge.Pending) {
			return
		}
		view, err = look(ctx, f, ticker.C, sent, data, send)
		if err != nil {
			return
		}
	}
}

// look waits for the next state that is worth an event: another than the one that was sent, or any when it is time.
func look(ctx context.Context, f Followed, tick <-chan time.Time, sent []byte, data Data, send func([]byte) error) (front.View, error) {
	for {
		due := false
		select {
		case <-ctx.Done():
			return front.View{}, ctx.Err()
		case <-f.Ended():
			return front.View{}, context.Canceled
		case <-f.Changed():
		case <-tick:
			due = true
		}
		view, err := read(ctx, f)
		if err != nil && problem.Of(err).Status < http.StatusInternalServerError {
			return front.View{}, err
		}
		if err != nil {
			err = send([]byte(": the state cannot be read at the moment\n\n"))
			if err != nil {
				return front.View{}, err
			}
			continue
		}
		next, err := eventOf(view, data)
		if err != nil || due || !bytes.Equal(next, sent) {
			return view, err
		}
	}
}

// read takes one look in bounded time.
func read(ctx context.Context, f Followed) (front.View, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return f.State(ctx)
}

// eventOf is the wire form of a state.
func eventOf(view front.View, data Data) ([]byte, error) {
	line, err := data(view)
	if err != nil {
		return nil, fmt.Errorf("write event: %w", err)
	}
	return fmt.Appendf(nil, "event: state\ndata: %s\n\n", line), nil
}
