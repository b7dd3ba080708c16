package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/challenge"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
)

// laws are the promises as statements about a ledger. Each returns what breaks it.
func laws() map[string]func(*ledger) []string {
	return map[string]func(*ledger) []string{
		"P1": (*ledger).nothingLost, "P2": (*ledger).rightOnce, "P3": (*ledger).wrongCounted, "P4": (*ledger).nothingTold,
		"P5": (*ledger).noSilentDuplicates, "P6": (*ledger).neverLate, "P7": (*ledger).failedClosed,
		"P8": (*ledger).readOwnWrites, "P9": (*ledger).receiptsDecideNothing,
	}
}

// account holds a ledger against a law and tells what breaks it.
func (l *ledger) account(t *testing.T, campaign, name string) {
	t.Helper()
	const enough = 5
	broken := laws()[name](l)
	for _, b := range broken[:min(len(broken), enough)] {
		t.Errorf("%s is broken in the campaign of %s: %s", name, campaign, b)
	}
	if len(broken) > enough {
		t.Errorf("%s is broken there %d times more", name, len(broken)-enough)
	}
}

// figures counts what there is to count.
func (l *ledger) figures() string {
	var compared, assertions, unknown, known int
	for _, row := range l.challenges {
		compared += len(row.Answers)
	}
	for _, p := range l.people {
		assertions += len(p.asserted)
	}
	sends := map[string]int{}
	for _, m := range l.messages {
		sends[sendName(m.reference.Challenge, m.reference.Send)]++
	}
	for _, a := range l.audit {
		if a.Kind == string(event.DeliveryAttempted) && a.Detail.Result == "unknown" {
			unknown++
		}
	}
	for _, n := range sends {
		known += n - 1
	}
	return fmt.Sprintf("%d creates accepted, %d outcomes recorded, %d codes compared, %d messages for %d sends (%d more than one, %d attempts unknown), %d assertions, %d answers 503",
		len(l.people), len(l.ends()), compared, len(l.messages), len(sends), known, unknown, assertions, l.unavailable)
}

// ends are the recorded outcomes.
func (l *ledger) ends() []auditRow {
	var all []auditRow
	for _, a := range l.audit {
		switch event.Type(a.Kind) { //nolint:exhaustive // the others are no ends
		case event.ChallengeApproved, event.ChallengeExpired, event.ChallengeCanceled, event.ChallengeExhausted, event.ChallengeWaived:
			all = append(all, a)
		}
	}
	return all
}

// nothingLost is P1.
func (l *ledger) nothingLost() []string {
	var broken []string
	recorded, published, issued := map[string][]string{}, map[string][]string{}, map[string]int{}
	for _, a := range l.ends() {
		recorded[a.Challenge] = append(recorded[a.Challenge], strings.TrimPrefix(a.Kind, "challenge.v1."))
	}
	for _, e := range l.outcomes {
		if e.Type != event.CheckRejected {
			published[e.Subject] = append(published[e.Subject], strings.TrimPrefix(string(e.Type), "challenge.v1."))
		}
	}
	for _, e := range l.issued {
		issued[e.Challenge]++
	}
	for _, p := range l.people {
		want := []string{p.outcome}
		if !slices.Equal(recorded[p.challenge], want) || !slices.Equal(published[p.challenge], want) || l.challenges[p.challenge].State != p.outcome {
			broken = append(broken, fmt.Sprintf("%s was told %s, on record are %v, in the stream %v, the row says %q",
				p.login, p.outcome, recorded[p.challenge], published[p.challenge], l.challenges[p.challenge].State))
		}
		if issued[p.challenge] != 1 {
			broken = append(broken, fmt.Sprintf("the challenge of %s is %d times in the stream", p.login, issued[p.challenge]))
		}
	}
	if len(l.issued) != len(l.people) || len(l.challenges) != len(l.people) {
		broken = append(broken, fmt.Sprintf("%d creates were accepted, %d were issued, %d have a row", len(l.people), len(l.issued), len(l.challenges)))
	}
	if l.outbox > 0 {
		broken = append(broken, fmt.Sprintf("%d events never left the outbox", l.outbox))
	}
	return append(append(broken, l.unrecorded()...), l.unfinishedSends()...)
}

