// Package app is doorcodectl: what an operator does once, or at a change. It
// holds the deployment's credential, the most powerful one, and never runs as
// a service.
package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"

	"doorcode/pkg/config"
)

// prefix is that of doorcodectl's own variables.
const prefix = "DOORCODE_DOORCODECTL_"

// Config is doorcodectl's environment. Each command says what it misses.
type Config struct {
	KeysDir          string        `env:"DOORCODE_DOORCODECTL_KEYS_DIR" envDefault:"keys" help:"Folder of the key files."`
	NATSDir          string        `env:"DOORCODE_DOORCODECTL_NATS_DIR" envDefault:"nats" help:"Folder of nats.conf and the NATS user keys."`
	NATSKey          string        `env:"DOORCODE_DOORCODECTL_NATS_KEY_FILE" help:"File with the NATS user key of doorcodectl."`
	NATSURL          string        `env:"DOORCODE_NATS_URL" envDefault:"nats://127.0.0.1:4222" help:"Address of NATS."`
	NATSCAFile       string        `env:"DOORCODE_NATS_CA_FILE" help:"File with the authorities, in PEM, that may vouch for NATS; when set, NATS is spoken over TLS 1.3 alone."`
	DatabaseURL      string        `env:"DOORCODE_DATABASE_URL" help:"Address of the database, with the owner's name for doorcodectl, without a password."`
	DatabasePassword config.Secret `env:"DOORCODE_DOORCODECTL_DATABASE_PASSWORD_FILE,file" help:"File with the password of the database's owner."`
	AuthPassword     config.Secret `env:"DOORCODE_DOORCODECTL_AUTH_PASSWORD_FILE,file" help:"File with the password that migrate gives the role doorcode_auth."`
	AuditorPassword  config.Secret `env:"DOORCODE_DOORCODECTL_AUDITOR_PASSWORD_FILE,file" help:"File with the password that migrate gives the role doorcode_auditor, which exports the audit; without one nobody is that role."`
	ConsolePassword  config.Secret `env:"DOORCODE_DOORCODECTL_CONSOLE_PASSWORD_FILE,file" help:"File with the password that migrate gives the role doorcode_console; without one there is no console."`
	VerifierPassword config.Secret `env:"DOORCODE_DOORCODECTL_VERIFIER_PASSWORD_FILE,file" help:"File with the password that migrate gives the role doorcode_verifier."`
}

