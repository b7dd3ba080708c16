package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
)

// Workspace is a tenant as the host application keeps it in doorcode. It needs
// a key with the scope `directory`, which is the power to sign in as anyone: a
// login page's key has `challenges` only.
type Workspace struct {
	Name      string `json:"name"`
	MainEmail string `json:"main_email"`
	Owner     string `json:"owner,omitempty"` // login id of the primary login
	// GroupAddress says that several people read MainEmail. A put without ETag
	// takes no mark away.
	GroupAddress bool `json:"group_address,omitempty"`
	// ETag names the state that ReadWorkspace read. People change the main
	// address themselves: that of a workspace which is there, and its mark, are
	// changed only by a put that names the present state.
	ETag string `json:"-"`
}

// Login is what a person types, as the host application keeps it in doorcode.
type Login struct {
	Email string `json:"email,omitempty"`
	// Phone is the person's own number in international form.
	Phone string `json:"phone,omitempty"`
	// Channel is where codes go first: email, also when empty, or sms, which
	// needs a phone.
	Channel string `json:"channel,omitempty"`
	Role    string `json:"role"` // owner, administrator or member
	Locale  string `json:"locale,omitempty"`
	// Invitation is the id of the accepted invitation that the login is made of;
	// empty for none.
	Invitation string `json:"invitation,omitempty"`
}

// ReadWorkspace returns a workspace as it is, with its ETag.
func (c *Client) ReadWorkspace(ctx context.Context, id string) (Workspace, error) {
	var w Workspace
	err := c.call(ctx, call{method: http.MethodGet, path: workspacePath(id), out: &w, etag: &w.ETag, repeats: 1})
	if err != nil {
		return Workspace{}, fmt.Errorf("read workspace: %w", err)
	}
	return w, nil
}

// PutWorkspace creates or changes a workspace. Without an ETag it is an *Error
// with the code `main_email_differs` when the workspace has another main
// address or mark, which its people may have changed; nothing is changed then,
// and ReadWorkspace tells what they have. With one it is `changed` when the
// workspace is not as it was read.
func (c *Client) PutWorkspace(ctx context.Context, id string, w Workspace) error {
	r := call{method: http.MethodPut, path: workspacePath(id), in: w, repeats: 1}
	if w.ETag != "" {
		r.match, r.repeats = w.ETag, 0 // What was done once has another ETag.
		r.in = struct {
			Workspace

			GroupAddress bool `json:"group_address"` // also when it is not one
		}{w, w.GroupAddress}
	}
	err := c.call(ctx, r)
	if err != nil {
		return fmt.Errorf("put workspace: %w", err)
	}
	return nil
}

// workspacePath is where a workspace is kept.
func workspacePath(id string) string { return "/v1/workspaces/" + url.PathEscape(id) }

// PutLogin creates or changes a login of a workspace.
func (c *Client) PutLogin(ctx context.Context, workspace, id string, l Login) error {
	path := workspacePath(workspace) + "/logins/" + url.PathEscape(id)
	err := c.call(ctx, call{method: http.MethodPut, path: path, in: l, repeats: 1})
	if err != nil {
		return fmt.Errorf("put login: %w", err)
	}
	return nil
}
