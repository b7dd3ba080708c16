package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"doorcode/pkg/delivery"
	"doorcode/pkg/provider/sandbox"
)

// What a traveller does. The order is that in which they come.
const (
	signsIn = iota // types a wrong code at once, then the right one in two windows at the same moment
	resends        // asks for a second message and types the code of that
	cancels        // "this was not me"
	guesses        // types five wrong codes
	leaves         // types nothing: the challenge expires
	unlucky        // the provider fails at the first attempt
	kinds
)

// traveller is somebody who signs in while processes die, and all that they and
// their front-end were told.
type traveller struct {
	kind         int
	login, email string
	handle       string
	challenge    string
	wrong        map[string]int  // checks_left by the id of each wrong check
	asserted     map[string]bool // the assertions
	approvedBy   map[string]bool // the ids of the checks that brought one
	used         int             // right codes that came second
	outcome      string
	resent       bool
	early        bool  // a code was typed before anything could be recorded
	late         bool  // an answer was lost for so long that its repeat could not be given any more
	err          error // the story did not come to its end

	mu      sync.Mutex
	strange []string // answers that nobody should get
}

// reply is one answer of the API.
type reply struct {
	answer
	Handle    string `json:"handle"`
	Send      int    `json:"send"`
	State     string `json:"state"`
	Assertion string `json:"assertion"`
}

// ask makes one request and reads its answer.
func (c *campaign) ask(ctx context.Context, method, path, key string, body any) (reply, error) {
	var r reply
	data, err := json.Marshal(body)
	if err != nil {
		return r, err
	}
	if body == nil {
		data = nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+c.auth+path, bytes.NewReader(data))
	if err != nil {
		return r, err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return r, err
	}
	defer func() { _ = res.Body.Close() }()
	r.status, r.retryAfter = res.StatusCode, res.Header.Get("Retry-After")
	if res.StatusCode == http.StatusNoContent {
		return r, nil
	}
	return r, json.NewDecoder(res.Body).Decode(&r)
}

// insist asks under the same key or check id until there is an answer that is not
// "not now", as a front-end's client and the person at the keyboard do.
func (c *campaign) insist(ctx context.Context, p *traveller, method, path, key string, body any) (reply, error) {
	for {
		r, err := c.ask(ctx, method, path, key, body)
		switch {
		case ctx.Err() != nil:
			return r, fmt.Errorf("%s %s: never answered: %w", method, path, errors.Join(ctx.Err(), err))
		case err != nil: // no answer: the process was away, or went away
		case r.status == http.StatusServiceUnavailable:
			c.unavailable.Add(1)
			if r.retryAfter == "" || r.Code != "unavailable" || r.Outcome != "" || r.Assertion != "" || r.Handle != "" {
				p.note("%s is answered 503 %s with Retry-After %q", path, r.Code, r.retryAfter)
			}
		case r.status > http.StatusInternalServerError-1:
			p.note("%s is answered %d %s", path, r.status, r.Code)
			return r, nil
		default:
			return r, nil
		}
		tick(ctx)
	}
}

// unexpected is why a story cannot go on: no answer, or another one.
func unexpected(what string, r reply, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s is answered %d %s, state %q, send %d", what, r.status, r.Code, r.State, r.Send)
}

// note keeps an answer that nobody should get.
func (p *traveller) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.strange = append(p.strange, fmt.Sprintf(format, args...))
}

// travel takes the i-th person through their story.
func (c *campaign) travel(ctx context.Context, i int) *traveller {
	name := fmt.Sprintf("kim-%03d", i)
	p := &traveller{
		kind: i % kinds, login: name, email: name + "@acme.example",
		wrong: map[string]int{}, asserted: map[string]bool{}, approvedBy: map[string]bool{},
	}
	if p.kind == unlucky {
		p.err = c.box.AddFault(sandbox.Fault{Kind: sandbox.Status, Status: http.StatusServiceUnavailable, To: p.email, Count: 1})
	}
	for _, step := range []func(context.Context, *traveller) error{c.arrive, c.guessAtOnce, c.act} {
		if p.err == nil {
			p.err = step(ctx, p)
		}
	}
	return p
}

// arrive puts the login and creates the challenge.
func (c *campaign) arrive(ctx context.Context, p *traveller) error {
	r, err := c.insist(ctx, p, http.MethodPut, "/v1/workspaces/acme/logins/"+p.login, "", map[string]string{"role": "member", "email": p.email})
	if err != nil || r.status >= http.StatusMultipleChoices {
		return unexpected("put of the login", r, err)
	}
	r, err = c.insist(ctx, p, http.MethodPost, "/v1/challenges", "create-"+p.login, map[string]string{"workspace": "acme", "login": p.login})
	if err != nil || r.status != http.StatusCreated {
		return unexpected("create", r, err)
	}
	p.handle, p.challenge = r.Handle, challengeIn(r.Handle)
	return nil
}

// guessAtOnce types a wrong code before the recorder can know of the challenge.
func (c *campaign) guessAtOnce(ctx context.Context, p *traveller) error {
	if p.kind == leaves || p.kind == cancels {
		return nil
	}
	p.early = true
	return c.typeWrong(ctx, p, "early", "000000")
}

