package app

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"doorcode/pkg/challenge"
	"doorcode/pkg/mask"
	"doorcode/pkg/postgres"
	"doorcode/pkg/story"
)

// showChallenge tells what became of a challenge, for support and operators (product.md 2.8).
func (c command) showChallenge(ctx context.Context, args []string) error {
	set := flags("challenge show")
	var operator string
	set.Func("operator", "who looks", idInto(&operator))
	words, err := parse(set, idsLast(args), 1)
	if err != nil {
		return err
	}
	if operator == "" {
		return fmt.Errorf("challenge show: -operator is missing: that somebody looks goes on record in a name; %w", errUsage)
	}
	query, err := storyQuery(words[0])
	if err != nil {
		return fmt.Errorf("challenge show: %w", err)
	}
	db, err := c.owner(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	stories, err := db.Stories(ctx, operator, query)
	if err != nil {
		return err
	}
	if len(stories) == 0 {
		return errNoStory
	}
	for i, s := range stories {
		if i > 0 {
			c.printf("\n")
		}
		c.showStory(s)
	}
	return nil
}

// errNoStory says that nothing is there to tell.
var errNoStory = errors.New("nothing is on record about it: the challenge may be some seconds old and not recorded yet, or the " +
	"reference is older than thirty days; then the challenge's id finds what the audit has")

// isChallengeID tells the id of a challenge from what people say.
func isChallengeID(s string) bool {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil && len(raw) == challenge.IDSize
}

// idsLast puts an id that begins with a dash where no flag is looked for.
func idsLast(args []string) []string {
	at := slices.IndexFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "-") && isChallengeID(arg) })
	if at < 0 || slices.Contains(args, "--") {
		return args
	}
	return append(slices.Delete(slices.Clone(args), at, at+1), "--", args[at])
}

// storyQuery reads a challenge's id or a support reference. Its error is for people and does not quote what was typed.
func storyQuery(s string) (postgres.StoryQuery, error) {
	if isChallengeID(s) {
		return postgres.StoryQuery{Challenge: s}, nil
	}
	reference, err := challenge.ParseReference(s)
	return postgres.StoryQuery{Reference: reference}, err
}

// showStory prints one story: whose it is, its lines, and what to try. No line holds more than the mask of an address.
func (c command) showStory(s postgres.Story) {
	masks := mask.New()
	row := func(name, value string) {
		if value != "" {
			c.printf("%-11s%s\n", name, plain(masks.Text(value)))
		}
	}
	of := s.Challenge
	row("reference", challenge.ShowReference(of.Reference))
	row("challenge", of.ID)
	row("state", cmp.Or(string(of.State), "no end is on record"))
	row("workspace", of.Workspace)
	row("login", of.Login)
	row("front-end", of.FrontEnd)
	row("purpose", of.Purpose)
	row("label", of.Label)
	for _, r := range of.Routes {
		row("route", r.Channel+" "+r.Recipient)
	}
	if of.Gone {
		row("note", "the challenge's own row is gone: this is told from the audit alone, which has no recipients")
	}
	c.printf("\n")
	for _, l := range story.Tell(of, s.Rows) {
		c.printf("%s  %-8s  %s\n", l.At.Format(time.DateTime+"Z"), l.Lane, masks.Text(l.Text))
	}
	c.printf("\nwhat to try: %s\n", masks.Text(story.Advice(of, s.Rows)))
}