// unrecorded are the events in the streams of which the record knows nothing.
func (l *ledger) unrecorded() []string {
	var broken []string
	recorded, issued := map[string]bool{}, map[string]int{}
	for _, a := range l.audit {
		recorded[a.ID] = true
		if a.Kind == string(event.ChallengeIssued) {
			issued[a.Challenge]++
		}
	}
	for _, e := range l.issued {
		if issued[e.Challenge] != 1 {
			broken = append(broken, fmt.Sprintf("that the challenge of %s was issued is %d times on record", e.Login, issued[e.Challenge]))
		}
	}
	for _, e := range l.told {
		if !recorded[e.ID] {
			broken = append(broken, fmt.Sprintf("a %s in the stream is not on record", e.Type))
		}
	}
	return broken
}

// unfinishedSends are the sends of which no end is on record.
func (l *ledger) unfinishedSends() []string {
	ended := map[string]bool{}
	for _, a := range l.audit {
		final := a.Kind == string(event.ReceiptRecorded) || a.endsSend()
		ended[sendName(a.Challenge, a.Detail.Send)] = ended[sendName(a.Challenge, a.Detail.Send)] || final
	}
	var broken []string
	for _, row := range l.challenges {
		for n := 1; n <= row.Sends; n++ {
			if !ended[sendName(row.ID, n)] {
				broken = append(broken, fmt.Sprintf("no end of send %d to %s is on record", n, row.Login))
			}
		}
	}
	return broken
}

// sendName names a send.
func sendName(challenge string, number int) string { return fmt.Sprintf("%s.%d", challenge, number) }

// rightOnce is P2.
func (l *ledger) rightOnce() []string {
	var broken []string
	approved := 0
	for _, p := range l.people {
		right := p.outcome == "approved"
		if !right && len(p.asserted) > 0 {
			broken = append(broken, fmt.Sprintf("%s has an assertion and typed no right code", p.login))
		}
		if !right {
			continue
		}
		approved++
		if len(p.asserted) > 1 || len(p.approvedBy) > 1 {
			broken = append(broken, fmt.Sprintf("%s got %d assertions by %d checks", p.login, len(p.asserted), len(p.approvedBy)))
		}
		if len(p.asserted) == 0 && !p.late {
			broken = append(broken, fmt.Sprintf("%s typed the right code and never got the assertion: %d checks came second", p.login, p.used))
		}
		for text := range p.asserted {
			if jti(text) != p.challenge {
				broken = append(broken, fmt.Sprintf("the assertion of %s names another challenge", p.login))
			}
		}
	}
	if approved == 0 {
		broken = append(broken, "nobody typed a right code: the law was not tried")
	}
	return broken
}

// wrongCounted is P3.
func (l *ledger) wrongCounted() []string {
	var broken []string
	rejected := map[string]int{}
	for _, a := range l.audit {
		if a.Kind == string(event.CheckRejected) {
			rejected[a.Challenge]++
		}
	}
	for _, p := range l.people {
		row := l.challenges[p.challenge]
		if row.Wrong != len(p.wrong) || rejected[p.challenge] != len(p.wrong) || l.failures[p.login] != len(p.wrong) || row.Wrong > 5 {
			broken = append(broken, fmt.Sprintf("%s typed %d wrong codes: the challenge counts %d, the record %d, the budget %d",
				p.login, len(p.wrong), row.Wrong, rejected[p.challenge], l.failures[p.login]))
		}
		if right := len(row.Answers) - row.Wrong; right > 1 || right == 1 && p.outcome != "approved" {
			broken = append(broken, fmt.Sprintf("%d right codes of %s were counted", right, p.login))
		}
		left := map[int]string{}
		for id, n := range p.wrong {
			if other, twice := left[n]; twice {
				broken = append(broken, fmt.Sprintf("%s was told twice that %d checks are left, for %s and %s", p.login, n, id, other))
			}
			left[n] = id
		}
	}
	return broken
}

