package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"doorcode/services/bench/internal/inbox"
)

const (
	// patience bounds each wait of a cycle; what takes longer has failed.
	patience = 30 * time.Second
	// connections is how many a front-end keeps to auth.
	connections = 512
	maxAnswer   = 64 << 10
)

// Person is somebody who signs in: the login of a workspace with a main e-mail address of its own.
type Person struct {
	Workspace, Login, Recipient string
	Address                     string // of the browser
}

// PersonOf returns the n-th of the directory, from 0 on.
func PersonOf(n int) Person {
	name := fmt.Sprintf("bench-%06d", n)
	return Person{
		Workspace: name, Login: "kim", Recipient: name + "@acme.example",
		Address: fmt.Sprintf("10.%d.%d.%d", n>>16&255, n>>8&255, n&255),
	}
}

// FrontEnd is a login page that signs people in.
type FrontEnd struct {
	base, key string
	http      *http.Client
	inbox     *inbox.Inbox
	free      chan Person
	patience  time.Duration // with a message
}

// NewFrontEnd returns the front-end of a key, whose people are the first of the directory. Nobody signs in twice at
// once, and whoever did so longest ago is the next.
func NewFrontEnd(address, key string, people int, box *inbox.Inbox) *FrontEnd {
	f := &FrontEnd{
		base: "http://" + address, key: "Bearer " + key, inbox: box, free: make(chan Person, people), patience: patience,
		http: &http.Client{Timeout: patience, Transport: &http.Transport{
			MaxConnsPerHost: connections, MaxIdleConns: connections, MaxIdleConnsPerHost: connections, DisableCompression: true,
		}},
	}
	for n := range people {
		f.free <- PersonOf(n)
	}
	return f
}

// Close closes the idle connections.
func (f *FrontEnd) Close() { f.http.CloseIdleConnections() }

// SignIn is one cycle, begun at a time that may have passed already. It counts in the tally.
func (f *FrontEnd) SignIn(ctx context.Context, begun time.Time, t *Tally) {
	select {
	case person := <-f.free:
		times, err := f.signIn(ctx, person, begun)
		f.free <- person
		if err != nil {
			t.Fail(err.Error())
			return
		}
		t.Done(times)
	default:
		t.Fail("nobody is free to sign in")
	}
}

// errNoMessage says that a create was answered and no message came.
var errNoMessage = errors.New("no message came")

// signIn lets a person sign in. Its errors are few, so that they can be counted.
func (f *FrontEnd) signIn(ctx context.Context, p Person, begun time.Time) (map[Stage]time.Duration, error) {
	f.inbox.Empty(p.Recipient)
	handle, err := f.create(ctx, p)
	if err != nil {
		return nil, err
	}
	answered := time.Now()
	code, arrived, err := f.await(ctx, p)
	if err != nil {
		return nil, err
	}
	typed := time.Now()
	err = f.check(ctx, handle, code)
	if err != nil {
		return nil, err
	}
	approved := time.Now()
	return map[Stage]time.Duration{
		Create: answered.Sub(begun), Provider: arrived.Sub(answered), Check: approved.Sub(typed), Cycle: approved.Sub(begun),
	}, nil
}

// await returns the code of the message and when the provider was called.
func (f *FrontEnd) await(ctx context.Context, p Person) (string, time.Time, error) {
	timer := time.NewTimer(f.patience)
	defer timer.Stop()
	select {
	case a := <-f.inbox.Arrivals(p.Recipient):
		return a.Code, a.At, nil
	case <-timer.C:
	case <-ctx.Done():
	}
	return "", time.Time{}, errNoMessage
}

// create asks for a challenge and returns its handle.
func (f *FrontEnd) create(ctx context.Context, p Person) (string, error) {
	type visitor struct {
		Address   string `json:"address"`
		UserAgent string `json:"user_agent"`
	}
	request := struct {
		Workspace string  `json:"workspace"`
		Login     string  `json:"login"`
		Client    visitor `json:"client"`
	}{p.Workspace, p.Login, visitor{p.Address, "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}}
	var answer struct {
		Handle string `json:"handle"`
	}
	err := f.post(ctx, "/v1/challenges", request, http.StatusCreated, &answer)
	if err == nil && answer.Handle == "" {
		err = errors.New("no handle")
	}
	if err != nil {
		return "", fmt.Errorf("create: %w", err)
	}
	return answer.Handle, nil
}

// check types the code.
func (f *FrontEnd) check(ctx context.Context, handle, code string) error {
	var answer struct {
		Outcome   string `json:"outcome"`
		Assertion string `json:"assertion"`
	}
	err := f.post(ctx, "/v1/challenges/"+handle+"/checks", map[string]string{"code": code}, http.StatusOK, &answer)
	if err == nil && (answer.Outcome != "approved" || answer.Assertion == "") {
		err = errors.New("not approved")
	}
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	return nil
}

// post makes a call of the API. Another answer than the wanted one is an error of its status and problem code alone.
func (f *FrontEnd) post(ctx context.Context, path string, in any, want int, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", f.key)
	req.Header.Set("Content-Type", "application/json")
	res, err := f.http.Do(req)
	if err != nil {
		return errors.New("no answer") // the error itself holds the handle
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	err = errors.Join(err, res.Body.Close())
	if err != nil {
		return errors.New("half an answer")
	}
	if res.StatusCode != want {
		var problem struct {
			Code string `json:"code"`
		}
		_ = json.Unmarshal(data, &problem) // a status says enough
		return errors.New(strconv.Itoa(res.StatusCode) + " " + problem.Code)
	}
	err = json.Unmarshal(data, out)
	if err != nil {
		return errors.New("malformed answer")
	}
	return nil
}
