package app_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/keyring"
	"doorcode/pkg/postgres"
	"doorcode/pkg/rollout"
	"doorcode/services/doorcodectl/app"
)

const day = 24 * time.Hour

// rollingOut is an installation with workspaces of one login each.
type rollingOut struct{ *registry }

func rollOut(t *testing.T, workspaces ...string) rollingOut {
	t.Helper()
	r := rollingOut{newRegistry(t)}
	by := postgres.Change{By: "front"}
	for _, id := range workspaces {
		_, err := r.directory.PutWorkspace(t.Context(), by, account.Workspace{ID: id, Name: id, MainEmail: "office@" + id + ".example", Owner: "anna"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.directory.PutLogin(t.Context(), by, account.Login{Workspace: id, ID: "anna", Role: account.Owner})
		if err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// says runs a command of the roll-out, written in words, in robin's name.
func (r rollingOut) says(t *testing.T, words string, more ...string) string {
	t.Helper()
	return r.do(t, append(append([]string{"rollout"}, strings.Fields(words)...), append(more, "-operator", "robin")...)...)
}

// refuses runs one that has to fail.
func (r rollingOut) refuses(t *testing.T, code int, why, words string, more ...string) {
	t.Helper()
	r.refused(t, code, why, append(append([]string{"rollout"}, strings.Fields(words)...), append(more, "-operator", "robin")...)...)
}

// shows is what the command shows without blanks in rows.
func (r rollingOut) shows(t *testing.T, args ...string) string {
	t.Helper()
	return regexp.MustCompile(` {2,}`).ReplaceAllString(r.do(t, append([]string{"rollout", "show"}, args...)...), " ")
}

// decides is what auth decides of the login of a workspace, in a browser that it does not know.
func (r rollingOut) decides(t *testing.T, workspace string) rollout.Decision {
	t.Helper()
	f, err := r.directory.RolloutFacts(t.Context(), workspace, "anna", nil)
	if err != nil {
		t.Fatal(err)
	}
	return rollout.Decide(f)
}

// list writes a file of ids.
func (r rollingOut) list(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "workspaces")
	err := os.WriteFile(path, []byte(text), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// age moves the dates of a wave back, with the MAC that the command would have made then.
func (r rollingOut) age(t *testing.T, id string, by time.Duration) {
	t.Helper()
	rows, err := keyring.Read(app.KeyFile(filepath.Join(r.dir, "keys"), app.RowKeys))
	if err != nil {
		t.Fatal(err)
	}
	var dates [3]time.Time
	var skips int
	r.db.Scan(t, `SELECT announce_at, grace_at, enforce_at, skips FROM rollout_waves WHERE id = $1`, []any{id}, &dates[0], &dates[1], &dates[2], &skips)
	pairs := [][]byte{[]byte("id"), []byte(id)}
	for i, name := range []string{"announce_at", "grace_at", "enforce_at"} {
		dates[i] = dates[i].UTC().Add(-by)
		pairs = append(pairs, []byte(name), []byte(dates[i].Format(time.RFC3339Nano)))
	}
	key, mac := rows.MAC("doorcode row rollout_waves v1", append(pairs, []byte("skips"), fmt.Append(nil, skips))...)
	r.db.Exec(t, `UPDATE rollout_waves SET announce_at = $2, grace_at = $3, enforce_at = $4, mac_key = $5, mac = $6 WHERE id = $1`,
		id, dates[0], dates[1], dates[2], key, mac)
}

// in is a time that many days from now, as an operator in Amsterdam writes it.
func in(days int) string {
	return time.Now().Add(time.Duration(days) * day).In(time.FixedZone("", 2*60*60)).Format(time.RFC3339)
}

// A first roll-out, from the first wave until it is enforced.
func TestRollout_GoesFromTheFirstWaveToEnforcement(t *testing.T) {
	t.Parallel()
	r := rollOut(t, "acme", "globex", "initech")
	contains(t, r.shows(t), "scheduled 0\n", "enforced 3\n", "all workspaces 3\n")
	contains(t, r.shows(t, "-workspace", "acme"), "acme: enforced\n", "in no wave")

	contains(t, r.says(t, "wave -id pilot -announce "+in(2)+" -grace "+in(9)+" -enforce "+in(16)), "pilot: made; scheduled; announced ", "3 skips", "yours to send")
	list := r.list(t, r.do(t, "rollout", "join", "-wave", "pilot", "-workspaces", r.list(t, "globex\nacme\n"), "-preview"))
	if data := string(read(t, list)); !strings.HasPrefix(data, "acme\nglobex\n# pilot: 2 workspaces would join, SHA-256 ") {
		t.Errorf("the preview is %q", data)
	}
	contains(t, r.shows(t), "pilot scheduled ", " 3 0", "enforced 3\n")
	contains(t, r.says(t, "join -wave pilot -workspaces", list), "pilot: 2 workspaces joined, SHA-256 ")
	if d := r.decides(t, "acme"); d.Why != rollout.WhyNotYet {
		t.Errorf("auth decides %+v", d)
	}
	contains(t, r.says(t, "wave -id rest -announce "+in(30)+" -grace "+in(37)+" -enforce "+in(44)+" -skips 0"), "0 skips")
	share := r.do(t, "rollout", "join", "-wave", "rest", "-percent", "100", "-preview")
	contains(t, share, "initech\n# rest: 1 workspaces would join")
	contains(t, r.says(t, "join -wave rest -percent 100"), "rest: 1 workspaces joined")
	contains(t, r.says(t, "leave -wave rest -workspaces", r.list(t, "initech")), "rest: 1 workspaces left", "a code is required there")
	contains(t, r.says(t, "join -wave rest -percent 100"), "rest: 1 workspaces joined")
	contains(t, r.shows(t), "pilot scheduled ", "rest scheduled ", "scheduled 3\n", "enforced 0\n", "all workspaces 3\n")

	r.age(t, "pilot", 3*day)
	contains(t, r.shows(t), "pilot announced ", "scheduled 1\nannounced 2\n")
	r.refuses(t, 1, "dates move later alone, and nobody joins or leaves", "join -wave pilot -percent 100")
	r.refuses(t, 1, "dates move later alone, and nobody joins or leaves", "leave -wave pilot -workspaces", list)
	r.refuses(t, 1, "dates move later alone", "wave -id pilot -enforce "+in(10))
	contains(t, r.says(t, "wave -id pilot -enforce "+in(20)), "pilot: moved; announced; ")
	contains(t, r.says(t, "pause -wave pilot -reason", "mail bounces"), "pilot: paused; announced; ", "paused since ", ": mail bounces\n")
	contains(t, r.shows(t), "paused since ", ": mail bounces\n")
	r.refuses(t, 1, "the wave is paused", "pause -wave pilot -reason again")
	contains(t, r.says(t, "resume -wave pilot"), "pilot: goes on; announced; ")
	r.age(t, "pilot", 7*day)
	contains(t, r.shows(t, "-workspace", "acme"), "acme: grace\nwave pilot: grace; ", "it joined ")
	r.age(t, "pilot", 14*day)
	contains(t, r.shows(t), "pilot enforced ", "enforced 2\n", "all workspaces 3\n")
	r.refuses(t, 1, "the wave is enforced", "pause -wave pilot -reason late")
	if d := r.decides(t, "acme"); d.Kind != rollout.Required {
		t.Errorf("auth decides %+v", d)
	}
	r.onRecord(t, "wave_made 2, workspaces_joined 3, joined 4, workspaces_left 1, left 1, wave_moved 1, wave_paused 1, wave_resumed 1")
}

// onRecord compares how many records there are of each kind, and that all name the operator and no address.
func (r rollingOut) onRecord(t *testing.T, want string) {
	t.Helper()
	for one := range strings.SplitSeq(want, ", ") {
		kind, count, _ := strings.Cut(one, " ")
		var n int
		r.db.Scan(t, `SELECT count(*) FROM audit WHERE kind = 'rollout.v1.' || $1 AND actor = 'doorcodectl' AND detail->>'operator' = 'robin'`, []any{kind}, &n)
		if fmt.Sprint(n) != count {
			t.Errorf("%s is on record %d times, not %s", kind, n, count)
		}
	}
	var kinds, addresses int
	r.db.Scan(t, `SELECT count(DISTINCT kind), count(*) FILTER (WHERE strpos(detail::text, '@') > 0) FROM audit WHERE kind LIKE 'rollout.v1.%'`, nil, &kinds, &addresses)
	if kinds != len(strings.Split(want, ", ")) || addresses > 0 {
		t.Errorf("%d kinds, and %d records hold an address", kinds, addresses)
	}
}

func TestRollout_ExemptsForATimeByTwoPeople(t *testing.T) {
	t.Parallel()
	r := rollOut(t, "acme")
	const good = "exempt -workspace acme -reason unreachable -for 72h -requested-by kim -approved-by sam"
	contains(t, r.says(t, good+" -login anna"), "login anna of acme: exempt until ", ": unreachable, asked for by kim, approved by sam\n")
	contains(t, r.says(t, strings.Replace(good, "72h", "2160h", 1)), "acme: exempt until ")
	contains(t, r.shows(t, "-workspace", "acme"), "acme: exempt\nit is in no wave", "\nexempt until ", "\nlogin anna: exempt until ")
	contains(t, r.shows(t), "exempt 1\nall workspaces 1\n")
	for why, words := range map[string]string{
		"72 hours for a login":         strings.Replace(good, "72h", "73h", 1) + " -login anna",
		"within 90 days":               strings.Replace(good, "72h", "2161h", 1),
		"an end within":                strings.Replace(good, "-for 72h", "", 1),
		"two people":                   strings.Replace(good, "sam", "Kim", 1),
		"-approved-by is missing":      strings.Replace(good, "-approved-by sam", "", 1),
		"-requested-by is missing":     strings.Replace(good, "-requested-by kim", "", 1),
		"-reason is one of [single_si": strings.Replace(good, "unreachable", "emergency_account", 1),
		"-workspace is missing":        strings.Replace(good, "-workspace acme", "", 1),
		"holds no address":             strings.Replace(good, "sam", "sam@example.com", 1),
		"-login: an id has 1 to 64":    good + " -login a/b",
	} {
		r.refuses(t, 2, why, words)
	}
	r.refuses(t, 1, "unknown login", good+" -login bert")
	r.refuses(t, 1, "unknown workspace", strings.Replace(good, "acme", "hooli", 1))
	contains(t, r.says(t, "end-exemption -workspace acme -login anna"), "login anna of acme: no longer exempt\n")
	contains(t, r.says(t, "end-exemption -workspace acme"), "acme: no longer exempt\n")
	r.refuses(t, 1, "there is no exemption", "end-exemption -workspace acme")
	contains(t, r.shows(t, "-workspace", "acme"), "acme: enforced\n")
	r.onRecord(t, "exempted 2, exemption_ended 2")
}

func TestRollout_SaysWhatItDoesNotTake(t *testing.T) {
	t.Parallel()
	r := rollOut(t, "acme")
	const dates = " -announce 2101-01-01T09:00:00Z -grace 2101-01-08T09:00:00Z -enforce 2101-01-15T09:00:00Z"
	r.says(t, "wave -id one"+dates)
	r.says(t, "wave -id two"+dates)
	contains(t, r.says(t, "wave -id one"+dates), "one: it is so already; scheduled; ")
	for why, words := range map[string]string{
		"-id is missing":                         "wave" + dates,
		"-id: an id has 1 to 64":                 "wave -id a/b" + dates,
		"a date, a time of day and a zone":       "wave -id one -grace 2101-01-08T09:00:00",
		"skips are 0 to 100":                     "wave -id one -skips 101",
		"a new one needs -announce, -grace and":  "wave -id three -announce 2101-01-01T09:00:00Z",
		"-wave is missing":                       "join -percent 1",
		"takes either -workspaces or -percent":   "join -wave one",
		"either -workspaces or -percent":         "join -wave one -percent 1 -workspaces -",
		"above 0 and up to 100":                  "join -wave one -percent 101",
		"-percent: a percentage":                 "join -wave one -percent -1 -preview",
		"-workspaces is missing":                 "leave -wave one",
		"-reason is missing":                     "pause -wave one",
		"rollout resume: -wave is missing":       "resume",
		"stays on record and holds no address":   "pause -wave one -reason bob@example.com",
		"at most 200 printable characters":       "pause -wave one -reason a\x1b[2J",
		"rollout wave takes 0 words":             "wave one",
		"rollout end-exemption: -workspace is m": "end-exemption",
	} {
		r.refuses(t, 2, why, words)
	}
	for _, words := range []string{
		"wave -id one" + dates, "join -wave one -percent 1", "leave -wave one -workspaces -", "pause -wave one -reason r", "resume -wave one",
		"exempt -workspace acme -reason contract -for 1h -requested-by a -approved-by b", "end-exemption -workspace acme",
	} {
		r.refused(t, 2, "-operator is missing", append([]string{"rollout"}, strings.Fields(words)...)...)
	}
	for why, words := range map[string]string{
		"in the order announcement, grace, enforcement": "wave -id one -grace 2100-01-01T09:00:00Z",
		"would lie in the past":                         "wave -id one -announce 2001-01-01T09:00:00Z",
		"unknown wave":                                  "pause -wave three -reason r",
		"the wave is not paused":                        "resume -wave one",
		"read the workspaces":                           "join -wave one -workspaces /nowhere",
		"the file names no workspace":                   "join -wave one -workspaces " + r.list(t, "# none\n"),
		"unknown workspace: hooli":                      "join -wave one -workspaces " + r.list(t, "acme\nhooli\n"),
		"not in the wave: acme":                         "leave -wave one -workspaces " + r.list(t, "acme\n"),
		`0-9 . _ ~ -: "a b"`:                            "join -wave one -workspaces " + r.list(t, "acme\na b\n"),
	} {
		r.refuses(t, 1, why, words)
	}
	r.says(t, "join -wave two -percent 100")
	r.refuses(t, 1, "in another wave already: acme", "join -wave one -workspaces "+r.list(t, "acme"))
	r.refused(t, 1, "unknown workspace", "rollout", "show", "-workspace", "hooli")
}

// What somebody has edited is shown as it counts, and names itself.
func TestRollout_ShowsWhatWasEdited(t *testing.T) {
	t.Parallel()
	r := rollOut(t, "acme", "globex")
	r.says(t, "wave -id one -announce "+in(2)+" -grace "+in(9)+" -enforce "+in(16))
	r.says(t, "join -wave one -percent 100")
	r.says(t, "exempt -workspace globex -login anna -reason contract -for 1h -requested-by kim -approved-by sam")
	r.db.Exec(t, `UPDATE rollout_places SET joined_at = joined_at + interval '1 day' WHERE workspace = 'acme'`)
	r.db.Exec(t, `UPDATE rollout_exemptions SET until = until + interval '1 day'`)
	contains(t, r.shows(t), "scheduled 1\n", "enforced 1\n", "all workspaces 2\n", "1 of the enforced are so because a row about them is not as it was written\n")
	contains(t, r.shows(t, "-workspace", "acme"), "acme: enforced\na row of rollout_places is not as it was written")
	contains(t, r.shows(t, "-workspace", "globex"), "globex: scheduled\n", "login anna: the row of its exemption is not as it was written")
	r.db.Exec(t, `UPDATE rollout_waves SET skips = 100`)
	contains(t, r.shows(t), "one enforced ", " 2 not as it was written\n", "enforced 2\n")
	r.refuses(t, 1, "a row of rollout_waves is not as it was written", "pause -wave one -reason r")
}

// A wave that a gate holds says so wherever it is shown, and goes on by a person's word alone.
func TestRollout_ShowsGatesAndHasAHeldWaveGoOn(t *testing.T) {
	t.Parallel()
	r := rollOut(t, "acme")
	r.refused(t, 1, "the gates were never judged", "rollout", "gates")
	r.says(t, "wave -id one -announce "+in(2)+" -grace "+in(9)+" -enforce "+in(16))
	r.says(t, "join -wave one -percent 100")
	r.db.Exec(t, `INSERT INTO rollout_gates (gate, light, sentence, judged_at)
		VALUES ('bounce', 'failed', 'bounces 2 % of 300 mails', '2026-09-01'), ('verified_share', 'open', 'verified share 98 %', '2026-09-01')`)
	r.db.Exec(t, `SELECT hold_waves('{one}', '{bounce}', 'bounces 2 % of 300 mails', '{}')`)
	const held = "held by a gate since "
	contains(t, r.shows(t), held, ": bounces 2 % of 300 mails", "\ngates at 2026-09-01T00:00:00Z: verified_share open bounce failed\n", "scheduled 1\n")
	contains(t, r.shows(t, "-workspace", "acme"), held)
	contains(t, r.do(t, "rollout", "gates"), "judged 2026-09-01T00:00:00Z;", "verified_share: open: verified share 98 %\nbounce: failed: bounces 2 % of 300 mails\nwave one; "+held)
	r.refuses(t, 1, "to have it go on needs a reason", "resume -wave one")
	contains(t, r.says(t, "resume -wave one -reason", "the provider was changed"), "one: goes on; scheduled; ")
	if got := r.shows(t); strings.Contains(got, held) {
		t.Errorf("it goes on, and shows %s", got)
	}
}