// nothingTold is P4 for what processes printed, those that died included.
func (l *ledger) nothingTold() []string {
	var broken []string
	for name, text := range l.logs {
		for _, m := range l.messages {
			if strings.Contains(text, `"`+m.code+`"`) || strings.Contains(text, " "+m.code+" ") || strings.Contains(text, m.To) {
				broken = append(broken, fmt.Sprintf("the code or the address of a message stands in the log of %s", name))
				break
			}
		}
	}
	return broken
}

// noSilentDuplicates is P5. A message is on record by its attempt, by a receipt
// that names its attempt when the dispatcher died before it could say so, or as
// one of the unknown attempts of its send.
func (l *ledger) noSilentDuplicates() []string {
	var broken []string
	named, unknown := map[string]bool{}, map[string]int{}
	for _, a := range l.audit {
		name := sendName(a.Challenge, a.Detail.Send)
		switch {
		case a.Kind == string(event.ReceiptRecorded):
			named[name+"."+a.Detail.Attempt] = true
		case a.Kind == string(event.DeliveryAttempted) && a.Detail.Attempt == "":
			unknown[name]++
		case a.Kind == string(event.DeliveryAttempted):
			named[a.ID] = true
			if a.Detail.Result == "accepted" && l.references[a.ID] != 1 {
				broken = append(broken, fmt.Sprintf("an attempt is on record as accepted and came %d times to the provider", l.references[a.ID]))
			}
		}
	}
	code, hidden := map[string]string{}, map[string]int{}
	for _, m := range l.messages {
		reference := m.reference.String()
		if l.references[reference] != 1 {
			broken = append(broken, fmt.Sprintf("attempt %s called the provider %d times", reference, l.references[reference]))
		}
		if other, seen := code[m.reference.Challenge]; seen && other != m.code {
			broken = append(broken, fmt.Sprintf("a repeat to %s carries another code", m.To))
		}
		code[m.reference.Challenge] = m.code
		if !named[reference] {
			hidden[sendName(m.reference.Challenge, m.reference.Send)]++
		}
	}
	broken = append(broken, l.gaps()...)
	for send, n := range hidden {
		if n > unknown[send] {
			broken = append(broken, fmt.Sprintf("%d messages of send %s are not on record, and %d attempts as unknown", n, send, unknown[send]))
		}
	}
	return broken
}

// gaps are the hand-overs of which nothing is on record although a later one of
// the same send is: what a dead dispatcher could not say stands there as unknown.
func (l *ledger) gaps() []string {
	numbers := map[string][]int{}
	for _, a := range l.audit {
		if a.Detail.Number > 0 {
			name := sendName(a.Challenge, a.Detail.Send)
			numbers[name] = append(numbers[name], a.Detail.Number)
		}
	}
	var broken []string
	for send, on := range numbers {
		for n := range slices.Max(on) {
			if !slices.Contains(on, n+1) {
				broken = append(broken, fmt.Sprintf("of hand-over %d of send %s nothing is on record, of later ones there is", n+1, send))
			}
		}
	}
	return broken
}

