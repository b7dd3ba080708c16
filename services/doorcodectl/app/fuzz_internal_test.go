package app

import (
	"errors"
	"flag"
	"strings"
	"testing"
	"time"
	"unicode"

	"doorcode/pkg/bus"
)

// FuzzLetter holds that whatever lies among the dead letters can be shown without doing anything to a terminal, and is
// replayed to nobody but its owner (P10).
func FuzzLetter(f *testing.F) {
	for _, seed := range []string{
		"doorcode.challenge.email", "doorcode.challenge.sms", "doorcode.delivery.email.attempted", "doorcode.receipt.email", "doorcode.outcome.approved", "doorcode.challenge.", "doorcode.challenge.*", "doorcode.challenge.>",
		"doorcode.dlq.email", "$JS.API.STREAM.DELETE.X", "", "doorcode.verifier.check", "doorcode.challenge.email\r\nx: y", "doorcode.challenge.\x1b[2J",
	} {
		for _, letter := range []string{"doorcode.dlq.recorder", "doorcode.dlq.email", "doorcode.dlq.", ""} {
			f.Add(letter, seed, []byte(`{"expires_at": "2026-06-03T08:03:00Z"}`))
		}
	}
	f.Fuzz(func(t *testing.T, letter, subject string, data []byte) {
		if mayReplay(letter, subject) {
			family, _, _ := strings.Cut(strings.TrimPrefix(subject, "doorcode."), ".")
			owned := letter == recorderLetters && strings.Contains(" challenge delivery receipt ", " "+family+" ") ||
				family == "challenge" && strings.TrimPrefix(letter, "doorcode.dlq.") == strings.TrimPrefix(subject, "doorcode.challenge.")
			if !strings.HasPrefix(subject, "doorcode.") || !owned || strings.ContainsAny(subject, "*> \r\n") {
				t.Errorf("a letter of %q is replayed to %q", letter, subject)
			}
		}
		for _, text := range []string{letter, subject, string(data)} {
			for _, r := range plain(text) {
				if unicode.IsControl(r) || r == '\u202e' {
					t.Errorf("%q is shown as %q", text, plain(text))
				}
			}
		}
		until := sendsUntil(bus.Stored{Message: bus.Message{Subject: letter, Header: map[string]string{
			letterSubject: subject, "ce-specversion": "1.0", "ce-datacontenttype": "application/json", "ce-type": "challenge.v1.issued", "ce-time": "2026-06-03T08:02:00Z",
		}, Data: data}})
		if !until.IsZero() && until.Equal(time.Time{}) {
			t.Error("no time")
		}
	})
}

// FuzzArguments holds that no words break a command, and that what is not understood is said to be so.
func FuzzArguments(f *testing.F) {
	for _, seed := range []string{"", "7", "-reason\x00x\x007", "7\x00-reason", "--\x007", "-last\x00-1", "-last\x0018446744073709551616", "-for\x001h\x00email", "-h", "-\x00-", "-reason=\xff\x000"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		args := strings.Split(text, "\x00")
		for count := range 3 {
			set := flags("a command")
			set.String("reason", "", "")
			set.Uint64("last", 1, "")
			set.Duration("for", 0, "")
			set.Bool("live", false, "")
			words, err := parse(set, args, count)
			if err == nil && len(words) != count || err != nil && !errors.Is(err, errUsage) && !errors.Is(err, flag.ErrHelp) {
				t.Errorf("%q are the words %q, %v", args, words, err)
			}
			if err != nil || count != 1 {
				continue
			}
			sequence, err := sequenceOf(words, nil)
			if err == nil && sequence == 0 || err != nil && !errors.Is(err, errUsage) {
				t.Errorf("%q is the sequence %d, %v", words, sequence, err)
			}
		}
	})
}
