// Package auditlog seals the audit: it turns rows into the leaves of one growing Merkle tree (RFC 6962), and the tree
// after each seal into a signed head. Whoever holds the public keys and one head can tell whether any row that was sealed
// before it was edited, removed or added.
//
// It knows no database and no clock. The tree is that of golang.org/x/mod/sumdb/tlog, the log behind Go's checksum
// database; of it no more is kept than the roots of the maximal complete subtrees, log2(n) hashes.
package auditlog
