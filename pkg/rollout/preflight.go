package rollout

import (
	"slices"
	"strings"
)

// Readiness is what a pre-flight says of a workspace (product.md R4.4).
type Readiness string

// The results of a pre-flight.
const (
	Ready   Readiness = "ready"
	AtRisk  Readiness = "at_risk" // people will need help
	Blocked Readiness = "blocked" // people, or what they built, would be shut out
)

// Readinesses lists all of them, in the order in which they are shown.
func Readinesses() []Readiness { return []Readiness{Ready, AtRisk, Blocked} }

// Finding is why a workspace is not ready.
type Finding string

// The findings. The first four block.
const (
	FoundNoOwner     Finding = "no_owner"       // the main e-mail address leads to nobody
	FoundNoRoute     Finding = "no_route"       // no code reaches any of its logins
	FoundBounced     Finding = "bounced"        // the last mail with a code to a login bounced, or was suppressed, and nothing has changed since
	FoundScripts     Finding = "only_scripts"   // no browser was seen in any of its sign-ins
	FoundUnproven    Finding = "never_proven"   // no mail to its owner is known to have arrived, and no code to have been typed
	FoundSomeRoute   Finding = "some_no_route"  // no code reaches some of its logins
	FoundGroup       Finding = "group_address"  // several people read the main e-mail address, or it looks so
	FoundShared      Finding = "shared_login"   // a login looks as if several people used it
	FoundSingle      Finding = "single_user"    // nobody could help the one that there is
	FoundOwnerUnseen Finding = "owner_not_seen" // the owner has not signed in as far back as sign-ins are kept
)

// Findings lists all of them, in the order in which they are shown.
func Findings() []Finding {
	return []Finding{
		FoundNoOwner, FoundNoRoute, FoundBounced, FoundScripts,
		FoundUnproven, FoundSomeRoute, FoundGroup, FoundShared, FoundSingle, FoundOwnerUnseen,
	}
}

// blocking are those that block.
func blocking() []Finding { return []Finding{FoundNoOwner, FoundNoRoute, FoundBounced, FoundScripts} }

// leastScripts is how many sign-ins it takes to say that scripts alone make them.
const leastScripts = 3

// Checkup is what is on record of a workspace, over the days for which sign-ins are kept.
type Checkup struct {
	HasOwner          bool
	Logins, Unreached int  // all, and those whom no code reaches
	Bounced           bool // of any login
	Proven            bool // a mail with a code to the owner has arrived, or was typed
	Group             bool // said by its people, or GroupLike
	Shared            bool // any login
	OwnerSeen         bool
	SignIns, Scripts  int // all, and those of which the front-end named the client but no browser
}

// Preflight says whether a workspace is ready for codes, and what was found, in the order of Findings. A workspace without
// logins is ready: nobody is shut out.
func Preflight(c Checkup) (Readiness, []Finding) {
	if c.Logins == 0 {
		return Ready, nil
	}
	found := map[Finding]bool{
		FoundNoOwner: !c.HasOwner, FoundNoRoute: c.Unreached == c.Logins, FoundSomeRoute: c.Unreached > 0 && c.Unreached < c.Logins,
		FoundBounced: c.Bounced, FoundScripts: c.SignIns >= leastScripts && c.Scripts == c.SignIns, FoundUnproven: c.HasOwner && !c.Proven,
		FoundGroup: c.Group, FoundShared: c.Shared, FoundSingle: c.Logins == 1, FoundOwnerUnseen: c.HasOwner && !c.OwnerSeen,
	}
	state, all := Ready, []Finding(nil)
	for _, f := range Findings() {
		switch {
		case !found[f]:
			continue
		case slices.Contains(blocking(), f):
			state = Blocked
		case state == Ready:
			state = AtRisk
		}
		all = append(all, f)
	}
	return state, all
}

// GroupLike reports whether an address looks as if several people read it, by what stands before the @.
func GroupLike(address string) bool {
	local, _, _ := strings.Cut(strings.ToLower(address), "@")
	return slices.Contains([]string{
		"accounting", "accounts", "admin", "administration", "all", "billing", "buero", "contact", "contacto", "everyone", "finance", "hello", "help",
		"helpdesk", "hr", "info", "it", "kontakt", "mail", "marketing", "office", "post", "reception", "sales", "service", "support", "team",
	}, local)
}
