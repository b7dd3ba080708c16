package front

import "doorcode/pkg/challenge"

// FactorCheckID is the name of the check of a change's code.
func FactorCheckID(change string, p challenge.Purpose) string { return factorCheckID(change, p) }
