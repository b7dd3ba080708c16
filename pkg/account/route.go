package account

// Route is one proven way to a person.
type Route struct {
	Channel   string
	Recipient string
	// Group says that several people read this recipient.
	Group bool
	// Why explains the route in one sentence that a person understands.
	Why string
}

// Routes says where a code goes (DESIGN 3, product.md S5). The first route is
// the one of create; the others are proven too and serve a resend by the
// person's act. No route means that nothing may be sent.
//
// The login's own address comes first; the workspace's main e-mail address
// stands in for the primary login alone, never silently for a member
// (SEC-45). Nothing that was typed at sign-in takes part.
func Routes(w Workspace, l Login) []Route {
	switch {
	case l.Email != "":
		return []Route{{
			Channel:   "email",
			Recipient: l.Email,
			Group:     w.GroupAddress && CompareForm(l.Email) == CompareForm(w.MainEmail),
			Why:       "Your codes go to your own e-mail address.",
		}}
	case l.ID != "" && l.ID == w.Owner && w.MainEmail != "":
		return []Route{{
			Channel:   "email",
			Recipient: w.MainEmail,
			Group:     w.GroupAddress,
			Why:       "Your codes go to the workspace's main e-mail address, because this is its primary login and has no address of its own.",
		}}
	}
	return nil
}
