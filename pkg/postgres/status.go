package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/challenge"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
)

// Live is where a challenge and its messages stand.
type Live struct {
	Facts     Facts
	Now       time.Time       // the database clock
	State     challenge.State // expired once the clock is past the expiry, whether swept or not
	Wrong     int
	WrongMax  int
	Sends     int
	SendMax   int
	Routes    []int16 // of send 1, 2, ...
	ResendAt  time.Time
	Delivered []delivery.Fact // what is on record about the sends, in no order
	// Waiting counts the live challenges of its purpose that go to the same recipient by their first route, as far as they
	// are recorded: at least itself, or 0 when it has ended.
	Waiting int
	// Skipped counts the skips of the login.
	Skipped int
}

// liveSQL: $1 challenge.
const liveSQL = `
SELECT now.at, CASE WHEN c.state = 'pending' AND c.expires_at <= now.at THEN 'expired' ELSE c.state END,
       c.wrong, c.wrong_limit, c.sends, c.send_limit, c.send_routes, c.resend_at,
       CASE WHEN c.ended_at IS NOT NULL OR c.expires_at <= now.at THEN 0
            ELSE greatest(1, (SELECT count(*) FROM challenges o
                               WHERE o.address = c.address AND o.ended_at IS NULL AND o.expires_at > now.at AND o.purpose = c.purpose))
       END,
       CASE WHEN c.skip IS NULL THEN 0
            ELSE coalesce((SELECT g.skips FROM login_budgets g WHERE g.workspace = c.workspace AND g.login = c.login), 0) END
  FROM (SELECT clock_timestamp() AS at) AS now, challenges c WHERE c.id = $1`

// Live reads where a challenge and its messages stand, or fails with ErrNoChallenge.
func (db *DB) Live(ctx context.Context, id string) (Live, error) {
	facts, err := db.Facts(ctx, id)
	if err != nil {
		return Live{}, err
	}
	l := Live{Facts: facts}
	var state string
	err = db.pool.QueryRow(ctx, liveSQL, id).
		Scan(&l.Now, &state, &l.Wrong, &l.WrongMax, &l.Sends, &l.SendMax, &l.Routes, &l.ResendAt, &l.Waiting, &l.Skipped)
	if errors.Is(err, pgx.ErrNoRows) {
		return Live{}, ErrNoChallenge
	}
	if err != nil {
		return Live{}, fmt.Errorf("read the state of a challenge: %w", scrub(err))
	}
	l.State = challenge.State(state)
	l.Delivered, err = db.deliveries(ctx, facts)
	return l, err
}

// deliveries reads the audit rows of a challenge's sends, receipts included. Nothing about a challenge is older than
// itself by more than clocks differ, which spares the older partitions.
func (db *DB) deliveries(ctx context.Context, f Facts) ([]delivery.Fact, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT kind, at, detail FROM audit
		 WHERE challenge_id = $1 AND at > $2 AND (kind LIKE 'delivery.%' OR kind = 'receipt.v1.recorded')`, f.ID, f.CreatedAt.Add(-time.Hour))
	if err != nil {
		return nil, fmt.Errorf("read deliveries: %w", scrub(err))
	}
	facts, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (delivery.Fact, error) {
		var kind string
		var fact delivery.Fact
		var detail []byte
		err := row.Scan(&kind, &fact.At, &detail)
		if err != nil {
			return fact, err
		}
		var d struct {
			event.Delivery
			Status string `json:"status"` // of a receipt
		}
		err = json.Unmarshal(detail, &d)
		if err != nil {
			return fact, err
		}
		fact.Kind = factKind(event.Type(kind))
		fact.Send, fact.Number = d.Send, d.Number
		fact.Result, fact.Channel = delivery.Result(d.Result), delivery.Channel(d.Channel)
		fact.Reported = delivery.Status(d.Status)
		return fact, fact.Reason.UnmarshalText([]byte(d.Reason))
	})
	if err != nil {
		return nil, fmt.Errorf("read deliveries: %w", scrub(err))
	}
	return facts, nil
}

// factKind translates an event type into the word of package delivery; whatever it does not know was asked for.
func factKind(t event.Type) delivery.FactKind {
	kinds := map[event.Type]delivery.FactKind{
		event.DeliveryRequested: delivery.FactRequested,
		event.DeliveryAttempted: delivery.FactAttempted,
		event.DeliveryPostponed: delivery.FactPostponed,
		event.DeliveryAbandoned: delivery.FactAbandoned,
		event.ReceiptRecorded:   delivery.FactReceipt,
	}
	kind, ok := kinds[t]
	if !ok {
		return delivery.FactRequested
	}
	return kind
}

// Delivery tells whether a challenge ended (or expired) and whether a provider took that send, by the answer to an
// attempt or by a receipt that came although the answer was lost (P5). A challenge that is not recorded has not ended,
// and neither does a notice, which has no row: what is on record about its send is all that is known of it.
func (db *DB) Delivery(ctx context.Context, id string, send int) (ended, accepted bool, err error) {
	err = db.pool.QueryRow(ctx, deliverySQL, id, send).Scan(&ended, &accepted)
	if err != nil {
		return false, false, fmt.Errorf("read the delivery of a challenge: %w", scrub(err))
	}
	return ended, accepted, nil
}

// deliverySQL: $1 challenge or notice, $2 send. What a challenge's age says spares the older partitions; a notice is
// not sent later than a day after its cause.
const deliverySQL = `
SELECT coalesce(c.state <> 'pending' OR c.expires_at <= now.at, false),
       EXISTS (SELECT FROM audit a
                WHERE a.challenge_id = $1 AND a.at > coalesce(c.created_at - interval '1 hour', now.at - interval '2 days')
                  AND (a.kind = 'delivery.v1.attempted' AND a.detail ->> 'result' = 'accepted'
                       OR a.kind = 'receipt.v1.recorded' AND a.detail ->> 'status' IN ('accepted', 'deferred', 'delivered'))
                  AND (a.detail ->> 'send')::int = $2)
  FROM (SELECT clock_timestamp() AS at) AS now LEFT JOIN challenges c ON c.id = $1`
