package otp

import (
	"strconv"
	"time"

	"doorcode/pkg/keyring"
)

// Waiver is leave to go on without a code: bound to all that a code would be bound to, to its reason, to its end and to how
// many skips the login may have in all (0: it is no skip). The front door gives it under a key that is not in the database,
// and the verifier believes no row and no message without it.
type Waiver struct {
	Binding
	Why   string
	Skips int
	Until time.Time // to the microsecond
}

const waiverLabel = "doorcode waiver v1"

// Seal returns the MAC of a waiver under the active digest key, with that key's id.
func (w Waiver) Seal(ring *keyring.Ring) (uint8, []byte) {
	return ring.MAC(waiverLabel, w.fields()...)
}

// Sealed reports in constant time whether the MAC under the key of that id is the waiver's.
func (w Waiver) Sealed(ring *keyring.Ring, key uint8, mac []byte) bool {
	return ring.Verify(key, mac, waiverLabel, w.fields()...)
}

// fields lists the covered facts in their fixed order.
func (w Waiver) fields() [][]byte {
	return append(w.Binding.fields(nil), []byte(w.Why), []byte(strconv.Itoa(w.Skips)), []byte(strconv.FormatInt(w.Until.UnixMicro(), 10)))
}
