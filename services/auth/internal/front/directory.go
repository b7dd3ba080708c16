package front

import (
	"cmp"
	"context"
	"errors"
	"net/http"

	"doorcode/pkg/account"
	"doorcode/pkg/frontend"
	"doorcode/pkg/phone"
	"doorcode/pkg/postgres"
	"doorcode/pkg/problem"
	"doorcode/services/auth/internal/decide"
)

// WorkspaceRequest is the body of a put of a workspace. Without an owner it keeps the one it has.
type WorkspaceRequest struct {
	// Name is shown in messages, so it can be no link and no second line.
	Name string `json:"name"`
	// MainEmail is the address of record, and where the codes of an owner without an address of their own go. That of a
	// workspace which is there is changed only by a put that names the ETag it has read.
	MainEmail string `json:"main_email"`
	// Owner is the id of a login, which may be put later.
	Owner string `json:"owner"`
	// GroupAddress says that several people read MainEmail: more messages may go there. Without it the address keeps the
	// mark that it has; it is changed as MainEmail is.
	GroupAddress *bool `json:"group_address"`
}

// Workspace is a workspace as it is shown.
type Workspace struct {
	ID           string `json:"id"`
	Name         string `json:"name"`
	MainEmail    string `json:"main_email"`
	Owner        string `json:"owner,omitempty"`
	GroupAddress bool   `json:"group_address"`
}

// LoginRequest is the body of a put of a login.
type LoginRequest struct {
	// Email is the person's own address; without one only an owner can get a code.
	Email string `json:"email"`
	// Phone is the person's own number in international form; it is stored in E.164.
	Phone string `json:"phone"`
	// Channel is where codes go first: email, which is the default, or sms, which needs a phone.
	Channel string `json:"channel"`
	// Role is required, because a put without one would demote whoever has a higher one.
	Role string `json:"role"`
	// Locale is the language of messages; empty means the default.
	Locale string `json:"locale"`
	// Invitation is the accepted one that the login is made of; empty for none.
	Invitation string `json:"invitation"`
}

// Login is a login as it is shown.
type Login struct {
	Workspace string `json:"workspace"`
	ID        string `json:"id"`
	Email     string `json:"email,omitempty"`
	Phone     string `json:"phone,omitempty"`
	Channel   string `json:"channel"`
	Role      string `json:"role"`
	Locale    string `json:"locale,omitempty"`
	// Route is where a code would go now, for support; nil where it is not asked, and when there is no way.
	Route *ShownRoute `json:"route,omitempty"`
}

// Entry is an entry of the directory with its ETag.
type Entry[T any] struct {
	Shown T
	// ETag is quoted, as it stands in a header.
	ETag    string
	Created bool // by this put
}

// keeperOf is keeper for an entry that should be there; without a login, login is the workspace's id once more.
func (f *Front) keeperOf(ctx context.Context, call Call, workspace, login string) (frontend.FrontEnd, error) {
	fe, err := f.keeper(ctx, call, workspace)
	if err != nil {
		return fe, err
	}
	return fe, named(workspace, login)
}

// keeper returns the front-end when it may keep the directory of a workspace; outside its scopes and workspaces, all
// are unknown.
func (f *Front) keeper(ctx context.Context, call Call, workspace string) (frontend.FrontEnd, error) {
	fe, err := f.authenticate(ctx, call)
	if err != nil {
		return fe, err
	}
	if !fe.May(frontend.Directory, workspace) {
		return fe, decide.UnknownWorkspace()
	}
	return fe, nil
}

// Workspace shows a workspace.
func (f *Front) Workspace(ctx context.Context, call Call, id string) (Entry[Workspace], error) {
	_, err := f.keeperOf(ctx, call, id, id)
	if err != nil {
		return Entry[Workspace]{}, err
	}
	w, etag, err := f.directory.Workspace(ctx, id)
	if err != nil {
		return Entry[Workspace]{}, f.translate(ctx, err)
	}
	return Entry[Workspace]{Shown: showWorkspace(w), ETag: etag}, nil
}

