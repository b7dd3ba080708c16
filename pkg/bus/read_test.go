package bus_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
)

func TestConn_ReadsBackWhatItPublished(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	auth, verifier := b.Connect(t, "auth"), b.Connect(t, "verifier")
	want := bus.Message{
		Subject: email, ID: "id-1",
		Header: map[string]string{"ce-type": "challenge.v1.issued", "traceparent": "00-1-2-01"}, Data: []byte(`{"a":1}`),
	}
	ack, err := auth.Publish(patience(t), want)
	if err != nil {
		t.Fatal(err)
	}
	for _, reader := range []*bus.Conn{auth, verifier} {
		got, err := reader.Get(patience(t), bus.Challenges, ack.Sequence)
		if err != nil {
			t.Fatalf("get: %v", err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("message (-want +got):\n%s", diff)
		}
	}
}

func TestConn_TellsNotFoundFromUnavailable(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	auth := b.Connect(t, "auth")

	for _, sequence := range []uint64{1, 1 << 60} {
		_, err := auth.Get(patience(t), bus.Challenges, sequence)
		if !errors.Is(err, bus.ErrNotFound) || errors.Is(err, bus.ErrUnavailable) {
			t.Errorf("get %d of an empty stream: %v", sequence, err)
		}
	}
	_, err := b.Admin().Get(patience(t), "DOORCODE_NONE", 1)
	if err == nil || errors.Is(err, bus.ErrNotFound) || errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("get of a stream that is not there: %v", err)
	}
	b.Stop(t)
	_, err = auth.Get(t.Context(), bus.Challenges, 1)
	if !errors.Is(err, bus.ErrUnavailable) || errors.Is(err, bus.ErrNotFound) {
		t.Errorf("get while the server is down: %v", err)
	}
}

func TestConn_ReadsAMessageWithoutHeaders(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	nc := raw(t, b, "auth", "_INBOX_auth")
	_, err := nc.RequestWithContext(patience(t), email, []byte("bare"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := b.Admin().Get(patience(t), bus.Challenges, 1)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(bus.Message{Subject: email, Header: map[string]string{}, Data: []byte("bare")}, got); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
}

func TestConn_KnowsTheNumberAndStateOfAStream(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	auth := b.Connect(t, "auth")
	number, err := auth.StreamNumber(patience(t), bus.Challenges)
	if err != nil || number != bustest.Number {
		t.Errorf("number %d, %v; want %d", number, err, bustest.Number)
	}
	_, err = b.Admin().StreamNumber(patience(t), bus.Outcomes)
	if err == nil {
		t.Error("a stream without a number gave one")
	}
	publish(t, auth, "1")
	publish(t, auth, "2")
	state, err := auth.StreamState(patience(t), bus.Challenges)
	if err != nil || state.Messages != 2 || state.First != 1 || state.Last != 2 || state.Bytes == 0 {
		t.Errorf("state %+v, %v", state, err)
	}
}
