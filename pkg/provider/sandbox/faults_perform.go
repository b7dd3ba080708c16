package sandbox

import (
	"math"
	"net"
	"net/http"
	"strconv"
	"time"
)

// htmlPage is what a proxy in front of the provider might show.
const htmlPage = "<html>\r\n<head><title>Out of service</title></head>\r\n<body><h1>Out of service</h1></body>\r\n</html>\r\n"

// minDrip is the shortest time between two bytes.
const minDrip = time.Millisecond

// meet answers one send: as judge says, or as the first fault that it meets.
func (s *Sandbox) meet(w http.ResponseWriter, r *http.Request, body []byte, judge func() answer) {
	fault, released, met := s.faults.take(recipients(body))
	if !met {
		judge().write(w)
		return
	}
	liftDeadlines(w)
	switch fault.Kind {
	case Latency:
		hold(r, released, fault.Delay)
		judge().write(w)
	case Hang:
		hold(r, released, 0)
		breakOff(w)
	case ResetBefore:
		breakOff(w)
	case ResetAfter:
		onceStored(w, judge(), func(answer) { breakOff(w) })
	case Drip:
		onceStored(w, judge(), func(got answer) { drip(w, r, fault, released, got) })
	case Truncate:
		onceStored(w, judge(), func(got answer) { truncate(w, got) })
	case Status:
		statusAnswer(fault.Status).write(w)
	case HTML:
		answer{status: fault.Status, media: "text/html", body: []byte(htmlPage)}.write(w)
	case Empty:
		answer{status: fault.Status}.write(w)
	case Redirect:
		answer{status: fault.Status, header: []headerLine{{"Location", fault.Location}}}.write(w)
	case RateLimit:
		s.limited(fault.Reset).write(w)
	case Credits:
		messageAnswer(http.StatusUnauthorized, "Maximum credits exceeded").write(w)
	}
}

// liftDeadlines lets a fault last longer than the server's own bounds, which
// would end it as if the sender had gone.
func liftDeadlines(w http.ResponseWriter) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // not every writer has deadlines
	_ = control.SetWriteDeadline(time.Time{})
}

// recipients reads the addresses of a body, none when it cannot be read.
func recipients(body []byte) []string {
	request, ok := decodeMail(body)
	if !ok {
		return nil
	}
	return request.addresses()
}

// limited is the answer to a sender that is too fast. Only a time above zero
// puts the headers of the limit there (providers.md 2.3).
func (s *Sandbox) limited(reset time.Duration) answer {
	limited := statusAnswer(http.StatusTooManyRequests)
	if reset > 0 {
		at := s.clock().Unix() + int64(math.Ceil(reset.Seconds()))
		limited.header = []headerLine{
			{"X-RateLimit-Limit", "600"},
			{"X-RateLimit-Remaining", "0"},
			{"X-RateLimit-Reset", strconv.FormatInt(at, 10)},
		}
	}
	return limited
}

// onceStored misbehaves about an accepted message and answers a refused one as usual.
func onceStored(w http.ResponseWriter, got answer, misbehave func(answer)) {
	if got.status != http.StatusAccepted {
		got.write(w)
		return
	}
	misbehave(got)
}

// truncate announces more than it writes, whereupon the server closes.
func truncate(w http.ResponseWriter, got answer) {
	got.start(w.Header())
	w.Header().Set("Content-Length", "64")
	w.WriteHeader(got.status)
	_, _ = w.Write([]byte("{"))
}

// drip sends the headers and then single spaces until somebody gives up.
func drip(w http.ResponseWriter, r *http.Request, f Fault, released <-chan struct{}, got answer) {
	got.start(w.Header())
	w.WriteHeader(got.status)
	control := http.NewResponseController(w)
	for {
		err := control.Flush()
		if err != nil || hold(r, released, max(f.Delay, minDrip)) {
			break
		}
		_, err = w.Write([]byte(" "))
		if err != nil {
			break
		}
	}
	breakOff(w)
}

// hold waits for the delay, or for ever when it is zero, and tells whether the
// sender has gone or the faults were cleared before.
func hold(r *http.Request, released <-chan struct{}, delay time.Duration) bool {
	var elapsed <-chan time.Time
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		elapsed = timer.C
	}
	select {
	case <-elapsed:
		return false
	case <-r.Context().Done():
		return true
	case <-released:
		return true
	}
}

// breakOff resets the connection, so that the sender sees neither an answer
// nor an orderly end. A connection that cannot be reset is answered 500.
func breakOff(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		statusAnswer(http.StatusInternalServerError).write(w)
		return
	}
	tcp, ok := conn.(*net.TCPConn)
	if ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