// PutWorkspace makes or replaces a workspace. What it changes for its owner ends the owner's open challenges. One that would
// change the main address of a workspace and has not read it is refused with main_email_differs: its people may have changed
// it since.
func (f *Front) PutWorkspace(ctx context.Context, call Call, id string, r WorkspaceRequest) (Entry[Workspace], error) {
	fe, err := f.keeper(ctx, call, id)
	if err != nil {
		return Entry[Workspace]{}, err
	}
	w := account.Workspace{ID: id, Name: r.Name, MainEmail: r.MainEmail, Owner: r.Owner, GroupAddress: r.GroupAddress != nil && *r.GroupAddress}
	err = validWorkspace(w)
	if err != nil {
		return Entry[Workspace]{}, err
	}
	put, err := f.directory.PutWorkspace(ctx, postgres.Change{By: fe.ID, Match: call.Match, KeepGroup: r.GroupAddress == nil}, w)
	if errors.Is(err, postgres.ErrMainEmailKept) {
		return Entry[Workspace]{}, mainEmailDiffers()
	}
	if err != nil {
		return Entry[Workspace]{}, f.translate(ctx, err)
	}
	return Entry[Workspace]{Shown: showWorkspace(put.Row), ETag: put.ETag, Created: put.Created}, nil
}

// mainEmailDiffers is the answer to a put that would have changed a main address which it has not read.
func mainEmailDiffers() error {
	return problem.New(http.StatusConflict, CodeMainEmailDiffers, "The workspace has another main address or group mark: its people may have "+
		"changed it. Read the workspace, and put with its ETag in If-Match what you mean.")
}

// RemoveWorkspace removes a workspace and all its logins.
func (f *Front) RemoveWorkspace(ctx context.Context, call Call, id string) error {
	fe, err := f.keeperOf(ctx, call, id, id)
	if err != nil {
		return err
	}
	err = f.directory.RemoveWorkspace(ctx, postgres.Change{By: fe.ID, Match: call.Match}, id)
	if err != nil {
		return f.translate(ctx, err)
	}
	return nil
}

// Login shows a login, with where a code of it would go now. Its role is owner when its workspace says so.
func (f *Front) Login(ctx context.Context, call Call, workspace, id string) (Entry[Login], error) {
	_, err := f.keeperOf(ctx, call, workspace, id)
	if err != nil {
		return Entry[Login]{}, err
	}
	l, etag, err := f.directory.Login(ctx, workspace, id)
	if err != nil {
		return Entry[Login]{}, f.translate(ctx, err)
	}
	shown := showLogin(l)
	routes, err := f.routes(ctx, workspace, id)
	if err != nil {
		return Entry[Login]{}, err
	}
	if len(routes) > 0 {
		shown.Route = &routes[0]
	}
	return Entry[Login]{Shown: shown, ETag: etag}, nil
}

// PutLogin makes or replaces a login. The directory raises its version when a code of it may now go elsewhere or mean
// something else, so that none that is open stays good. A login that is made with a number which serves as many as it may is
// refused with number_in_use: without the number it can be made, and its codes go by e-mail.
func (f *Front) PutLogin(ctx context.Context, call Call, workspace, id string, r LoginRequest) (Entry[Login], error) {
	fe, err := f.keeper(ctx, call, workspace)
	if err != nil {
		return Entry[Login]{}, err
	}
	l := account.Login{Workspace: workspace, ID: id, Email: r.Email, Role: account.Role(r.Role), Locale: r.Locale}
	err = validLogin(l)
	if err == nil {
		err = reachBy(&l, r)
	}
	if err != nil {
		return Entry[Login]{}, err
	}
	if r.Invitation != "" && account.ValidateID(r.Invitation) != nil {
		return Entry[Login]{}, unfitInvitation()
	}
	put, err := f.directory.PutLogin(ctx, postgres.Change{By: fe.ID, Match: call.Match, Invitation: r.Invitation}, l)
	if errors.Is(err, postgres.ErrNoInvitation) || errors.Is(err, postgres.ErrInvitationUnfit) {
		return Entry[Login]{}, unfitInvitation()
	}
	if errors.Is(err, postgres.ErrNumberInUse) {
		return Entry[Login]{}, numberInUse()
	}
	if err != nil {
		return Entry[Login]{}, f.translate(ctx, err)
	}
	return Entry[Login]{Shown: showLogin(put.Row), ETag: put.ETag, Created: put.Created}, nil
}

