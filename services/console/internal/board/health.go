package board

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"doorcode/pkg/delivery"
	"doorcode/pkg/health"
	"doorcode/pkg/postgres"
	"doorcode/services/console/internal/chart"
)

// How long the picture goes back, and the steps of its lines: the longer one when little is sent.
const (
	day      = 24 * time.Hour
	step     = 10 * time.Minute
	longStep = time.Hour
	weekDays = 7
)

// staleAfter is how old figures may be before the page says that nobody counts.
const staleAfter = 5 * time.Minute

// healthPage is what the page of channel health shows.
type healthPage struct {
	At          time.Time // up to when messages are counted; zero: never
	Stale       bool      // nobody has counted for a while
	Channels    []channel
	Definitions []health.Definition
}

// channel is one channel with the ways of its messages, the worst first.
type channel struct {
	ID, Name string
	State    health.State
	Words    string
	Queue    string
	Ways     []way
	Lines    []string // the names of the picture's lines
	Hours    []hour   // their figures, by the hour
	Picture  *picture
}

// way is a row of the table.
type way struct {
	Name    string // what is sent where, by whom
	Verdict health.Verdict
	Windows []window
	sent    int // within the longest window
	of      health.Way
}

// window are the figures of one length of time.
type window struct {
	Name string
	health.Figures
}

// hour are the verified shares of one hour, in the order of the picture's lines.
type hour struct {
	At     time.Time
	Shares []health.Share
}

// sums are counts by way.
type sums map[health.Way]health.Counts

// readHealth reads and judges everything.
func (b *Board) readHealth(ctx context.Context) (healthPage, error) {
	p := healthPage{Definitions: health.Definitions()}
	var err error
	p.At, err = b.cfg.Store.HealthAt(ctx)
	if err != nil {
		return p, err
	}
	p.Stale = b.cfg.Clock().Sub(p.At) > staleAfter
	queues, err := b.cfg.Store.Queues(ctx)
	if err != nil {
		return p, err
	}
	ways, err := b.readWays(ctx, p.At)
	if err != nil {
		return p, err
	}
	for _, c := range delivery.Channels() {
		one := channel{ID: string(c), Name: channelName(c), State: health.Quiet, Words: "nothing was sent in the last 24 hours", Queue: b.queueWords(queues, c)}
		for _, w := range ways {
			if w.of.Channel == c {
				one.Ways = append(one.Ways, w)
			}
		}
		slices.SortStableFunc(one.Ways, func(a, b way) int {
			return cmp.Or(rank(a.Verdict.State)-rank(b.Verdict.State), b.sent-a.sent, strings.Compare(a.Name, b.Name))
		})
		if len(one.Ways) > 0 {
			one.State = one.Ways[0].Verdict.State
			one.Words = one.Ways[0].Name + ": " + one.Ways[0].Verdict.Words
			err = b.draw(ctx, p.At, &one)
			if err != nil {
				return p, err
			}
		}
		p.Channels = append(p.Channels, one)
	}
	slices.SortStableFunc(p.Channels, func(a, b channel) int { return rank(a.State) - rank(b.State) })
	return p, nil
}

// rank is the place of a state, the worst first.
func rank(s health.State) int { return slices.Index(health.States(), s) }

// over sums what was sent in some spans.
func (b *Board) over(ctx context.Context, spans ...postgres.Span) (sums, error) {
	all, err := b.cfg.Store.HealthOver(ctx, spans...)
	if err != nil {
		return nil, err
	}
	s := sums{}
	for _, w := range all {
		s[w.Way] = w.Counts
	}
	return s, nil
}

// readWays reads the figures of all ways in all windows and judges the shortest by what is usual.
func (b *Board) readWays(ctx context.Context, at time.Time) ([]way, error) {
	var usualSpans []postgres.Span
	for d := 1; d <= weekDays; d++ {
		end := at.Add(-time.Duration(d) * day)
		usualSpans = append(usualSpans, postgres.Span{From: end.Add(-time.Hour), To: end})
	}
	usual, err := b.over(ctx, usualSpans...)
	if err != nil {
		return nil, err
	}
	rows := map[health.Way]*way{}
	for _, length := range slices.Backward(health.Windows()) {
		now, err := b.over(ctx, postgres.Span{From: at.Add(-length), To: at})
		if err != nil {
			return nil, err
		}
		settled, err := b.over(ctx, postgres.Span{From: at.Add(-length - health.Settle), To: at.Add(-health.Settle)})
		if err != nil {
			return nil, err
		}
		for w := range now { // The longest window comes first, and nothing is in a shorter one that is not in it.
			if rows[w] == nil {
				rows[w] = &way{Name: b.wayName(w), of: w, sent: now[w].Sent}
			}
		}
		for w, row := range rows {
			figures := health.FiguresOf(now[w], settled[w])
			row.Windows = slices.Insert(row.Windows, 0, window{Name: windowName(length), Figures: figures})
			row.Verdict = health.Judge(figures, health.FiguresOf(usual[w], usual[w]))
		}
	}
	var all []way
	for _, row := range rows {
		all = append(all, *row)
	}
	return all, nil
}

