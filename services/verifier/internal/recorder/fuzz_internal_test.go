package recorder

import (
	"testing"

	"doorcode/pkg/bus"
	"doorcode/pkg/event/eventtest"
	"doorcode/pkg/postgres"
	"doorcode/services/verifier/internal/verifiertest"
)

// FuzzRecorder holds that an event from the bus is recorded, or buried because it is not whole or Postgres refuses it for
// ever: none may come back again and again and hold up those behind it (P1). What was recorded may be recorded again.
func FuzzRecorder(f *testing.F) {
	rig := verifiertest.New(f)
	db := rig.DB()
	for _, v := range eventtest.Vectors(f) {
		f.Add(v.Subject, v.Header["ce-type"], v.Header["ce-id"], v.Header["ce-time"], v.Header["ce-subject"], []byte(v.Data))
		f.Add(v.Subject, v.Header["ce-type"], "\x00", v.Header["ce-time"], "\x00", []byte(v.Data))
		f.Add(v.Subject, v.Header["ce-type"], v.Header["ce-id"], "9999-12-31T23:59:59Z", "", []byte(v.Data))
		f.Add(v.Subject, v.Header["ce-type"], v.Header["ce-id"], "0001-01-01T00:00:00Z", "", []byte(v.Data))
	}
	f.Fuzz(func(t *testing.T, subject, kind, id, at, about string, data []byte) {
		header := map[string]string{
			"ce-specversion": "1.0", "ce-datacontenttype": "application/json", "ce-source": "doorcode/test", "ce-type": kind, "ce-id": id, "ce-time": at,
		}
		if about != "" {
			header["ce-subject"] = about
		}
		batch, err := rowsOf(bus.Message{Subject: subject, ID: id, Header: header, Data: data}, postgres.Issued{Stream: 1, Sequence: 1})
		if err != nil {
			return
		}
		for range 2 {
			err = db.Record(t.Context(), batch)
			if err != nil && !postgres.IsRejected(err) {
				t.Fatalf("it would come back for ever: %v", err)
			}
		}
	})
}
