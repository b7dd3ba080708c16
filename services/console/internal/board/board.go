// Package board is the console's pages of figures: how messages arrive, and how far the roll-out is. They read and change
// nothing. Each page reloads itself once a minute, works without JavaScript, and has as a table whatever it draws; what it
// shows is read once a minute, however many look.
//
// A page is a title and a body: who may see it, and what surrounds it, is for the console to say.
package board

import (
	"bytes"
	"context"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"time"

	"doorcode/pkg/postgres"
	"doorcode/services/console/internal/chart"
)

// Keep is how long what was read is shown, and Reload after how many seconds a page asks for the next.
const (
	Keep   = time.Minute
	Reload = 60
)

// store is what the pages read.
type store interface {
	HealthAt(ctx context.Context) (time.Time, error)
	HealthOver(ctx context.Context, spans ...postgres.Span) ([]postgres.WayCounts, error)
	HealthSteps(ctx context.Context, s postgres.Span, step time.Duration) ([]postgres.HealthStep, error)
	Queues(ctx context.Context) ([]postgres.Queue, error)
	SeeRollout(ctx context.Context, soon time.Duration) (postgres.SeenRollout, error)
}

// Config is what a Board works with. Everything is required.
type Config struct {
	Store store
	Clock func() time.Time
	// CallingCode gives that of a country, such as +34; empty for what is none.
	CallingCode func(region string) string
}

// Board is the pages. It is safe for concurrent use.
type Board struct {
	cfg     Config
	texts   *template.Template
	health  *kept[healthPage]
	rollout *kept[rolloutPage]
}

// Page is what is shown within the console's frame.
type Page struct {
	Title  string
	Reload int // after how many seconds the browser asks for it again
	Body   template.HTML
}

//go:embed templates
var files embed.FS

// New returns the pages.
func New(cfg Config) (*Board, error) {
	if cfg.Store == nil || cfg.Clock == nil || cfg.CallingCode == nil {
		return nil, errors.New("board: a part of the configuration is missing")
	}
	texts, err := template.New("").Funcs(template.FuncMap{
		"utc":   func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") },
		"clock": func(t time.Time) string { return t.UTC().Format("15:04") },
		"iso":   func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	}).ParseFS(files, "templates/*.html")
	if err != nil {
		return nil, fmt.Errorf("board: %w", err)
	}
	return &Board{cfg: cfg, texts: texts, health: newKept[healthPage](), rollout: newKept[rolloutPage]()}, nil
}

// Health returns the page of channel health.
func (b *Board) Health(ctx context.Context) (Page, error) {
	p, err := b.health.get(ctx, b.cfg.Clock(), b.readHealth)
	if err != nil {
		return Page{}, err
	}
	return b.page("Channel health", "health.html", p)
}

// Rollout returns the page of the roll-out.
func (b *Board) Rollout(ctx context.Context) (Page, error) {
	p, err := b.rollout.get(ctx, b.cfg.Clock(), b.readRollout)
	if err != nil {
		return Page{}, err
	}
	return b.page("Roll-out", "rollout.html", p)
}

// page fills a template in.
func (b *Board) page(title, name string, data any) (Page, error) {
	var body bytes.Buffer
	err := b.texts.ExecuteTemplate(&body, name, data)
	if err != nil {
		return Page{}, fmt.Errorf("board: %w", err)
	}
	return Page{Title: title, Reload: Reload, Body: template.HTML(body.String())}, nil //nolint:gosec // html/template wrote it
}

// picture is one picture in each theme, as addresses that hold it whole: the pages load nothing.
type picture struct {
	Light template.URL
	Dark  template.Srcset
}

// drawn draws a picture in each theme.
func drawn(draw func(chart.Theme) ([]byte, error)) (*picture, error) {
	light, err := draw(chart.Light)
	if err != nil {
		return nil, err
	}
	dark, err := draw(chart.Dark)
	if err != nil {
		return nil, err
	}
	const form = "data:image/svg+xml;base64,"
	return &picture{
		Light: template.URL(form + base64.StdEncoding.EncodeToString(light)),   //nolint:gosec // the library drew it
		Dark:  template.Srcset(form + base64.StdEncoding.EncodeToString(dark)), //nolint:gosec // the same
	}, nil
}
