package check_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"doorcode/pkg/problem"
)

// P2, P7: a check gets the answer that it got, however often it comes again and whatever was asked between; an approval
// for as long as its assertion is good, and `used` from a minute on. Nothing of it is counted.
func TestP7_ARepeatGetsItsAnswerForAMinute(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rapid.Check(t, func(rt *rapid.T) {
		b.PG.Exec(t, `UPDATE login_budgets SET failures = '{}', in_a_row = 0`)
		c := b.Issue()
		told := map[string]string{} // by check id
		ask := func(id string) string {
			question := b.Wrong(c, id)
			if id == "right" {
				question = b.Right(c, id)
			}
			reply, err := b.checker.Check(t.Context(), question)
			var p *problem.Problem
			if err != nil && (!errors.As(err, &p) || p.ChecksLeft == nil) {
				rt.Fatalf("%s: %v", id, err)
			}
			if p != nil {
				return fmt.Sprint(p.Code, *p.ChecksLeft)
			}
			return reply.Assertion
		}
		for _, id := range rapid.SliceOfN(rapid.SampledFrom([]string{"one", "two", "three"}), 0, 6).Draw(rt, "wrong codes") {
			answer := ask(id)
			if told[id] == "" {
				told[id] = fmt.Sprint("wrong_code", 4-len(told))
			}
			if answer != told[id] {
				rt.Fatalf("%s was told %s, not %s", id, answer, told[id])
			}
		}
		wrong := len(told)
		first := ask("right")
		// Far from the boundary on its near side, so that a slow machine decides nothing; exactly at it on the other.
		passed := rapid.SampledFrom([]int{-3600, -60, 60, 61, 3600}).Draw(rt, "seconds since")
		b.PG.Exec(t, `UPDATE challenges SET ended_at = clock_timestamp() - make_interval(secs => $2) WHERE id = $1`, c.ID(), passed)
		told["right"] = ask("right") // Its time is part of the assertion.
		if (told["right"] == "used0") != (passed >= 60) || strings.Count(first, ".") != 2 {
			rt.Fatalf("told %s, and %d s after it %s", first, passed, told["right"])
		}
		for _, id := range rapid.SliceOfN(rapid.SampledFrom([]string{"right", "one", "two", "new"}), 1, 6).Draw(rt, "repeats") {
			want := told[id]
			if want == "" {
				want = "used0"
			}
			if answer := ask(id); answer != want {
				rt.Fatalf("%d s after the approval %s was told %s, not %s", passed, id, answer, want)
			}
		}
		b.Want(wrong, `SELECT cardinality(failures) FROM login_budgets`)
		b.Want(wrong, `SELECT wrong FROM challenges WHERE id = $1`, c.ID())
	})
}
