package process

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/delivery"
	"doorcode/pkg/dispatch/dispatchtest"
	"doorcode/pkg/event"
)

// shown returns the figures of the queue of SMS by name and state.
func shown(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	figures := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "doorcode_delivery_pending" && f.GetName() != "doorcode_delivery_paused" {
			continue
		}
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				switch {
				case l.GetName() == "state":
					name += " " + l.GetValue()
				case l.GetName() != "channel" || l.GetValue() != string(delivery.SMS):
					t.Errorf("%s has the label %s", f.GetName(), l)
				}
			}
			figures[name] = m.GetGauge().GetValue()
		}
	}
	return figures
}

func TestQueue_ShowsWhatWaitsForAChannelThatIsHeldBack(t *testing.T) {
	t.Parallel()
	w := dispatchtest.Start(t)
	cfg := sample(t, w, delivery.SMS)
	reg := cfg.Telemetry.Registry
	p := build(t, cfg)
	if all := shown(t, reg); len(all) != 0 {
		t.Errorf("before the start, %v is known", all)
	}
	err := w.Admin().Pause(t.Context(), event.StreamChallenges, name(delivery.SMS), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := p.Stop(dispatchtest.Context(t))
		if err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	err = p.Start(dispatchtest.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	auth := w.Connect(t, "auth")
	for range 3 {
		w.Issue(t, auth, dispatchtest.Order{Channel: delivery.SMS, Recipient: "+12025550123"})
	}
	w.Issue(t, auth, dispatchtest.Order{Channel: delivery.Email, Recipient: "jo@acme.example"}) // Not of this queue.
	want := map[string]float64{"doorcode_delivery_pending waiting": 3, "doorcode_delivery_pending taken": 0, "doorcode_delivery_paused": 1}
	if all := shown(t, reg); fmt.Sprint(all) != fmt.Sprint(want) {
		t.Errorf("the queue shows %v, want %v", all, want)
	}
	err = w.Admin().Resume(t.Context(), event.StreamChallenges, name(delivery.SMS))
	if err != nil {
		t.Fatal(err)
	}
	bustest.Wait(t, "an empty queue", func() bool {
		all := shown(t, reg)
		for _, n := range all {
			if n != 0 {
				return false
			}
		}
		return len(all) == len(want)
	})
	w.Stop(t)
	if all := shown(t, reg); len(all) != 0 {
		t.Errorf("without a bus, %v is known", all)
	}
}
