package app

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"doorcode/pkg/config"
	"doorcode/pkg/frontend"
	"doorcode/pkg/keyring"
	"doorcode/pkg/postgres"
	auth "doorcode/services/auth/app"
	ctl "doorcode/services/doorcodectl/app"
)

// FrontEndKey is the file of the development API key in the folder.
const FrontEndKey = "front-end.key"

// The files of the console's API keys and of the first operator's secret in the folder.
const (
	ConsoleKey     = "console.key"
	SupportKey     = "support.key"
	OperatorSecret = "operator.secret"
)

// firstOperator is who may sign in to the console of a development installation; the sandbox has their mailbox.
const (
	firstOperator = "operator"
	operatorEmail = "operator@lanternbird.example"
)

// frontEnd is the id of the development front-end.
const frontEnd = "development"

// lock takes the folder for this process. The lock ends with the process,
// however it ends.
func (a *App) lock() error {
	err := os.MkdirAll(a.dir, 0o711) //nolint:gosec // the private Postgres runs as another user and passes through
	if err != nil {
		return fmt.Errorf("make the folder %s: %w", a.dir, err)
	}
	f, err := os.OpenFile(filepath.Join(a.dir, "LOCK"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("lock the folder %s: %w", a.dir, err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errors.Join(fmt.Errorf("another standalone is running on the folder %s; stop it first, or set DOORCODE_STANDALONE_DIR", a.dir), f.Close())
	}
	if err != nil {
		return errors.Join(fmt.Errorf("lock the folder %s: %w", a.dir, err), f.Close())
	}
	a.Push("folder", func(context.Context) error { return f.Close() })
	return nil
}

// passwords makes what is missing of the files that hold one secret each.
func (a *App) passwords(env environment) error {
	dir := filepath.Join(a.dir, "passwords")
	err := os.MkdirAll(dir, 0o700)
	if err != nil {
		return fmt.Errorf("make passwords: %w", err)
	}
	for _, role := range []string{"auth", "verifier", "console"} {
		err = ensureFile(filepath.Join(dir, role), rand.Text())
		if err != nil {
			return err
		}
	}
	// What the sandbox accepts, the dispatchers have.
	for file, accepted := range map[string]string{
		"sendgrid":      env.get("DOORCODE_SANDBOX_SENDGRID_KEY", "SG.sandbox"),
		"vonage-key":    env.get("DOORCODE_SANDBOX_VONAGE_KEY", "abcd1234"),
		"vonage-secret": env.get("DOORCODE_SANDBOX_VONAGE_SECRET", "sandbox-secret"),
		// And what it signs with, receipts has.
		vonageSignature: env.get("DOORCODE_SANDBOX_VONAGE_SIGNATURE_SECRET", "sandbox-signature-secret"),
	} {
		err = os.WriteFile(filepath.Join(dir, file), []byte(accepted), 0o600)
		if err != nil {
			return fmt.Errorf("make passwords: %w", err)
		}
	}
	return nil
}

// ensureFile writes a secret file unless it is there.
func ensureFile(path, content string) error {
	_, err := os.Stat(path)
	if err == nil {
		return nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("look for a password file: %w", err)
	}
	return os.WriteFile(path, []byte(content), 0o600)
}

// operate runs a command of doorcodectl on this installation.
func (a *App) operate(ctx context.Context, env environment, out io.Writer, args ...string) error {
	var complaint bytes.Buffer
	code := ctl.Run(ctx, args, env.list(), out, &complaint)
	if code != 0 {
		return fmt.Errorf("%s: %s", strings.Join(args, " "), strings.TrimSpace(complaint.String()))
	}
	return nil
}

// developmentKey writes an API key with all scopes, unless the folder has one
// that the database knows: folder and database may each be younger than the other.
func (a *App) developmentKey(ctx context.Context, env environment) error {
	path := filepath.Join(a.dir, FrontEndKey)
	good, err := goodKey(ctx, env, path)
	if err != nil || good {
		return err
	}
	// A key that is good and lacks a way back from the hosted pages, or a scope, stays and gets it.
	return a.operate(ctx, env, io.Discard, "api-key", "create", frontEnd, "-name", "Development", "-scopes", "challenges,directory,settings",
		"-return-origin", "http://127.0.0.1", "-return-origin", "http://localhost", "-out", path)
}

// console makes the console's API keys and a first operator, unless the folder has those that the database knows.
func (a *App) console(ctx context.Context, env environment) error {
	err := a.operate(ctx, env, io.Discard, "api-key", "create", "console", "-name", "Console", "-scopes", "challenges", "-workspaces", frontend.Operators,
		"-out", filepath.Join(a.dir, ConsoleKey))
	if err != nil {
		return err
	}
	err = a.operate(ctx, env, io.Discard, "api-key", "create", "console-support", "-name", "Console, for support", "-scopes", "support",
		"-out", filepath.Join(a.dir, SupportKey))
	if err != nil {
		return err
	}
	return a.operate(ctx, env, io.Discard, "operator", "add", firstOperator, "-email", operatorEmail, "-role", "operator",
		"-out", filepath.Join(a.dir, OperatorSecret))
}

// goodKey reports whether a file holds a key that auth, with its settings, takes
// for the development front-end's, with a way back from the hosted pages
// and the right to open settings.
func goodKey(ctx context.Context, env environment, path string) (bool, error) {
	text, err := os.ReadFile(path) //nolint:gosec // a file of our own folder
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the development key: %w", err)
	}
	key, ok := frontend.ParseAuthorization("Bearer " + string(text))
	if !ok {
		return false, nil
	}
	cfg, err := config.Load[auth.Config]("DOORCODE_AUTH_", env.list())
	if err != nil {
		return false, err
	}
	f, err := storedFrontEnd(ctx, cfg)
	if errors.Is(err, postgres.ErrNoFrontEnd) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for the development key: %w", err)
	}
	ring, err := keyring.Read(cfg.APIKeyKeyFile)
	if err != nil {
		return false, err
	}
	return f.Holds(ring, key) && len(f.ReturnOrigins) > 0 && f.Has(frontend.Settings), nil
}

// storedFrontEnd reads the development front-end as auth does.
func storedFrontEnd(ctx context.Context, cfg auth.Config) (frontend.FrontEnd, error) {
	rows, err := keyring.Read(cfg.RowKeyFile)
	if err != nil {
		return frontend.FrontEnd{}, err
	}
	db, err := postgres.Open(ctx, postgres.Config{
		URL: cfg.DatabaseURL, User: cfg.DatabaseUser, Password: cfg.DatabasePassword, Application: "doorcode standalone", MaxConns: 1,
	})
	if err != nil {
		return frontend.FrontEnd{}, err
	}
	defer db.Close()
	return postgres.NewDirectory(db, rows).FrontEnd(ctx, frontEnd)
}
