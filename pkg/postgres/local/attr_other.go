//go:build !linux

package local

import "syscall"

// attributes says how the server runs: as the given user and in a process group
// of its own, so that an interrupt typed at a terminal reaches only us and the
// server is stopped in its turn. This system cannot bind it to our life.
func attributes(who *identity) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if who != nil {
		attr.Credential = &syscall.Credential{Uid: who.uid, Gid: who.gid}
	}
	return attr
}
