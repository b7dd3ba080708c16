package sendgrid_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"doorcode/pkg/config"
	"doorcode/pkg/provider"
	"doorcode/pkg/provider/providertest"
	"doorcode/pkg/provider/sendgrid"
)

// key has the shape of a real one and is none.
const key = "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"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// configFor is a good configuration for a stand-in at that address.
func configFor(url string) sendgrid.Config {
	return sendgrid.Config{
		BaseURL: url, Key: config.NewSecret(key),
		From: "login@auth.example.com", FromName: "Lanternbird",
		Clock: time.Now,
	}
}

// newClient returns a client that is closed with the test.
func newClient(t *testing.T, cfg sendgrid.Config) *sendgrid.Client {
	t.Helper()
	c, err := sendgrid.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// newPair returns a server and a client of it.
func newPair(t *testing.T) (*providertest.Server, *sendgrid.Client) {
	t.Helper()
	s := providertest.NewServer(t)
	return s, newClient(t, configFor(s.URL()))
}

// newProvider is newClient for the suites.
func newProvider(t *testing.T, s *providertest.Server) provider.Provider {
	t.Helper()
	return newClient(t, configFor(s.URL()))
}

// body is the part of a request that says to whom it goes.
type body struct {
	Personalizations []struct {
		To         []struct{ Email string }
		CustomArgs map[string]string `json:"custom_args"`
	}
}

// readCall finds reference and recipient in a request.
func readCall(r providertest.Request) (providertest.Call, error) {
	var b body
	err := json.Unmarshal(r.Body, &b)
	if err != nil || len(b.Personalizations) != 1 || len(b.Personalizations[0].To) != 1 {
		return providertest.Call{}, errors.New("not one message to one person")
	}
	p := b.Personalizations[0]
	return providertest.Call{Reference: p.CustomArgs["dlv"], Recipient: p.To[0].Email}, nil
}

// taken is the answer of a provider that queued the message.
func taken() providertest.Reply {
	return providertest.Reply{Status: 202, Header: map[string]string{"X-Message-Id": "Xet6bZ7WRTG2fYDa-p7arw"}}
}

// refusal is an answer with one entry in its error list.
func refusal(status int, message, field string) providertest.Reply {
	named := "null"
	if field != "" {
		named = `"` + field + `"`
	}
	return providertest.Reply{
		Status: status, Header: map[string]string{"Content-Type": "application/json"},
		Body: `{"errors":[{"message":"` + message + `","field":` + named + `,"help":null}]}`,
	}
}
