package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"
)

// The credentials that are accepted unless Config names others. They are no
// secrets: they open nothing but a sandbox.
const (
	DefaultSendGridKey           = "SG.sandbox"
	DefaultVonageKey             = "abcd1234"
	DefaultVonageSecret          = "sandbox-secret"
	DefaultVonageSignatureSecret = "sandbox-signature-secret"
)

// ReceiptMethod is how a delivery receipt travels (providers.md 4.7).
type ReceiptMethod string

// The three methods that an account of Vonage can choose from.
const (
	ReceiptGet  ReceiptMethod = "get"  // GET with a query
	ReceiptForm ReceiptMethod = "form" // POST with a form
	ReceiptJSON ReceiptMethod = "json" // POST with JSON
)

// ReceiptMethods lists every method.
func ReceiptMethods() []ReceiptMethod { return []ReceiptMethod{ReceiptGet, ReceiptForm, ReceiptJSON} }

// SignatureMethod is how Vonage signs a receipt (providers.md 4.8).
type SignatureMethod string

// The five methods, and none.
const (
	Unsigned   SignatureMethod = "none"
	MD5Hash    SignatureMethod = "md5hash"
	MD5HMAC    SignatureMethod = "md5"
	SHA1HMAC   SignatureMethod = "sha1"
	SHA256HMAC SignatureMethod = "sha256"
	SHA512HMAC SignatureMethod = "sha512"
)

// SignatureMethods lists every method, none first.
func SignatureMethods() []SignatureMethod {
	return []SignatureMethod{Unsigned, MD5Hash, MD5HMAC, SHA1HMAC, SHA256HMAC, SHA512HMAC}
}

// Layout is where the line ends of a batch of events stand. Which of the two
// SendGrid writes is open (providers.md 3.1), so that a receiver must take both.
type Layout string

// The two layouts.
const (
	AfterComma  Layout = "after-comma"  // [{…},\r\n{…}]\r\n
	BeforeComma Layout = "before-comma" // [{…}\r\n,{…}]\r\n
)

// Layouts lists both.
func Layouts() []Layout { return []Layout{AfterComma, BeforeComma} }

// The defaults of the webhooks. SendGrid itself waits 30 seconds, which nobody
// wants to wait for at a desk; the size is its own (providers.md 3.1).
const (
	DefaultBatchInterval = time.Second
	DefaultBatchBytes    = 768_000
)

// defaultBalance is the credit in whole euros, enough for any test.
const defaultBalance = 1_000_000

// Config holds what a sandbox is made of. Its zero value is ready for use.
type Config struct {
	// SendGridKey is the one bearer key that is accepted; DefaultSendGridKey when empty.
	SendGridKey string
	// VonageKey, VonageSecret and VonageSignatureSecret are the one account of
	// the SMS API; the defaults of their names when empty.
	VonageKey, VonageSecret, VonageSignatureSecret string
	// VonageReceiptURL is where receipts go unless a message names a callback;
	// when empty, receipts of such messages are not sent.
	VonageReceiptURL string
	// VonageReceiptMethod is ReceiptJSON when empty.
	VonageReceiptMethod ReceiptMethod
	// VonageSignatureMethod is SHA256HMAC when empty.
	VonageSignatureMethod SignatureMethod
	// VonageBalance is the credit in whole euros, used up by the messages; a
	// million when zero.
	VonageBalance int
	// BatchInterval is how often events are posted; DefaultBatchInterval when zero.
	BatchInterval time.Duration
	// BatchBytes is the size that no batch of several events exceeds;
	// DefaultBatchBytes when zero.
	BatchBytes int
	// BatchLayout is AfterComma when empty.
	BatchLayout Layout
	// WebhookHosts are the hosts without port that webhooks may be posted to
	// besides the loopback addresses.
	WebhookHosts []string
	// Seed makes all ids and keys a function of it and of the order in which
	// they are drawn; when empty they are random.
	Seed string
	// Clock tells the time of arrival and of every event; the system's clock
	// when nil. What is sent later is sent by the system's clock in any case.
	Clock func() time.Time
}

// Validate names the first thing that New would not understand.
func (c Config) Validate() error {
	c = c.withDefaults()
	switch {
	case !slices.Contains(ReceiptMethods(), c.VonageReceiptMethod):
		return fmt.Errorf("sandbox: the receipt method is none of %v", ReceiptMethods())
	case !slices.Contains(SignatureMethods(), c.VonageSignatureMethod):
		return fmt.Errorf("sandbox: the signature method is none of %v", SignatureMethods())
	case !slices.Contains(Layouts(), c.BatchLayout):
		return fmt.Errorf("sandbox: the layout is none of %v", Layouts())
	case c.VonageReceiptURL != "" && !webAddress(c.VonageReceiptURL):
		return errors.New("sandbox: the receipt URL is not one of http or https")
	case len(c.VonageKey) != 8:
		return errors.New("sandbox: the Vonage key does not have 8 characters")
	case len(c.VonageSecret) < 6 || len(c.VonageSecret) > 32:
		return errors.New("sandbox: the Vonage secret does not have 6 to 32 characters")
	case c.BatchInterval < 0 || c.BatchInterval > time.Hour:
		return errors.New("sandbox: the interval of batches is below zero or above an hour")
	case c.BatchBytes < 0 || c.VonageBalance < 0:
		return errors.New("sandbox: a number is below zero")
	}
	return nil
}

// withDefaults fills in what is empty.
func (c Config) withDefaults() Config {
	c.SendGridKey = cmp.Or(c.SendGridKey, DefaultSendGridKey)
	c.VonageKey = cmp.Or(c.VonageKey, DefaultVonageKey)
	c.VonageSecret = cmp.Or(c.VonageSecret, DefaultVonageSecret)
	c.VonageSignatureSecret = cmp.Or(c.VonageSignatureSecret, DefaultVonageSignatureSecret)
	c.VonageReceiptMethod = cmp.Or(c.VonageReceiptMethod, ReceiptJSON)
	c.VonageSignatureMethod = cmp.Or(c.VonageSignatureMethod, SHA256HMAC)
	c.VonageBalance = cmp.Or(c.VonageBalance, defaultBalance)
	c.BatchInterval = cmp.Or(c.BatchInterval, DefaultBatchInterval)
	c.BatchBytes = cmp.Or(c.BatchBytes, DefaultBatchBytes)
	c.BatchLayout = cmp.Or(c.BatchLayout, AfterComma)
	if c.Clock == nil {
		c.Clock = time.Now
	}
	return c
}

// webAddress tells whether s is an absolute address of http or https.
func webAddress(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil
}
