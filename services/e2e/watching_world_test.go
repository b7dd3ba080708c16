package e2e

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// unwatched are the metrics that no rule and no panel names, with the reason.
func unwatched() map[string]string {
	const development = "the sandbox is for development, where its inbox is looked at"
	return map[string]string{
		"doorcode_sandbox_messages_total": development,
		"doorcode_sandbox_webhooks_total": development,
	}
}

// watched holds the rules and dashboards of deploy/ to what the running processes show: every metric, label and value that
// they name is there, on the process whose job they select, and every metric is looked at by one of them.
func watched(t *testing.T, pages map[string]string) {
	t.Helper()
	w := promWorld{used: map[string]bool{}}
	for job, page := range pages {
		w.shown = append(w.shown, scraped(t, job, page)...)
		w.shown = append(w.shown, series{"__name__": "up", "job": job, "instance": job + ":0"})
	}
	measured := metricNames(w.shown)
	for _, r := range rules(t) {
		found, err := w.query(r.Expr)
		if err != nil {
			t.Errorf("%s: %v", r.name(), err)
			continue
		}
		for _, s := range found {
			s = maps.Clone(s)
			s["__name__"] = r.Record
			if r.Alert != "" {
				s = series{"__name__": "ALERTS", "alertname": r.Alert, "alertstate": "firing", "severity": r.Labels.Severity}
			}
			w.shown = append(w.shown, s)
		}
		for _, text := range []string{r.Annotations.Summary, r.Annotations.Runbook} {
			for _, problem := range template(text, found) {
				t.Errorf("%s: %s", r.name(), problem)
			}
		}
	}
	for name, d := range dashboards(t) {
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				found, err := w.query(strings.ReplaceAll(q.Expr, "$__rate_interval", "1m"))
				if err != nil {
					t.Errorf("%s, panel %q: %v", name, p.Title, err)
					continue
				}
				for _, l := range regexp.MustCompile(`{{(\w+)}}`).FindAllStringSubmatch(q.LegendFormat, -1) {
					if !slices.Contains(common(found), l[1]) {
						t.Errorf("%s, panel %q: its legend names %s, and its series have %v", name, p.Title, l[1], common(found))
					}
				}
				if len(found) > 1 && !strings.Contains(q.LegendFormat, "{{") {
					t.Errorf("%s, panel %q: %d series have the one name %q", name, p.Title, len(found), q.LegendFormat)
				}
			}
		}
	}
	looked := metricNames(nil)
	for name := range w.used {
		looked[strings.TrimSuffix(name, "_bucket")] = true
	}
	for name := range measured {
		_, excepted := unwatched()[name]
		if strings.HasPrefix(name, "doorcode_") && looked[name] == excepted {
			t.Errorf("%s: looked at %t, excepted %t", name, looked[name], excepted)
		}
	}
}

// metricNames returns the names of metrics, a histogram's as one.
func metricNames(all []series) map[string]bool {
	names, histograms := map[string]bool{}, map[string]bool{}
	for _, s := range all {
		name, bucket := strings.CutSuffix(s["__name__"], "_bucket")
		names[name] = true
		if bucket {
			histograms[name] = true
		}
	}
	for name := range histograms {
		delete(names, name+"_sum")
		delete(names, name+"_count")
	}
	return names
}

// template lists what is wrong with the placeholders of an annotation over these series.
func template(text string, over []series) []string {
	var problems []string
	known := regexp.MustCompile(`^{{ (?:\$labels\.([a-z_]+)|\$value(?: \| humanize(?:Percentage|Duration)?)?) }}$`)
	for _, place := range regexp.MustCompile(`{{.*?(}}|$)`).FindAllString(text, -1) {
		parts := known.FindStringSubmatch(place)
		switch {
		case parts == nil:
			problems = append(problems, fmt.Sprintf("what is %s", place))
		case parts[1] != "" && !slices.Contains(common(over), parts[1]):
			problems = append(problems, fmt.Sprintf("%s, and it has the labels %v", place, common(over)))
		}
	}
	return problems
}