// usage is what doorcodectl says of itself.
const usage = `doorcodectl, the commands of doorcode's operator

  doorcodectl keys                         make the key files that are missing
  doorcodectl keys -add NAME               add a key to one ring; nothing is made with it yet
  doorcodectl keys -activate NAME -key=ID  make with that key from now on; every process has to know it by then
  doorcodectl keys -rotate NAME            both in one step, where all processes are restarted together
  doorcodectl certificates [-dir DIR] [-server NAME=HOST,HOST]...
                                           make a private authority and certificates for TLS to NATS and Postgres
                                           that are missing or in their last month. Without -server: nats and
                                           postgres, reached under these names
  doorcodectl hand-out -to DIR [-certificates DIR] [-passwords DIR]
                                           copy into DIR, one folder per process, the keys, certificates and passwords
                                           that the process holds; passwords that are missing are made
  doorcodectl migrate                      bring the database to this version's schema
  doorcodectl streams apply [-plan]        show what would change on NATS, then change it; -plan only shows
  doorcodectl api-key create ID [-name N] [-scopes challenges,directory,settings,support] [-workspaces a,b] [-return-origin https://app.example.com]... [-no-return-origins] [-out FILE]
                                           make a front-end's API key and print it once. A new front-end has the
                                           scope challenges and all workspaces (*); for one that is there, what no
                                           flag names stays as it is, and its former key ends; -no-return-origins
                                           takes its return origins away, and open pages lead there no
                                           more. With -out the key goes to FILE, and one that is there and
                                           still valid stays
  doorcodectl api-key remove ID            take a front-end's key away, at once
  doorcodectl front-end create NAME        make the NATS key NAME.nk of a front-end that asks over NATS, and an account
                                           of its own in front-ends.conf; NATS has to read that again
  doorcodectl operator add ID -email ADDRESS -role operator|auditor|support|owner [-workspaces a,b] [-out FILE]
                                           let somebody sign in to the console and print their secret once: it is for
                                           their password manager, and their codes go to ADDRESS. An owner sees the
                                           workspaces that are named alone; of the others nobody has to be. Adding one
                                           that is there gives a new secret and ends their sessions. With -out the
                                           secret goes to FILE, and one that is there and still valid stays
  doorcodectl operator remove ID           take that back, at once, for open sessions too
  doorcodectl operator list                list who may sign in to the console
  doorcodectl dead-letters list [-last N]  list the newest messages that nobody understood and what became of them
  doorcodectl dead-letters show SEQ        show one of them
  doorcodectl dead-letters replay SEQ      send its message again, to where it came from; once
  doorcodectl dead-letters discard SEQ -reason R
                                           put on record that it needs nothing
  doorcodectl advisories list [-last N]    list the newest messages that a consumer gave up or was told to give up
  doorcodectl channel pause email|sms [-for DURATION]
                                           hold a channel's messages back, without -for until it is resumed. What is
                                           too late by then is not sent
  doorcodectl channel resume email|sms     let a channel go on
  doorcodectl channel show email|sms       show whether a channel is paused and how much waits
  doorcodectl country stop REGION -reason R
                                           offer no SMS to the numbers of a country (two letters of ISO 3166-1),
                                           whatever the settings allow
  doorcodectl country allow REGION -reason R
                                           take that back
  doorcodectl country list                 list the countries that are stopped
  doorcodectl rollout wave -id ID -operator NAME [-announce T] [-grace T] [-enforce T] [-skips N]
                                           make a wave of workspaces that come to codes together, or move the one that
                                           is there: what no flag names stays. T is a time with its zone, such as
                                           2026-09-01T09:00:00+02:00. From the announcement on dates move later alone.
                                           Its people are told by mail from then on
  doorcodectl rollout join -wave ID -operator NAME (-workspaces FILE | -percent P) [-preview]
                                           put workspaces into a wave until it is announced: those of a file, an id a
                                           line, - for the standard input; or of those in no wave P per cent, of which
                                           a greater P holds all of a smaller. -preview only lists whom it would take
  doorcodectl rollout leave -wave ID -operator NAME -workspaces FILE
                                           take workspaces out of a wave until it is announced; in no wave a code is
                                           required
  doorcodectl rollout preflight -wave ID|-workspace W|-all [-state ready|at_risk|blocked] [-no-texts]
                                           say which workspaces are ready for codes and why others are not, as far as it
                                           is on record; the counts add up to all
  doorcodectl rollout preflight -wave ID -move-to LATER -operator NAME -reason R
                                           and take the blocked ones into another wave that nobody was told of, to be
                                           worked on. Nobody new is let in by that
  doorcodectl rollout move -wave ID -to OTHER -workspaces FILE -operator NAME -reason R
                                           take workspaces of a wave into another; nobody of either was told yet
  doorcodectl rollout pause -wave ID -operator NAME -reason R
                                           have a wave stand still: its workspaces stay in their stage
  doorcodectl rollout resume -wave ID -operator NAME [-reason R]
                                           let it go on, later by as long as the pause was. When a gate holds it, R is
                                           needed, and those gates do not hold it again within a day
  doorcodectl rollout step-back -wave ID -operator A -reason R -grace-until T [-skips N]
                                           ask for an enforced wave to go back to grace until T, at most 30 days; with
                                           N skips of each login in all if it had fewer: those that were used stay used
  doorcodectl rollout step-back -wave ID -operator B -approve
                                           approve it within a day. A and B are two people; each command is on record
                                           with its login to the database
  doorcodectl rollout gates                show what the gates showed last, by which figures, and which waves they hold
  doorcodectl rollout exempt -workspace W [-login L] -reason R -for DURATION -requested-by A -approved-by B -operator NAME
                                           let a workspace, or one login, be without codes for at most 2160h, or 72h
                                           for a login. R: single_sign_on, accessibility, contract, automation,
                                           unreachable. A and B are two people
  doorcodectl rollout end-exemption -workspace W [-login L] -operator NAME
                                           end that at once
  doorcodectl rollout show [-workspace W]  show the waves and how many workspaces stand in each stage; or the stage of
                                           one, why, and what its people were told
  doorcodectl rollout preview-notices -wave ID
                                           count the mails that the notices of a wave are, and send none
  doorcodectl rollout simulate [-plan FILE] [-synthetic N [-seed S]] [-from T] [-days D] [-no-texts] [-sms-cap N] [-mails-per-hour N]
                                           play a plan, or the waves that there are, and change nothing: by day (UTC) who
                                           stands where, what sign-ins need, the load by the hour, and who would be
                                           blocked. People sign in as in the last four weeks, or as N workspaces that are
                                           made up; -no-texts leaves SMS out, and the last two compare the load with a
                                           daily cap and a rate. README.md shows a plan; - is the standard input
  doorcodectl challenge show REFERENCE|ID -operator NAME
                                           tell what became of one challenge, from the record alone, and what to try: by
                                           the support reference that a person reads out (spaces, dashes, case, O for 0
                                           do not matter), or by its id. No code, no whole address. That NAME looked is
                                           on record
  doorcodectl audit export -operator NAME -from TIME [-to TIME] [-workspace W] [-challenge C] [-kind K] [-format ndjson|csv] [-out FILE]
                                           every row of the audit from a time on, up to now or before -to, by time and
                                           id; a time is of RFC 3339 or a day in UTC. At the end stands what was asked
                                           for, the number of rows and the SHA-256 of all before it: the last line, or
                                           beside CSV on standard error. That NAME exported is on record. The role
                                           doorcode_auditor is enough for it
  doorcodectl audit verify -operator NAME [-keys FILE] [-anchor FILE]... [-stream] [-from TIME] [-to TIME]
                                           compare every row of the audit with what was sealed, or the seals of a span,
                                           and name each row that is edited, missing or added. FILE of -keys has the
                                           public keys, seal-keys.json of the folder of keys when it is left out; take
                                           it from a place that whoever owns the database cannot write to. With -anchor
                                           the heads of a verifier's file, with -stream those on NATS, have to be in the
                                           database, which shows a tail that was cut off or forged. That NAME verified
                                           is on record. The role doorcode_auditor is enough for it. Exit code 1 when
                                           anything was found
  doorcodectl audit retention -days N -operator NAME
                                           keep the audit for N days, 30 at least; older ones are dropped when all their
                                           rows are sealed. Seals stay
  doorcodectl addresses show -workspace W [-login L] -operator NAME -reason R
                                           show where the codes of a login went since when, or without -login the
                                           workspace's main address, in full; that you looked goes on record first
  doorcodectl addresses erase -workspace W [-login L] -operator NAME -reason R
                                           destroy what opens them in the audit and in every copy of it, once the
                                           login, or the workspace with all its logins, is removed

Exit codes: 0 done, 1 failed, 2 not understood.
Settings are environment variables; README.md lists them.
`

