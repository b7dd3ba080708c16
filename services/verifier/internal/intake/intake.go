// Package intake reads events from the bus for the verifier and refuses those that are not whole. No consumer trusts a
// subject or a producer: what is refused here goes to the dead letters and decides nothing.
package intake

import (
	"encoding/base64"
	"fmt"
	"slices"

	"doorcode/pkg/account"
	"doorcode/pkg/bus"
	"doorcode/pkg/challenge"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
	"doorcode/pkg/frontend"
	"doorcode/pkg/rollout"
)

// maxNumber bounds the hand-over number of a delivery event, because a row is written for each one that is missing.
const maxNumber = 1000

// digestSize is the size of a digest and of the hash of an address in bytes.
const digestSize = 32

// Parse reads the event in a message, or fails with event.ErrMalformed.
func Parse(m bus.Message) (event.Event, error) {
	return event.Parse(m.Subject, m.Header, m.Data)
}

// Issued reads the data of a challenge.v1.issued. It fails with event.ErrMalformed when a part is missing, when a limit
// is outside its ceiling or when a code would live longer than ten minutes (SEC-03, SEC-14).
func Issued(e event.Event) (event.Issued, error) {
	var p event.Issued
	if e.Type != event.ChallengeIssued {
		return p, malformed("not an issued challenge")
	}
	err := e.Decode(&p)
	if err != nil {
		return p, err
	}
	switch {
	case !isID(p.Challenge, challenge.IDSize) || e.Subject != p.Challenge:
		return p, malformed("challenge id")
	case account.ValidateID(p.Workspace) != nil || account.ValidateID(p.Login) != nil || p.LoginVersion < 1:
		return p, malformed("workspace or login")
	case p.FrontEnd == "" || p.Purpose == "" || p.Label == "" || p.SupportReference == "":
		return p, malformed("missing fact")
	case (p.Purpose == challenge.SignIn) == (p.FrontEnd == frontend.Own): // What is ours lets nobody in, and the reverse.
		return p, malformed("purpose")
	case len(p.Digest) != digestSize || p.DigestKey == 0 || p.TagKey == 0:
		return p, malformed("digest")
	case p.CreatedAt.IsZero() || !p.ExpiresAt.After(p.CreatedAt) || p.ExpiresAt.Sub(p.CreatedAt) > challenge.MaxLife:
		return p, malformed("life")
	case p.Policy.Validate() != nil:
		return p, malformed("policy")
	case len(p.Routes) == 0 || p.Routes[0].Channel != p.Channel:
		return p, malformed("no route")
	}
	if s := p.Skip; s != nil && (p.Purpose != challenge.SignIn || s.Why == "" || s.Skips < 1 || s.Skips > rollout.MaxSkips || s.Key == 0 || s.Until.IsZero() || len(s.MAC) != digestSize) {
		return p, malformed("skip")
	}
	for _, r := range p.Routes {
		_, err = delivery.ParseChannel(r.Channel)
		if err != nil || len(r.Address) == 0 || r.PerHour < 1 || r.PerDay < 1 || r.Envelope == "" || uncapped(r) {
			return p, malformed("route")
		}
	}
	return p, nil
}

// Delivery reads the data of a delivery.v1.attempted, postponed or abandoned, or fails with event.ErrMalformed.
func Delivery(e event.Event) (event.Delivery, error) {
	var p event.Delivery
	err := e.Decode(&p)
	if err != nil {
		return p, err
	}
	_, err = delivery.ParseChannel(p.Channel)
	switch {
	case !isID(p.Challenge, challenge.IDSize):
		return p, malformed("challenge id")
	case err != nil, p.Send < 1, p.Send > challenge.MaxSends:
		return p, malformed("send")
	case p.Number < 1 || p.Number > maxNumber || p.RequestedAt.IsZero():
		return p, malformed("hand-over")
	case e.Type == event.DeliveryAttempted && !isResult(p.Result):
		return p, malformed("result")
	}
	return p, nil
}

// Notice reads the data of a notice.v1.requested, or fails with event.ErrMalformed. Which kinds there are is the
// dispatchers' matter: a newer auth may tell of more.
func Notice(e event.Event) (event.Notice, error) {
	var p event.Notice
	err := e.Decode(&p)
	if err != nil {
		return p, err
	}
	_, err = delivery.ParseChannel(p.Channel)
	switch {
	case !isID(p.Notice, challenge.IDSize) || e.ID != p.Notice || e.Subject != p.Notice:
		return p, malformed("notice id")
	case p.Kind == "" || p.Cause == "" || p.SupportReference == "" || p.Destination == "":
		return p, malformed("missing fact")
	case account.ValidateID(p.Workspace) != nil || account.ValidateID(p.Login) != nil:
		return p, malformed("workspace or login")
	case err != nil || p.Envelope == "":
		return p, malformed("channel or envelope")
	case !p.NotAfter.After(e.Time) || p.NotAfter.Sub(e.Time) > event.NoticeLife:
		return p, malformed("deadline")
	}
	return p, nil
}

// Receipt reads the data of a receipt.v1.recorded, or fails with event.ErrMalformed. It names one delivery or one
// address, never both, and its time is that of its event.
func Receipt(e event.Event) (event.Receipt, error) {
	var p event.Receipt
	err := e.Decode(&p)
	if err != nil {
		return p, err
	}
	_, err = delivery.ParseChannel(p.Channel)
	named := p.Challenge != "" || p.Send != 0 || p.Attempt != ""
	switch {
	case err != nil, p.Provider == "":
		return p, malformed("channel or provider")
	case named && !isReference(p):
		return p, malformed("reference")
	case named == (len(p.AddressHash) > 0), !named && len(p.AddressHash) != digestSize:
		return p, malformed("reference or address")
	case !slices.Contains(delivery.Reportable(), delivery.Status(p.Status)):
		return p, malformed("status")
	case p.At.IsZero() || !p.At.Equal(e.Time) || e.Subject != p.Challenge:
		return p, malformed("time or subject")
	}
	return p, nil
}

// isReference reports whether a receipt names a delivery in the form that a provider echoes.
func isReference(p event.Receipt) bool {
	named := delivery.Reference{Challenge: p.Challenge, Send: p.Send, Attempt: p.Attempt}
	parsed, err := delivery.ParseReference(named.String())
	return err == nil && parsed == named && p.Send <= challenge.MaxSends
}

// isID reports whether s is the base64url form of that many bytes.
func isID(s string, size int) bool {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil && len(raw) == size
}

func isResult(s string) bool {
	for _, r := range delivery.Results() {
		if string(r) == s {
			return true
		}
	}
	return false
}

func malformed(what string) error { return fmt.Errorf("%w: %s", event.ErrMalformed, what) }

// uncapped reports whether a route sends texts that no daily cap counts (DESIGN 7): auth never makes one.
func uncapped(r event.Route) bool { return r.Channel == string(delivery.SMS) && r.Cap < 1 }
