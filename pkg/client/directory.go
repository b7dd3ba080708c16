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
	Name         string `json:"name"`
	MainEmail    string `json:"main_email"`
	Owner        string `json:"owner,omitempty"` // login id of the primary login
	GroupAddress bool   `json:"group_address,omitempty"`
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

// PutWorkspace creates or changes a workspace.
func (c *Client) PutWorkspace(ctx context.Context, id string, w Workspace) error {
	err := c.call(ctx, call{method: http.MethodPut, path: "/v1/workspaces/" + url.PathEscape(id), in: w, repeats: 1})
	if err != nil {
		return fmt.Errorf("put workspace: %w", err)
	}
	return nil
}

// PutLogin creates or changes a login of a workspace.
func (c *Client) PutLogin(ctx context.Context, workspace, id string, l Login) error {
	path := "/v1/workspaces/" + url.PathEscape(workspace) + "/logins/" + url.PathEscape(id)
	err := c.call(ctx, call{method: http.MethodPut, path: path, in: l, repeats: 1})
	if err != nil {
		return fmt.Errorf("put login: %w", err)
	}
	return nil
}
