package bus_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
)

// withFrontEnd is a bus that was started again with a further front-end.
func withFrontEnd(t *testing.T, name string) *bustest.Bus {
	t.Helper()
	b := bustest.Start(t)
	made, err := bus.AddFrontEnd(filepath.Dir(b.ConfigFile()), name)
	if err != nil || !made {
		t.Fatalf("made %t, %v", made, err)
	}
	b.Restart(t)
	ctx := patience(t)
	bustest.Wait(t, "the bus is back", func() bool { return b.Admin().Ready(ctx) == nil })
	return b
}

// It shows SEC-30 of deploy/SECURITY.md.
func TestP10_AFurtherFrontEndCanAskAndNothingElse(t *testing.T) {
	t.Parallel()
	const inbox = "_INBOX_shop_2"
	b := withFrontEnd(t, "shop-2")
	like := grants()["front-end"]
	send := func(subject string) func(*nats.Conn) error {
		return func(nc *nats.Conn) error { return nc.PublishRequest(subject, inbox+".answer", nil) }
	}
	listen := func(subject string) func(*nats.Conn) error {
		return func(nc *nats.Conn) error { _, err := nc.SubscribeSync(subject); return err }
	}
	for _, subject := range like.publish {
		if refused(t, b, "shop-2", inbox, send(subject)) {
			t.Errorf("publish %s is refused", subject)
		}
	}
	for _, subject := range like.noPublish {
		if !refused(t, b, "shop-2", inbox, send(subject)) {
			t.Errorf("publish %s is not refused", subject)
		}
	}
	if refused(t, b, "shop-2", inbox, listen(inbox+".>")) {
		t.Error("its own inbox is refused")
	}
	for _, subject := range append(slices.Clone(like.noSubscribe), ">", "*", "doorcode.>", "_INBOX_front_end.>", "_R_.>") {
		if !refused(t, b, "shop-2", inbox, listen(subject)) {
			t.Errorf("subscribe %s is not refused", subject)
		}
	}
}

func TestP10_AFurtherFrontEndsForeignReplySubjectReachesNothing(t *testing.T) {
	t.Parallel()
	b := withFrontEnd(t, "shop-2")
	serveAll(t, b)
	seed(t, b)
	before := contents(t, b)
	sendEverywhere(t, raw(t, b, "shop-2", "_INBOX_shop_2"), grants()["front-end"].publish)
	for place, count := range contents(t, b) {
		if count != before[place] {
			t.Errorf("%s held %d messages and holds %d", place, before[place], count)
		}
	}
}

func TestAddFrontEnd_IsIdempotent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := bus.WriteKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	content := func() string {
		var all strings.Builder
		for _, name := range []string{"front-ends.conf", "shop.nk", "shop-2.nk"} {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			all.Write(data)
		}
		return all.String()
	}
	for _, name := range []string{"shop", "shop-2"} { // One name begins with the other.
		made, err := bus.AddFrontEnd(dir, name)
		if err != nil || !made {
			t.Fatalf("%s: made %t, %v", name, made, err)
		}
	}
	before := content()
	for _, name := range []string{"shop", "shop-2"} {
		made, err := bus.AddFrontEnd(dir, name)
		if err != nil || made {
			t.Errorf("%s again: made %t, %v", name, made, err)
		}
	}
	_, err = bus.WriteKeys(dir)
	if err != nil || content() != before {
		t.Errorf("something was changed: %v", err)
	}
}

func TestAddFrontEnd_FinishesWhatACrashLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := bus.WriteKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	conf, seed := filepath.Join(dir, "front-ends.conf"), filepath.Join(dir, "shop.nk")
	empty, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	made, err := bus.AddFrontEnd(dir, "shop")
	if err != nil || !made {
		t.Fatalf("made %t, %v", made, err)
	}
	kept, err := os.ReadFile(seed)
	if err != nil {
		t.Fatal(err)
	}
	err = os.WriteFile(conf, empty, 0o600) // The seed was written, the account was not.
	if err != nil {
		t.Fatal(err)
	}
	made, err = bus.AddFrontEnd(dir, "shop")
	if err != nil || !made {
		t.Fatalf("made %t, %v", made, err)
	}
	again, err := os.ReadFile(seed)
	if err != nil || string(again) != string(kept) {
		t.Errorf("the seed was made anew: %v", err)
	}
	foreign, _, err := bus.NewUserKey()
	if err != nil {
		t.Fatal(err)
	}
	err = os.WriteFile(seed, []byte(foreign), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = bus.AddFrontEnd(dir, "shop")
	if err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("a foreign seed: %v", err)
	}
	err = os.Remove(seed)
	if err != nil {
		t.Fatal(err)
	}
	_, err = bus.AddFrontEnd(dir, "shop")
	if err == nil || !strings.Contains(err.Error(), "remove the account first") {
		t.Errorf("a lost seed: %v", err)
	}
	_, err = os.Stat(seed)
	if err == nil {
		t.Error("a seed was made that opens nothing")
	}
}

func TestAsk_CarriesHeadersAndRefusesThoseThatSteer(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	service, err := b.Connect(t, "auth").Serve(patience(t), bus.ServiceConfig{
		Name: "challenges", Version: "1.0.0", Workers: 1,
		Endpoints: []bus.Endpoint{{
			Name: "read", Subject: "doorcode.api.challenges.read",
			Handle: func(_ context.Context, r bus.Request) ([]byte, error) {
				return nil, &bus.ServiceError{Code: 404, Body: []byte(r.Header["Authorization"] + string(r.Data))}
			},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := service.Stop(context.Background())
		if err != nil {
			t.Error(err)
		}
	})
	conn := b.Connect(t, "front-end")
	_, err = conn.Ask(patience(t), "doorcode.api.challenges.read", map[string]string{"Authorization": "key"}, []byte("+data"))
	refusal, ok := asRefusal(err)
	if !ok {
		t.Fatalf("the answer is %v", err)
	}
	if status, body := refusal.Refusal(); status != 404 || string(body) != "key+data" {
		t.Errorf("the refusal is %d %s", status, body)
	}
	_, err = conn.Ask(patience(t), "doorcode.api.challenges.read", map[string]string{"nats-Msg-Id": "1"}, nil)
	if err == nil || strings.Contains(err.Error(), "unavailable") {
		t.Errorf("a header that steers: %v", err)
	}
}
