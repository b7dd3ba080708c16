package vonage_test

import (
	"encoding/json"
	"strings"
	"testing"

	"doorcode/pkg/delivery"
	"doorcode/pkg/provider"
	"doorcode/pkg/provider/providertest"
)

// suite fits the suites to the SMS API: every 2xx must say more, and everything
// else is what provider.Classify makes of it.
func suite() providertest.Suite {
	quoted := func(s string) string {
		text, err := json.Marshal(s)
		if err != nil {
			return ""
		}
		return strings.Trim(string(text), `"`)
	}
	return providertest.Suite{
		Sample: providertest.SampleSMS,
		Classify: func(status int) provider.Class {
			if status < 300 {
				return stranger()
			}
			return provider.Classify(status)
		},
		Careless: map[string]providertest.Behavior{
			"a refused part that repeats it all":  providertest.Echo(reply(`{"messages":[{"status":"6","error-text":"%s"}]}`), quoted),
			"an odd status that repeats it all":   providertest.Echo(reply(`{"messages":[{"status":"%s"}]}`), quoted),
			"an odd message id":                   providertest.Echo(reply(`{"messages":[{"status":"0","message-id":"%s"}]}`), quoted),
			"the number as message id":            providertest.Answer(reply(`{"messages":[{"status":"0","message-id":"12015550107"}]}`)),
			"the code as message id":              providertest.Answer(reply(`{"messages":[{"status":"0","message-id":"` + providertest.SampleCode + `"}]}`)),
			"a list that repeats it all and ends": providertest.Echo(reply(`{"messages":[{"status":"0","error-text":"%s"`), quoted),
			"a page that repeats it all, with OK": providertest.Echo(reply(`<pre>%s</pre>`), func(s string) string { return s }),
		},
	}
}

// stranger is the class of a 2xx that is not of the API.
func stranger() provider.Class {
	return provider.Class{Result: delivery.Unknown, Reason: delivery.ReasonProviderError, Breaks: true}
}

func TestClient_PassesTheContract(t *testing.T) {
	t.Parallel()
	dialect := providertest.Dialect{
		Taken:   taken(),
		Refused: refusal(6, "The message was invalid"),
		Busy:    refusal(1, "Throughput Rate Exceeded - please wait [ 250 ] and retry"),
		Read:    readCall,
	}
	suite().RunContract(t, func(t *testing.T) (provider.Provider, providertest.Backend) {
		t.Helper()
		s, c := newPair(t)
		return c, providertest.NewBackend(s, dialect)
	})
}

// It shows SEC-32 of deploy/SECURITY.md.
func TestClient_LeaksNothing(t *testing.T) {
	t.Parallel()
	suite().RunNoLeak(t, newProvider, key, secret)
}

// TestTrap07_ClassifiesEveryRefusalThoughTheSDKReturnsNoError covers the whole
// table of providers.md 4.3, and several parts.
func TestTrap07_ClassifiesEveryRefusalThoughTheSDKReturnsNoError(t *testing.T) {
	t.Parallel()
	var rows []providertest.Row
	row := func(name string, answer providertest.Reply, want provider.Class) {
		rows = append(rows, providertest.Row{Name: name, Reply: answer, Want: want})
	}
	class := func(result delivery.Result, reason delivery.Reason) provider.Class {
		return provider.Class{Result: result, Reason: reason}
	}
	breaking := func(reason delivery.Reason) provider.Class {
		return provider.Class{Result: delivery.Temporary, Reason: reason, Breaks: true}
	}
	bug, number := class(delivery.Permanent, delivery.ReasonRejected), class(delivery.Permanent, delivery.ReasonInvalidRecipient)
	table := map[int]provider.Class{
		1: class(delivery.Temporary, delivery.ReasonRateLimited), 2: bug, 3: bug, 4: breaking(delivery.ReasonAuthentication),
		5: class(delivery.Temporary, delivery.ReasonProviderError), 6: number, 7: class(delivery.Permanent, delivery.ReasonSuppressed),
		8: breaking(delivery.ReasonAuthentication), 9: breaking(delivery.ReasonRateLimited),
		10: class(delivery.Temporary, delivery.ReasonRateLimited), 11: breaking(delivery.ReasonAuthentication), 12: bug,
		14: breaking(delivery.ReasonAuthentication), 15: bug, 22: bug, 23: bug, 29: breaking(delivery.ReasonRejected), 32: bug, 33: number,
	}
	for status := 1; status <= 120; status++ {
		want, listed := table[status]
		if !listed {
			want = class(delivery.Permanent, delivery.ReasonOther)
		}
		row(refused(status, ""), refusal(status, "Words decide nothing: Bad Credentials, Quota Exceeded"), want)
	}
	unknown := class(delivery.Unknown, delivery.ReasonProviderError)
	row("every part taken", reply(`{"message-count":"2","messages":[`+part+`,`+part+`]}`), provider.Class{Result: delivery.Accepted})
	row("the second part throttled", reply(`{"message-count":"2","messages":[`+part+`,`+refused(1, "")+`]}`),
		class(delivery.Unknown, delivery.ReasonRateLimited))
	row("the first part without credit", reply(`{"message-count":"2","messages":[`+refused(9, "")+`,`+part+`]}`),
		provider.Class{Result: delivery.Unknown, Reason: delivery.ReasonRateLimited, Breaks: true})
	row("no part taken, the first decides", reply(`{"message-count":"2","messages":[`+refused(7, "")+`,`+refused(1, "")+`]}`), table[7])
	row("a part that is announced and not listed", reply(`{"message-count":"2","messages":[`+part+`]}`), unknown)
	row("a refusal and a part that is not listed", reply(`{"message-count":2,"messages":[`+refused(7, "")+`]}`),
		class(delivery.Unknown, delivery.ReasonSuppressed))
	row("more parts than announced", reply(`{"message-count":"1","messages":[`+part+`,`+part+`]}`), provider.Class{Result: delivery.Accepted})
	row("a count that is none", reply(`{"message-count":"many","messages":[`+part+`]}`), provider.Class{Result: delivery.Accepted})
	row("a refusal and a part without a status", reply(`{"messages":[`+refused(6, "")+`,{}]}`),
		class(delivery.Unknown, delivery.ReasonInvalidRecipient))
	row("a part taken and one without a status", reply(`{"messages":[`+part+`,{"status":null}]}`), unknown)
	for _, status := range []string{`"ok"`, `""`, `"-1"`, `"+0"`, `"0.0"`, `0.5`, `true`, `{}`, `[0]`, `"70000"`} {
		row("status "+status, reply(`{"messages":[{"status":`+status+`}]}`), unknown)
	}
	row("a list under HTTP 401", providertest.Reply{Status: 401, Body: taken().Body}, breaking(delivery.ReasonAuthentication))
	row("a list under HTTP 500", providertest.Reply{Status: 500, Body: refusal(6, "").Body}, unknown)
	row("a throttle under HTTP 429", providertest.Reply{Status: 429, Body: refusal(1, "").Body}, table[1])
	suite().RunClassification(t, newProvider, rows)
}
