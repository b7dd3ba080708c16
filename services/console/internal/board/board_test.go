package board_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"html"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"doorcode/pkg/health"
	"doorcode/pkg/phone"
	"doorcode/pkg/postgres"
	"doorcode/pkg/postgres/pgtest"
	"doorcode/services/console/internal/board"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// desk is the pages over a database, at a time of its own.
type desk struct {
	t     *testing.T
	pg    *pgtest.Database
	now   time.Time
	reads atomic.Int64 // how often the database was asked how far it had counted
	*postgres.DB
	*board.Board
}

// HealthAt counts how often it is asked.
func (d *desk) HealthAt(ctx context.Context) (time.Time, error) {
	d.reads.Add(1)
	return d.DB.HealthAt(ctx)
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	pg := pgtest.Open(t)
	d := &desk{t: t, pg: pg, DB: pg.Console(t), now: time.Now().UTC().Truncate(time.Minute).Add(30 * time.Second)}
	var err error
	d.Board, err = board.New(board.Config{
		Store: d, Clock: func() time.Time { return d.now }, CallingCode: phone.CallingCode,
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// counted says that messages are counted up to now.
func (d *desk) counted() {
	d.pg.Exec(d.t, `INSERT INTO channel_rounds (minute, counted_at) VALUES ($1, now())`, d.now.Truncate(time.Minute))
}

// minutes records messages of each minute from one ago to another, of each code of which so many percent were typed.
func (d *desk) minutes(channel, provider, destination string, from, to time.Duration, codes, percent int) {
	d.t.Helper()
	bins := make([]int, health.Bins)
	bins[1] = codes
	d.pg.Exec(d.t, `INSERT INTO channel_minutes
		SELECT m, $1, $2, $3, $6, $6, $6, 0, $6, $6::int * $7::int / 100, $8::int[], $8::int[]
		  FROM generate_series($4::timestamptz, $5::timestamptz - interval '1 minute', interval '1 minute') AS m`,
		channel, provider, destination, d.now.Truncate(time.Minute).Add(-from), d.now.Truncate(time.Minute).Add(-to), codes, percent, bins)
}

// text is what a page says, without its tags.
func text(p board.Page) string {
	plain := regexp.MustCompile(`<[^>]*>`).ReplaceAllString(string(p.Body), " ")
	return strings.Join(strings.Fields(html.UnescapeString(plain)), " ")
}

// health reads the page of channel health.
func (d *desk) health() board.Page {
	d.t.Helper()
	p, err := d.Health(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	return p
}

// product.md 2.6, steps 1 and 2: what is wrong stands first, in words, against what is usual at this hour.
func TestHealth_SaysWhatIsWrongAgainstTheUsual(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.counted()
	for days := 1; days <= 7; days++ {
		ago := time.Duration(days) * 24 * time.Hour
		d.minutes("sms", "vonage", "ES", ago+time.Hour, ago, 100, 93)
		d.minutes("sms", "vonage", "FR", ago+time.Hour, ago, 100, 93)
		d.minutes("sms", "vonage", "ES", ago+2*time.Hour, ago+time.Hour, 100, 10) // Another hour is not what is usual.
	}
	d.minutes("sms", "vonage", "ES", 13*time.Minute, 0, 100, 41)
	d.minutes("sms", "vonage", "FR", 13*time.Minute, 0, 100, 95)
	d.minutes("email", "sendgrid", "gmail", 2*time.Minute, 0, 1, 0)
	d.minutes("email", "sendgrid", "other", 30*time.Hour, 25*time.Hour, 100, 0) // Longer ago than anything is shown of.
	d.pg.Exec(t, `INSERT INTO channel_queues VALUES ('sms', $1, 3, $2), ('email', $1, 0, NULL)`, d.now, d.now.Add(-130*time.Second))
	said := text(d.health())
	for _, want := range []string{
		"bad – SMS to +34 (ES) by vonage: verified share 41 %, usual 93 %",
		"SMS to +33 (FR) by vonage fine – as usual",
		"3 waiting for the first call, the oldest for 2m10s.",
		"Nothing waits for its first call.",
		"E-mail to gmail by sendgrid quiet – 2 sent: too few to judge",
		"10 min 1000 100 % 100 % 41 % 0 % under 2 s, under 2 s under 2 s, under 2 s",
		"10 min 2 2 of 2 2 of 2 none none",
		"Counted up to " + d.now.Format("2006-01-02 15:04") + " UTC",
		"of the codes accepted: the code was typed and no further message had been needed",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
	if strings.Contains(said, "other domains") || strings.Contains(said, "old") && strings.Contains(said, "Nobody has counted") {
		t.Error("it shows what is long past")
	}
	if strings.Index(said, "SMS to +34 (ES) by vonage bad") > strings.Index(said, "SMS to +33 (FR) by vonage fine") {
		t.Error("the worst does not stand first")
	}
	if strings.Contains(said, "NaN") || strings.Contains(said, "Inf") {
		t.Error("a share of nothing is a number")
	}
}

func TestHealth_SaysThatItKnowsNothing(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	said := text(d.health())
	for _, want := range []string{"Nothing was counted yet.", "quiet – nothing was sent in the last 24 hours", "How much waits for its first call is not known at the moment."} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
	d.pg.Exec(t, `INSERT INTO channel_rounds (minute, counted_at) VALUES ($1, now())`, d.now.Add(-6*time.Minute))
	d.pg.Exec(t, `INSERT INTO channel_queues VALUES ('sms', $1, 0, NULL)`, d.now.Add(-6*time.Minute))
	d.now = d.now.Add(board.Keep)
	said = text(d.health())
	if !strings.Contains(said, "Nobody has counted for more than five minutes") || strings.Contains(said, "Nothing waits") {
		t.Errorf("old figures look new:\n%s", said)
	}
}

// However many look, the database is asked once a minute; and what failed is asked again.
func TestHealth_IsReadOnceAMinute(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := d.Health(ended)
	if err == nil {
		t.Error("figures were read without a database")
	}
	before := d.reads.Load()
	for range 5 {
		d.health()
	}
	if n := d.reads.Load() - before; n != 1 {
		t.Errorf("the database was asked %d times", n)
	}
	d.now = d.now.Add(board.Keep)
	d.health()
	if n := d.reads.Load() - before; n != 2 {
		t.Errorf("a minute later it was asked %d times", n)
	}
}

func TestPictures_AreOfThePagesFigures(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.counted()
	d.minutes("sms", "vonage", "ES", 23*time.Hour, 0, 10, 40)
	d.minutes("sms", "vonage", "FR", 23*time.Hour, 0, 30, 80)
	drawn := pictures(t, d.health())
	if len(drawn) != 2 {
		t.Fatalf("%d pictures", len(drawn))
	}
	for _, picture := range drawn {
		for _, want := range []string{">all 70 %<", ">+34 (ES) 40 %<", ">+33 (FR) 80 %<"} {
			if !strings.Contains(picture, want) {
				t.Errorf("it does not show %s", want)
			}
		}
	}
	if said := text(d.health()); !strings.Contains(said, "70 % 80 % 40 %") && !strings.Contains(said, "70 % 40 % 80 %") {
		t.Errorf("the table does not have the picture's figures:\n%s", said)
	}
}

// pictures are those that a page holds.
func pictures(t *testing.T, p board.Page) []string {
	t.Helper()
	var all []string
	for _, found := range regexp.MustCompile(`data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)`).FindAllStringSubmatch(html.UnescapeString(string(p.Body)), -1) {
		picture, err := base64.StdEncoding.DecodeString(found[1])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(picture))
	}
	return all
}

func TestRollout_ShowsStagesThatAddUpWavesAndEnds(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.pg.Exec(t, `INSERT INTO workspaces (id, name, main_email, owner, mac_key, mac)
		SELECT 'ws' || i, 'W', 'office' || i || '@example.com', 'anna', 1, 'x' FROM generate_series(1, 40) i`)
	d.pg.Exec(t, `INSERT INTO rollout_waves (id, announce_at, grace_at, enforce_at, skips, paused_at, reason, mac_key, mac) VALUES
		('first', now() - interval '3 days', now() - interval '2 days', now() - interval '1 day', 3, NULL, '', 1, 'x'),
		('second', now() - interval '2 days', now() - interval '1 day', now() + interval '7 days', 3, now() - interval '1 hour', 'codes come late <b>', 1, 'x')`)
	d.pg.Exec(t, `INSERT INTO rollout_places (workspace, wave, joined_at, mac_key, mac)
		SELECT 'ws' || i, CASE WHEN i <= 10 THEN 'first' ELSE 'second' END, now() - interval '9 days', 1, 'x' FROM generate_series(1, 30) i`)
	d.pg.Exec(t, `INSERT INTO rollout_exemptions VALUES ('ws40', '', 'contract', 'kim', 'sam', now(), now() + interval '5 days', 1, 'x'),
		('ws39', 'anna', 'unreachable', 'kim', 'sam', now(), now() + interval '2 days', 1, 'x')`)
	d.pg.Exec(t, `INSERT INTO rollout_holds (wave, held_at, gates, reason) VALUES ('first', now() - interval '36 hours', '{bounce}', 'bounces 4 %')`)
	d.pg.Exec(t, `INSERT INTO rollout_gates VALUES ('bounce', 'failed', 'bounces 4 % of 900 mails', now()), ('verified_share', 'open', '98 %', now())`)
	d.pg.Exec(t, `INSERT INTO sign_ins (workspace, login, ended_at, challenge_id, started_at, channel, outcome)
		SELECT 'ws1', 'anna', now(), 'c' || i, now(), 'email', CASE WHEN i <= 5 THEN 'expired' ELSE 'approved' END FROM generate_series(1, 100) i`)
	p, err := d.Rollout(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	said := text(p)
	for _, want := range []string{
		"40 workspaces by stage", "scheduled 0 0 %", "announced 0 0 %", "grace 30 75 %", "enforced 9 23 %", "exempt 1 3 %", "all 40",
		"first grace held by a gate since", ": bounces 4 %", "verified share: open – 98 %", "bounce: failed – bounces 4 % of 900 mails",
		"second grace paused since", ": codes come late <b>", "95 %", "ws39 anna", "ws40 all", "contract kim sam",
		"every workspace is in exactly one, so they add up to all workspaces",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
	if strings.Contains(string(p.Body), "late <b>") {
		t.Error("what an operator typed becomes a part of the page")
	}
	for _, picture := range pictures(t, p) {
		if !strings.Contains(picture, ">grace 30<") {
			t.Errorf("the picture is %s", picture)
		}
	}
	if fmt.Sprint(p.Reload) != "60" {
		t.Errorf("it reloads after %d s", p.Reload)
	}
}

func TestNew_RefusesAPartThatIsMissing(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]board.Config{
		"nothing": {}, "no codes": {Store: &desk{}, Clock: time.Now},
	} {
		_, err := board.New(cfg)
		if err == nil {
			t.Errorf("%s: pages are made", name)
		}
	}
}
