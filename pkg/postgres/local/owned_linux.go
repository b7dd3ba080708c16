package local

import (
	"os"
	"strconv"
	"strings"
)

// servesElsewhere reports whether a living process certainly has nothing to do
// with a data folder. A postmaster works inside its folder, so any other working
// folder means that the number in a stale file was given away again. Where that
// may not be read (a container without the right to trace) the name must do.
func servesElsewhere(pid int, dir string) bool {
	proc := "/proc/" + strconv.Itoa(pid)
	cwd, err := os.Readlink(proc + "/cwd")
	if err == nil {
		return cwd != dir
	}
	name, err := os.ReadFile(proc + "/comm") //nolint:gosec // a file of the kernel
	return err == nil && strings.TrimSpace(string(name)) != "postgres"
}