// errUsage says that the arguments were not understood.
var errUsage = errors.New("doorcodectl -h lists the commands")

// command is one run of doorcodectl.
type command struct {
	cfg    Config
	in     io.Reader
	out    io.Writer
	errOut io.Writer
}

// Run runs one command and returns the exit code: 0 done, 1 failed, 2 not
// understood. Nothing that it writes to errOut holds a password or a key.
func Run(ctx context.Context, args, environ []string, out, errOut io.Writer) int {
	if asksForHelp(args) {
		_, _ = io.WriteString(out, usage)
		return 0
	}
	err := run(ctx, args, environ, out, errOut)
	if err == nil {
		return 0
	}
	_, _ = fmt.Fprintln(errOut, "doorcodectl:", err)
	if errors.Is(err, errUsage) {
		return 2
	}
	return 1
}

// asksForHelp reports whether somebody wants to know the commands.
func asksForHelp(args []string) bool {
	return slices.ContainsFunc(args, func(arg string) bool {
		return arg == "-h" || arg == "-help" || arg == "--help"
	}) || len(args) == 1 && args[0] == "help"
}

// run finds the command by its words and gives it the rest of the arguments.
func run(ctx context.Context, args, environ []string, out, errOut io.Writer) error {
	for _, known := range []struct {
		words string
		do    func(command, context.Context, []string) error
	}{
		{"keys", command.keys},
		{"certificates", command.certificates},
		{"hand-out", command.handOut},
		{"migrate", command.migrate},
		{"streams apply", command.streams},
		{"api-key create", command.createAPIKey},
		{"api-key remove", command.removeAPIKey},
		{"front-end create", command.createFrontEnd},
		{"operator add", command.addOperator},
		{"operator remove", command.removeOperator},
		{"operator list", command.listOperators},
		{"dead-letters list", command.listLetters},
		{"dead-letters show", command.showLetter},
		{"dead-letters replay", command.replayLetter},
		{"dead-letters discard", command.discardLetter},
		{"advisories list", command.listAdvisories},
		{"channel pause", command.pauseChannel},
		{"channel resume", command.resumeChannel},
		{"channel show", command.showChannel},
		{"country stop", command.stopCountry},
		{"country allow", command.allowCountry},
		{"country list", command.listCountries},
		{"rollout wave", command.putWave},
		{"rollout join", command.joinWave},
		{"rollout leave", command.leaveWave},
		{"rollout preflight", command.preflight},
		{"rollout move", command.moveToWave},
		{"rollout pause", command.pauseWave},
		{"rollout resume", command.resumeWave},
		{"rollout gates", command.showGates},
		{"rollout step-back", command.stepBack},
		{"rollout exempt", command.exempt},
		{"rollout end-exemption", command.endExemption},
		{"rollout show", command.showRollout},
		{"rollout preview-notices", command.previewNotices},
		{"rollout simulate", command.simulateRollout},
		{"challenge show", command.showChallenge},
		{"audit export", command.exportAudit},
		{"audit verify", command.verifyAudit},
		{"audit retention", command.keepAudit},
		{"addresses show", command.showAddresses},
		{"addresses erase", command.eraseAddresses},
	} {
		words := strings.Fields(known.words)
		if len(args) < len(words) || !slices.Equal(args[:len(words)], words) {
			continue
		}
		cfg, err := config.Load[Config](prefix, environ)
		if err != nil {
			return err
		}
		return known.do(command{cfg: cfg, in: os.Stdin, out: out, errOut: errOut}, ctx, args[len(words):])
	}
	return fmt.Errorf("unknown command; %w", errUsage)
}