// windowName is a length of time in words.
func windowName(d time.Duration) string {
	if d < time.Hour {
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
	return fmt.Sprintf("%d h", int(d.Hours()))
}

// channelName is a channel in words.
func channelName(c delivery.Channel) string {
	if c == delivery.SMS {
		return "SMS"
	}
	return "E-mail"
}

// wayName is a way in words: SMS to +34 (ES) by vonage.
func (b *Board) wayName(w health.Way) string {
	return fmt.Sprintf("%s to %s by %s", channelName(w.Channel), b.destination(w), w.Provider)
}

// destination is that of a way in words.
func (b *Board) destination(w health.Way) string {
	code := b.cfg.CallingCode(w.Destination)
	switch {
	case w.Destination == "":
		return "destinations not on record"
	case w.Destination == health.OtherMailbox:
		return "other domains"
	case code != "":
		return fmt.Sprintf("%s (%s)", code, w.Destination)
	}
	return w.Destination
}

// queueWords says what waits on a channel for its first call.
func (b *Board) queueWords(queues []postgres.Queue, c delivery.Channel) string {
	i := slices.IndexFunc(queues, func(q postgres.Queue) bool { return q.Channel == c })
	switch {
	case i < 0 || b.cfg.Clock().Sub(queues[i].At) > staleAfter:
		return "How much waits for its first call is not known at the moment."
	case queues[i].Waiting == 0:
		return "Nothing waits for its first call."
	}
	q := queues[i]
	return fmt.Sprintf("%d waiting for the first call, the oldest for %s.", q.Waiting, q.At.Sub(q.Oldest).Round(time.Second))
}

// draw draws the verified shares of a channel as a whole and of the ways that matter most, and keeps the same figures by
// the hour.
func (b *Board) draw(ctx context.Context, at time.Time, c *channel) error {
	to := at.Add(-health.Settle)
	from := to.Add(-day)
	steps, err := b.cfg.Store.HealthSteps(ctx, postgres.Span{From: from, To: to}, step)
	if err != nil {
		return err
	}
	steps = slices.DeleteFunc(steps, func(s postgres.HealthStep) bool { return string(s.Way.Channel) != c.ID })
	lines := append([]line{{name: "all"}}, b.lines(c)...)
	total := 0
	for _, s := range steps {
		total += s.Verified.Of
	}
	length := step
	if total < health.Few*int(day/step) {
		length = longStep
	}
	for i := range lines {
		c.Lines = append(c.Lines, lines[i].name)
		lines[i].byStep, lines[i].byHour = lines[i].add(steps, from, length), lines[i].add(steps, from, longStep)
	}
	c.Picture, err = drawn(func(t chart.Theme) ([]byte, error) {
		return chart.Shares(t, from, to, length, chartLines(lines, from, length))
	})
	for i := range int(day / longStep) {
		h := hour{At: from.Add(time.Duration(i) * longStep)}
		for _, l := range lines {
			h.Shares = append(h.Shares, l.byHour[i])
		}
		c.Hours = append(c.Hours, h)
	}
	return err
}

// line is a line of the picture.
type line struct {
	name           string
	of             health.Way // the zero way: all
	byStep, byHour []health.Share
}

// lines are the ways that matter most: the worst, and of those the ones with most messages.
func (b *Board) lines(c *channel) []line {
	var all []line
	for _, w := range c.Ways {
		if len(all) < chart.MaxLines-1 && w.sent >= health.Few && len(c.Ways) > 1 {
			all = append(all, line{name: b.destination(w.of), of: w.of})
		}
	}
	return all
}

// add sums the shares of steps that belong to the line, in longer steps.
func (l line) add(steps []postgres.HealthStep, from time.Time, length time.Duration) []health.Share {
	sums := make([]health.Share, day/length)
	for _, s := range steps {
		i := int(s.At.Sub(from) / length)
		if (l.of == health.Way{} || l.of == s.Way) && i >= 0 && i < len(sums) {
			sums[i].Part += s.Verified.Part
			sums[i].Of += s.Verified.Of
		}
	}
	return sums
}

// chartLines leaves out the steps with too few messages to have a share.
func chartLines(lines []line, from time.Time, length time.Duration) []chart.Line {
	var all []chart.Line
	for _, l := range lines {
		drawn := chart.Line{Name: l.name}
		for i, s := range l.byStep {
			if s.Enough() {
				drawn.Points = append(drawn.Points, chart.Point{At: from.Add(time.Duration(i) * length), Percent: float64(s.Part) * 100 / float64(s.Of)})
			}
		}
		all = append(all, drawn)
	}
	return all
}
