package board

import (
	"context"
	"fmt"
	"strings"
	"time"

	"doorcode/pkg/health"
	"doorcode/pkg/postgres"
	"doorcode/pkg/rollout"
	"doorcode/services/console/internal/chart"
)

// soon is how early an exemption's end is shown.
const soon = 14 * day

// rolloutPage is what the page of the roll-out shows.
type rolloutPage struct {
	At          time.Time
	Stages      []stage
	Workspaces  int
	Gates       []gate
	GatesAt     time.Time
	Waves       []wave
	Ending      []postgres.SeenExemption
	Definitions []health.Definition
	Picture     *picture
}

// stage is a part of all workspaces.
type stage struct {
	Name  rollout.Stage
	Count int
	Share string
}

// gate is what a gate shows, in words.
type gate struct {
	Name, Light string
	State       health.State // that looks like the light
	Sentence    string
}

// wave is a row of the table.
type wave struct {
	postgres.SeenWave
	Stage rollout.Stage
}

// readRollout reads how far the roll-out is.
func (b *Board) readRollout(ctx context.Context) (rolloutPage, error) {
	seen, err := b.cfg.Store.SeeRollout(ctx, soon)
	if err != nil {
		return rolloutPage{}, err
	}
	p := rolloutPage{At: seen.At, Workspaces: seen.Workspaces, Ending: seen.Ending, Definitions: rolloutDefinitions()}
	var parts []chart.Part
	for _, s := range rollout.Stages() {
		n := seen.Stages[s]
		share := "none"
		if seen.Workspaces > 0 {
			share = fmt.Sprintf("%d %%", health.Share{Part: n, Of: seen.Workspaces}.Percent())
		}
		p.Stages = append(p.Stages, stage{Name: s, Count: n, Share: share})
		parts = append(parts, chart.Part{Name: string(s), Count: n})
	}
	p.GatesAt = seen.GatesAt
	for _, v := range seen.Gates {
		p.Gates = append(p.Gates, gate{Name: spaced(string(v.Gate)), Light: spaced(string(v.Light)), State: light(v.Light), Sentence: v.Sentence})
	}
	for _, w := range seen.Waves {
		p.Waves = append(p.Waves, wave{SeenWave: w, Stage: w.Wave.StageAt(seen.At)})
	}
	p.Picture, err = drawn(func(t chart.Theme) ([]byte, error) { return chart.Stack(t, parts) })
	return p, err
}

// spaced writes a closed word as people read it.
func spaced(word string) string { return strings.ReplaceAll(word, "_", " ") }

// light is the state that looks like a light of a gate.
func light(l rollout.Light) health.State {
	switch l {
	case rollout.Open:
		return health.Fine
	case rollout.Failed:
		return health.Bad
	case rollout.TooFew:
		return health.Quiet
	}
	return health.Bad
}

// rolloutDefinitions say what the figures of the page are.
func rolloutDefinitions() []health.Definition {
	return []health.Definition{
		{Figure: "stages", Meaning: "every workspace is in exactly one, so they add up to all workspaces. A workspace in no wave is enforced"},
		{Figure: "exempt", Meaning: "the whole workspace goes without codes for a stated time, by two people's word"},
		{Figure: "paused, held", Meaning: "the workspaces of the wave stay in the stage in which they were then: by an operator's word, or because a gate failed. Nothing goes on by itself"},
		{Figure: "gates", Meaning: "what has to be well before a further wave comes nearer to codes, over 24 hours, with the bounds in their sentences"},
		{Figure: "verified", Meaning: "of the sign-ins of the wave's workspaces that needed a code and ended within 24 hours: those that ended with the right one. Below 20 of them counts are shown"},
		{Figure: "unchecked", Meaning: "the page shows what the rows say and has no key to check them; doorcodectl rollout show checks each, and a workspace of whose rows one is not as it was written is enforced"},
	}
}
