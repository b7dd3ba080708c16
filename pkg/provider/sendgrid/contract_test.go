package sendgrid_test

import (
	"testing"

	"doorcode/pkg/delivery"
	"doorcode/pkg/provider"
	"doorcode/pkg/provider/providertest"
)

func TestClient_PassesTheContract(t *testing.T) {
	t.Parallel()
	dialect := providertest.Dialect{
		Taken:   taken(),
		Refused: refusal(400, "Does not contain a valid address.", "personalizations.0.to.0.email"),
		Busy:    providertest.Reply{Status: 429, Header: map[string]string{"Retry-After": "3"}},
		Read:    readCall,
	}
	providertest.RunContract(t, func(t *testing.T) (provider.Provider, providertest.Backend) {
		t.Helper()
		s, c := newPair(t)
		return c, providertest.NewBackend(s, dialect)
	})
}

// It shows SEC-32 of deploy/SECURITY.md.
func TestClient_LeaksNothing(t *testing.T) {
	t.Parallel()
	providertest.RunNoLeak(t, newProvider, key)
}

// TestTrap02_ClassifiesEveryAnswerThoughTheSDKReturnsNoError covers the whole
// table of providers.md 2.3.
func TestTrap02_ClassifiesEveryAnswerThoughTheSDKReturnsNoError(t *testing.T) {
	t.Parallel()
	var (
		badRecipient = provider.Class{Result: delivery.Permanent, Reason: delivery.ReasonInvalidRecipient}
		badSender    = provider.Class{Result: delivery.Temporary, Reason: delivery.ReasonRejected, Breaks: true}
		badMessage   = provider.Class{Result: delivery.Permanent, Reason: delivery.ReasonRejected}
		badKey       = provider.Class{Result: delivery.Temporary, Reason: delivery.ReasonAuthentication, Breaks: true}
		noCredit     = provider.Class{Result: delivery.Temporary, Reason: delivery.ReasonRateLimited, Breaks: true}
		trouble      = provider.Class{Result: delivery.Unknown, Reason: delivery.ReasonProviderError}
	)
	row := func(name string, reply providertest.Reply, want provider.Class) providertest.Row {
		return providertest.Row{Name: name, Reply: reply, Want: want}
	}
	const page = "<html><body>Bad gateway</body></html>"
	providertest.RunClassification(t, newProvider, []providertest.Row{
		row("an address that is none", refusal(400, "Does not contain a valid address.", "personalizations.0.to.0.email"), badRecipient),
		row("no address", refusal(400, "The to array is required for all personalization objects.", "personalizations.0.to"), badRecipient),
		row("a sender that is not verified", refusal(400, "The from email does not contain a valid address.", "from.email"), badSender),
		row("a sender as a whole", refusal(400, "Invalid type.", "from"), badSender),
		row("both", providertest.Reply{Status: 400, Body: `{"errors":[{"field":"from"},{"field":"personalizations.0.to"}]}`}, badRecipient),
		row("a subject", refusal(400, "The subject is required.", "subject"), badMessage),
		row("a neighbor of the recipient", refusal(400, "Invalid.", "personalizations.0.topic"), badMessage),
		row("a neighbor of the sender", refusal(400, "Invalid.", "from_name"), badMessage),
		row("an address where none is looked for", refusal(401, "Denied.", "personalizations.0.to"), badKey),
		row("no field", refusal(400, "Bad Request", ""), badMessage),
		row("a field of another type", providertest.Reply{Status: 400, Body: `{"errors":[{"field":7}]}`}, badMessage),
		row("no list", providertest.Reply{Status: 400, Body: `[]`}, badMessage),
		row("a null", providertest.Reply{Status: 400, Body: `null`}, badMessage),
		row("a page", providertest.Reply{Status: 400, Body: page}, badMessage),
		row("a bad key", refusal(401, "The provided authorization grant is invalid, expired, or revoked", ""), badKey),
		row("no credit", refusal(401, "Maximum credits exceeded", ""), noCredit),
		row("no credit, forbidden", refusal(403, "maximum CREDITS EXCEEDED.", ""), noCredit),
		row("a sender of nobody", refusal(403, "The from address does not match a verified Sender Identity.", "from"), badKey),
		row("no scope", providertest.Reply{Status: 403, Body: `{"errors":[{"field":null,"message":"access forbidden"}]}`}, badKey),
		row("a page of a gateway", providertest.Reply{Status: 502, Body: page}, trouble),
		row("credits in other words", refusal(500, "Maximum credits exceeded", ""), trouble),
	})
}
