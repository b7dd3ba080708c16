package rollout

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

// shareLabel keeps the places of workspaces apart from every other hash of their ids. It never changes: a workspace
// would lie elsewhere.
const shareLabel = "doorcode roll-out share v1\x00"

// ErrPercent says that a share is none.
var ErrPercent = errors.New("a percentage is a number above 0 and up to 100")

// ValidatePercent returns ErrPercent, or nil.
func ValidatePercent(percent float64) error {
	if percent > 0 && percent <= 100 {
		return nil
	}
	return ErrPercent // also what is no number
}

// Share is where a workspace lies among all, from 0 up to but never 1: the first 53 bits of the SHA-256 of a label and
// its id, which is all that a float64 holds exactly. It is the same at all times and in every installation.
func Share(workspace string) float64 {
	const bits = 53
	sum := sha256.Sum256([]byte(shareLabel + workspace))
	return float64(binary.BigEndian.Uint64(sum[:8])>>(64-bits)) / (1 << bits)
}

// InPercent reports whether a workspace belongs to the first so many per cent of all: of any two percentages the greater
// holds all that the smaller holds, and 100 holds every one (product.md R4.1).
func InPercent(workspace string, percent float64) bool {
	return ValidatePercent(percent) == nil && Share(workspace) < percent/100
}
