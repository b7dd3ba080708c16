package app

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"doorcode/pkg/rollout"
)

// sayForecast shows a line for each day, what the load means against the limits that are given, and who would be blocked.
func (c command) sayForecast(f *simulateFlags, forecast rollout.Forecast) error {
	c.printf("\n")
	table := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	row := func(format string, args ...any) { _, _ = fmt.Fprintf(table, format, args...) }
	row("DAY\t")
	for _, stage := range rollout.Stages() {
		row("%s\t", strings.ToUpper(string(stage)))
	}
	row("REQUIRED\tSKIPPABLE\tNOT NEEDED\tE-MAILS\tPEAK HOUR\tTEXTS\tPEAK HOUR\n")
	for _, d := range forecast.Days {
		row("%s\t", d.At.Format(time.DateOnly))
		for _, stage := range rollout.Stages() {
			row("%d\t", d.Stages[stage])
		}
		row("%d\t%d\t%d\t%d\t%s\t%d\t%s\n", d.Required, d.Skippable, d.NotRequired, d.Sent.Mails, peak(d.PeakMails), d.Sent.Texts, peak(d.PeakTexts))
	}
	err := table.Flush()
	if err != nil {
		return err
	}
	c.printf("\n%d workspaces with %d logins; to %d logins nothing but the workspace's main e-mail address leads\n",
		forecast.Workspaces, forecast.Logins, forecast.MainOnly)
	c.sayBusiest(forecast)
	c.sayLimits(f, forecast)
	c.sayBlocked(forecast)
	c.printf("nothing was changed; a code that is asked for again comes on top, and a person's further workspaces and the exemptions of single logins are not looked at\n")
	return nil
}

// peak writes the busiest hour of a day.
func peak(p rollout.Peak) string {
	if p.Count == 0 {
		return "-"
	}
	return fmt.Sprintf("%d at %s", p.Count, p.At.Format("15:04"))
}

// sayBusiest names the busiest hour of all, for each channel.
func (c command) sayBusiest(forecast rollout.Forecast) {
	var mails, texts rollout.Peak
	for _, d := range forecast.Days {
		if d.PeakMails.Count > mails.Count {
			mails = d.PeakMails
		}
		if d.PeakTexts.Count > texts.Count {
			texts = d.PeakTexts
		}
	}
	for _, one := range []struct {
		name string
		peak rollout.Peak
	}{{"e-mails", mails}, {"text messages", texts}} {
		if one.peak.Count == 0 {
			c.printf("no %s are sent\n", one.name)
			continue
		}
		c.printf("the busiest hour sends %d %s, from %s on\n", one.peak.Count, one.name, stamp(one.peak.At))
	}
}

// sayLimits says whether the load stays within the limits that are given.
func (c command) sayLimits(f *simulateFlags, forecast rollout.Forecast) {
	if f.smsCap > 0 {
		var texts []rollout.Peak
		for _, d := range forecast.Days {
			texts = append(texts, rollout.Peak{At: d.At, Count: d.Sent.Texts})
		}
		c.sayLimit(texts, f.smsCap, "text messages a day", "days", time.DateOnly)
	}
	if f.mailsHour > 0 {
		var mails []rollout.Peak
		for i, hour := range forecast.Hours {
			mails = append(mails, rollout.Peak{At: forecast.Days[0].At.Add(time.Duration(i) * time.Hour), Count: hour.Mails})
		}
		c.sayLimit(mails, f.mailsHour, "e-mails an hour", "hours", time.RFC3339)
	}
}

// sayLimit says how often a limit is passed, when first, and by how much at most.
func (c command) sayLimit(all []rollout.Peak, limit int, what, unit, layout string) {
	over, first, most := 0, rollout.Peak{}, 0
	for _, one := range all {
		most = max(most, one.Count)
		if one.Count <= limit {
			continue
		}
		over++
		if over == 1 {
			first = one
		}
	}
	if over == 0 {
		c.printf("%d %s are enough: the most is %d\n", limit, what, most)
		return
	}
	c.printf("%d %s are TOO FEW on %d %s, the first %s with %d; the most is %d\n", limit, what, over, unit, first.At.Format(layout), first.Count, most)
}

// sayBlocked names the first logins that do not come in any more, and counts all.
func (c command) sayBlocked(forecast rollout.Forecast) {
	if forecast.Blocked == 0 {
		c.printf("nobody would be blocked\n\n")
		return
	}
	stopped := 0
	for _, d := range forecast.Days {
		stopped += d.Stopped
	}
	c.printf("\n%d logins would be blocked, among them all of %d workspaces; %d of the sign-ins would get no code\n",
		forecast.Blocked, forecast.BlockedWorkspaces, stopped)
	for _, b := range forecast.First {
		c.printf("  from %s on login %s of %s: %s\n", b.From.Format(time.DateOnly), plain(b.Login), plain(b.Workspace), obstacle(b.Obstacle))
	}
	if more := forecast.Blocked - len(forecast.First); more > 0 {
		c.printf("  and %d more\n", more)
	}
	c.printf("\n")
}

// obstacle says why no code reaches a login.
func obstacle(o rollout.Obstacle) string {
	switch o {
	case rollout.NoRoute:
		return "no address and no number leads to it"
	case rollout.NoOwner:
		return "no address and no number leads to it, and the workspace has no owner whom its main e-mail address would lead to"
	case rollout.Bounced:
		return "its one address has bounced"
	}
	return string(o)
}
