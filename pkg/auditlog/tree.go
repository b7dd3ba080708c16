package auditlog

import (
	"errors"
	"fmt"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// Tree is a Merkle tree that only grows, of which the roots of the maximal complete subtrees are kept: what it takes to
// append and to tell the root. The zero Tree is empty. It is not safe for concurrent use.
type Tree struct {
	size int64
	full [64]Hash // by level; those whose bit is set in size count
}

// ErrFrontier says that a frontier does not have as many hashes as its tree has maximal complete subtrees.
var ErrFrontier = errors.New("the frontier does not fit the size of the tree")

// Grown returns the tree of a size with its frontier, the largest subtree first. It fails with ErrFrontier.
func Grown(size int64, frontier []Hash) (*Tree, error) {
	if size < 0 || bits.OnesCount64(uint64(size)) != len(frontier) {
		return nil, ErrFrontier
	}
	t := &Tree{size: size}
	for level := 63; level >= 0; level-- {
		if size>>level&1 == 1 {
			t.full[level], frontier = frontier[0], frontier[1:]
		}
	}
	return t, nil
}

// Size is the number of leaves.
func (t *Tree) Size() int64 { return t.size }

// Frontier returns the roots of the maximal complete subtrees, the largest first.
func (t *Tree) Frontier() []Hash {
	frontier := make([]Hash, 0, bits.OnesCount64(uint64(t.size))) //nolint:gosec // a size is not negative
	for level := 63; level >= 0; level-- {
		if t.size>>level&1 == 1 {
			frontier = append(frontier, t.full[level])
		}
	}
	return frontier
}

// Add appends a leaf.
func (t *Tree) Add(leaf Hash) error {
	stored, err := tlog.StoredHashesForRecordHash(t.size, leaf, tlog.HashReaderFunc(t.read))
	if err != nil {
		return fmt.Errorf("append to the tree: %w", err)
	}
	t.full[len(stored)-1] = stored[len(stored)-1]
	t.size++
	return nil
}

// Root is the tree hash of RFC 6962 2.1.
func (t *Tree) Root() (Hash, error) {
	root, err := tlog.TreeHash(t.size, tlog.HashReaderFunc(t.read))
	if err != nil {
		return Hash{}, fmt.Errorf("work out the root: %w", err)
	}
	return root, nil
}

// read serves the library the subtrees that it asks for, which are those of the frontier alone.
func (t *Tree) read(indexes []int64) ([]Hash, error) {
	hashes := make([]Hash, len(indexes))
	for i, index := range indexes {
		level, n := tlog.SplitStoredHashIndex(index)
		// The subtree of a level in the frontier begins where the larger ones end.
		if t.size>>level&1 == 0 || n != t.size>>(level+1)<<1 {
			return nil, ErrFrontier
		}
		hashes[i] = t.full[level]
	}
	return hashes, nil
}
