package e2e

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// series is one line of a metrics page without its value; the name stands in the label __name__.
type series map[string]string

// scraped reads a metrics page (the text format of Prometheus, 0.0.4) as a job of Prometheus shows it.
func scraped(t testing.TB, job, page string) []series {
	t.Helper()
	line := regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? [-+0-9.eE]+$|^([a-z_]+)(?:\{(.*)\})? (?:NaN|[-+]Inf)$`)
	label := regexp.MustCompile(`([a-zA-Z_]+)=("(?:[^"\\]|\\.)*"),?`)
	var all []series
	for text := range strings.Lines(page) {
		text = strings.TrimSuffix(text, "\n")
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		parts := line.FindStringSubmatch(text)
		if parts == nil {
			t.Fatalf("%s shows %q", job, text)
		}
		s := series{"__name__": parts[1] + parts[3], "job": job, "instance": job + ":0"}
		for _, l := range label.FindAllStringSubmatch(parts[2]+parts[4], -1) {
			value, err := strconv.Unquote(l[2])
			if err != nil {
				t.Fatalf("%s shows %q: %v", job, text, err)
			}
			s[l[1]] = value
		}
		all = append(all, s)
	}
	return all
}

// promWorld is what there is to select from.
type promWorld struct {
	shown []series
	used  map[string]bool // names of metrics that were selected
}

// eval returns the series that an expression could give, without values, or why it could never give any: it names a
// metric, a label or a value that there is not, or it joins what has nothing in common. A number has no series.
func (w *promWorld) eval(n *promNode) ([]series, error) {
	switch n.kind {
	case promNumber:
		return nil, nil
	case promSelect:
		return w.choose(n)
	case promBinary:
		return w.join(n)
	case promCall, promAggregate:
	}
	if len(n.args) == 0 { // time()
		return nil, nil
	}
	given, err := w.eval(n.args[len(n.args)-1])
	if err != nil {
		return nil, err
	}
	switch {
	case n.kind == promAggregate:
		return project(given, n.group)
	case n.name == "absent":
		gone := series{}
		for _, m := range n.args[0].matchers {
			if m.how == "=" {
				gone[m.label] = m.value
			}
		}
		return []series{gone}, nil
	case n.name == "histogram_quantile":
		var rest []series
		for _, s := range given {
			if s["le"] == "" {
				return nil, fmt.Errorf("a quantile of what has no buckets: %v", s)
			}
			s = maps.Clone(s)
			delete(s, "le")
			rest = append(rest, s)
		}
		return distinct(rest), nil
	}
	var unnamed []series
	for _, s := range given {
		s = maps.Clone(s)
		delete(s, "__name__")
		unnamed = append(unnamed, s)
	}
	return unnamed, nil
}

// choose returns the series of a selector. Every value that it names must be there, also one that it excludes.
func (w *promWorld) choose(n *promNode) ([]series, error) {
	var all []series
	for _, s := range w.shown {
		if s["__name__"] == n.name {
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no process shows %s", n.name)
	}
	w.used[n.name] = true
	for _, m := range n.matchers {
		values := []string{m.value}
		if strings.HasSuffix(m.how, "~") {
			values = strings.Split(m.value, "|")
		}
		for _, value := range values {
			pattern := value
			if !strings.HasSuffix(m.how, "~") {
				pattern = regexp.QuoteMeta(value)
			}
			exact, err := regexp.Compile("^(?:" + pattern + ")$")
			if err != nil {
				return nil, err
			}
			if !slices.ContainsFunc(all, func(s series) bool { _, there := s[m.label]; return there && exact.MatchString(s[m.label]) }) {
				return nil, fmt.Errorf("%s has no %s %q", n.name, m.label, value)
			}
		}
	}
	all = slices.DeleteFunc(all, func(s series) bool { return !n.matches(s) })
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has no series with all of %v", n.name, n.matchers)
	}
	return all, nil
}

// matches reports whether a series is one of the selector's; its patterns were compiled before.
func (n *promNode) matches(s series) bool {
	for _, m := range n.matchers {
		same := s[m.label] == m.value
		if strings.HasSuffix(m.how, "~") {
			same = regexp.MustCompile("^(?:" + m.value + ")$").MatchString(s[m.label])
		}
		if same == strings.HasPrefix(m.how, "!") {
			return false
		}
	}
	return true
}

// join returns what an operator leaves of its two sides.
func (w *promWorld) join(n *promNode) ([]series, error) {
	left, err := w.eval(n.args[0])
	if err != nil {
		return nil, err
	}
	right, err := w.eval(n.args[1])
	if err != nil {
		return nil, err
	}
	switch {
	case n.name == "or":
		return distinct(append(unnamed(left), unnamed(right)...)), nil
	case left == nil:
		return unnamed(right), nil
	case right == nil:
		return unnamed(left), nil
	}
	keyed := func(all []series) ([]series, error) {
		if n.grouped {
			return project(all, n.group)
		}
		return unnamed(all), nil
	}
	ours, err := keyed(left)
	if err != nil {
		return nil, err
	}
	theirs, err := keyed(right)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(ours, func(s series) bool {
		return slices.ContainsFunc(theirs, func(o series) bool { return maps.Equal(s, o) })
	}) {
		return nil, fmt.Errorf("%s joins %v with %v, which never meet", n.name, ours[0], theirs[0])
	}
	if n.grouped && !slices.Contains([]string{"and", "unless"}, n.name) {
		return ours, nil
	}
	return unnamed(left), nil
}

// unnamed returns series without their names, as every operator does.
func unnamed(all []series) []series {
	var rest []series
	for _, s := range all {
		s = maps.Clone(s)
		delete(s, "__name__")
		rest = append(rest, s)
	}
	return rest
}

// project leaves some labels of each series, which every one of them must have.
func project(all []series, labels []string) ([]series, error) {
	var rest []series
	for _, s := range all {
		kept := series{}
		for _, l := range labels {
			value, there := s[l]
			if !there {
				return nil, fmt.Errorf("%v has no label %s", s, l)
			}
			kept[l] = value
		}
		rest = append(rest, kept)
	}
	return distinct(rest), nil
}

// distinct leaves each series once.
func distinct(all []series) []series {
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(s series) bool {
		key := fmt.Sprint(s) // fmt prints a map in the order of its keys.
		again := seen[key]
		seen[key] = true
		return again
	})
}

// query reads an expression and returns the series that it could give.
func (w *promWorld) query(text string) ([]series, error) {
	node, err := parsePromQL(text)
	if err != nil {
		return nil, err
	}
	return w.eval(node)
}
