package sandbox

import (
	"net"
	"net/http"
	"time"

	"doorcode/pkg/delivery"
)

// htmlPage is what a proxy in front of the provider might show.
const htmlPage = "<html>\r\n<head><title>Out of service</title></head>\r\n<body><h1>Out of service</h1></body>\r\n</html>\r\n"

// minDrip is the shortest time between two bytes.
const minDrip = time.Millisecond

// dialect is how a provider words what every provider can say.
type dialect struct {
	channel delivery.Channel
	status  func(int) answer
	limited func(now time.Time, reset time.Duration) answer
	credits func() answer
}

// call is one send as the faults see it.
type call struct {
	dialect
	recipients []string
	judge      func() answer
}

// meet answers one send: as judge says, as the first fault that it meets, or
// as its magic recipient asks for.
func (s *Sandbox) meet(w http.ResponseWriter, r *http.Request, c call) {
	fault, released, met := s.faults.take(c.channel, c.recipients)
	if !met {
		fault, met = magicFault(c.channel, c.recipients)
	}
	if !met {
		c.judge().write(w)
		return
	}
	liftDeadlines(w)
	switch fault.Kind {
	case Latency:
		hold(r, released, fault.Delay)
		c.judge().write(w)
	case LateAccept:
		got := c.judge()
		hold(r, released, fault.Delay)
		got.write(w)
	case Hang:
		hold(r, released, 0)
		breakOff(w)
	case ResetBefore:
		breakOff(w)
	case ResetAfter:
		onceStored(w, c.judge(), func(answer) { breakOff(w) })
	case Drip:
		onceStored(w, c.judge(), func(got answer) { drip(w, r, fault, released, got) })
	case Truncate:
		onceStored(w, c.judge(), func(got answer) { truncate(w, got) })
	case BadJSON, NumberTypes, NoContentType, XML, PartialRefusal:
		onceStored(w, c.judge(), func(got answer) { got.reworded(fault.Kind).write(w) })
	case Status, HTML, Empty, Redirect, RateLimit, Credits:
		s.inPlace(fault, c.dialect).write(w)
	}
}

// inPlace is the answer of a fault that asks nobody.
func (s *Sandbox) inPlace(f Fault, d dialect) answer {
	got := d.status(http.StatusOK) // for its headers
	switch {
	case f.Kind == HTML:
		got.media, got.body = "text/html", []byte(htmlPage)
	case f.Kind == Redirect:
		got.header = append(got.header, headerLine{"Location", f.Location})
	case f.Kind == RateLimit:
		return d.limited(s.cfg.Clock(), f.Reset)
	case f.Kind == Credits:
		return d.credits()
	case f.Kind == Status:
		return d.status(f.Status)
	}
	got.status = f.Status
	return got
}

// reworded says an accepted SMS in a way that its sender may not understand.
// A mail has no body that could be worded otherwise.
func (a answer) reworded(kind Kind) answer {
	if a.reply == nil {
		return a
	}
	switch {
	case kind == BadJSON:
		a.body = a.body[:len(a.body)/2]
	case kind == NoContentType:
		a.untyped = true
	case kind == NumberTypes:
		return a.reply.numbers()
	case kind == XML:
		return a.reply.xml()
	case kind == PartialRefusal:
		return a.reply.partial()
	}
	return a
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

// onceStored misbehaves about an accepted message and answers a refused one as usual.
func onceStored(w http.ResponseWriter, got answer, misbehave func(answer)) {
	if !got.accepted {
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
