package local

import "syscall"

// attributes says how the server runs: as the given user, in a process group of
// its own, so that an interrupt typed at a terminal reaches only us and the server
// is stopped in its turn, and bound to our life. The kernel sends SIGINT, the fast
// shutdown: it waits for no client, unlike SIGTERM, and leaves a clean folder,
// unlike SIGQUIT.
func attributes(who *identity) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGINT}
	if who != nil {
		attr.Credential = &syscall.Credential{Uid: who.uid, Gid: who.gid}
	}
	return attr
}