// typeWrong types a code that is not the right one.
func (c *campaign) typeWrong(ctx context.Context, p *traveller, id, code string) error {
	r, err := c.insist(ctx, p, http.MethodPost, "/v1/challenges/"+p.handle+"/checks", "", map[string]string{"code": code, "check_id": id})
	if err != nil {
		return err
	}
	if r.Code != "wrong_code" || r.ChecksLeft == nil {
		return unexpected("the wrong code "+id, r, nil)
	}
	p.wrong[id] = *r.ChecksLeft
	return nil
}

// act is what each does once the message is there.
func (c *campaign) act(ctx context.Context, p *traveller) error {
	if p.kind == leaves {
		return c.expire(ctx, p)
	}
	code, err := c.read(ctx, p, 1)
	if err != nil {
		return err
	}
	switch p.kind {
	case resends:
		err = c.resend(ctx, p)
		if err != nil {
			return err
		}
		code, err = c.read(ctx, p, 2)
		if err != nil {
			return err
		}
	case cancels:
		r, err := c.insist(ctx, p, http.MethodDelete, "/v1/challenges/"+p.handle, "", nil)
		if err != nil || r.State != "canceled" {
			return unexpected("cancel", r, err)
		}
		p.outcome = "canceled"
		return nil
	case guesses:
		for n := range 4 {
			err = c.typeWrong(ctx, p, fmt.Sprintf("guess-%d", n), wrongFor(code))
			if err != nil {
				return err
			}
		}
		p.outcome = "exhausted"
		return nil
	}
	return c.typeRight(ctx, p, code)
}

// typeRight types the right code in two windows at the same moment, and repeats
// the check that was approved, as if its answer had been lost.
func (c *campaign) typeRight(ctx context.Context, p *traveller, code string) error {
	began := time.Now()
	var mu sync.Mutex
	var both sync.WaitGroup
	var failed error
	window := func(id string) {
		r, err := c.insist(ctx, p, http.MethodPost, "/v1/challenges/"+p.handle+"/checks", "", map[string]string{"code": code, "check_id": id})
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err != nil:
			failed = err
		case r.status == http.StatusOK && r.Outcome == "approved" && r.Assertion != "":
			p.asserted[r.Assertion], p.approvedBy[id] = true, true
		case r.Code == "used":
			p.used++
		default:
			p.note("the right code in %s is answered %d %s", id, r.status, r.Code)
		}
	}
	for _, id := range []string{"window-1", "window-2"} {
		both.Go(func() { window(id) })
	}
	both.Wait()
	for id := range p.approvedBy {
		window(id)
	}
	p.outcome = "approved"
	p.late = time.Since(began) > 50*time.Second
	return failed
}

// read waits for the message of a send and returns its code.
func (c *campaign) read(ctx context.Context, p *traveller, send int) (string, error) {
	for {
		for _, m := range c.box.Messages(p.email) {
			ref, err := delivery.ParseReference(m.CustomArgs["dlv"])
			if err != nil {
				return "", err
			}
			code, found := findCode(message{Text: m.Text})
			if found && ref.Challenge == p.challenge && ref.Send == send {
				return code, nil
			}
		}
		if ctx.Err() != nil {
			return "", fmt.Errorf("message %d never came", send)
		}
		tick(ctx)
	}
}

// resend asks for the second message once the server's wait is over.
func (c *campaign) resend(ctx context.Context, p *traveller) error {
	err := c.edit(ctx, `UPDATE challenges SET resend_at = now() WHERE id = $1 AND sends = 1`, p.challenge)
	if err != nil {
		return err
	}
	r, err := c.insist(ctx, p, http.MethodPost, "/v1/challenges/"+p.handle+"/deliveries", "resend-"+p.login, map[string]string{})
	if err != nil || r.status >= http.StatusMultipleChoices || r.Send != 2 {
		return unexpected("resend", r, err)
	}
	p.resent = true
	return nil
}

// expire lets the time of a challenge pass.
func (c *campaign) expire(ctx context.Context, p *traveller) error {
	p.outcome = "expired"
	return c.edit(ctx, `UPDATE challenges SET expires_at = now() WHERE id = $1`, p.challenge)
}

// edit changes the one row of a challenge as soon as it is recorded, which the
// database may be away for.
func (c *campaign) edit(ctx context.Context, sql, id string) error {
	for {
		done, err := c.pool.Exec(ctx, sql, id)
		if err == nil && done.RowsAffected() == 1 {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("the challenge was never recorded: %w", errors.Join(ctx.Err(), err))
		}
		tick(ctx)
	}
}

// load has people sign in, a few at a time, until enough of them came and the
// channel is closed.
func (c *campaign) load(ctx context.Context, atLeast int, over <-chan struct{}) {
	const atOnce = 8
	var signing sync.WaitGroup
	next := make(chan int)
	for range atOnce {
		signing.Go(func() {
			for i := range next {
				p := c.travel(ctx, i)
				c.mu.Lock()
				c.people = append(c.people, p)
				c.mu.Unlock()
			}
		})
	}
	for i := 0; ; i++ {
		select {
		case <-over:
			over = nil
		default:
		}
		if (over == nil && i >= atLeast) || ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	signing.Wait()
}

// troubles are the stories that did not come to their end.
func (c *campaign) troubles() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for _, p := range c.people {
		if p.err != nil {
			all = append(all, p.login+": "+p.err.Error())
		}
	}
	return strings.Join(all, "\n")
}
