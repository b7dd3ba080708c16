package decide_test

import (
	"crypto/rand"
	"errors"
	"math/big"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"doorcode/pkg/account"
	"doorcode/pkg/challenge"
	"doorcode/pkg/problem"
	"doorcode/services/auth/internal/decide"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // The time of all cases.

func settings() decide.Settings {
	return decide.Settings{
		Policy: challenge.DefaultPolicy(), Life: 10 * time.Minute, PerHour: 20, PerDay: 60, GroupPerHour: 60, GroupPerDay: 200,
		TextLife: 5 * time.Minute, NumberPerHour: 5, NumberPerDay: 10,
	}
}

func pick[T any](t *testing.T, from ...T) T {
	t.Helper()
	n, err := rand.Int(rand.Reader, big.NewInt(int64(len(from))))
	if err != nil {
		t.Fatal(err)
	}
	return from[n.Int64()]
}

// draw makes facts of all kinds.
func draw(t *testing.T) decide.Facts {
	t.Helper()
	f := decide.Facts{Now: now, Locked: pick(t, true, false, false, false)}
	f.Workspace = pick(t, nil, &account.Workspace{
		ID: "w", MainEmail: "office@example.com", Owner: pick(t, "", "anna", "bert"), GroupAddress: pick(t, true, false),
	})
	f.Login = pick(t, nil, &account.Login{Workspace: "w", ID: "anna", Email: pick(t, "", "anna@example.com", "Office@example.com")})
	for range pick(t, 0, 3, 9, 10, 19, 20) {
		f.Failures = append(f.Failures, now.Add(-time.Duration(pick(t, 1, 30, 59, 61, 600, 1439))*time.Minute))
	}
	slices.SortFunc(f.Failures, time.Time.Compare)
	return f
}

// It shows SEC-42 and SEC-45 of deploy/SECURITY.md.
func TestDecide_SendsOnlyWhereTheDirectorySays(t *testing.T) {
	t.Parallel()
	for range 5000 {
		f := draw(t)
		d, err := decide.Decide(f, settings())
		var p *problem.Problem
		if err != nil && !errors.As(err, &p) {
			t.Fatalf("%+v: %v is no problem", f, err)
		}
		hour := 0
		for _, at := range f.Failures {
			if f.Now.Sub(at) < time.Hour {
				hour++
			}
		}
		switch {
		case f.Workspace == nil:
			expect(t, f, p, 404, decide.CodeUnknownWorkspace)
		case f.Login == nil:
			expect(t, f, p, 404, decide.CodeUnknownLogin)
		case f.Locked:
			expect(t, f, p, 409, decide.CodeLoginLocked)
		case hour >= 10 || len(f.Failures) >= 20:
			expect(t, f, p, 429, decide.CodeTooMany)
			if p != nil && (p.RetryAfter <= 0 || p.RetryAfter > 24*time.Hour) {
				t.Errorf("%+v: the wait is %s", f, p.RetryAfter)
			}
		case f.Login.Email == "" && f.Workspace.Owner != "anna":
			expect(t, f, p, 409, decide.CodeNoRoute)
		case err != nil:
			t.Errorf("%+v is refused: %v", f, err)
		default:
			proven(t, f, d)
		}
	}
}

func expect(t *testing.T, f decide.Facts, p *problem.Problem, status int, code string) {
	t.Helper()
	if p == nil || p.Status != status || p.Code != code {
		t.Errorf("%+v: %v and not %s", f, p, code)
	}
}

// proven holds a decision against what may be sent.
func proven(t *testing.T, f decide.Facts, d decide.Decision) {
	t.Helper()
	if len(d.Routes) != 1 {
		t.Fatalf("%+v: %d routes", f, len(d.Routes))
	}
	r := d.Routes[0]
	own := f.Login.Email != "" && r.Recipient == f.Login.Email
	main := f.Login.Email == "" && r.Recipient == f.Workspace.MainEmail
	if !own && !main {
		t.Errorf("%+v: a code would go to %s", f, r.Recipient)
	}
	group := f.Workspace.GroupAddress && account.CompareForm(r.Recipient) == account.CompareForm(f.Workspace.MainEmail)
	if group != (r.PerHour == 60 && r.PerDay == 200) || !group != (r.PerHour == 20 && r.PerDay == 60) {
		t.Errorf("%+v: the limits are %d and %d", f, r.PerHour, r.PerDay)
	}
	if !d.CreatedAt.Equal(now) || d.ExpiresAt.Sub(now) != 10*time.Minute || d.ResendAt.Sub(now) != 30*time.Second {
		t.Errorf("%+v: the times are %+v", f, d)
	}
}
