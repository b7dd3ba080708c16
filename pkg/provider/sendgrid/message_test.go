package sendgrid_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/config"
	"doorcode/pkg/delivery"
	"doorcode/pkg/provider/providertest"
	"doorcode/pkg/provider/sendgrid"
)

var update = flag.Bool("update", false, "write the golden files anew")

// unix writes a time as the vendor's headers do.
func unix(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }

// golden compares a body, indented, with a file under testdata.
func golden(t *testing.T, name string, body []byte) {
	t.Helper()
	var indented bytes.Buffer
	err := json.Indent(&indented, body, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	indented.WriteByte('\n')
	path := filepath.Join("testdata", name)
	if *update {
		err = os.WriteFile(path, indented.Bytes(), 0o600)
		if err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(indented.Bytes(), want) {
		t.Errorf("the body is not %s:\n%s", path, indented.String())
	}
}

// It shows SEC-35 of deploy/SECURITY.md.
func TestClient_WritesTheBodyThatACodeNeeds(t *testing.T) {
	t.Parallel()
	s, c := newPair(t)
	full, plain := providertest.Sample(1), providertest.Sample(2)
	plain.HTML = ""
	for _, m := range []struct{ name string }{{"full.json"}, {"plain.json"}} {
		message := full
		if m.name == "plain.json" {
			message = plain
		}
		_, err := c.Send(t.Context(), message)
		if err != nil {
			t.Fatal(err)
		}
		requests := s.Requests()
		golden(t, m.name, requests[len(requests)-1].Body)
	}
}

// product.md edge case 12, as far as doorcode goes: a message asks a group's mailbox for no out-of-office and no automatic
// reply, in the words of RFC 3834 and in those of Exchange, and for its bounces as ever. Mail that comes back all the same goes
// to the sender's address, which is not doorcode's to read.
func TestEdge12_AMessageAsksForNoAutomaticReply(t *testing.T) {
	t.Parallel()
	s, c := newPair(t)
	_, err := c.Send(t.Context(), providertest.Sample(1))
	if err != nil {
		t.Fatal(err)
	}
	var body struct {
		Headers map[string]string `json:"headers"`
	}
	err = json.Unmarshal(s.Requests()[0].Body, &body)
	if err != nil {
		t.Fatal(err)
	}
	suppressed := strings.Split(body.Headers["X-Auto-Response-Suppress"], ", ")
	slices.Sort(suppressed)
	if body.Headers["Auto-Submitted"] != "auto-generated" || !slices.Equal(suppressed, []string{"AutoReply", "OOF"}) {
		t.Errorf("the headers are %v", body.Headers)
	}
}

func TestClient_PassesOnOnlyAnIDThatLooksLikeOne(t *testing.T) {
	t.Parallel()
	s, c := newPair(t)
	for id, want := range map[string]string{
		"Xet6bZ7WRTG2fYDa-p7arw":   "Xet6bZ7WRTG2fYDa-p7arw",
		"14c5d75ce93.dfd.64b469":   "14c5d75ce93.dfd.64b469",
		"":                         "",
		"ada@example.net":          "",
		"two words":                "",
		strings.Repeat("a", 101):   "",
		`"><script>alert</script>`: "",
	} {
		s.Use(providertest.Answer(providertest.Reply{Status: 202, Header: map[string]string{"X-Message-Id": id}}))
		accepted, err := c.Send(t.Context(), providertest.Sample(1))
		if err != nil || accepted.ProviderID != want {
			t.Errorf("%q became %q, %v", id, accepted.ProviderID, err)
		}
	}
}

func TestClient_RefusesWhatIsNotOneAddressWithoutACall(t *testing.T) {
	t.Parallel()
	s, c := newPair(t)
	for _, recipient := range []string{
		"ada", "@example.net", "ada@", "ada@example.net, eve@example.net", "ada@example.net;eve@example.net",
		"Ada <ada@example.net>", "<ada@example.net>", " ada@example.net", "ada@example.net ", "ada@@example.net",
		"ada@example.net\n", "ada\x00@example.net", "ada\u2028@example.net", strings.Repeat("a", 250) + "@b.cd",
	} {
		m := providertest.Sample(1)
		m.Recipient = recipient
		_, err := c.Send(t.Context(), m)
		f := providertest.MustFail(t, err, delivery.Permanent, delivery.ReasonInvalidRecipient)
		if strings.Contains(f.Error(), "ada") {
			t.Errorf("%q shows in %q", recipient, f.Error())
		}
	}
	m := providertest.Sample(1)
	m.Subject = ""
	_, err := c.Send(t.Context(), m)
	providertest.MustFail(t, err, delivery.Permanent, delivery.ReasonRejected)
	if len(s.Requests()) != 0 {
		t.Errorf("%d calls", len(s.Requests()))
	}
	for _, recipient := range []string{"ada+otp@example.net", "o'hara@example.net", "käthe@example.net", "a@b"} {
		m := providertest.Sample(1)
		m.Recipient = recipient
		_, err := c.Send(t.Context(), m)
		if err != nil {
			t.Errorf("%q: %v", recipient, err)
		}
	}
}

func TestClient_PrintsItsAddressAlone(t *testing.T) {
	t.Parallel()
	cfg := configFor("http://127.0.0.1:1")
	c := newClient(t, cfg)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		for _, value := range []any{c, *c, cfg, &cfg, []any{c, cfg}} {
			shown := fmt.Sprintf(verb, value)
			if strings.Contains(shown, key) || strings.Contains(shown, key[:12]) {
				t.Errorf("%s of %T shows the key", verb, value)
			}
		}
	}
}

func TestNew_RefusesWhatCouldNotSend(t *testing.T) {
	t.Parallel()
	for want, spoil := range map[string]func(*sendgrid.Config){
		"not set live":           func(c *sendgrid.Config) { c.BaseURL = "https://api.sendgrid.com" },
		"https only":             func(c *sendgrid.Config) { c.Live = true },
		"must begin":             func(c *sendgrid.Config) { c.BaseURL = "" },
		"key is empty":           func(c *sendgrid.Config) { c.Key = config.Secret{} },
		"key holds spaces":       func(c *sendgrid.Config) { c.Key = config.NewSecret(key + "\n") },
		"sender must be":         func(c *sendgrid.Config) { c.From = "" },
		"one bare ASCII":         func(c *sendgrid.Config) { c.From = "käthe@example.net" },
		"sender's name":          func(c *sendgrid.Config) { c.FromName = "Käthe" },
		"name must be printable": func(c *sendgrid.Config) { c.FromName = "a\nb" },
		"connections must be":    func(c *sendgrid.Config) { c.MaxConns = -1 },
		"clock is missing":       func(c *sendgrid.Config) { c.Clock = nil },
		"proxy must be":          func(c *sendgrid.Config) { c.Proxy = "socks5://127.0.0.1" },
		"without a password":     func(c *sendgrid.Config) { c.Proxy = "http://ada:secretword@127.0.0.1" },
	} {
		cfg := configFor("http://127.0.0.1:1")
		spoil(&cfg)
		_, err := sendgrid.New(cfg)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
			continue
		}
		if strings.Contains(err.Error(), key[:12]) || strings.Contains(err.Error(), "secretword") {
			t.Errorf("a secret shows in %v", err)
		}
	}
}

func TestNew_TakesTheRealHostsWhenLive(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"https://api.sendgrid.com", "https://api.eu.sendgrid.com/"} {
		cfg := configFor(url)
		cfg.Live = true
		cfg.Proxy = "http://proxy.internal:3128"
		_, err := sendgrid.New(cfg)
		if err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}
