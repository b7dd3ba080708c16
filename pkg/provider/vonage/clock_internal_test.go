package vonage

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"doorcode/pkg/config"
	"doorcode/pkg/delivery"
	"doorcode/pkg/provider"
	"doorcode/pkg/provider/providertest"
)

// newBare returns a client that calls nothing before its transport is set.
func newBare(t testing.TB) *Client {
	t.Helper()
	c, err := New(Config{
		BaseURL: "http://sandbox", Key: config.NewSecret("a1b2c3d4"), Secret: config.NewSecret("secretword"),
		Senders: map[string]string{"US": "12025550199"}, Clock: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newSilent returns a client whose every connection swallows what it gets.
func newSilent(t *testing.T) *Client {
	t.Helper()
	c := newBare(t)
	c.http = provider.NewHTTPClient(provider.HTTPConfig{
		MaxConns: 1,
		Dial: func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			go func() {
				_, _ = io.Copy(io.Discard, there) // Ends with the connection, in whichever way.
				_ = there.Close()
			}()
			return here, nil
		},
	})
	return c
}

func TestTrap05_ASilentServerHoldsNobodyLongerThanFiveSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newSilent(t)
		start := time.Now()
		_, err := c.Send(t.Context(), providertest.SampleSMS(1))
		providertest.MustFail(t, err, delivery.Unknown, delivery.ReasonTimeout)
		if time.Since(start) != 5*time.Second {
			t.Errorf("took %s", time.Since(start))
		}
	})
}

func TestClient_NeverWorksPastTheDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newSilent(t)
		m := providertest.SampleSMS(1)
		m.NotAfter = time.Now().Add(3 * time.Second)
		_, err := c.Send(t.Context(), m)
		providertest.MustFail(t, err, delivery.Unknown, delivery.ReasonTimeout)
		if !time.Now().Equal(m.NotAfter) {
			t.Errorf("ended %s from the deadline", time.Until(m.NotAfter))
		}
	})
}

// tripper is a transport in one function.
type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answering returns a transport that answers every request with that body.
func answering(body string) tripper {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

// TestTrap06_APanicBelowTheSDKIsAFailure covers the net under the exchange.
func TestTrap06_APanicBelowTheSDKIsAFailure(t *testing.T) {
	t.Parallel()
	c := newBare(t)
	c.http.Transport = tripper(func(*http.Request) (*http.Response, error) { panic("secretword") })
	_, err := c.Send(t.Context(), providertest.SampleSMS(1))
	f := providertest.MustFail(t, err, delivery.Temporary, delivery.ReasonProviderError)
	if f.Detail != "the SDK panicked" {
		t.Errorf("got %q", f.Detail)
	}
}

// panicky is a body that panics when it is read.
type panicky struct{}

func (panicky) Read([]byte) (int, error) { panic("read") }
func (panicky) Close() error             { return nil }

func TestTrap06_APanicAfterTheRequestLeftIsUnknown(t *testing.T) {
	t.Parallel()
	s := providertest.NewServer(t)
	c := newBare(t)
	c.base = s.URL()
	real := c.http.Transport
	c.http.Transport = tripper(func(r *http.Request) (*http.Response, error) {
		res, err := real.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		_ = res.Body.Close()
		res.Body = panicky{}
		return res, nil
	})
	_, err := c.Send(t.Context(), providertest.SampleSMS(1))
	providertest.MustFail(t, err, delivery.Unknown, delivery.ReasonProviderError)
	c.http.CloseIdleConnections()
	real.(interface{ CloseIdleConnections() }).CloseIdleConnections()
}

// TestTrap08_AnAnswerThatCannotBeReadIsUnknown also where nothing watched the
// request leave: who answers has it.
func TestTrap08_AnAnswerThatCannotBeReadIsUnknown(t *testing.T) {
	t.Parallel()
	c := newBare(t)
	c.http.Transport = answering(`{"messages":[`)
	_, err := c.Send(t.Context(), providertest.SampleSMS(1))
	f := providertest.MustFail(t, err, delivery.Unknown, delivery.ReasonProviderError)
	if f.Status != http.StatusOK || !f.Breaks {
		t.Errorf("got %+v", f)
	}
}

// FuzzAnswer proves for any body that no panic leaves Send, that the error is
// a Failure, and that an acceptance takes a zero for every part.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `null`, `[]`, `{"messages":[]}`, `{"messages":[{}]}`, `{"messages":[null]}`, `{"messages":{}}`, `{"messages":[{"status":0}]}`,
		`{"message-count":"2","messages":[{"status":"0","message-id":"a"},{"status":"1","error-text":"please wait [ 250 ]"}]}`,
		`<?xml version="1.0"?><mt-submission-res/>`, "\xff", `{"messages":[{"status":{"status":"0"}}]}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		c := newBare(t)
		c.http.Transport = answering(body)
		accepted, err := c.Send(t.Context(), providertest.SampleSMS(1))
		if err != nil {
			_, ok := err.(*provider.Failure) //nolint:errorlint // The contract says that it is one, not that it holds one.
			if !ok || strings.Contains(err.Error(), "secretword") {
				t.Errorf("%q became %v", body, err)
			}
			return
		}
		var parts struct {
			Messages []struct{ Status json.RawMessage }
		}
		err = json.Unmarshal([]byte(body), &parts)
		if err != nil || len(parts.Messages) == 0 || strings.ContainsAny(accepted.ProviderID, ` "<@+`) {
			t.Fatalf("%q is an acceptance with id %q", body, accepted.ProviderID)
		}
		for _, m := range parts.Messages {
			if strings.Trim(string(m.Status), `"0`) != "" {
				t.Errorf("%q is an acceptance with a status %s", body, m.Status)
			}
		}
	})
}