// flags returns an empty set of flags that reports instead of printing.
func flags(name string) *flag.FlagSet {
	set := flag.NewFlagSet(name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	return set
}

// parse reads flags before, between and behind the words, of which there must be
// that many.
func parse(set *flag.FlagSet, args []string, count int) ([]string, error) {
	var words []string
	for len(args) > 0 {
		err := set.Parse(args)
		if err != nil {
			return nil, fmt.Errorf("%s: %w; %w", set.Name(), err, errUsage)
		}
		args = set.Args()
		if len(args) > 0 {
			words, args = append(words, args[0]), args[1:]
		}
	}
	if len(words) != count {
		return nil, fmt.Errorf("%s takes %d words, not %d; %w", set.Name(), count, len(words), errUsage)
	}
	return words, nil
}

// printf writes to the command's own output.
func (c command) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(c.out, format, args...)
}

// ownerURL returns the owner's address with the password from its file. Its
// errors do not quote the setting, which may hold a password by mistake.
func (c command) ownerURL() (string, error) {
	if c.cfg.DatabaseURL == "" {
		return "", errors.New("DOORCODE_DATABASE_URL is not set")
	}
	u, err := url.Parse(c.cfg.DatabaseURL)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return "", errors.New("DOORCODE_DATABASE_URL is not an address of the form postgres://owner@host:port/database")
	}
	_, found := u.User.Password()
	if found || u.Query().Has("password") {
		return "", errors.New("DOORCODE_DATABASE_URL holds a password; it belongs into the file of DOORCODE_DOORCODECTL_DATABASE_PASSWORD_FILE")
	}
	if !c.cfg.DatabasePassword.IsZero() {
		u.User = url.UserPassword(u.User.Username(), c.cfg.DatabasePassword.Reveal())
	}
	return u.String(), nil
}
