package app_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/postgres"
	"doorcode/pkg/rollout"
)

// planOf writes a plan of two waves: one workspace by name, then all others.
const planOf = `{"waves": [
  {"id": "staff", "announce_at": "2026-09-01T09:00:00+02:00", "grace_at": "2026-09-01T09:00:00+02:00", "enforce_at": "2026-09-08T09:00:00+02:00", "skips": 0, "workspaces": ["acme"]},
  {"id": "rest", "announce_at": "2026-09-08T09:00:00+02:00", "grace_at": "2026-09-15T09:00:00+02:00", "enforce_at": "2026-09-22T09:00:00+02:00", "percent": 100}
]}
`

// simulates is what a simulation shows, with one blank between the columns.
func (o *operator) simulates(t *testing.T, words string) string {
	t.Helper()
	return regexp.MustCompile(` {2,}`).ReplaceAllString(o.do(t, append([]string{"rollout", "simulate"}, strings.Fields(words)...)...), " ")
}

// line is the one that begins so.
func line(t *testing.T, text, begin string) string {
	t.Helper()
	for one := range strings.Lines(text) {
		if strings.HasPrefix(one, begin) {
			return strings.TrimSuffix(one, "\n")
		}
	}
	t.Errorf("no line begins with %q in %s", begin, text)
	return ""
}

// A plan is played without a database, and without anything else that belongs to an installation.
func TestRolloutSimulate_PlaysAPlanOverMadeUpWorkspaces(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	plan := o.keep(t, "plan.json", planOf)
	o.secrets = nil // A plan is none.
	const all = 20_000
	words := fmt.Sprintf("-plan %s -synthetic %d -sms-cap 500 -mails-per-hour 1000000", plan, all)
	out := o.simulates(t, words)
	contains(t, out, "20000 workspaces were made up from seed 1; ", "\n500 text messages a day are TOO FEW on ", ", the first 2026-09-15 with ",
		"\n1000000 e-mails an hour are enough: the most is ", "\nthe busiest hour sends ", " logins would be blocked, among them all of ", "\n and ", "nothing was changed")
	for day, stages := range map[string]string{
		"2026-09-01": "20000 0 0 0 0 0 0 ", "2026-09-08": "0 20000 0 0 0 0 0 ", "2026-09-15": "0 0 20000 0 0 ", "2026-09-22": "0 0 0 20000 0 ", "2026-10-06": "0 0 0 20000 0 ",
	} {
		if got := line(t, out, day); !strings.HasPrefix(got, day+" "+stages) {
			t.Errorf("%q and not %q", got, stages)
		}
	}
	if got := strings.Count(out, "\n from "); got != rollout.ShownBlocked {
		t.Errorf("%d logins are named", got)
	}
	if again := o.simulates(t, words+" -seed 1"); again != out {
		t.Error("the same seed shows something else")
	}
	if other := o.simulates(t, words+" -seed 2"); other == out {
		t.Error("another seed shows the same")
	}
	short := o.simulates(t, words+" -from 2026-09-20 -days 2")
	if strings.Count(short, "\n2026-") != 2 || !strings.Contains(short, "\n2026-09-20 0 0 20000 0 0 ") {
		t.Errorf("two days are %s", short)
	}
}

// signsIn puts a sign-in of two hours ago on record, in each of four weeks, and returns the hour.
func (r rollingOut) signsIn(t *testing.T, workspace, login string) time.Time {
	t.Helper()
	at := time.Now().UTC().Truncate(time.Hour).Add(-2 * time.Hour)
	for week := range 4 {
		r.db.Exec(t, `INSERT INTO sign_ins (workspace, login, ended_at, challenge_id, started_at, channel, outcome, browser)
			VALUES ($1, $2, $3, $4, $3, 'email', 'approved', 'b')`, workspace, login, at.Add(-time.Duration(week)*7*day), fmt.Sprint(login, week))
	}
	return at
}

// rows counts those of every table that a simulation reads, and of the audit.
func (r rollingOut) rows(t *testing.T) string {
	t.Helper()
	var n string
	r.db.Scan(t, `SELECT concat_ws(' ', (SELECT count(*) FROM audit), (SELECT count(*) FROM outbox), (SELECT sum(xmin::text::bigint) FROM rollout_waves),
		(SELECT sum(xmin::text::bigint) FROM rollout_places), (SELECT sum(xmin::text::bigint) FROM workspaces), (SELECT sum(xmin::text::bigint) FROM logins),
		(SELECT count(*) FROM sign_ins))`, nil, &n)
	return n
}

