package sandbox

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"doorcode/pkg/delivery"
)

// The paths of the SMS API: one for each form of the answer.
const (
	smsPath    = "/sms/json"
	smsXMLPath = "/sms/xml"
)

// smsPrice is what one part costs, in units of 10⁻⁸ euro.
const smsPrice = 5_500_000

// euro is one of them.
const euro = 100_000_000

// smsAccount is the account at Vonage.
type smsAccount struct {
	key, secret, signatureSecret string
	method                       SignatureMethod

	mu      sync.Mutex
	balance int64 // 10⁻⁸ euro
}

// unpaid refuses what the credit does not cover.
func (a *smsAccount) unpaid(q *smsRequest) (smsPart, bool) {
	_, parts := q.shown()
	a.mu.Lock()
	defer a.mu.Unlock()
	if int64(parts)*smsPrice > a.balance {
		return refuseSMS(smsCredit)
	}
	return smsPart{}, false
}

// charge takes the price of one part and returns what is left. Sends that were
// judged at the same time may take the credit a little below zero.
func (a *smsAccount) charge() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.balance -= smsPrice
	return a.balance
}

// serveVonage answers a send by SMS.
func (s *Sandbox) serveVonage(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		smsStatus(http.StatusMethodNotAllowed).write(w)
		return
	}
	request, err := readSMS(r)
	if r.Context().Err() != nil {
		return // the sender has gone; there is nobody to answer
	}
	switch {
	case errors.Is(err, errTooLarge):
		smsStatus(http.StatusRequestEntityTooLarge).write(w)
		return
	case err != nil:
		smsStatus(http.StatusBadRequest).write(w)
		return
	}
	s.meet(w, r, call{dialect: vonageDialect(), recipients: []string{request.fields["to"]}, judge: func() answer {
		reply, accepted := s.judgeSMS(request)
		got := reply.answer()
		if r.URL.Path == smsXMLPath {
			got = reply.xml()
		}
		got.accepted, got.reply = accepted, &reply
		return got
	}})
}

// judgeSMS decides about one request as the provider does, stores what it
// accepts and plans its receipts.
func (s *Sandbox) judgeSMS(q *smsRequest) (smsReply, bool) {
	refused, is := s.sms.refusal(q)
	if is {
		return newReply(refused), false
	}
	now, to := s.cfg.Clock(), q.fields["to"]
	text, count := q.shown()
	var parts []smsPart
	for range count {
		parts = append(parts, smsPart{
			To: to, ID: s.ids.smsID(), Status: smsAccepted, ClientRef: q.fields["client-ref"],
			Balance: amount(s.sms.charge()), Price: amount(smsPrice), Network: network(to),
		})
	}
	s.store.add([]Message{{
		ID: parts[0].ID, ProviderID: parts[0].ID, Channel: delivery.SMS, To: to, From: q.fields["from"], Text: text,
		ReceivedAt: now, Parts: count, ClientRef: q.fields["client-ref"], TTL: ttl(q.fields["ttl"]), Request: q.body,
	}})
	for _, part := range parts {
		s.planReceipts(q, part, now)
	}
	return newReply(parts...), true
}

// ttl is a life in milliseconds that was judged before; zero when none was given.
func ttl(text string) time.Duration {
	n, _ := strconv.ParseInt(text, 10, 64) // empty is none
	return time.Duration(n) * time.Millisecond
}

// amount writes money as the provider does.
func amount(n int64) string {
	sign := ""
	if n < 0 {
		sign, n = "-", -n
	}
	fraction := strconv.FormatInt(n%euro+euro, 10)[1:]
	return sign + strconv.FormatInt(n/euro, 10) + "." + fraction
}

// network is the code of one network of the country, of which the caller need
// not think much.
func network(to string) string {
	for _, known := range []struct{ prefix, code string }{
		{"1", "310090"},
		{"31", "20416"},
		{"33", "20801"},
		{"34", "21407"},
		{"39", "22210"},
		{"41", "22801"},
		{"43", "23203"},
		{"44", "23410"},
		{"48", "26006"},
		{"49", "26201"},
	} {
		if strings.HasPrefix(to, known.prefix) {
			return known.code
		}
	}
	return "99999"
}
