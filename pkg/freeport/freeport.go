// Package freeport finds addresses for processes that will listen on them later, or again after a restart.
//
// A port that the system picks for a listener lies among those that it gives to outgoing connections, so that another
// process may have it by the time it is wanted. The ports of this package lie below them, and nobody else who asks this
// package gets one while the process that took it lives.
package freeport

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strconv"
)

// The ports that are handed out: above those of well-known services, below those of outgoing connections, which begin at
// 32768 on Linux and at 49152 elsewhere (RFC 6335 §6).
const (
	lowest  = 20000
	highest = 32767
)

// tries is how many ports are looked at for one that is free. When every second one is taken, a thousand fail once in a
// number of 300 digits.
const tries = 1000

// ErrNone says that no port of the host is free.
var ErrNone = errors.New("no port is free")

// Taken are addresses that are kept for one process.
type Taken struct {
	// Addresses are `host:port`, all different.
	Addresses []string
	holds     []net.PacketConn
}

// Take returns n addresses of a host, an IP address of this machine, on which nobody listens. They are kept until Release
// or the end of the process. It fails with ErrNone when it finds none.
func Take(ctx context.Context, host string, n int) (*Taken, error) {
	t := &Taken{}
	for range n {
		err := t.add(ctx, host)
		if err != nil {
			t.Release()
			return nil, fmt.Errorf("find a free port of %s: %w", host, err)
		}
	}
	return t, nil
}

// Release gives the addresses up.
func (t *Taken) Release() {
	for _, h := range t.holds {
		_ = h.Close() // It only ever held the number.
	}
	t.holds = nil
}

// add takes one more address.
func (t *Taken) add(ctx context.Context, host string) error {
	var last error
	for range tries {
		var drawn [2]byte
		_, _ = rand.Read(drawn[:]) // crypto/rand never fails since Go 1.24.
		port := lowest + int(binary.BigEndian.Uint16(drawn[:]))%(highest-lowest+1)
		address := net.JoinHostPort(host, strconv.Itoa(port))
		hold, err := take(ctx, address)
		if err == nil {
			t.Addresses, t.holds = append(t.Addresses, address), append(t.holds, hold)
			return nil
		}
		last = err
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return errors.Join(ErrNone, last)
}

// take binds the UDP port of the same number, which nothing of ours uses: that is the mark by which others leave it alone,
// and it goes with the process. Then it looks whether somebody listens who did not ask here.
func take(ctx context.Context, address string) (net.PacketConn, error) {
	var lc net.ListenConfig
	hold, err := lc.ListenPacket(ctx, "udp", address)
	if err != nil {
		return nil, err
	}
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, errors.Join(err, hold.Close())
	}
	err = l.Close()
	if err != nil {
		return nil, errors.Join(err, hold.Close())
	}
	return hold, nil
}
