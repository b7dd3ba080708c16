package recorder

import (
	"encoding/json"
	"fmt"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/postgres"
	"doorcode/services/verifier/internal/intake"
)

// rowsOf says what becomes of a message in Postgres: a pure function. place carries where the message stands. It fails
// with event.ErrMalformed for what belongs to the dead letters.
func rowsOf(m bus.Message, place postgres.Issued) (postgres.Batch, error) {
	e, err := intake.Parse(m)
	if err != nil {
		return postgres.Batch{}, err
	}
	switch {
	case e.Type == event.ChallengeIssued:
		return issuedRows(e, place)
	case e.Type == event.DeliveryRequested:
		// Its audit row was written by the statement that took the resend.
		return postgres.Batch{}, nil
	case e.Type == event.NoticeRequested:
		return noticeRows(e)
	case ofDelivery(e.Type):
		return deliveryRows(e)
	case e.Type == event.ReceiptRecorded:
		return receiptRows(e)
	}
	return postgres.Batch{}, fmt.Errorf("%w: type %s is not recorded", event.ErrMalformed, e.Type)
}

// issuedRows is a challenge and the audit row that it was issued.
func issuedRows(e event.Event, place postgres.Issued) (postgres.Batch, error) {
	p, err := intake.Issued(e)
	if err != nil {
		return postgres.Batch{}, err
	}
	place.Event = p
	detail, err := json.Marshal(issuedDetail{
		Challenge: p.Challenge, LoginVersion: p.LoginVersion, FrontEnd: p.FrontEnd, Purpose: string(p.Purpose), Channel: p.Channel,
		Routes: len(p.Routes), Label: p.Label, SupportReference: p.SupportReference, Locale: p.Locale, Policy: p.Policy,
		ExpiresAt: p.ExpiresAt, Network: p.Network,
	})
	if err != nil {
		return postgres.Batch{}, fmt.Errorf("write audit detail: %w", err)
	}
	return postgres.Batch{
		Challenges: []postgres.Issued{place},
		Audit: []postgres.Audit{{
			ID: e.ID, At: e.Time, Kind: e.Type, Workspace: p.Workspace, Login: p.Login, Challenge: p.Challenge,
			Actor: p.FrontEnd, Detail: detail,
		}},
	}, nil
}

// issuedDetail is what the audit keeps of an issued challenge: no digest, no envelope, no recipient.
type issuedDetail struct {
	Challenge        string           `json:"challenge"`
	LoginVersion     int64            `json:"login_version"`
	FrontEnd         string           `json:"front_end"`
	Purpose          string           `json:"purpose"`
	Channel          string           `json:"channel"`
	Routes           int              `json:"routes"`
	Label            string           `json:"label"`
	SupportReference string           `json:"support_reference"`
	Locale           string           `json:"locale"`
	Policy           challenge.Policy `json:"policy"`
	ExpiresAt        time.Time        `json:"expires_at"`
	Network          string           `json:"network,omitempty"`
}

// noticeRows is the audit row of an ordered notice, all of the event but the envelope. It is all that a notice has:
// its id stands where a challenge's does, so that what became of it is found in the same way.
func noticeRows(e event.Event) (postgres.Batch, error) {
	p, err := intake.Notice(e)
	if err != nil {
		return postgres.Batch{}, err
	}
	p.Envelope = ""
	detail, err := json.Marshal(p)
	if err != nil {
		return postgres.Batch{}, fmt.Errorf("write audit detail: %w", err)
	}
	return postgres.Batch{Audit: []postgres.Audit{{
		ID: e.ID, At: e.Time, Kind: e.Type, Workspace: p.Workspace, Login: p.Login, Challenge: p.Notice, Actor: e.Source,
		Detail: detail,
	}}}, nil
}

// deliveryRows is the audit row of what became of a send; lower hand-over numbers of which nothing is known are filled
// in by the store.
func deliveryRows(e event.Event) (postgres.Batch, error) {
	p, err := intake.Delivery(e)
	if err != nil {
		return postgres.Batch{}, err
	}
	b := postgres.Batch{Audit: []postgres.Audit{{
		ID: e.ID, At: e.Time, Kind: e.Type, Challenge: p.Challenge, Actor: e.Source, Detail: e.Data,
	}}}
	if p.Number > 1 {
		b.Handed = []postgres.Handed{{
			Challenge: p.Challenge, Send: p.Send, Number: p.Number, Channel: p.Channel, RequestedAt: p.RequestedAt,
		}}
	}
	return b, nil
}

// receiptRows is the audit row of what a provider reported. It stands on its own: it may come before the attempt that it
// is about, and it decides nothing (P9).
func receiptRows(e event.Event) (postgres.Batch, error) {
	p, err := intake.Receipt(e)
	if err != nil {
		return postgres.Batch{}, err
	}
	return postgres.Batch{Audit: []postgres.Audit{{
		ID: e.ID, At: e.Time, Kind: e.Type, Challenge: p.Challenge, Actor: e.Source, Detail: e.Data,
	}}}, nil
}
