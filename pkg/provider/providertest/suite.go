package providertest

import (
	"fmt"
	"time"

	"doorcode/pkg/delivery"
	"doorcode/pkg/provider"
)

// Suite fits the suites to what a provider carries and how it answers. The
// zero value is for e-mail, and for statuses that provider.Classify reads.
type Suite struct {
	// Sample makes a good message, another one for each n; nil is Sample.
	Sample func(n int) provider.Message
	// Classify says what an answer without a body means; nil is
	// provider.Classify.
	Classify func(status int) provider.Class
	// Careless are further answers that repeat the request, for RunNoLeak.
	Careless map[string]Behavior
}

// sample makes the message of that number.
func (s Suite) sample(n int) provider.Message {
	if s.Sample == nil {
		return Sample(n)
	}
	return s.Sample(n)
}

// classify says what an answer without a body means.
func (s Suite) classify(status int) provider.Class {
	if s.Classify == nil {
		return provider.Classify(status)
	}
	return s.Classify(status)
}

// Sample returns a good message, a different one for each n, with the code
// SampleCode in its text and a minute to live.
func Sample(n int) provider.Message {
	reference := delivery.Reference{Challenge: fmt.Sprintf("Qx%020d", n), Send: 1, Attempt: fmt.Sprintf("b%010d", n)}
	return provider.Message{
		Reference: reference.String(),
		Recipient: fmt.Sprintf("ada.%d@example.net", n),
		Subject:   "Your Lanternbird code (label KTR)",
		Text:      SampleCode + " is your code. It works for 10 minutes.",
		HTML:      "<p><b>" + SampleCode + "</b> is your code.</p>",
		NotAfter:  time.Now().Add(time.Minute),
	}
}

// SampleCode is the code in every sample.
const SampleCode = "804613"

// SampleSMS is Sample for text messages. Its numbers are valid ones that belong
// to nobody, different ones for n below 2 500.
func SampleSMS(n int) provider.Message {
	areas := [...]int{
		201, 202, 203, 205, 206, 207, 208, 209, 210, 212, 213, 214, 215,
		216, 217, 218, 219, 224, 225, 228, 229, 231, 234, 239, 240,
	}
	m := Sample(n)
	m.Recipient = fmt.Sprintf("+1%d55501%02d", areas[n/100%len(areas)], n%100)
	m.Subject, m.HTML = "", ""
	m.Text += "\n\n@lanternbird.example #" + SampleCode
	return m
}
