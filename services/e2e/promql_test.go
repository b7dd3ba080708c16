package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// promNode is one part of an expression of PromQL, as far as the rules and dashboards of deploy/ go. Whatever goes further
// is refused: whoever needs it says here what it means.
type promNode struct {
	kind     promKind
	name     string // metric, function, aggregation or operator
	matchers []promMatcher
	ranged   bool // a selector with a range, such as [5m]
	args     []*promNode
	grouped  bool     // an aggregation with `by`, an operator with `on`
	group    []string // the labels of either
}

// promKind is what a promNode is.
type promKind int

const (
	promNumber promKind = iota
	promSelect
	promCall
	promAggregate
	promBinary
)

// promMatcher is what a selector asks of a label.
type promMatcher struct{ label, how, value string }

// promFunctions are the functions and what each takes: r a selector with a range, v a vector, n a number.
func promFunctions() map[string]string {
	return map[string]string{
		"rate": "r", "increase": "r", "changes": "r", "max_over_time": "r", "histogram_quantile": "nv", "absent": "v", "time": "",
	}
}

// promPrecedence lists the operators by how strongly they bind, the weakest first.
func promPrecedence() [][]string {
	return [][]string{{"or"}, {"and", "unless"}, {"==", "!=", ">", "<", ">=", "<="}, {"+", "-"}, {"*", "/"}}
}

// promParser reads tokens.
type promParser struct {
	tokens []string
	at     int
}

// parsePromQL reads an expression to its end.
func parsePromQL(text string) (*promNode, error) {
	tokens, err := promTokens(text)
	if err != nil {
		return nil, err
	}
	p := &promParser{tokens: append(tokens, "")} // The empty one is the end.
	node, err := p.binary(0)
	if err == nil && p.peek() != "" {
		err = fmt.Errorf("%q is not expected", p.peek())
	}
	if err != nil {
		return nil, fmt.Errorf("%w, near token %d of %s", err, p.at+1, text)
	}
	return node, nil
}

// promTokens splits an expression and refuses what is none of the known signs.
func promTokens(text string) ([]string, error) {
	token := regexp.MustCompile(`^(?:\d+[smhd]|\d+(?:\.\d+)?|"[^"\\]*"|[A-Za-z_:][A-Za-z0-9_:]*|=~|!~|!=|==|>=|<=|[-+*/><=(){}\[\],])`)
	var tokens []string
	for rest := strings.TrimSpace(text); rest != ""; {
		found := token.FindString(rest)
		if found == "" {
			return nil, fmt.Errorf("what is %.20q in %s", rest, text)
		}
		tokens = append(tokens, found)
		rest = strings.TrimSpace(rest[len(found):])
	}
	return tokens, nil
}

func (p *promParser) peek() string { return p.tokens[p.at] }

// next takes a token.
func (p *promParser) next() string {
	token := p.peek()
	if token != "" {
		p.at++
	}
	return token
}

// take takes one given token.
func (p *promParser) take(want string) error {
	got := p.next()
	if got != want {
		return fmt.Errorf("%q instead of %q", got, want)
	}
	return nil
}

// binary reads operators that bind at least as strongly as a level, from the left.
func (p *promParser) binary(level int) (*promNode, error) {
	if level == len(promPrecedence()) {
		return p.single()
	}
	left, err := p.binary(level + 1)
	for err == nil && slices.Contains(promPrecedence()[level], p.peek()) {
		node := &promNode{kind: promBinary, name: p.next()}
		if p.peek() == "on" {
			p.next()
			node.grouped = true
			node.group, err = p.labels()
			if err != nil {
				return nil, err
			}
		}
		var right *promNode
		right, err = p.binary(level + 1)
		node.args = []*promNode{left, right}
		left = node
	}
	return left, err
}

