package app

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"doorcode/services/bench/internal/stage"
)

// Config is what is measured.
type Config struct {
	Bin, Out, Dir          string
	Lasts, WarmUp, Floor   time.Duration // of each run, of the load before it, of each part of the floor
	People                 int
	Syncs                  []string
	Closed, Rates          []int
	Verifiers, Dispatchers int
	Settings               map[string]string
}

// parse reads the flags.
func parse(args []string, errOut io.Writer) (Config, error) {
	c := Config{
		Syncs: []string{stage.SyncDefault, "always"}, Closed: []int{1, 16, 64, 256}, Rates: []int{200, 1000},
		Settings: map[string]string{},
	}
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.SetOutput(errOut)
	set.StringVar(&c.Bin, "bin", "bin", "folder of the binaries of doorcode and of nats-server")
	set.StringVar(&c.Out, "out", "bin/bench-report", "folder for report.txt, report.json and latency.svg")
	set.StringVar(&c.Dir, "dir", "", "folder for the stores of NATS and Postgres, whose disk is measured; a temporary one when empty")
	set.DurationVar(&c.Lasts, "duration", 10*time.Second, "how long each run lasts")
	set.DurationVar(&c.WarmUp, "warm-up", 3*time.Second, "how long the load lasts before it counts")
	set.DurationVar(&c.Floor, "floor", time.Second, "how long each part of the floor is measured before each run")
	set.IntVar(&c.People, "logins", 10_000, "how many people sign in, one after the other")
	set.IntVar(&c.Verifiers, "verifiers", 1, "replicas of the verifier")
	set.IntVar(&c.Dispatchers, "dispatchers", 1, "replicas of the email-dispatcher")
	set.Func("sync", "sync_intervals of NATS, with commas (default \"default,always\")", func(list string) error {
		c.Syncs = strings.Split(list, ",")
		return nil
	})
	set.Func("closed", "sign-ins in flight of the closed loops, with commas, or none (default \"1,16,64,256\")", numbers(&c.Closed))
	set.Func("rates", "sign-ins a second of the open loops, with commas, or none (default \"200,1000\")", numbers(&c.Rates))
	set.Func("set", "setting of the processes, NAME=VALUE; may be repeated", func(setting string) error {
		name, value, found := strings.Cut(setting, "=")
		if !found || !strings.HasPrefix(name, "DOORCODE_") {
			return errors.New("not of the form DOORCODE_NAME=VALUE")
		}
		c.Settings[name] = value
		return nil
	})
	set.BoolFunc("short", "two seconds a run and few people, to see that it works", func(string) error {
		c.Lasts, c.WarmUp, c.Floor, c.People = 2*time.Second, time.Second, 300*time.Millisecond, 2000
		return nil
	})
	err := set.Parse(args)
	if err != nil {
		return Config{}, err
	}
	return c, c.validate(set.NArg())
}

// validate refuses what could not be measured.
func (c Config) validate(words int) error {
	switch {
	case words > 0:
		return errors.New("bench takes flags alone")
	case c.Lasts <= 0 || c.WarmUp < 0 || c.Floor <= 0:
		return errors.New("a run lasts some time")
	case c.Verifiers < 1 || c.Dispatchers < 1:
		return errors.New("at least one verifier and one dispatcher are needed")
	}
	for _, n := range c.Closed {
		if n > c.People {
			return fmt.Errorf("%d people cannot have %d sign-ins in flight", c.People, n)
		}
	}
	return nil
}

// numbers reads a list of numbers above zero; `none` is the empty one.
func numbers(to *[]int) func(string) error {
	return func(list string) error {
		*to = nil
		if list == "none" {
			return nil
		}
		for text := range strings.SplitSeq(list, ",") {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 {
				return fmt.Errorf("%q is not a number above zero", text)
			}
			*to = append(*to, n)
		}
		return nil
	}
}
