package sendgrid

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sendgrid/rest"

	"doorcode/pkg/config"
	"doorcode/pkg/delivery"
	"doorcode/pkg/provider"
	"doorcode/pkg/provider/providertest"
)

// FuzzAnswer holds that no answer breaks the adapter, that only 202 is an acceptance, and that neither of the two tells
// the key, the code or the recipient.
func FuzzAnswer(f *testing.F) {
	m := providertest.Sample(1)
	for _, body := range []string{
		``, `{}`, `null`, `{"errors": [{"message": "The to email does not contain a valid address.", "field": "personalizations.0.to"}]}`, `{"errors": [{"message": "SG.secretword ` + m.Recipient + ` ` + providertest.SampleCode + `", "field": null}]}`,
		`{"errors": [{"message": "Maximum credits exceeded", "field": "from"}]}`, `<html>502</html>`, `{"errors": {}}`, `{"errors": [null]}`, "\xff",
	} {
		for _, status := range []int{200, 202, 302, 400, 401, 413, 429, 500, 503} {
			f.Add(status, "id", "1", body)
		}
	}
	f.Add(202, providertest.SampleCode, "", "")
	f.Add(202, m.Recipient, "-1", "")
	c, err := New(Config{BaseURL: "http://sandbox", Key: config.NewSecret("SG.secretword"), From: "a@example.net", Clock: time.Now})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, status int, id, retry, body string) {
		accepted, err := c.judge(&rest.Response{StatusCode: status, Body: body, Headers: map[string][]string{"X-Message-Id": {id}, "Retry-After": {retry}}}, m)
		if (err == nil) != (status == http.StatusAccepted) {
			t.Fatalf("%d is %v", status, err)
		}
		shown := accepted.ProviderID
		var failure *provider.Failure
		if errors.As(err, &failure) {
			shown = failure.Error() + failure.Detail
			if failure.Result == delivery.Accepted || failure.RetryAfter < 0 || failure.RetryAfter > provider.MaxRetryAfter || len([]rune(failure.Detail)) > 200 {
				t.Errorf("%d %q is %+v", status, body, failure)
			}
		} else if err != nil {
			t.Errorf("%d is an error of another kind: %v", status, err)
		}
		local, _, _ := strings.Cut(m.Recipient, "@")
		for _, secret := range []string{"SG.secretword", m.Recipient, providertest.SampleCode} {
			if strings.Contains(shown, secret) {
				t.Errorf("%q is told: %q", secret, shown)
			}
		}
		if accepted.ProviderID == local {
			t.Errorf("the recipient is the id")
		}
	})
}
