package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
)

// SupportAct is what somebody of support does about one challenge. Operator and
// Reason are on record before it is done.
type SupportAct struct {
	Challenge string `json:"-"` // its id
	Operator  string `json:"operator"`
	Reason    string `json:"reason"` // 1 to 200 printable characters, and no address
}

// SupportResend orders one more message with the same code by the channel of
// one of the challenge's routes; empty is that of the first. It needs a key with
// the scope `support`. What it fails with is what ResendBy does.
func (c *Client) SupportResend(ctx context.Context, act SupportAct, channel string) error {
	in := struct {
		SupportAct
		Channel string `json:"channel,omitempty"`
	}{act, channel}
	err := c.call(ctx, call{method: http.MethodPost, path: supportPath(act, "/deliveries"), key: newKey(), in: in, repeats: 1})
	if err != nil {
		return fmt.Errorf("resend for support: %w", err)
	}
	return nil
}

// SupportUnlock ends the lock of the challenge's login; one that is not locked
// stays as it is. It needs a key with the scope `support`.
func (c *Client) SupportUnlock(ctx context.Context, act SupportAct) error {
	err := c.call(ctx, call{method: http.MethodPost, path: supportPath(act, "/unlock"), in: act, repeats: 1})
	if err != nil {
		return fmt.Errorf("unlock for support: %w", err)
	}
	return nil
}

// supportPath returns the path of what support does about a challenge.
func supportPath(act SupportAct, rest string) string {
	return "/v1/support/challenges/" + url.PathEscape(act.Challenge) + rest
}
