package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"doorcode/pkg/client"
)

// told is the part of a state that these tests look at.
type told struct {
	State      string `json:"state"`
	Deliveries []struct {
		Status string `json:"status"`
		Text   string `json:"text"`
	} `json:"deliveries"`
}

// follow opens the event stream of a challenge; the returned function waits for
// the next state.
func (s *standalone) follow(t *testing.T, handle string) func() (told, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.auth+"/v1/challenges/"+handle+"/events", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	res, err := s.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	if res.StatusCode != http.StatusOK {
		t.Fatalf("the stream is answered %d", res.StatusCode)
	}
	lines := bufio.NewReader(res.Body)
	return func() (told, error) {
		var state told
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return state, err
			}
			if data, found := strings.CutPrefix(line, "data: "); found {
				return state, json.Unmarshal([]byte(data), &state)
			}
		}
	}
}

// until waits for a state with that status of its first message.
func until(t *testing.T, next func() (told, error), status string) told {
	t.Helper()
	for {
		state, err := next()
		if err != nil {
			t.Fatalf("no state with a message that is %s: %v", status, err)
		}
		if state.Deliveries[0].Status == status {
			return state
		}
	}
}

// A person waits on the page: the provider's report arrives by its signed
// webhook, the page learns of it without asking, and the code ends the stream.
func TestReceipts_AWaitingPageLearnsThatTheMessageArrived(t *testing.T) {
	t.Parallel()
	s := sharedStandalone(t)
	workspace, email := s.workspace(t)
	ch := s.create(t, workspace)
	next := s.follow(t, ch.Handle)
	state := until(t, next, "delivered")
	if !strings.HasPrefix(state.Deliveries[0].Text, "Accepted by acme.example;") || state.State != "pending" {
		t.Errorf("the page shows %+v", state)
	}
	_, err := s.front.Check(t.Context(), ch.Handle, s.code(t, email, 1))
	if err != nil {
		t.Fatal(err)
	}
	for state.State == "pending" {
		state, err = next()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err = next()
	if state.State != "approved" || !errors.Is(err, io.EOF) {
		t.Errorf("the stream ends with %+v: %v", state, err)
	}
}

// A mail server that refuses or puts off a message is named; the code stays
// good for whoever has it all the same (product.md edge cases 13 and 14).
func TestReceipts_ARefusingServerIsNamedAndDecidesNothing(t *testing.T) {
	t.Parallel()
	s := sharedStandalone(t)
	workspace, _ := s.workspace(t)
	for suffix, want := range map[string]struct{ status, text string }{
		"bounce":  {"failed", "Refused by acme.example: this recipient does not exist there."},
		"blocked": {"failed", "Refused by acme.example."},
		"defer":   {"deferred", "acme.example asked to come back later; the message is tried again by itself."},
	} {
		login, address := "kim-"+suffix, "kim+"+suffix+"@acme.example"
		err := s.front.PutLogin(t.Context(), workspace, login, client.Login{Role: "member", Email: address})
		if err != nil {
			t.Fatal(err)
		}
		ch, err := s.front.Create(t.Context(), client.Request{Workspace: workspace, Login: login})
		if err != nil {
			t.Fatal(err)
		}
		state := until(t, s.follow(t, ch.Handle), want.status)
		if state.Deliveries[0].Text != want.text || state.State != "pending" {
			t.Errorf("%s: the page shows %+v", suffix, state)
		}
		_, err = s.front.Check(t.Context(), ch.Handle, s.code(t, address, 1))
		if err != nil {
			t.Errorf("%s: the code is refused: %v", suffix, err)
		}
	}
}

// The sandbox signs delivery receipts as Vonage does, and they are taken; who
// signs nothing is not heard.
func TestReceipts_SMSReceiptsAreTakenWhenTheyAreSigned(t *testing.T) {
	t.Parallel()
	s := sharedStandalone(t)
	form := url.Values{
		"api_key": {"abcd1234"}, "api_secret": {"sandbox-secret"}, "from": {"Lanternbird"}, "to": {"447911123456"}, "text": {"hello"},
		"client-ref": {"AAECAwQFBgcICQoLDA0ODw.1.AAECAwQFBgc"},
	}
	res, err := s.http.PostForm("http://"+s.sandbox+"/sms/json", form) //nolint:noctx // bounded by the client's time-out
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	eventually(t, "the receipt is taken", func() bool {
		return regexp.MustCompile(`doorcode_receipts_total\{provider="vonage",result="delivered"\} [1-9]`).MatchString(s.metrics(t))
	})
	forged := "?status=failed&client-ref=AAECAwQFBgcICQoLDA0ODw.1.AAECAwQFBgc&api-key=abcd1234"
	res, err = s.http.Get("http://" + s.settings["DOORCODE_RECEIPTS_LISTEN"] + "/webhooks/vonage" + forged) //nolint:noctx // bounded by the client's time-out
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("an unsigned receipt is answered %d", res.StatusCode)
	}
}
