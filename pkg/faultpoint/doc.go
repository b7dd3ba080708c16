// Package faultpoint lets a test end a process between two steps of its work,
// where no signal from outside could be aimed at: Hit names the place.
//
// It is nothing at all unless the binary is built with the tag `faultpoints`:
// then FAULTPOINT in the environment may name one point, the hit at which it
// strikes and what happens there:
//
//	FAULTPOINT=auth.create.published:3        SIGKILL at the third hit
//	FAULTPOINT=dispatch.fetched:1:stop        SIGSTOP at the first
//
// The name of the variable is outside our prefix on purpose: it is no setting,
// and a process without the tag neither knows nor refuses it.
package faultpoint
