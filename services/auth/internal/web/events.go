package web

import (
	"bytes"
	"context"
	"encoding/json"
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

// followed is an open look at a challenge.
type followed interface {
	State(ctx context.Context) (front.View, error)
	Changed() <-chan struct{}
	Ended() <-chan struct{}
}

// events streams the state of a challenge as Server-Sent Events (HTML Living Standard §9.2): on connect, when it
// changed, and every 15 seconds at the latest. The stream ends with the challenge, after its last state, and whenever
// this process stops; a client that comes again gets the state at once, so events need no ids.
func (h *Handler) events(w http.ResponseWriter, r *http.Request) {
	call, ok := h.begin(w, r, nil)
	if !ok {
		return
	}
	following, view, err := h.front.Follow(r.Context(), call, r.PathValue("handle"))
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	defer following.Close()
	control := http.NewResponseController(w)
	err = control.SetReadDeadline(time.Time{}) // It would end the request, although nothing more is read.
	if err != nil {
		h.refuse(w, r, fmt.Errorf("stream events: %w", err))
		return
	}
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Accel-Buffering", "no") // nginx would collect events otherwise.
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	stream(r.Context(), following, view, func(data []byte) error {
		err := control.SetWriteDeadline(time.Now().Add(sendTimeout))
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		if err != nil {
			return err
		}
		return control.Flush()
	})
}

// stream sends states until the challenge has ended, the client is gone, or the process stops. A state that cannot be
// read now is a comment line, which keeps the connection alive; one that may no longer be read ends the stream.
func stream(ctx context.Context, f followed, view front.View, send func([]byte) error) {
	ticker := time.NewTicker(stateEvery)
	defer ticker.Stop()
	var sent []byte
	for {
		next, err := stateEvent(view)
		if err != nil || send(next) != nil {
			return
		}
		sent = next
		if view.State != string(challenge.Pending) {
			return
		}
		view, err = look(ctx, f, ticker.C, sent, send)
		if err != nil {
			return
		}
	}
}

// look waits for the next state that is worth an event: another than the one that was sent, or any when it is time.
func look(ctx context.Context, f followed, tick <-chan time.Time, sent []byte, send func([]byte) error) (front.View, error) {
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
		next, err := stateEvent(view)
		if err != nil || due || !bytes.Equal(next, sent) {
			return view, err
		}
	}
}

// read takes one look in bounded time.
func read(ctx context.Context, f followed) (front.View, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return f.State(ctx)
}

// stateEvent is the wire form of a state; its data is the body of the read.
func stateEvent(view front.View) ([]byte, error) {
	data, err := json.Marshal(view)
	if err != nil {
		return nil, fmt.Errorf("write event: %w", err)
	}
	return fmt.Appendf(nil, "event: state\ndata: %s\n\n", data), nil
}
