package vonage_test

import (
	"errors"
	"net/url"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"doorcode/pkg/config"
	"doorcode/pkg/provider"
	"doorcode/pkg/provider/providertest"
	"doorcode/pkg/provider/vonage"
)

// key and secret have the shape of real ones and are none; the secret holds
// what a form must escape.
const (
	key    = "a1b2c3d4"
	secret = `pW9&x=+/"k%3B;zQ`
)

// messageID is the id of an accepted message.
const messageID = "0C000000A1B2C3D4"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// configFor is a good configuration for a stand-in at that address.
func configFor(url string) vonage.Config {
	return vonage.Config{
		BaseURL: url, Key: config.NewSecret(key), Secret: config.NewSecret(secret),
		Senders: map[string]string{"US": "12025550199", "DE": "Lanternbird"},
		Clock:   time.Now,
	}
}

// newClient returns a client that is closed with the test.
func newClient(t *testing.T, cfg vonage.Config) *vonage.Client {
	t.Helper()
	c, err := vonage.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// newPair returns a server that takes every message, and a client of it.
func newPair(t *testing.T) (*providertest.Server, *vonage.Client) {
	t.Helper()
	s := providertest.NewServer(t)
	s.Use(providertest.Answer(taken()))
	return s, newClient(t, configFor(s.URL()))
}

// newProvider is newClient for the suites.
func newProvider(t *testing.T, s *providertest.Server) provider.Provider {
	t.Helper()
	return newClient(t, configFor(s.URL()))
}

// sample is a good message.
func sample(n int) provider.Message { return providertest.SampleSMS(n) }

// readForm reads a request that has one value for every name.
func readForm(r providertest.Request) (map[string]string, error) {
	values, err := url.ParseQuery(string(r.Body))
	if err != nil {
		return nil, errors.New("not a form")
	}
	form := map[string]string{}
	for name, all := range values {
		if len(all) != 1 {
			return nil, errors.New("a name with several values")
		}
		form[name] = all[0]
	}
	return form, nil
}

// readCall finds reference and recipient in a request.
func readCall(r providertest.Request) (providertest.Call, error) {
	form, err := readForm(r)
	if err != nil {
		return providertest.Call{}, err
	}
	return providertest.Call{Reference: form["client-ref"], Recipient: "+" + form["to"]}, nil
}

// reply is an answer of the API with that body.
func reply(body string) providertest.Reply {
	return providertest.Reply{Status: 200, Header: map[string]string{"Content-Type": "application/json"}, Body: body}
}

// part is one accepted part.
const part = `{"to":"12025550100","message-id":"` + messageID + `","status":"0",` +
	`"remaining-balance":"15.53590000","message-price":"0.05500000","network":"21407"}`

// taken is the answer of a provider that queued the message.
func taken() providertest.Reply { return reply(`{"message-count":"1","messages":[` + part + `]}`) }

// refused is one refused part.
func refused(status int, text string) string {
	return `{"status":"` + strconv.Itoa(status) + `","error-text":"` + text + `"}`
}

// refusal is an answer that refuses the one part.
func refusal(status int, text string) providertest.Reply {
	return reply(`{"message-count":"1","messages":[` + refused(status, text) + `]}`)
}
