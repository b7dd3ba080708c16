package limit

import (
	"net/netip"
	"strings"

	"doorcode/pkg/keyring"
)

// RecipientKey returns the keyed hash of a recipient, which limits, routes and late reports of providers share. form is
// the recipient as account.CompareForm writes it.
func RecipientKey(ring *keyring.Ring, channel, form string) []byte {
	_, sum := ring.MAC("doorcode address v1", []byte(channel), []byte(form))
	return sum
}

// IsRecipientKey reports in constant time whether key is the RecipientKey of that recipient under any key of the ring: it
// may be older than the one that the ring uses now.
func IsRecipientKey(ring *keyring.Ring, key []byte, channel, form string) bool {
	found := false
	for _, id := range ring.IDs() {
		found = ring.Verify(id, key, "doorcode address v1", []byte(channel), []byte(form)) || found
	}
	return found
}

// ClientKey returns the keyed hash of the network that a client address is counted under: the address itself, or its
// /64 when it is IPv6, because a household has all of that (SEC-15).
func ClientKey(ring *keyring.Ring, address netip.Addr) []byte {
	_, sum := ring.MAC("doorcode client v1", []byte(network(address, 32, 64)))
	return sum
}

// Network returns a client address without its last part, /24 or /48, which is all that a record keeps of it.
func Network(address netip.Addr) string { return network(address, 24, 48) }

// network cuts an address to its first bits. An IPv4 address in IPv6 clothes is the IPv4 address.
func network(address netip.Addr, four, six int) string {
	address = address.Unmap().WithZone("")
	bits := six
	if address.Is4() {
		bits = four
	}
	prefix, err := address.Prefix(bits)
	if err != nil { // Only the zero address, which nobody passes.
		return strings.TrimSpace(address.String())
	}
	return prefix.String()
}