// single reads a number, a selector, a call, an aggregation or something in parentheses.
func (p *promParser) single() (*promNode, error) {
	token := p.next()
	switch {
	case token == "(":
		node, err := p.binary(0)
		if err != nil {
			return nil, err
		}
		return node, p.take(")")
	case regexp.MustCompile(`^\d+(\.\d+)?$`).MatchString(token):
		return &promNode{kind: promNumber, name: token}, nil
	case slices.Contains([]string{"sum", "max", "min", "count"}, token):
		return p.aggregate(token)
	case !regexp.MustCompile(`^[A-Za-z_:]`).MatchString(token) || slices.Contains([]string{"and", "or", "unless", "on", "by"}, token):
		return nil, fmt.Errorf("%q is not expected", token)
	case p.peek() == "(":
		return p.call(token)
	}
	return p.selector(token)
}

// aggregate reads `sum by (a, b) (x)` or `sum(x)`.
func (p *promParser) aggregate(name string) (*promNode, error) {
	node := &promNode{kind: promAggregate, name: name, grouped: true}
	var err error
	if p.peek() == "by" {
		p.next()
		node.group, err = p.labels()
		if err != nil {
			return nil, err
		}
	}
	node.args, err = p.arguments()
	if err == nil && len(node.args) != 1 {
		err = fmt.Errorf("%s of %d things", name, len(node.args))
	}
	return node, err
}

// call reads the arguments of a function and holds them to what it takes.
func (p *promParser) call(name string) (*promNode, error) {
	takes, known := promFunctions()[name]
	if !known {
		return nil, fmt.Errorf("there is no function %s here", name)
	}
	args, err := p.arguments()
	if err != nil {
		return nil, err
	}
	got := ""
	for _, a := range args {
		switch {
		case a.kind == promNumber:
			got += "n"
		case a.ranged:
			got += "r"
		default:
			got += "v"
		}
	}
	if got != takes {
		return nil, fmt.Errorf("%s takes %q and not %q", name, takes, got)
	}
	return &promNode{kind: promCall, name: name, args: args}, nil
}

// arguments reads `(x, y)`.
func (p *promParser) arguments() ([]*promNode, error) {
	err := p.take("(")
	var args []*promNode
	for err == nil && p.peek() != ")" {
		if len(args) > 0 {
			err = p.take(",")
			if err != nil {
				return nil, err
			}
		}
		var arg *promNode
		arg, err = p.binary(0)
		args = append(args, arg)
	}
	if err != nil {
		return nil, err
	}
	return args, p.take(")")
}

// labels reads `(a, b)`.
func (p *promParser) labels() ([]string, error) {
	err := p.take("(")
	labels := []string{}
	for err == nil && p.peek() != ")" {
		if len(labels) > 0 {
			err = p.take(",")
		}
		label := p.next()
		if err == nil && !regexp.MustCompile(`^[a-z_]+$`).MatchString(label) {
			err = fmt.Errorf("%q is no label", label)
		}
		labels = append(labels, label)
	}
	if err != nil {
		return nil, err
	}
	return labels, p.take(")")
}

// selector reads the matchers and the range behind a metric's name.
func (p *promParser) selector(name string) (*promNode, error) {
	node := &promNode{kind: promSelect, name: name}
	if p.peek() == "{" {
		p.next()
		for p.peek() != "}" {
			if len(node.matchers) > 0 {
				err := p.take(",")
				if err != nil {
					return nil, err
				}
			}
			m := promMatcher{label: p.next(), how: p.next(), value: p.next()}
			if !regexp.MustCompile(`^[a-z_]+$`).MatchString(m.label) || !slices.Contains([]string{"=", "!=", "=~", "!~"}, m.how) || len(m.value) < 2 || m.value[0] != '"' {
				return nil, fmt.Errorf("%s %s %s matches nothing", m.label, m.how, m.value)
			}
			m.value = m.value[1 : len(m.value)-1]
			node.matchers = append(node.matchers, m)
		}
		p.next()
	}
	if p.peek() == "[" {
		p.next()
		node.ranged = true
		if span := p.next(); !regexp.MustCompile(`^\d+[smhd]$`).MatchString(span) {
			return nil, fmt.Errorf("%q is no range", span)
		}
		return node, p.take("]")
	}
	return node, nil
}
