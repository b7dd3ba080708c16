package providertest

import (
	"fmt"
	"testing"
	"time"

	"doorcode/pkg/delivery"
	"doorcode/pkg/provider"
)

// NewHTTPProvider makes a provider that calls a server, and cleans it up when
// the test ends.
type NewHTTPProvider func(t *testing.T, s *Server) provider.Provider

// Row is one answer and what an adapter makes of it.
type Row struct {
	Name  string
	Reply Reply
	Want  provider.Class
}

// RunClassification is the suite for an adapter that carries e-mail and reads
// statuses by provider.Classify alone.
func RunClassification(t *testing.T, newProvider NewHTTPProvider, rows []Row) {
	t.Helper()
	Suite{}.RunClassification(t, newProvider, rows)
}

// RunClassification gives an adapter every status from 200 to 599 with an
// empty body, for which the suite's Classify decides, then the rows of its
// dialect, and then every form in which a pause can be asked for.
func (s Suite) RunClassification(t *testing.T, newProvider NewHTTPProvider, rows []Row) {
	t.Helper()
	for status := 200; status <= 599; status++ {
		rows = append(rows, Row{
			Name:  fmt.Sprintf("status %d", status),
			Reply: Reply{Status: status},
			Want:  s.classify(status),
		})
	}
	t.Run("every answer has its class", func(t *testing.T) {
		t.Parallel()
		server := NewServer(t)
		p := newProvider(t, server)
		for _, row := range rows {
			server.Use(Answer(row.Reply))
			_, err := p.Send(t.Context(), s.sample(1))
			problem := compare(row, err)
			if problem != "" {
				t.Errorf("%s: %s", row.Name, problem)
			}
		}
		if len(server.Requests()) != len(rows) {
			t.Errorf("%d answers took %d calls", len(rows), len(server.Requests()))
		}
	})
	t.Run("a pause is obeyed within bounds", func(t *testing.T) {
		t.Parallel()
		s.runPauses(t, newProvider)
	})
}

// compare says in words how the end of a send differs from a row.
func compare(row Row, err error) string {
	if err == nil {
		if row.Want.Result != delivery.Accepted {
			return "accepted"
		}
		return ""
	}
	f := provider.FailureOf(err)
	got := provider.Class{Result: f.Result, Reason: f.Reason, Breaks: f.Breaks}
	switch {
	case got != row.Want:
		return fmt.Sprintf("got %+v, want %+v", got, row.Want)
	case f.Status != row.Reply.Status:
		return fmt.Sprintf("the failure says status %d", f.Status)
	case f.RetryAfter != 0:
		return "a pause that nobody asked for"
	}
	return ""
}

// runPauses asks for pauses, short ones, long ones and none at all.
func (s Suite) runPauses(t *testing.T, newProvider NewHTTPProvider) {
	t.Helper()
	server := NewServer(t)
	p := newProvider(t, server)
	at := func(d time.Duration) string { return fmt.Sprint(time.Now().Add(d).Unix()) }
	for _, c := range []struct {
		status        int
		header, value string
		least, most   time.Duration
	}{
		{429, "Retry-After", "7", 7 * time.Second, 7 * time.Second},
		{429, "X-RateLimit-Reset", at(2 * time.Minute), time.Minute, 2 * time.Minute},
		{503, "Retry-After", "0", provider.MinRetryAfter, provider.MinRetryAfter},
		{503, "Retry-After", "86400", provider.MaxRetryAfter, provider.MaxRetryAfter},
		{429, "X-RateLimit-Reset", at(-time.Hour), provider.MinRetryAfter, provider.MinRetryAfter},
		{408, "Retry-After", "soon", 0, 0},
		{400, "Retry-After", "7", 0, 0},
	} {
		server.Use(Answer(Reply{Status: c.status, Header: map[string]string{c.header: c.value}}))
		_, err := p.Send(t.Context(), s.sample(1))
		got := provider.FailureOf(err).RetryAfter
		if got < c.least || got > c.most {
			t.Errorf("%d with %s %q: a pause of %s, want %s to %s", c.status, c.header, c.value, got, c.least, c.most)
		}
	}
}
