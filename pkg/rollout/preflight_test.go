package rollout_test

import (
	"slices"
	"testing"

	"doorcode/pkg/rollout"
)

// fit is a workspace in which nothing is found.
func fit() rollout.Checkup {
	return rollout.Checkup{HasOwner: true, Logins: 3, Proven: true, OwnerSeen: true, SignIns: 10, Scripts: 2}
}

// R4.4: each fact has its finding, and what shuts people out blocks.
func TestPreflight_SaysWhatWasFound(t *testing.T) {
	t.Parallel()
	for name, one := range map[string]struct {
		change func(*rollout.Checkup)
		state  rollout.Readiness
		found  []rollout.Finding
	}{
		"fit":               {func(*rollout.Checkup) {}, rollout.Ready, nil},
		"no owner":          {func(c *rollout.Checkup) { c.HasOwner, c.Proven, c.OwnerSeen = false, false, false }, rollout.Blocked, []rollout.Finding{rollout.FoundNoOwner}},
		"nobody is reached": {func(c *rollout.Checkup) { c.Unreached = 3 }, rollout.Blocked, []rollout.Finding{rollout.FoundNoRoute}},
		"some are not":      {func(c *rollout.Checkup) { c.Unreached = 2 }, rollout.AtRisk, []rollout.Finding{rollout.FoundSomeRoute}},
		"bounced":           {func(c *rollout.Checkup) { c.Bounced = true }, rollout.Blocked, []rollout.Finding{rollout.FoundBounced}},
		"scripts":           {func(c *rollout.Checkup) { c.Scripts = 10 }, rollout.Blocked, []rollout.Finding{rollout.FoundScripts}},
		"few scripts":       {func(c *rollout.Checkup) { c.SignIns, c.Scripts = 2, 2 }, rollout.Ready, nil},
		"unproven":          {func(c *rollout.Checkup) { c.Proven = false }, rollout.AtRisk, []rollout.Finding{rollout.FoundUnproven}},
		"group":             {func(c *rollout.Checkup) { c.Group = true }, rollout.AtRisk, []rollout.Finding{rollout.FoundGroup}},
		"shared":            {func(c *rollout.Checkup) { c.Shared = true }, rollout.AtRisk, []rollout.Finding{rollout.FoundShared}},
		"single":            {func(c *rollout.Checkup) { c.Logins = 1 }, rollout.AtRisk, []rollout.Finding{rollout.FoundSingle}},
		"owner unseen":      {func(c *rollout.Checkup) { c.OwnerSeen = false }, rollout.AtRisk, []rollout.Finding{rollout.FoundOwnerUnseen}},
		"empty":             {func(c *rollout.Checkup) { *c = rollout.Checkup{} }, rollout.Ready, nil},
		"both": {
			func(c *rollout.Checkup) { c.Group, c.Bounced = true, true },
			rollout.Blocked,
			[]rollout.Finding{rollout.FoundBounced, rollout.FoundGroup},
		},
	} {
		c := fit()
		one.change(&c)
		state, found := rollout.Preflight(c)
		if state != one.state || !slices.Equal(found, one.found) {
			t.Errorf("%s: %s, %v", name, state, found)
		}
	}
	for address, want := range map[string]bool{
		"info@acme.example": true, "OFFICE@acme.example": true, "anna@acme.example": false, "information@acme.example": false, "": false,
	} {
		if rollout.GroupLike(address) != want {
			t.Errorf("%q looks like a group: %t", address, !want)
		}
	}
}
