package front

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/frontend"
	"doorcode/pkg/postgres"
	"doorcode/pkg/problem"
	"doorcode/services/auth/internal/decide"
)

// SettingsPath is where the link of a settings session is opened: it stands behind it.
const SettingsPath = "/settings?link="

// How long a link is good until it is opened, and a session from then on.
const (
	linkLife     = 5 * time.Minute
	settingsLife = 30 * time.Minute
)

// SettingsRequest is the body of a settings session: whose page is wanted, by a person whom the front-end has signed in.
type SettingsRequest struct {
	Workspace string `json:"workspace"`
	Login     string `json:"login"`
	// Locale is the language of the page; without one the browser's counts.
	Locale string `json:"locale"`
	// ReturnURL is where the page leads back to; it belongs to a return origin of the front-end.
	ReturnURL string  `json:"return_url"`
	Client    *Client `json:"client"`
}

// SettingsLink is the answer to a settings session: an address that is good once, until it expires.
type SettingsLink struct {
	URL       string    `json:"url"`
	ExpiresAt time.Time `json:"expires_at"`
}

// validate returns a problem that names the field, or nil.
func (r SettingsRequest) validate() error {
	if r.ReturnURL == "" {
		return invalid("return_url", "The value is missing: the page leads back to it.")
	}
	return CreateRequest(r).validate()
}

// StartSettings makes a settings session and returns the link that opens it. Whoever opens it first has the page.
func (f *Front) StartSettings(ctx context.Context, call Call, r SettingsRequest) (SettingsLink, error) {
	fe, err := f.authenticate(ctx, call)
	if err != nil {
		return SettingsLink{}, err
	}
	err = r.validate()
	if err != nil {
		return SettingsLink{}, err
	}
	switch {
	case !fe.May(frontend.Settings, r.Workspace):
		return SettingsLink{}, decide.UnknownWorkspace()
	case !fe.Returns(r.ReturnURL):
		return SettingsLink{}, invalid("return_url", "The value does not belong to an origin that this front-end is registered with.")
	case f.settings.PublicURL == "":
		return SettingsLink{}, problem.New(http.StatusConflict, CodeNoPages, "There are no hosted pages: the operator has set no address for them.")
	}
	s := postgres.SettingsSession{
		ID: rand.Text(), Workspace: r.Workspace, Login: r.Login, FrontEnd: fe.ID, ReturnURL: r.ReturnURL, Locale: r.Locale,
	}
	if r.Client != nil {
		client, err := json.Marshal(r.Client)
		if err != nil {
			return SettingsLink{}, err
		}
		s.Client = string(client)
	}
	secret := rand.Text() // 130 random bits
	s.Secret = settingsHash(s.ID, secret)
	s, err = f.directory.MakeSettings(ctx, s, linkLife)
	if err != nil {
		return SettingsLink{}, f.translate(ctx, err)
	}
	return SettingsLink{URL: f.settings.PublicURL + SettingsPath + s.ID + "." + secret, ExpiresAt: s.ExpiresAt.UTC()}, nil
}

// settingsHash is what is stored of a secret. It has 130 random bits, so it needs no key.
func settingsHash(id, secret string) []byte {
	sum := sha256.Sum256([]byte("doorcode settings secret v1\x00" + id + "\x00" + secret))
	return sum[:]
}

// Session is an open session of the Security settings page, with whom it acts for as they are now.
type Session struct {
	Row       postgres.SettingsSession
	Workspace account.Workspace
	Login     account.Login // with the role that it has in its workspace
	Now       time.Time     // the database clock
}

// Fresh reports whether a code was typed in the session so lately that it approves a change.
func (s Session) Fresh() bool {
	return !s.Row.ApprovedAt.IsZero() && s.Now.Sub(s.Row.ApprovedAt) < approvalFresh
}

// Client is what the front-end said about the browser, or nil.
func (s Session) Client() *Client {
	var c *Client
	if s.Row.Client == "" || json.Unmarshal([]byte(s.Row.Client), &c) != nil {
		return nil
	}
	return c
}

// OpenSettings opens the session of a link, once, and returns what the browser's cookie holds from here on. A link that
// was opened, has expired, or was never made is unknown.
func (f *Front) OpenSettings(ctx context.Context, link string) (cookie string, s Session, err error) {
	id, secret, found := splitSecret(link)
	if !found {
		return "", Session{}, unknownSettings()
	}
	next := rand.Text() // whatever the link was known to (CWE-384)
	_, err = f.directory.OpenSettings(ctx, id, settingsHash(id, secret), settingsHash(id, next), settingsLife)
	if err != nil {
		return "", Session{}, f.settingsError(ctx, err)
	}
	cookie = id + "." + next
	s, err = f.Session(ctx, cookie)
	return cookie, s, err
}

// Session returns the open session of a cookie. It ends by time, by a change of its login, and when the front-end that
// asked for it may no longer open settings or lead back (SEC-39).
func (f *Front) Session(ctx context.Context, cookie string) (Session, error) {
	id, secret, found := splitSecret(cookie)
	if !found {
		return Session{}, unknownSettings()
	}
	session, now, err := f.directory.Settings(ctx, id)
	if err != nil {
		return Session{}, f.settingsError(ctx, err)
	}
	if subtle.ConstantTimeCompare(session.Secret, settingsHash(id, secret)) != 1 {
		return Session{}, unknownSettings()
	}
	fe, err := f.directory.FrontEnd(ctx, session.FrontEnd)
	if err != nil {
		return Session{}, f.settingsError(ctx, err)
	}
	if !fe.May(frontend.Settings, session.Workspace) || !fe.Returns(session.ReturnURL) {
		return Session{}, unknownSettings()
	}
	s := Session{Row: session, Now: now}
	s.Workspace, _, err = f.directory.Workspace(ctx, session.Workspace)
	if err != nil {
		return Session{}, f.settingsError(ctx, err)
	}
	s.Login, _, err = f.directory.Login(ctx, session.Workspace, session.Login)
	if err != nil {
		return Session{}, f.settingsError(ctx, err)
	}
	return s, nil
}

// EndSettings ends a session: the person is done.
func (f *Front) EndSettings(ctx context.Context, s Session) error {
	err := f.directory.EndSettings(ctx, s.Row)
	if err != nil {
		return f.translate(ctx, err)
	}
	return nil
}

// settingsError is translate for a session, of which everything that is not there is unknown in the same way.
func (f *Front) settingsError(ctx context.Context, err error) error {
	for _, gone := range []error{postgres.ErrNoSession, postgres.ErrNoFrontEnd, postgres.ErrNoWorkspace, postgres.ErrNoLogin} {
		if errors.Is(err, gone) {
			return unknownSettings()
		}
	}
	return f.translate(ctx, err)
}

// splitSecret reads what a link or a cookie holds.
func splitSecret(s string) (id, secret string, found bool) {
	id, secret, found = strings.Cut(s, ".")
	size := len(rand.Text())
	return id, secret, found && len(id) == size && len(secret) == size && visible(s)
}
