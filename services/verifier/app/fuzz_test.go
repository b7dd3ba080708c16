package app

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"doorcode/pkg/bus"
	"doorcode/pkg/event"
)

// FuzzVerbs holds that no request of the bus is answered with a 5xx, and that an answer is JSON or a problem document.
func FuzzVerbs(f *testing.F) {
	h := newHouse(f)
	h.start(nil)
	c := h.Issue()
	verbs := []string{event.VerbCheck, event.VerbResend, event.VerbCancel, event.VerbState, event.VerbUnlock, event.VerbWaive, event.VerbSkip}
	add := func(body any) {
		data, err := json.Marshal(body)
		if err != nil {
			f.Fatal(err)
		}
		for i := range verbs {
			f.Add(i, data)
			f.Add(i, []byte(strings.ReplaceAll(string(data), `"acme"`, `"\u0000"`)))
			f.Add(i, []byte(strings.ReplaceAll(string(data), `:1`, `:-1`)))
		}
	}
	add(c.Request())
	add(h.Wrong(c, "one"))
	add(event.UnlockRequest{Workspace: "acme", Login: "anna", By: "web"})
	for _, seed := range []string{``, `{}`, `null`, `[]`, `7`, "\xff", `{"handle": "AQEAAA"}`, `{"check_id": "\u0000", "tag": "AAEC"}`} {
		for i := range verbs {
			f.Add(i, []byte(seed))
		}
	}
	f.Fuzz(func(t *testing.T, verb int, body []byte) {
		if verb < 0 || verb >= len(verbs) || len(body) > 60_000 {
			return
		}
		answer, err := h.Auth.Request(t.Context(), verbs[verb], body)
		var refused *bus.ServiceError
		switch {
		case err == nil:
			if !json.Valid(answer) {
				t.Errorf("%s %q is answered with no JSON: %q", verbs[verb], body, answer)
			}
		case !errors.As(err, &refused):
			t.Errorf("%s %q is not answered: %v", verbs[verb], body, err)
		case refused.Code >= 500 || !json.Valid(refused.Body):
			t.Errorf("%s %q is refused with %d %s", verbs[verb], body, refused.Code, refused.Body)
		}
	})
}
