package app

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	"doorcode/pkg/config"
	"doorcode/pkg/lifecycle"
	receipts "doorcode/services/receipts/app"
	sandbox "doorcode/services/sandbox/app"
)

// Files of the folder's passwords that receipts verifies webhooks with.
const (
	sendGridVerification = "sendgrid-verification"
	vonageSignature      = "vonage-signature"
)

// receiptsListen is the address of the webhooks unless the user set one.
const receiptsListen = "127.0.0.1:8081"

// webhook is the address of a provider's webhook. It is known before receipts
// listens, because the sandbox that calls it starts first; port 0 is of no use.
func (e environment) webhook(provider string) string {
	host, port, err := net.SplitHostPort(e.get("DOORCODE_RECEIPTS_LISTEN", receiptsListen))
	if err != nil {
		host, port, _ = net.SplitHostPort(receiptsListen) // receipts itself will say what is wrong.
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port) + "/webhooks/" + provider
}

// useWebhooks makes the sandbox send its delivery receipts to this
// installation and makes receipts verify them as the sandbox signs.
func (e environment) useWebhooks(passwords string) {
	e.keep("DOORCODE_SANDBOX_VONAGE_RECEIPT_URL", e.webhook("vonage"))
	e.keep("DOORCODE_RECEIPTS_VONAGE_SIGNATURE_SECRETS_FILE", filepath.Join(passwords, vonageSignature))
	e.keep("DOORCODE_RECEIPTS_VONAGE_API_KEY", e.get("DOORCODE_SANDBOX_VONAGE_KEY", "abcd1234"))
	if method, set := e["DOORCODE_SANDBOX_VONAGE_SIGNATURE_METHOD"]; set {
		e.keep("DOORCODE_RECEIPTS_VONAGE_SIGNATURE_METHOD", method)
	}
}

// buildReceipts makes the receipts process. Its verification key is the
// sandbox's, which draws one for the webhook at every start, unless the user
// named a file of real ones.
func (a *App) buildReceipts(env environment) (lifecycle.App, error) {
	const setting = "DOORCODE_RECEIPTS_SENDGRID_PUBLIC_KEYS_FILE"
	if _, set := env[setting]; !set {
		path := filepath.Join(a.dir, "passwords", sendGridVerification)
		err := a.registerWebhook(env.webhook("sendgrid"), path)
		if err != nil {
			return nil, err
		}
		env[setting] = path
	}
	return build(a.tel.For("receipts"), "RECEIPTS", receipts.New)(env)
}

// buildSandbox makes the sandbox and remembers it for registerWebhook.
func (a *App) buildSandbox(env environment) (lifecycle.App, error) {
	cfg, err := config.Load[sandbox.Config]("DOORCODE_SANDBOX_", env.list())
	if err != nil {
		return nil, err
	}
	a.sandbox, err = sandbox.New(cfg, a.tel.For("sandbox"))
	return a.sandbox, err
}

// registerWebhook makes an event webhook in the running sandbox, as an operator
// does at SendGrid, and keeps the public key of its signatures.
func (a *App) registerWebhook(address, keyFile string) error {
	_, key, err := a.sandbox.Sandbox().EventWebhook(address)
	if err != nil {
		return fmt.Errorf("register the event webhook: %w", err)
	}
	err = os.WriteFile(keyFile, []byte(key+"\n"), 0o600)
	if err != nil {
		return fmt.Errorf("keep the verification key: %w", err)
	}
	return nil
}
