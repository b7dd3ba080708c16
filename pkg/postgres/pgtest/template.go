package pgtest

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/config"
	"doorcode/pkg/postgres"
	"doorcode/schemas"
)

// templateLock is the advisory lock under which one process makes the template.
const templateLock = 7_305_514_302

// address is the parsed address of a cluster's superuser.
type address struct {
	url url.URL
}

// parseAddress reads the value of PGTEST_URL; its error quotes nothing of it.
func parseAddress(value string) (address, error) {
	u, err := url.Parse(value)
	if err != nil || u.Host == "" {
		return address{}, errors.New(Variable + " is not an address of the form postgres://user:password@host:port/database")
	}
	return address{url: *u}, nil
}

// database returns the superuser's address of another database.
func (a address) database(name string) string {
	u := a.url
	u.Path = "/" + name
	return u.String()
}

// without returns the address of a database without user and password.
func (a address) without(name string) string {
	u := a.url
	u.User, u.Path = nil, "/"+name
	return u.String()
}

// password returns a role's password. It follows from the superuser's, so that
// every process of a run knows it.
func (a address) password(role postgres.Role) string {
	secret, _ := a.url.User.Password()
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(role))
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// templateName names the template after the migrations in it, so that a cluster
// that lives longer than the schema never serves an old one.
func templateName() (string, error) {
	h := sha256.New()
	err := fs.WalkDir(schemas.SQL, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(schemas.SQL, path)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(h, "%s %d\n%s", path, len(data), data)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read migrations: %w", err)
	}
	return "doorcode_template_" + hex.EncodeToString(h.Sum(nil)[:6]), nil
}

// prepare makes the template in a cluster unless it is there. Several processes
// may call it at once.
func prepare(ctx context.Context, clusterURL string) error {
	a, err := parseAddress(clusterURL)
	if err != nil {
		return err
	}
	name, err := templateName()
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, a.database("postgres"))
	if err != nil {
		return fmt.Errorf("connect to the cluster of %s: %w", Variable, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = conn.Exec(ctx, `SELECT pg_advisory_lock($1)`, templateLock)
	if err != nil {
		return fmt.Errorf("wait for another making of the template: %w", err)
	}
	var ready bool
	err = conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1 AND datistemplate)`, name).Scan(&ready)
	if err != nil {
		return fmt.Errorf("look for the template: %w", err)
	}
	if ready {
		return nil
	}
	return makeTemplate(ctx, conn, a, name)
}

// makeTemplate makes, migrates and closes the template. It becomes a template by
// its last statement: one that is cut short is made anew by the next process.
func makeTemplate(ctx context.Context, conn *pgx.Conn, a address, name string) error {
	quoted := pgx.Identifier{name}.Sanitize()
	for _, statement := range []string{"DROP DATABASE IF EXISTS " + quoted + " WITH (FORCE)", "CREATE DATABASE " + quoted} {
		_, err := conn.Exec(ctx, statement)
		if err != nil {
			return fmt.Errorf("make the template: %w", err)
		}
	}
	passwords := map[postgres.Role]config.Secret{}
	for _, role := range postgres.Roles() {
		passwords[role] = config.NewSecret(a.password(role))
	}
	_, err := postgres.Migrate(ctx, a.database(name), passwords)
	if err != nil {
		return fmt.Errorf("migrate the template: %w", err)
	}
	_, err = conn.Exec(ctx, "ALTER DATABASE "+quoted+" WITH IS_TEMPLATE true ALLOW_CONNECTIONS false")
	if err != nil {
		return fmt.Errorf("close the template: %w", err)
	}
	return nil
}
