//go:build faultpoints

package faultpoint

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// Hit counts the passing of a point and ends or stops the process there when
// the environment says so.
func Hit(point string) {
	a := armed()
	if a.point != point || a.hits.Add(1) != a.strike {
		return
	}
	if a.stop {
		_ = syscall.Kill(syscall.Getpid(), syscall.SIGSTOP)
		return
	}
	_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
	select {} // not a step further
}

// arm is the one point that strikes; none has an empty name.
type arm struct {
	point  string
	strike int64
	stop   bool
	hits   atomic.Int64
}

// armed reads the environment once. What is not understood ends the process: a
// test that arms nothing by mistake would prove nothing.
var armed = sync.OnceValue(func() *arm { // one process, one environment
	value := os.Getenv("FAULTPOINT") //nolint:forbidigo // no setting: a process without the tag must not know it
	if value == "" {
		return &arm{}
	}
	parts := strings.Split(value, ":")
	if len(parts) == 2 || len(parts) == 3 && parts[2] == "stop" {
		n, err := strconv.ParseInt(parts[1], 10, 32)
		if err == nil && n > 0 && parts[0] != "" {
			return &arm{point: parts[0], strike: n, stop: len(parts) == 3}
		}
	}
	panic("FAULTPOINT is not of the form point:hit or point:hit:stop")
})
