package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"doorcode/pkg/bus"
	"doorcode/pkg/event"
	"doorcode/pkg/postgres"
)

// What a dead letter carries beside the headers of the message that nobody understood.
const (
	letterHeaders = "doorcode-"
	letterSubject = letterHeaders + "subject"
	letterReason  = letterHeaders + "reason"
)

// shown is how many messages a list shows unless told otherwise.
const shown = 100

// letterName names a dead letter in the audit. The id keeps letters of a stream that was made anew apart.
func letterName(l bus.Stored) string { return fmt.Sprintf("%d.%s", l.Sequence, l.ID) }

// desk is where dead letters are worked on: the bus and the audit.
type desk struct {
	bus *bus.Conn
	db  *postgres.DB
}

// atDesk opens both for the time of work.
func (c command) atDesk(ctx context.Context, work func(desk) error) error {
	admin, err := c.admin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = admin.Drain(context.WithoutCancel(ctx)) }()
	db, err := c.owner(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	return work(desk{bus: admin, db: db})
}

// listLetters shows the newest dead letters, a line each.
func (c command) listLetters(ctx context.Context, args []string) error {
	set := flags("dead-letters list")
	last := set.Uint64("last", shown, "how many")
	_, err := parse(set, args, 0)
	if err != nil {
		return err
	}
	return c.atDesk(ctx, func(d desk) error {
		letters, err := d.bus.List(ctx, bus.DeadLetter, *last)
		if err != nil {
			return err
		}
		names := make([]string, len(letters))
		for i, l := range letters {
			names[i] = letterName(l)
		}
		verdicts, err := d.db.Verdicts(ctx, names)
		if err != nil {
			return err
		}
		for i, l := range letters {
			c.printf("%d  %s  %s  %s  %s: %s\n", l.Sequence, l.Time.UTC().Format(time.RFC3339), standing(verdicts[names[i]]),
				l.Subject, plain(l.Header[letterSubject]), plain(l.Header[letterReason]))
		}
		c.printf("dead letters: %d\n", len(letters))
		return nil
	})
}

// showLetter shows one dead letter with its headers and data, which hold no code and no full recipient in clear.
func (c command) showLetter(ctx context.Context, args []string) error {
	sequence, err := sequenceOf(parse(flags("dead-letters show"), args, 1))
	if err != nil {
		return err
	}
	return c.atDesk(ctx, func(d desk) error {
		letter, err := d.bus.Read(ctx, bus.DeadLetter, sequence)
		if err != nil {
			return err
		}
		verdicts, err := d.db.Verdicts(ctx, []string{letterName(letter)})
		if err != nil {
			return err
		}
		c.printf("%d  %s  %s  %s\n", letter.Sequence, letter.Time.UTC().Format(time.RFC3339),
			standing(verdicts[letterName(letter)]), letter.Subject)
		for _, name := range slices.Sorted(maps.Keys(letter.Header)) {
			c.printf("%s: %s\n", plain(name), plain(letter.Header[name]))
		}
		c.printf("\n%s\n", plain(string(letter.Data)))
		return nil
	})
}

// replayLetter sends the message of a dead letter again, as it came, to where it came from. That happens once.
func (c command) replayLetter(ctx context.Context, args []string) error {
	sequence, err := sequenceOf(parse(flags("dead-letters replay"), args, 1))
	if err != nil {
		return err
	}
	return c.judge(ctx, sequence, postgres.Verdict{Kind: postgres.VerdictReplayed}, replay)
}

// discardLetter puts on record that a dead letter needs nothing. The letter itself stays until the stream drops it.
func (c command) discardLetter(ctx context.Context, args []string) error {
	set := flags("dead-letters discard")
	reason := set.String("reason", "", "why")
	sequence, err := sequenceOf(parse(set, args, 1))
	if err != nil {
		return err
	}
	if strings.TrimSpace(*reason) == "" {
		return fmt.Errorf("dead-letters discard: -reason is missing; %w", errUsage)
	}
	verdict := postgres.Verdict{Kind: postgres.VerdictDiscarded, Reason: *reason}
	return c.judge(ctx, sequence, verdict, func(context.Context, *bus.Conn, bus.Stored) error { return nil })
}

