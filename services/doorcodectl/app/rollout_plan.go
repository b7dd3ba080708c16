package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/postgres"
	"doorcode/pkg/rollout"
)

// maxPlan bounds a plan file, in bytes: room for a quarter of a million workspaces by name.
const maxPlan = 16 << 20

// planFile is a roll-out plan as an operator writes it.
type planFile struct {
	Waves []waveOfPlan `json:"waves"`
}

// waveOfPlan is a wave of it: the dates of rollout wave, and whom it takes, as rollout join has it.
type waveOfPlan struct {
	ID         string    `json:"id"`
	AnnounceAt time.Time `json:"announce_at"`
	GraceAt    time.Time `json:"grace_at"`
	EnforceAt  time.Time `json:"enforce_at"`
	Skips      *int      `json:"skips"` // absent: skipsOfWave
	Percent    float64   `json:"percent"`
	Workspaces []string  `json:"workspaces"`
}

// readPlan reads a plan from a file, or from the standard input. What it does not know it refuses.
func (c command) readPlan(file string) (rollout.Plan, error) {
	from := c.in
	if file != standardInput {
		f, err := os.Open(file) //nolint:gosec // the operator names the file
		if err != nil {
			return rollout.Plan{}, fmt.Errorf("read the plan: %w", err)
		}
		defer func() { _ = f.Close() }()
		from = f
	}
	p, err := decodePlan(from)
	if err != nil {
		return p, fmt.Errorf("read the plan: %w", err)
	}
	return p, nil
}

// decodePlan reads one JSON object and nothing behind it.
func decodePlan(from io.Reader) (rollout.Plan, error) {
	limited := &io.LimitedReader{R: from, N: maxPlan + 1}
	decoder := json.NewDecoder(limited)
	decoder.DisallowUnknownFields()
	var file planFile
	err := decoder.Decode(&file)
	if limited.N <= 0 {
		return rollout.Plan{}, fmt.Errorf("it is larger than %d MiB", maxPlan>>20)
	}
	if err != nil {
		return rollout.Plan{}, err
	}
	_, err = decoder.Token()
	if !errors.Is(err, io.EOF) {
		return rollout.Plan{}, errors.New("something follows the plan")
	}
	if len(file.Waves) == 0 {
		return rollout.Plan{}, errors.New("it has no wave")
	}
	waves := make([]rollout.PlannedWave, len(file.Waves))
	for i, w := range file.Waves {
		waves[i], err = w.planned()
		if err != nil {
			return rollout.Plan{}, err
		}
	}
	return rollout.NewPlan(waves)
}

// planned returns the wave as a plan has it.
func (w waveOfPlan) planned() (rollout.PlannedWave, error) {
	for _, id := range append([]string{w.ID}, w.Workspaces...) {
		err := account.ValidateID(id)
		if err != nil {
			return rollout.PlannedWave{}, fmt.Errorf("%w: %.64q", err, id)
		}
	}
	skips := skipsOfWave
	if w.Skips != nil {
		skips = *w.Skips
	}
	return rollout.PlannedWave{
		Wave:       rollout.Wave{ID: w.ID, AnnounceAt: w.AnnounceAt, GraceAt: w.GraceAt, EnforceAt: w.EnforceAt, Skips: skips},
		Workspaces: w.Workspaces, Percent: w.Percent,
	}, nil
}

// sharesOf is the plan that takes of other workspaces the shares that the waves of the database have of theirs.
func sharesOf(r postgres.Rollout) (rollout.Plan, error) {
	var waves []rollout.PlannedWave
	in := 0
	for _, w := range r.Waves {
		if w.Workspaces == 0 || w.Broken {
			continue
		}
		in += w.Workspaces // A greater share holds the smaller ones, which former waves took.
		waves = append(waves, rollout.PlannedWave{Wave: w.Wave, Percent: 100 * float64(in) / float64(r.Workspaces)})
	}
	if len(waves) == 0 {
		return rollout.Plan{}, errors.New("no workspace is in a wave, so there is nothing to play: give -plan")
	}
	return rollout.NewPlan(waves)
}
