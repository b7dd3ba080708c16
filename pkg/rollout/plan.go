package rollout

import (
	"errors"
	"fmt"
	"time"
)

// Plan says which workspaces come to codes when. A plan without waves leaves every workspace where it stands.
type Plan struct {
	waves []PlannedWave
	named map[string]int // workspaces by the wave that names them
}

// PlannedWave is a wave and whom it takes.
type PlannedWave struct {
	Wave Wave
	// Workspaces are those that the wave names.
	Workspaces []string
	// Percent is used when none is named: of the workspaces in no former wave those of InPercent.
	Percent float64
}

// ErrPlan says that a plan names a wave or a workspace twice, or a wave without saying whom it takes.
var ErrPlan = errors.New("a plan has each wave and each workspace once, and a wave takes either the workspaces that it names or a percentage")

// NewPlan returns a plan of waves, in the order in which they are filled. A workspace that a wave names is in that one,
// also when the percentage of a former one would hold it. It fails with ErrWave, ErrPercent or ErrPlan.
func NewPlan(waves []PlannedWave) (Plan, error) {
	p := Plan{waves: waves, named: map[string]int{}}
	ids := map[string]bool{}
	for i, w := range waves {
		err := w.validate()
		if err == nil && ids[w.Wave.ID] {
			err = ErrPlan
		}
		for _, id := range w.Workspaces {
			_, twice := p.named[id]
			if twice {
				err = fmt.Errorf("%s: %w", id, ErrPlan)
			}
			p.named[id] = i
		}
		if err != nil {
			return Plan{}, fmt.Errorf("wave %s: %w", w.Wave.ID, err)
		}
		ids[w.Wave.ID] = true
	}
	return p, nil
}

// validate returns ErrWave, ErrPercent, ErrPlan or nil.
func (w PlannedWave) validate() error {
	err := w.Wave.Validate()
	switch {
	case err != nil:
		return err
	case len(w.Workspaces) == 0:
		return ValidatePercent(w.Percent)
	case w.Percent != 0:
		return ErrPlan
	}
	return nil
}

// Waves returns those of the plan.
func (p Plan) Waves() []PlannedWave { return p.waves }

// Place returns where a workspace would belong, which joined at that moment. Its exemption, if it has one, stays.
func (p Plan) Place(workspace string, joined time.Time, e *Exemption) Place {
	at := Place{JoinedAt: joined, Exemption: e}
	n, found := p.named[workspace]
	if found {
		at.Wave = &p.waves[n].Wave
		return at
	}
	share := Share(workspace)
	for i, w := range p.waves {
		if len(w.Workspaces) == 0 && share < w.Percent/100 {
			at.Wave = &p.waves[i].Wave
			return at
		}
	}
	return at
}
