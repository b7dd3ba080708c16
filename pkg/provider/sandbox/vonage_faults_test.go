package sandbox

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vonage/vonage-go-sdk"

	"doorcode/pkg/delivery"
)

// meetsSMS adds a fault and sends one raw SMS into it.
func (s *server) meetsSMS(t *testing.T, f Fault) (*http.Response, error) {
	t.Helper()
	s.add(t, f)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+smsPath, strings.NewReader(smsForm(nil).Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return s.client.Do(r)
}

func TestFault_CutsTheLineOfAnSMS(t *testing.T) {
	t.Parallel()
	for kind, stored := range map[Kind]int{ResetBefore: 0, ResetAfter: 1} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := start(t)
			got, err := s.meetsSMS(t, Fault{Kind: kind})
			if err == nil {
				_ = got.Body.Close()
				t.Errorf("answer = %d", got.StatusCode)
			}
			if s.CountOf(delivery.SMS) != stored {
				t.Errorf("%d stored, want %d", s.CountOf(delivery.SMS), stored)
			}
		})
	}
}

func TestFault_BreaksTheBodyOfAnAcceptedSMS(t *testing.T) {
	t.Parallel()
	s := start(t)
	got, err := s.meetsSMS(t, Fault{Kind: Truncate})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = got.Body.Close() }()
	_, err = io.ReadAll(got.Body)
	if got.StatusCode != http.StatusOK || err == nil || s.Count() != 1 {
		t.Errorf("answer = %d, body %v, %d stored", got.StatusCode, err, s.Count())
	}
}

func TestFault_DripsAfterAnAcceptedSMS(t *testing.T) {
	t.Parallel()
	s := start(t)
	got, err := s.meetsSMS(t, Fault{Kind: Drip})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = got.Body.Close() }()
	first := make([]byte, 1)
	_, err = io.ReadFull(got.Body, first)
	if err != nil || got.StatusCode != http.StatusOK || first[0] != ' ' || s.Count() != 1 {
		t.Errorf("answer = %d %q %v, %d stored", got.StatusCode, first, err, s.Count())
	}
	s.ClearFaults()
	_, err = io.ReadAll(got.Body)
	if err == nil {
		t.Error("the dripping ends in order")
	}
}

func TestFault_AnswersARefusedSMSAsUsual(t *testing.T) {
	t.Parallel()
	for _, kind := range []Kind{Drip, Truncate, ResetAfter, BadJSON, NumberTypes, NoContentType, XML, PartialRefusal, LateAccept} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := start(t)
			s.add(t, Fault{Kind: kind, Delay: time.Millisecond})
			reply := s.form(t, smsForm(map[string]string{"api_secret": "wrong!"}))
			if reply.Messages[0].Status != "4" || s.Count() != 0 {
				t.Errorf("reply = %+v, %d stored", reply, s.Count())
			}
		})
	}
}

func TestFault_HoldsAnSMS(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.add(t, Fault{Kind: Hang, Count: 1, To: "447911*"})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+smsPath, strings.NewReader(smsForm(nil).Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	got, err := s.client.Do(r)
	if err == nil {
		_ = got.Body.Close()
		t.Errorf("answer = %d", got.StatusCode)
	}
	s.add(t, Fault{Kind: Latency, Delay: time.Millisecond})
	if reply := s.form(t, smsForm(nil)); reply.Messages[0].Status != "0" || s.Count() != 1 {
		t.Errorf("late = %+v, %d stored", reply, s.Count())
	}
}

func TestFault_WordsTheReplyWithoutALie(t *testing.T) {
	t.Parallel()
	for kind, want := range map[Kind]struct{ media, body string }{
		NumberTypes:   {"application/json", `{"message-count":1,"messages":[{"to":"447911123456","message-id":"ID","remaining-balance":"999999.94500000","message-price":"0.05500000","network":"23410","status":0}]}`},
		NoContentType: {"", `{"message-count":"1","messages":[{"to":"447911123456","message-id":"ID","status":"0","remaining-balance":"999999.94500000","message-price":"0.05500000","network":"23410"}]}`},
		BadJSON:       {"application/json", `{"message-count":"1","messages":[{"to":"447911123456","message-id":"ID","status":"0","remaining-`},
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := start(t)
			got, err := s.meetsSMS(t, Fault{Kind: kind})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = got.Body.Close() }()
			body, err := io.ReadAll(got.Body)
			if err != nil {
				t.Fatal(err)
			}
			text := strings.Replace(string(body), s.Messages("")[0].ID, "ID", 1)
			if kind == BadJSON {
				text, want.body = text[:60], want.body[:60]
			}
			diff := cmp.Diff(want.body, text)
			if got.StatusCode != http.StatusOK || got.Header.Get("Content-Type") != want.media || diff != "" {
				t.Errorf("answer = %d %q, differs (-want +got):\n%s", got.StatusCode, got.Header.Get("Content-Type"), diff)
			}
		})
	}
}

// TestVonage_KeepsParallelSendsApart sends from many clients at once: every
// person has exactly one SMS, an id of its own and one receipt.
func TestVonage_KeepsParallelSendsApart(t *testing.T) {
	t.Parallel()
	const people, hands = 400, 16
	h := receive(t, nil)
	s := startWith(t, Config{VonageReceiptURL: h.url})
	var group sync.WaitGroup
	ids := make([]string, people)
	for hand := range hands {
		group.Go(func() {
			for i := hand; i < people; i += hands {
				got, _, panicked, err := s.text(t, fmt.Sprintf("44791%05d00", i), fmt.Sprintf("for %d", i), vonage.SMSOpts{ClientRef: fmt.Sprint(i)})
				if err != nil || panicked != nil || len(got.Messages) != 1 {
					t.Errorf("send %d = %+v, %v, %v", i, got, panicked, err)
					return
				}
				ids[i] = got.Messages[0].MessageId
			}
		})
	}
	group.Wait()
	seen := map[string]bool{}
	for i, id := range ids {
		stored := s.Messages(fmt.Sprintf("44791%05d00", i))
		if len(stored) != 1 || stored[0].Text != fmt.Sprintf("for %d", i) || stored[0].ID != id || seen[id] {
			t.Fatalf("person %d has %+v", i, stored)
		}
		seen[id] = true
	}
	s.flush(t)
	for _, p := range h.got() {
		fields := receiptIn(t, p)
		if !seen[fields["messageId"]] || ids[index(t, fields["client-ref"])] != fields["messageId"] {
			t.Errorf("receipt = %v", fields)
		}
		delete(seen, fields["messageId"])
	}
	if len(seen) != 0 || s.sms.balance != defaultBalance*euro-people*smsPrice {
		t.Errorf("%d without a receipt, balance %s", len(seen), amount(s.sms.balance))
	}
}

// index reads the number of a person out of a reference.
func index(t *testing.T, reference string) int {
	t.Helper()
	var i int
	_, err := fmt.Sscan(reference, &i)
	if err != nil {
		t.Fatalf("reference %q: %v", reference, err)
	}
	return i
}