// neverLate is P6.
func (l *ledger) neverLate() []string {
	var broken []string
	notAfter := map[string]event.Issued{}
	for _, e := range l.issued {
		notAfter[e.Challenge] = e
	}
	ended := map[string]time.Time{} // when a dispatcher first said so
	for _, a := range l.audit {
		send := sendName(a.Challenge, a.Detail.Send)
		if at, known := ended[send]; a.endsSend() && (!known || a.At.Before(at)) {
			ended[send] = a.At
		}
	}
	for _, m := range l.messages {
		e := notAfter[m.reference.Challenge]
		if !m.ReceivedAt.Before(challenge.NotAfter(e.ExpiresAt)) {
			broken = append(broken, fmt.Sprintf("a message to %s came at %s, its code lives until %s", m.To, m.ReceivedAt, e.ExpiresAt))
		}
	}
	if l.late != "" && !slices.ContainsFunc(l.audit, func(a auditRow) bool {
		return a.Challenge == l.late && a.Kind == string(event.DeliveryAbandoned) && a.Detail.Reason == delivery.ReasonTooLate.String()
	}) {
		broken = append(broken, "a send that waited for dead dispatchers until it was too late is not on record as abandoned for that")
	}
	for _, m := range l.messages {
		if m.reference.Challenge == l.late {
			broken = append(broken, "a send that waited for dead dispatchers until it was too late was made all the same")
		}
		send := sendName(m.reference.Challenge, m.reference.Send)
		end, known := ended[send]
		if !l.woke.IsZero() && m.ReceivedAt.After(l.woke) && known && end.Before(l.woke) {
			broken = append(broken, fmt.Sprintf("the provider was called at %s for send %s, which had ended at %s; a dispatcher woke up at %s", m.ReceivedAt, send, end, l.woke))
		}
	}
	return broken
}

// failedClosed is P7.
func (l *ledger) failedClosed() []string {
	var broken []string
	for _, p := range l.people {
		for _, s := range p.strange {
			broken = append(broken, p.login+": "+s)
		}
	}
	return broken
}

// readOwnWrites is P8: that those codes were judged at all is in their answers,
// and that no check was told of an unknown challenge would have ended the story.
func (l *ledger) readOwnWrites() []string {
	early := 0
	var broken []string
	for _, p := range l.people {
		if !p.early {
			continue
		}
		early++
		if left, judged := p.wrong["early"]; !judged || left != 4 {
			broken = append(broken, fmt.Sprintf("the code that %s typed right after the create was not judged as the first", p.login))
		}
	}
	if early == 0 {
		broken = append(broken, "nobody typed a code right after a create: the law was not tried")
	}
	return broken
}

// receiptsDecideNothing is P9.
func (l *ledger) receiptsDecideNothing() []string {
	broken := slices.Clone(l.changes)
	reported := map[string]bool{}
	for _, a := range l.audit {
		if a.Kind == string(event.ReceiptRecorded) {
			reported[sendName(a.Challenge, a.Detail.Send)+"."+a.Detail.Attempt] = true
		}
	}
	for _, m := range l.messages {
		if !reported[m.reference.String()] {
			broken = append(broken, fmt.Sprintf("no receipt of a message to %s is on record", m.To))
		}
	}
	return broken
}

// headsAreKept waits until the file of each verifier has every head once and in its order, whatever died in between, and
// then fails the test unless the audit is as it was sealed.
func (c *campaign) headsAreKept(t *testing.T) {
	t.Helper()
	for _, r := range c.named("verifier") {
		file := c.heads(r.name)
		for deadline := time.Now().Add(endurance); !c.keeps(t, file); tick(t.Context()) {
			if time.Now().After(deadline) {
				t.Fatalf("%s has not all heads", file)
			}
		}
		out := c.operate(t, "audit", "verify", "-operator", "anna", "-anchor", file)
		if !strings.Contains(out, "nothing was found") {
			t.Errorf("the audit is not what was sealed:\n%s", out)
		}
	}
}

// keeps reports whether a file has the heads of all seals; one that it has twice or not in its order fails the test.
func (c *campaign) keeps(t *testing.T, file string) bool {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	var numbers []int64
	for line := range bytes.Lines(data) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			return false // It is being written.
		}
		var head struct {
			Seal int64 `json:"seal"`
		}
		if json.Unmarshal(line, &head) != nil || head.Seal != int64(len(numbers)+1) {
			t.Fatalf("after %d heads the file has %s", len(numbers), line)
		}
		numbers = append(numbers, head.Seal)
	}
	var last int64
	c.db.Scan(t, `SELECT coalesce(max(n), 0) FROM audit_seals`, nil, &last)
	return last > 0 && int64(len(numbers)) == last
}