func TestRolloutSimulate_PlaysTheRecordedPastAndChangesNothing(t *testing.T) {
	t.Parallel()
	r := rollOut(t, "acme", "globex", "initech")
	by := postgres.Change{By: "front"}
	_, err := r.directory.PutLogin(t.Context(), by, account.Login{Workspace: "globex", ID: "carl", Role: account.Member})
	if err != nil {
		t.Fatal(err)
	}
	contains(t, r.simulates(t, "-days 1"), "no sign-in is on record", "3 workspaces with 4 logins; to 3 logins nothing but", "no e-mails are sent\n")
	at := r.signsIn(t, "acme", "anna")
	r.signsIn(t, "globex", "carl")
	r.says(t, "wave -id one -announce "+in(2)+" -grace "+in(9)+" -enforce "+in(16)+" -skips 1")
	r.says(t, "join -wave one -workspaces", r.list(t, "acme\nglobex\n"))
	before := r.rows(t)

	// As the waves are: initech is in none.
	today := time.Now().UTC().Truncate(day)
	dayOf := func(days int) string { return today.Add(time.Duration(days) * day).Format(time.DateOnly) }
	out := r.simulates(t, "-from "+dayOf(0))
	contains(t, out, "sign-ins are on record since ", "\n"+dayOf(0)+" 2 0 0 1 0 ", "\n"+dayOf(3)+" 0 2 0 1 0 ", "\n"+dayOf(10)+" 0 0 2 1 0 ", "\n"+dayOf(17)+" 0 0 0 3 0 ",
		"1 logins would be blocked, among them all of 0 workspaces", " on login carl of globex: no address and no number leads to it\n")
	// The day of the week on which they sign in, after the enforcement: one mail for anna, none for carl.
	busy := at.Truncate(day).Add(4 * 7 * day)
	if busy.Sub(today) > 30*day || busy.Sub(today) < 18*day {
		t.Fatalf("%v is none of the days that are played", busy)
	}
	want := fmt.Sprintf("%s 0 0 0 3 0 2 0 0 1 1 at %02d:00 0 -", busy.Format(time.DateOnly), at.Hour())
	if got := line(t, out, busy.Format(time.DateOnly)); got != want {
		t.Errorf("%q and not %q", got, want)
	}
	// By a plan instead, which holds all of them.
	plan := r.list(t, planOf)
	out = r.simulates(t, "-plan "+plan)
	contains(t, out, "\n2026-09-01 2 0 1 0 0 ", "\n2026-09-08 0 2 0 1 0 ", "\n2026-09-22 0 0 0 3 0 ", "from 2026-09-22 on login carl of globex")
	// The waves' shares of other workspaces.
	out = r.simulates(t, "-synthetic 3000 -from "+dayOf(0))
	stages := strings.Fields(line(t, out, dayOf(0)))
	var scheduled, enforced int
	_, err = fmt.Sscan(strings.Join([]string{stages[1], stages[4]}, " "), &scheduled, &enforced)
	if err != nil || scheduled+enforced != 3000 || scheduled < 1900 || scheduled > 2100 {
		t.Errorf("of three thousand, two thirds are in the wave: %v", stages)
	}
	if after := r.rows(t); after != before {
		t.Errorf("the rows were %s and are %s", before, after)
	}
}

func TestRolloutSimulate_SaysWhatItDoesNotTake(t *testing.T) {
	t.Parallel()
	r := rollOut(t, "acme")
	for why, words := range map[string]string{
		"-synthetic is 1 to 10000000":         "-synthetic 0",
		"-days is 1 to 366":                   "-days 367",
		"-sms-cap is 1 to":                    "-sms-cap -1",
		"-mails-per-hour is 1 to":             "-mails-per-hour 0",
		"-seed goes with -synthetic":          "-seed 2",
		"-no-texts goes with the recorded pa": "-no-texts -synthetic 1",
		"a time is of RFC 3339":               "-from monday",
		"1 to 366 days of after 1970":         "-from 1960-01-01",
		"rollout simulate takes 0 words":      "plan.json",
	} {
		r.refused(t, 2, why, append([]string{"rollout", "simulate"}, strings.Fields(words)...)...)
	}
	one := strings.Split(planOf, "\n")[1]
	for why, plan := range map[string]string{
		`unknown field "percents"`:            strings.Replace(planOf, `"percent"`, `"percents"`, 1),
		"something follows the plan":          planOf + "{}",
		"it has no wave":                      "{}",
		"the order announcement, grace":       strings.Replace(planOf, "2026-09-22", "2026-09-02", 1),
		"a percentage is a number above 0":    strings.Replace(planOf, `100`, `101`, 1),
		"takes either the workspaces that":    strings.Replace(planOf, `"percent": 100`, `"percent": 1, "workspaces": ["globex"]`, 1),
		"wave staff: acme: a plan has each":   `{"waves": [` + one + strings.TrimSuffix(one, ",") + `]}`,
		`0-9 . _ ~ -: "a b"`:                  strings.Replace(planOf, "acme", "a b", 1),
		"its skips are not 0 to 100":          strings.Replace(planOf, `"skips": 0`, `"skips": 101`, 1),
		"read the plan: it is larger than 16": strings.Replace(planOf, "{", "{"+strings.Repeat(" ", 16<<20), 1),
	} {
		r.refused(t, 1, why, "rollout", "simulate", "-synthetic", "1", "-plan", r.list(t, plan))
	}
	r.refused(t, 1, "read the plan: open /nowhere", "rollout", "simulate", "-plan", "/nowhere")
	r.refused(t, 1, "no workspace is in a wave", "rollout", "simulate", "-synthetic", "1")
}

// The plan that the README shows is one.
func TestRolloutSimulate_TakesThePlanOfTheREADME(t *testing.T) {
	t.Parallel()
	_, plan, found := strings.Cut(string(read(t, "../../../README.md")), "```json\n{\"waves\": [")
	plan, _, closed := strings.Cut(plan, "```")
	if !found || !closed {
		t.Fatal("the README shows no plan")
	}
	o := newOperator(t)
	path := o.keep(t, "plan.json", `{"waves": [`+plan)
	o.secrets = nil
	contains(t, o.simulates(t, "-synthetic 100 -plan "+path), "\n2026-09-01 ", "\n2026-10-20 0 0 0 100 0 ")
}
