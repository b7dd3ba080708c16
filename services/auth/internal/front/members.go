package front

import (
	"context"
	"errors"
	"net/http"

	"doorcode/pkg/account"
	"doorcode/pkg/postgres"
	"doorcode/pkg/problem"
)

// Member is a login of a workspace as its owner sees it.
type Member struct {
	ID      string
	Email   string // the person's own address; empty: none
	Role    account.Role
	Channel string // by which codes come first; empty: there is no way
	Use     account.Use
}

// maxMembers bounds how many logins are listed.
const maxMembers = 200

// Members lists the logins of the workspace: the owner, then administrators, then members, each by id, at most 200.
func (p *People) Members(ctx context.Context) ([]Member, error) {
	w, _, err := p.front.directory.Workspace(ctx, p.workspace)
	if err != nil {
		return nil, p.front.translate(ctx, err)
	}
	logins, err := p.front.directory.Logins(ctx, w, maxMembers)
	if err != nil {
		return nil, p.front.translate(ctx, err)
	}
	uses, err := p.front.directory.Uses(ctx, p.workspace, "")
	if err != nil {
		return nil, p.front.translate(ctx, err)
	}
	var all []Member
	for _, l := range logins {
		m := Member{ID: l.ID, Email: l.Email, Role: l.Role, Use: uses[l.ID]}
		routes := account.Routes(w, l, true)
		if len(routes) > 0 {
			m.Channel = routes[0].Channel
		}
		all = append(all, m)
	}
	return all, nil
}

// CodeOwnerStays says that a workspace's owner is replaced, and not removed.
const CodeOwnerStays = "owner_stays"

// Remove removes a login of the workspace, but not its owner. Its open challenges and changes end with the commit; the
// application hears of it by an event.
func (p *People) Remove(ctx context.Context, login string) error {
	err := named(p.workspace, login)
	if err != nil {
		return err
	}
	w, _, err := p.front.directory.Workspace(ctx, p.workspace)
	if err != nil {
		return p.front.translate(ctx, err)
	}
	if w.Owner == login {
		return problem.New(http.StatusConflict, CodeOwnerStays, "The owner of a workspace is not removed. Make somebody else the owner first.")
	}
	err = p.front.directory.RemoveLogin(ctx, p.change(), p.workspace, login)
	if errors.Is(err, postgres.ErrNoLogin) {
		return nil // Somebody else removed it.
	}
	if err != nil {
		return p.front.translate(ctx, err)
	}
	return nil
}
