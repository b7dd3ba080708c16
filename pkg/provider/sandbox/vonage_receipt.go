package sandbox

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"doorcode/pkg/delivery"
)

// receipt is one delivery receipt on its way.
type receipt struct {
	to     string // the address of the webhook
	fields map[string]string
	at     time.Time // when it became of the message
}

// planReceipts queues what becomes of one part, if the sender wants to know
// and anybody is there to be told.
func (s *Sandbox) planReceipts(q *smsRequest, part smsPart, accepted time.Time) {
	address := cmp.Or(q.fields["callback"], s.cfg.VonageReceiptURL)
	if address == "" || !q.reports() {
		return
	}
	magic := magicOf(delivery.SMS, part.To)
	now := time.Now()
	turned := s.hookFaults.take(Reorder)
	for i, step := range magic.report {
		become := step
		if turned {
			become = magic.report[len(magic.report)-1-i]
		}
		at := accepted.Add(become.after)
		for range magic.copies + 1 {
			due := now.Add(step.after)
			s.queue.add(&parcel{due: due, until: due.Add(keepTrying), load: &receipt{
				to: address, at: at, fields: receiptFields(q, part, become, s.cfg.VonageKey),
			}})
		}
	}
}

// receiptFields is the receipt but for its times and its signature: all
// strings, and to is the sender of the message (providers.md 4.7).
func receiptFields(q *smsRequest, part smsPart, become reportStep, key string) map[string]string {
	fields := map[string]string{
		"msisdn": part.To, "to": q.fields["from"], "network-code": part.Network, "messageId": part.ID,
		"price": part.Price, "status": become.status, "err-code": become.error, "api-key": key,
	}
	if part.ClientRef != "" {
		fields["client-ref"] = part.ClientRef
	}
	return fields
}

// taken judges the answer: 200 to 205 is success, and only 429 and 5xx are
// asked again (providers.md 4.7), so that any other refusal loses the receipt.
func (*receipt) taken(status int) verdict {
	switch {
	case status >= http.StatusOK && status <= http.StatusResetContent:
		return taken
	case status == http.StatusTooManyRequests || status >= http.StatusInternalServerError:
		return again
	default:
		return lost
	}
}

// request makes the request of one try, signed anew.
func (r *receipt) request(ctx context.Context, s *Sandbox, spoilt spoilt) (*http.Request, error) {
	now := s.cfg.Clock()
	at := r.at
	if at.After(now) {
		at = now
	}
	fields := maps.Clone(r.fields)
	fields["message-timestamp"] = at.UTC().Format("2006-01-02 15:04:05")
	fields["scts"] = at.UTC().Format("0601021504")
	s.signReceipt(fields, now, spoilt)
	out, err := receiptRequest(ctx, s.cfg.VonageReceiptMethod, r.to, fields)
	if err != nil {
		return nil, fmt.Errorf("make a receipt: %w", err)
	}
	out.Header.Set("User-Agent", "Nexmo/MessagingHUB/v1.0")
	return out, nil
}

// signReceipt adds timestamp, nonce and signature, if the account signs.
func (s *Sandbox) signReceipt(fields map[string]string, now time.Time, spoilt spoilt) {
	if s.cfg.VonageSignatureMethod == Unsigned || spoilt.unsigned {
		return
	}
	secret := s.cfg.VonageSignatureSecret
	if spoilt.forged {
		secret += "?"
	}
	fields["timestamp"] = strconv.FormatInt(now.Add(-spoilt.age).Unix(), 10)
	fields["nonce"] = s.ids.uuid("nonce")
	fields["sig"] = signature(s.cfg.VonageSignatureMethod, secret, fields)
}

// receiptRequest puts the fields where the method wants them.
func receiptRequest(ctx context.Context, method ReceiptMethod, address string, fields map[string]string) (*http.Request, error) {
	form := url.Values{}
	for name, value := range fields {
		form.Set(name, value)
	}
	verb, media := http.MethodPost, "application/x-www-form-urlencoded"
	var body io.Reader
	switch method {
	case ReceiptGet:
		verb, media = http.MethodGet, ""
		address += map[bool]string{true: "&", false: "?"}[strings.Contains(address, "?")] + form.Encode()
	case ReceiptForm:
		body = strings.NewReader(form.Encode())
	case ReceiptJSON:
		document, err := json.Marshal(fields)
		if err != nil {
			return nil, err
		}
		media, body = "application/json", bytes.NewReader(document)
	}
	out, err := http.NewRequestWithContext(ctx, verb, address, body)
	if err != nil {
		return nil, err
	}
	if media != "" {
		out.Header.Set("Content-Type", media)
	}
	return out, nil
}