// judge carries a verdict on a dead letter out and puts it on record, once.
func (c command) judge(ctx context.Context, sequence uint64, v postgres.Verdict, act func(context.Context, *bus.Conn, bus.Stored) error) error {
	return c.atDesk(ctx, func(d desk) error {
		letter, err := d.bus.Read(ctx, bus.DeadLetter, sequence)
		if err != nil {
			return err
		}
		v.Letter = letterName(letter)
		err = d.db.Judge(ctx, v, func(ctx context.Context) error { return act(ctx, d.bus, letter) })
		if err != nil {
			return err
		}
		c.printf("%d: %s\n", sequence, standing(v))
		return nil
	})
}

// replay publishes the message of a letter under an id of its own: under the former one the stream would drop it. The
// id follows from the letter, so that a repeat after a crash is no second message.
func replay(ctx context.Context, conn *bus.Conn, letter bus.Stored) error {
	subject := letter.Header[letterSubject]
	if !mayReplay(letter.Subject, subject) {
		return errors.New("the dead letter names a subject that its owner does not consume: it cannot be replayed, only discarded")
	}
	if letter.Subject == recorderLetters && sendsUntil(letter).After(time.Now()) {
		return errors.New("the dispatcher may have sent this message, and would send it again: replay it when its code is dead, or its notice a day old")
	}
	header := maps.Clone(letter.Header)
	maps.DeleteFunc(header, func(name, _ string) bool { return strings.HasPrefix(name, letterHeaders) })
	_, err := conn.Publish(ctx, bus.Message{Subject: subject, ID: "replay." + letterName(letter), Header: header, Data: letter.Data})
	return err
}

// recorderLetters is where the recorder puts what it cannot record.
const recorderLetters = "doorcode.dlq.recorder"

// noticeLetters is where auth puts what it cannot tell of. Changes of the directory are replayed; a right code is not: it
// is told of within the hour or not at all, and who listens to the outcomes would hear of it twice.
const noticeLetters = "doorcode.dlq.notices"

// mayReplay reports whether the owner of a dead letter consumes the subject that the letter names. The bus enforces the
// owner alone; the rest was written by it, and a replay has doorcodectl's rights (P10).
func mayReplay(letter, subject string) bool {
	if strings.ContainsAny(subject, "*> \t\r\n") {
		return false
	}
	if letter == recorderLetters {
		for _, prefix := range []string{"doorcode.challenge.", "doorcode.delivery.", "doorcode.receipt."} {
			if strings.HasPrefix(subject, prefix) && len(subject) > len(prefix) {
				return true
			}
		}
		return false
	}
	if letter == noticeLetters {
		return slices.Contains(bus.NoticeSubjects(), subject)
	}
	channel, found := strings.CutPrefix(letter, "doorcode.dlq.")
	return found && subject == "doorcode.challenge."+channel
}

// sendsUntil returns until when the dispatcher would act on the message of a letter; the zero time when it never would.
func sendsUntil(letter bus.Stored) time.Time {
	e, err := event.Parse(letter.Header[letterSubject], letter.Header, letter.Data)
	if err != nil {
		return time.Time{}
	}
	send, err := event.SendOf(e)
	if err != nil {
		return time.Time{}
	}
	return send.ExpiresAt
}

// standing is what became of a letter, in one word or a few.
func standing(v postgres.Verdict) string {
	switch v.Kind {
	case postgres.VerdictReplayed:
		return "replayed"
	case postgres.VerdictDiscarded:
		return "discarded (" + plain(v.Reason) + ")"
	}
	return "open"
}

// sequenceOf reads the one word of a command as a sequence.
func sequenceOf(words []string, err error) (uint64, error) {
	if err != nil {
		return 0, err
	}
	sequence, err := strconv.ParseUint(words[0], 10, 64)
	if err != nil || sequence == 0 {
		return 0, fmt.Errorf("a sequence is a number above zero; %w", errUsage)
	}
	return sequence, nil
}

// plain is a text that does nothing to the terminal it is shown on: what nobody understood may hold anything.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
