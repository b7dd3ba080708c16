package sandbox

import (
	"encoding/json"
	"net/http"
	"time"

	"doorcode/pkg/delivery"
	"doorcode/pkg/problem"
	"doorcode/pkg/strictjson"
)

// faultDocument is a fault as the control path speaks of it. Times are in
// milliseconds and seconds; what is left out has the default of [Fault].
type faultDocument struct {
	Kind         Kind             `json:"kind"`
	Channel      delivery.Channel `json:"channel,omitempty"`
	To           string           `json:"to,omitempty"`
	Count        int              `json:"count,omitempty"`
	Status       int              `json:"status,omitempty"`
	DelayMS      int64            `json:"delay_ms,omitempty"`
	ResetSeconds int64            `json:"reset_seconds,omitempty"`
	Location     string           `json:"location,omitempty"`
}

// metDocument is a fault in the list; hits tells how many sends met it.
type metDocument struct {
	faultDocument
	Hits int `json:"hits"`
}

// fault is the document as a fault. A time that is out of all bounds becomes
// one that AddFault refuses.
func (d faultDocument) fault() Fault {
	return Fault{
		Kind: d.Kind, Channel: d.Channel, To: d.To, Count: d.Count, Status: d.Status, Location: d.Location,
		Delay: duration(d.DelayMS, time.Millisecond), Reset: duration(d.ResetSeconds, time.Second),
	}
}

// duration multiplies without an overflow.
func duration(n int64, unit time.Duration) time.Duration {
	most := int64(maxFaultTime/unit) + 1
	return time.Duration(min(max(n, -1), most)) * unit
}

// routeFaults adds the control path.
func (s *Sandbox) routeFaults(mux *http.ServeMux) {
	const path = "/_sandbox/faults"
	mux.HandleFunc("GET "+path, s.listFaults)
	mux.HandleFunc("POST "+path, s.postFault)
	mux.HandleFunc("DELETE "+path, func(w http.ResponseWriter, _ *http.Request) {
		s.ClearFaults()
		w.WriteHeader(http.StatusNoContent)
	})
}

// routeMessages adds the JSON view of the inbox.
func (s *Sandbox) routeMessages(mux *http.ServeMux) {
	const path = "/api/messages"
	mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusOK, s.Messages(r.FormValue("to")))
	})
	mux.HandleFunc("DELETE "+path, func(w http.ResponseWriter, _ *http.Request) {
		s.Clear()
		w.WriteHeader(http.StatusNoContent)
	})
}

// listFaults answers with every fault and how often it was met.
func (s *Sandbox) listFaults(w http.ResponseWriter, _ *http.Request) {
	list := []metDocument{}
	for _, m := range s.Faults() {
		list = append(list, metDocument{Hits: m.Hits, faultDocument: faultDocument{
			Kind: m.Kind, Channel: m.Channel, To: m.To, Count: m.Count, Status: m.Status, Location: m.Location,
			DelayMS: m.Delay.Milliseconds(), ResetSeconds: int64(m.Reset.Seconds()),
		}})
	}
	writeJSON(w, http.StatusOK, list)
}

// postFault adds the fault of the body. That the body must be JSON also keeps
// the forms of foreign pages away.
func (s *Sandbox) postFault(w http.ResponseWriter, r *http.Request) {
	var document faultDocument
	err := strictjson.ReadRequest(r, &document)
	if err != nil {
		problem.Write(w, problem.Of(err))
		return
	}
	err = s.AddFault(document.fault())
	if err != nil {
		problem.Write(w, problem.New(http.StatusBadRequest, problem.CodeInvalidRequest, err.Error()))
		return
	}
	writeJSON(w, http.StatusCreated, document)
}

// writeJSON answers with a document that no cache keeps.
func writeJSON(w http.ResponseWriter, status int, document any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(document) // the reader may have gone
}

// hookFaultDocument is a fault of webhooks as the control path speaks of it.
type hookFaultDocument struct {
	Kind  WebhookFault `json:"kind"`
	Count int          `json:"count,omitempty"`
}

// countsDocument is what became of the posts.
type countsDocument struct {
	Taken   int `json:"taken"`
	Retried int `json:"retried"`
	GivenUp int `json:"given_up"`
	Lost    int `json:"lost"`
	Waiting int `json:"waiting"`
}

// routeWebhookControl adds the control paths of the webhooks.
func (s *Sandbox) routeWebhookControl(mux *http.ServeMux) {
	const path = "/_sandbox/webhooks"
	mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, countsDocument(s.WebhookCounts()))
	})
	mux.HandleFunc("POST "+path+"/flush", func(w http.ResponseWriter, r *http.Request) {
		err := s.Flush(r.Context())
		if err != nil {
			problem.Write(w, problem.New(http.StatusBadGateway, "webhook_failed", err.Error()))
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST "+path+"/faults", s.postWebhookFault)
	mux.HandleFunc("DELETE "+path+"/faults", func(w http.ResponseWriter, _ *http.Request) {
		s.ClearWebhookFaults()
		w.WriteHeader(http.StatusNoContent)
	})
}

// postWebhookFault adds the fault of the body, which must be JSON as for postFault.
func (s *Sandbox) postWebhookFault(w http.ResponseWriter, r *http.Request) {
	var document hookFaultDocument
	err := strictjson.ReadRequest(r, &document)
	if err != nil {
		problem.Write(w, problem.Of(err))
		return
	}
	err = s.AddWebhookFault(document.Kind, document.Count)
	if err != nil {
		problem.Write(w, problem.New(http.StatusBadRequest, problem.CodeInvalidRequest, err.Error()))
		return
	}
	writeJSON(w, http.StatusCreated, document)
}