// unfitInvitation is the answer to a login that names an invitation which is not its own.
func unfitInvitation() error {
	return invalid("invitation", "There is no accepted invitation of this id for an administrator with this address.")
}

// RemoveLogin removes a login. Its open challenges end; what it spent of its budget stays for a day (P3).
func (f *Front) RemoveLogin(ctx context.Context, call Call, workspace, id string) error {
	fe, err := f.keeperOf(ctx, call, workspace, id)
	if err != nil {
		return err
	}
	err = f.directory.RemoveLogin(ctx, postgres.Change{By: fe.ID, Match: call.Match}, workspace, id)
	if err != nil {
		return f.translate(ctx, err)
	}
	return nil
}

// named refuses ids that no workspace and no login can have: they are unknown, and nobody is asked about them.
func named(workspace, login string) error {
	if account.ValidateID(workspace) != nil {
		return decide.UnknownWorkspace()
	}
	if account.ValidateID(login) != nil {
		return decide.UnknownLogin()
	}
	return nil
}

// validWorkspace names the first field that is wrong.
func validWorkspace(w account.Workspace) error {
	if account.ValidateID(w.ID) != nil {
		return invalid("workspace", sentence(account.ErrID))
	}
	err := account.ValidateName(w.Name)
	if err != nil {
		return invalid("name", sentence(err))
	}
	err = account.ValidateEmail(w.MainEmail)
	if err != nil {
		return invalid("main_email", sentence(err))
	}
	if w.Owner != "" && account.ValidateID(w.Owner) != nil {
		return invalid("owner", sentence(account.ErrID))
	}
	return nil
}

// validLogin names the first field that is wrong.
func validLogin(l account.Login) error {
	if account.ValidateID(l.ID) != nil {
		return invalid("login", sentence(account.ErrID))
	}
	if account.IsPseudo(l.ID) {
		return invalid("login", "Ids of this form are doorcode's own.")
	}
	if account.ValidateID(l.Workspace) != nil {
		return invalid("workspace", sentence(account.ErrID))
	}
	if l.Email != "" {
		err := account.ValidateEmail(l.Email)
		if err != nil {
			return invalid("email", sentence(err))
		}
	}
	_, err := account.ParseRole(string(l.Role))
	if err != nil {
		return invalid("role", sentence(err))
	}
	err = account.ValidateLocale(l.Locale)
	if err != nil {
		return invalid("locale", sentence(err))
	}
	return nil
}

// reachBy fills in phone and channel, or names the one that is wrong. The problem does not carry the number.
func reachBy(l *account.Login, r LoginRequest) error {
	if r.Phone != "" {
		number, err := phone.Parse(r.Phone)
		if err != nil {
			return invalid("phone", sentence(err))
		}
		l.Phone = number.E164
	}
	switch {
	case r.Channel == "" || r.Channel == account.Email:
		return nil
	case r.Channel != account.SMS:
		return invalid("channel", "The value is no channel: email or sms.")
	case l.Phone == "":
		return invalid("channel", "A login without a phone gets no text messages.")
	}
	l.Channel = account.SMS
	return nil
}

// showWorkspace writes a workspace as the API has it.
func showWorkspace(w account.Workspace) Workspace {
	return Workspace{ID: w.ID, Name: w.Name, MainEmail: w.MainEmail, Owner: w.Owner, GroupAddress: w.GroupAddress}
}

// showLogin writes a login as the API has it.
func showLogin(l account.Login) Login {
	return Login{
		Workspace: l.Workspace, ID: l.ID, Email: l.Email, Phone: l.Phone, Channel: cmp.Or(l.Channel, account.Email),
		Role: string(l.Role), Locale: l.Locale,
	}
}
