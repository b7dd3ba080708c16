package account

// Route is one proven way to a person.
type Route struct {
	Channel   string
	Recipient string
	// Group says that several people read this recipient.
	Group bool
	// Owner says that this is the workspace's main address, told about its
	// primary login, whose codes go elsewhere: whoever reads it may be another.
	Owner bool
	// Why explains the route in one sentence that a person understands, in
	// English; Reason is its key in the texts of other languages.
	Why    string
	Reason Reason
}

// Reason says why a route is one.
type Reason string

// The reasons, one for each sentence.
const (
	SwitchedPhone Reason = "switched_phone" // codes go there, because the person switched
	FurtherPhone  Reason = "further_phone"  // a code can go there as well
	OwnEmail      Reason = "own_email"
	MainEmail     Reason = "main_email" // of the primary login, which has none of its own
	MainIsTold    Reason = "main_is_told"
)

// Routes says where a code goes (DESIGN 3, product.md S5). The first route is
// the one of create; the others are proven too and serve a resend by the
// person's act. No route means that nothing may be sent. texts tells whether
// text messages may go to the login's phone at all: its country may not be
// allowed, and then the phone is no route.
//
// A phone comes first for a login that switched to SMS, and after the e-mail
// address for any other. The login's own address stands before the workspace's
// main one, which stands in for the primary login alone, never silently for a
// member (SEC-45). Nothing that was typed at sign-in takes part.
func Routes(w Workspace, l Login, texts bool) []Route {
	byMail, byText := mailRoutes(w, l), textRoutes(l, texts)
	if l.Channel == SMS {
		return append(byText, byMail...)
	}
	return append(byMail, byText...)
}

// Addresses lists every proven address of a login, each once: those that it is
// told at of what happens to it. For the primary login the workspace's main
// address is always one of them, whichever its codes go to (SEC-38).
func Addresses(w Workspace, l Login, texts bool) []Route {
	all := Routes(w, l, texts)
	if l.ID == "" || l.ID != w.Owner || w.MainEmail == "" || l.Email == "" || CompareForm(l.Email) == CompareForm(w.MainEmail) {
		return all
	}
	return append(all, Route{
		Channel: Email, Recipient: w.MainEmail, Group: w.GroupAddress, Owner: true,
		Reason: MainIsTold,
		Why:    "The workspace's main e-mail address is told what happens to its primary login.",
	})
}

// textRoutes returns the way to the login's phone, if there is one.
func textRoutes(l Login, texts bool) []Route {
	if l.Phone == "" || !texts {
		return nil
	}
	r := Route{Channel: SMS, Recipient: l.Phone, Reason: FurtherPhone, Why: "A code can also go to your phone as a text message."}
	if l.Channel == SMS {
		r.Reason, r.Why = SwitchedPhone, "Your codes go to your phone as text messages, because you switched to them."
	}
	return []Route{r}
}

// mailRoutes returns the one e-mail address of a login, if there is one.
func mailRoutes(w Workspace, l Login) []Route {
	switch {
	case l.Email != "":
		return []Route{{
			Channel:   Email,
			Recipient: l.Email,
			Group:     w.GroupAddress && CompareForm(l.Email) == CompareForm(w.MainEmail),
			Reason:    OwnEmail,
			Why:       "Your codes go to your own e-mail address.",
		}}
	case l.ID != "" && l.ID == w.Owner && w.MainEmail != "":
		return []Route{{
			Channel:   Email,
			Recipient: w.MainEmail,
			Group:     w.GroupAddress,
			Reason:    MainEmail,
			Why:       "Your codes go to the workspace's main e-mail address, because this is its primary login and has no address of its own.",
		}}
	}
	return nil
}

// Mailboxes lists where somebody who runs a workspace is told of what concerns
// all of it: at their own address, and the owner at the main one as well, each
// once and by mail alone.
func Mailboxes(w Workspace, l Login) []Route {
	var all []Route
	if l.Email != "" {
		all = append(all, Route{Channel: Email, Recipient: l.Email})
	}
	owns := l.ID != "" && l.ID == w.Owner
	if owns && w.MainEmail != "" && CompareForm(w.MainEmail) != CompareForm(l.Email) {
		all = append(all, Route{Channel: Email, Recipient: w.MainEmail, Group: w.GroupAddress})
	}
	return all
}
