package host

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit of times in /proc/<pid>/stat: USER_HZ, which is 100 wherever Linux runs Go.
const tick = 10 * time.Millisecond

// Usage is what a process and all processes under it cost so far.
type Usage struct {
	CPU time.Duration // in user and kernel mode, children that have ended included
	// Memory is in bytes. What processes share is divided among them (Pss), so that the processes of Postgres can be summed.
	Memory int64
}

// Measure reads the usage of a process tree from a proc file system, usually /proc. A process under it that ends
// meanwhile counts in its parent.
func Measure(proc string, root int) (Usage, error) {
	pids, err := tree(proc, root)
	if err != nil {
		return Usage{}, err
	}
	var sum Usage
	for _, pid := range pids {
		u, err := MeasureAlone(proc, pid)
		if pid != root && hasEnded(err) {
			continue
		}
		if err != nil {
			return Usage{}, err
		}
		sum.CPU += u.CPU
		sum.Memory += u.Memory
	}
	return sum, nil
}

// MeasureAlone is Measure without the processes under it that still run.
func MeasureAlone(proc string, pid int) (Usage, error) {
	s, err := readStat(proc, pid)
	if err != nil {
		return Usage{}, err
	}
	memory, err := readMemory(proc, pid)
	if err != nil {
		return Usage{}, err
	}
	return Usage{CPU: s.cpu, Memory: memory}, nil
}

// hasEnded reports whether a read failed because its process is gone, before the file was opened or after.
func hasEnded(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) }

// stat is what we read of /proc/<pid>/stat (proc_pid_stat(5)).
type stat struct {
	parent int
	cpu    time.Duration
}

// tree lists a process and all under it.
func tree(proc string, root int) ([]int, error) {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	children := map[int][]int{}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue // not a process
		}
		s, err := readStat(proc, pid)
		if err != nil {
			continue // it has ended
		}
		children[s.parent] = append(children[s.parent], pid)
	}
	found := []int{root}
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i]]...)
	}
	return found, nil
}

// readStat reads the parent and the times of a process.
func readStat(proc string, pid int) (stat, error) {
	data, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "stat")) //nolint:gosec // a file of the kernel
	if err != nil {
		return stat{}, fmt.Errorf("read the times of process %d: %w", pid, err)
	}
	return parseStat(string(data))
}

// parseStat reads a line. The second field is the command in parentheses, which may hold blanks and parentheses.
func parseStat(line string) (stat, error) {
	end := strings.LastIndexByte(line, ')')
	if end < 0 {
		return stat{}, errors.New("the stat of a process has no command")
	}
	fields := strings.Fields(line[end+1:]) // from the third field on: state, parent, …
	const parent, user, childrenSystem = 1, 11, 14
	if len(fields) <= childrenSystem {
		return stat{}, errors.New("the stat of a process is too short")
	}
	var s stat
	var err error
	s.parent, err = strconv.Atoi(fields[parent])
	if err != nil {
		return stat{}, fmt.Errorf("read the parent of a process: %w", err)
	}
	for _, field := range fields[user : childrenSystem+1] { // utime, stime, cutime, cstime
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return stat{}, fmt.Errorf("read the times of a process: %w", err)
		}
		s.cpu += time.Duration(ticks) * tick
	}
	return s, nil
}

// readMemory reads the proportional share of a process's memory.
func readMemory(proc string, pid int) (int64, error) {
	data, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "smaps_rollup")) //nolint:gosec // a file of the kernel
	if err != nil {
		return 0, fmt.Errorf("read the memory of process %d: %w", pid, err)
	}
	return parseMemory(data)
}

// parseMemory finds the line `Pss: … kB`.
func parseMemory(data []byte) (int64, error) {
	for line := range bytes.Lines(data) {
		rest, found := bytes.CutPrefix(line, []byte("Pss:"))
		if !found {
			continue
		}
		kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(string(rest)), " kB"), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read the memory of a process: %w", err)
		}
		return kilobytes << 10, nil
	}
	return 0, errors.New("the memory of a process has no Pss")
}