func TestPromQL_RefusesWhatItDoesNotUnderstand(t *testing.T) {
	t.Parallel()
	w := promWorld{used: map[string]bool{}, shown: scraped(t, "auth", strings.Join([]string{
		"# HELP doorcode_a_total A.", "# TYPE doorcode_a_total counter",
		`doorcode_a_total{answer="good",route="POST /v1/{x}"} 3`, `doorcode_a_total{answer="bad",route="a \"b\", c"} 0`,
		`doorcode_b_bucket{le="1"} 1`, `doorcode_b_bucket{le="+Inf"} 1`, `doorcode_c 1.5e+09`, `doorcode_d NaN`,
	}, "\n")+"\n")}
	w.shown = append(w.shown, series{"__name__": "up", "job": "auth"})
	for expr, labels := range map[string]string{
		`doorcode_c`: "__name__ instance job",
		`sum by (answer) (rate(doorcode_a_total{answer!="good"}[5m])) / 2 > 1`:    "answer",
		`histogram_quantile(0.9, sum by (le, job) (rate(doorcode_b_bucket[1h])))`: "job",
		`absent(up{job="auth"}) or sum by (job) (doorcode_c)`:                     "job",
		`time() - max(doorcode_c) > 3 and on () doorcode_d == 0`:                  "",
		`doorcode_a_total{answer=~"good|bad",route=~"a.*"} * on (job) doorcode_c`: "job",
		`(doorcode_c unless on (job) doorcode_d) >= 1`:                            "instance job",
	} {
		found, err := w.query(expr)
		if err != nil {
			t.Errorf("%s: %v", expr, err)
			continue
		}
		if got := strings.Join(common(found), " "); got != labels {
			t.Errorf("%s has the labels %q, want %q", expr, got, labels)
		}
	}
	for expr, want := range map[string]string{
		`doorcode_a`:                                   "no process shows doorcode_a",
		`doorcode_a_total{anwser="good"}`:              `no anwser "good"`,
		`doorcode_a_total{answer="god"}`:               `no answer "god"`,
		`doorcode_a_total{answer!="god"}`:              `no answer "god"`,
		`doorcode_a_total{answer=~"goo.|x"}`:           `no answer "x"`,
		`doorcode_a_total{answer="good",route=~"a.*"}`: "no series with all of",
		`sum by (anwser) (doorcode_a_total)`:           "has no label anwser",
		`sum(doorcode_a_total) / doorcode_c`:           "never meet",
		`doorcode_a_total / on (answer) doorcode_c`:    "has no label answer",
		`histogram_quantile(0.9, doorcode_c)`:          "no buckets",
		`rate(doorcode_c)`:                             `rate takes "r" and not "v"`,
		`max_over_time(3)`:                             `takes "r" and not "n"`,
		`deriv(doorcode_c[5m])`:                        "there is no function deriv",
		`sum without (job) (doorcode_c)`:               `"without" instead of "("`,
		`sum(doorcode_c`:                               `"" instead of ","`,
		`doorcode_c)`:                                  `")" is not expected`,
		`doorcode_c offset 5m`:                         `"offset" is not expected`,
		`doorcode_c and`:                               `"" is not expected`,
		`doorcode_c[5y]`:                               "is no range",
		`doorcode_c % 2`:                               "what is",
		`doorcode_c{job=auth}`:                         "matches nothing",
		`doorcode_c == bool 1`:                         `"1" is not expected`,
		`doorcode_a_total{route="a \"b"}`:              "what is",
		`$job`:                                         "what is",
		``:                                             `"" is not expected`,
	} {
		found, err := w.query(expr)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s finds %v and says %v, not %q", expr, found, err, want)
		}
	}
}

// common lists the labels that all of some series have.
func common(all []series) []string {
	var labels []string
	for _, l := range slices.Sorted(maps.Keys(all[0])) {
		if !slices.ContainsFunc(all, func(s series) bool { _, there := s[l]; return !there }) {
			labels = append(labels, l)
		}
	}
	return labels
}
