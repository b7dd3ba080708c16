package app_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/postgres/pgtest"
)

// change edits a running stream behind doorcodectl's back, through the same
// credential.
func change(t *testing.T, b *bustest.Bus, stream, field string, value any) {
	t.Helper()
	config := settings(t, b, stream)
	config[field] = value
	request, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	ask(t, b, "STREAM.UPDATE."+stream, request)
}

// settings returns the settings of a running stream.
func settings(t *testing.T, b *bustest.Bus, stream string) map[string]any {
	t.Helper()
	return ask(t, b, "STREAM.INFO."+stream, nil)
}

// ask asks JetStream's API and returns the settings in its answer.
func ask(t *testing.T, b *bustest.Bus, call string, request []byte) map[string]any {
	t.Helper()
	data, err := b.Admin().Request(t.Context(), "doorcode.jetstream."+call, request)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Config map[string]any `json:"config"`
		Error  any            `json:"error"`
	}
	err = json.Unmarshal(data, &answer)
	if err != nil || answer.Error != nil || answer.Config == nil {
		t.Fatalf("%s: %v %v", call, answer.Error, err)
	}
	return answer.Config
}

// atBus returns an operator with a bus without streams and a database.
func atBus(t *testing.T) (*operator, *bustest.Bus, *pgtest.Database) {
	t.Helper()
	o, b, db := newOperator(t), bustest.StartEmpty(t), pgtest.Open(t)
	o.useBus(t, b)
	o.useDatabase(t, db.OwnerURL())
	return o, b, db
}

func TestStreams_ShowsTheDifferenceThenChangesIt(t *testing.T) {
	t.Parallel()
	o, b, db := atBus(t)
	db.Exec(t, `SELECT setval('stream_numbers', 41)`)
	out := o.do(t, "streams", "apply")
	for _, s := range bus.Streams() {
		if !strings.Contains(out, "create stream "+s.Name+"\n") {
			t.Errorf("%s is not in %q", s.Name, out)
		}
	}
	if !strings.HasSuffix(out, "\nstreams: applied\n") {
		t.Errorf("it ends with %q", out[max(0, len(out)-40):])
	}
	number, err := b.Admin().StreamNumber(t.Context(), bus.Challenges)
	if err != nil || number != 42 {
		t.Errorf("the stream has the number %d: %v", number, err)
	}
	for range 2 {
		if out = o.do(t, "streams", "apply"); out != "streams: nothing to change\n" {
			t.Errorf("the second time it says %q", out)
		}
	}
	var last int
	db.Scan(t, `SELECT last_value FROM stream_numbers`, nil, &last)
	if last != 42 {
		t.Errorf("%d numbers were taken", last-41)
	}
}

func TestStreams_PlanChangesNothing(t *testing.T) {
	t.Parallel()
	o, b, db := atBus(t)
	for range 2 { // a plan that changed something would not read the same twice
		out := o.do(t, "streams", "apply", "-plan")
		if !strings.Contains(out, "create stream "+bus.Challenges) || strings.Contains(out, "applied") {
			t.Errorf("the plan says %q", out)
		}
	}
	_, err := b.Admin().StreamState(t.Context(), bus.Challenges)
	if err == nil {
		t.Error("a plan made a stream")
	}
	var taken bool
	db.Scan(t, `SELECT is_called FROM stream_numbers`, nil, &taken)
	if taken {
		t.Error("a plan took a number")
	}
}

func TestStreams_MendsWhatLosesNothing(t *testing.T) {
	t.Parallel()
	o, b, _ := atBus(t)
	o.do(t, "streams", "apply")
	change(t, b, bus.Outcomes, "max_age", time.Hour)
	out := o.do(t, "streams", "apply")
	if !strings.Contains(out, "change DOORCODE_OUTCOMES.max_age 1h0m0s → 168h0m0s") || strings.Contains(out, "destructive") {
		t.Errorf("it says %q", out)
	}
	if age := settings(t, b, bus.Outcomes)["max_age"]; age != float64(7*24*time.Hour) {
		t.Errorf("max_age is %v", age)
	}
}

func TestStreams_ADestructiveDifferenceIsRefusedWhole(t *testing.T) {
	t.Parallel()
	o, b, _ := atBus(t)
	o.do(t, "streams", "apply")
	change(t, b, bus.Outcomes, "max_age", 30*24*time.Hour)
	change(t, b, bus.Directory, "max_age", time.Hour)
	const loss = "DOORCODE_OUTCOMES.max_age 720h0m0s → 168h0m0s"
	out := o.do(t, "streams", "apply", "-plan")
	if !strings.Contains(out, "destructive, will be refused: "+loss) {
		t.Errorf("the plan says %q", out)
	}
	a := o.run(t, "streams", "apply")
	if a.code != 1 || !strings.Contains(a.complaint, loss) || !strings.Contains(a.out, "change "+loss) || strings.Contains(a.out, "applied") {
		t.Errorf("it ended with %d and says %q, %q", a.code, a.out, a.complaint)
	}
	if age := settings(t, b, bus.Outcomes)["max_age"]; age != float64(30*24*time.Hour) {
		t.Errorf("the stream was changed: max_age is %v", age)
	}
	if age := settings(t, b, bus.Directory)["max_age"]; age != float64(time.Hour) {
		t.Errorf("another stream was changed in a refused plan: max_age is %v", age)
	}
}

func TestStreams_WithoutADatabaseNoStreamIsMadeHalf(t *testing.T) {
	t.Parallel()
	o, b, _ := atBus(t)
	delete(o.env, "DOORCODE_DATABASE_URL")
	o.do(t, "streams", "apply", "-plan") // looking needs no database
	o.refused(t, 1, "DOORCODE_DATABASE_URL is not set", "streams", "apply")
	for _, s := range bus.Streams() {
		_, err := b.Admin().StreamState(t.Context(), s.Name)
		if err == nil {
			t.Errorf("%s was made", s.Name)
		}
	}
}

func TestStreams_ABusThatIsAwayOrRefusesIsAnError(t *testing.T) {
	t.Parallel()
	o, b, _ := atBus(t)
	o.env["DOORCODE_DOORCODECTL_NATS_KEY_FILE"] = b.KeyFile("auth")
	a := o.run(t, "streams", "apply")
	if a.code != 1 {
		t.Errorf("with the key of auth it ended with %d: %s", a.code, a.out)
	}
	seed, _, err := bus.NewUserKey()
	if err != nil {
		t.Fatal(err)
	}
	o.env["DOORCODE_DOORCODECTL_NATS_KEY_FILE"] = o.keep(t, "stranger.nk", seed)
	o.refused(t, 1, "refuses the key", "streams", "apply")
	o.env["DOORCODE_NATS_URL"] = "nats://127.0.0.1:1"
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a = o.runWith(ctx, t, "streams", "apply")
	if a.code != 1 || !strings.Contains(a.complaint, "connect to the bus") {
		t.Errorf("without a bus it ended with %d: %s", a.code, a.complaint)
	}
}
