package bus

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// frontEndAccount is a front-end's entry in front-ends.conf: account, public key, inbox prefix. It may ask the challenge
// API and hear the answers, and nothing else.
const frontEndAccount = `
%s {
  imports: [ { service: { account: AUTH, subject: "doorcode.api.challenges.*" } } ]
  users: [ { nkey: %q, permissions: {
    publish: { allow: [ "doorcode.api.challenges.*" ] }
    subscribe: { allow: [ "_INBOX_%s.>" ] }
  } } ]
}
`

// AddFrontEnd makes a login front-end that asks over NATS: a seed `<name>.nk` in dir and an account of its own in
// `front-ends.conf` beside it, which WriteKeys made. It may be called again: who is there stays, and made is false. A
// server that runs reads the account at its next start or reload.
func AddFrontEnd(dir, name string) (made bool, err error) {
	if !isFrontEndName(name) {
		return false, errors.New("a front-end's name is 1 to 32 of a-z, 0-9 and hyphens, begins with a letter and is no user of nats.conf")
	}
	conf, seed := filepath.Join(dir, "front-ends.conf"), filepath.Join(dir, name+".nk")
	content, err := os.ReadFile(conf) //nolint:gosec // The path is a folder of the operator and a fixed name.
	if err != nil {
		return false, fmt.Errorf("read the accounts of front-ends: %w", err)
	}
	account := "FRONT_END_" + strings.ToUpper(underscored(name))
	present := regexp.MustCompile(`(?m)^\s*"?` + account + `"?[\s:=]*\{`).Match(content)
	if present {
		// A seed that is lost cannot be made again, and one beside a foreign account would open nothing.
		_, err = os.Stat(seed)
		if errors.Is(err, fs.ErrNotExist) {
			return false, fmt.Errorf("the account %s is in front-ends.conf and its seed %s.nk is not there: remove the account first", account, name)
		}
		if err != nil {
			return false, fmt.Errorf("look for the seed of %s: %w", name, err)
		}
	}
	public, _, err := ensureSeed(seed)
	if err != nil {
		return false, fmt.Errorf("key of front-end %s: %w", name, err)
	}
	switch {
	case !present:
		entry := fmt.Sprintf(frontEndAccount, account, public, underscored(name))
		return true, writeFile(conf, strings.TrimRight(string(content), "\n")+"\n"+entry)
	case !strings.Contains(string(content), public):
		return false, fmt.Errorf("the account %s in front-ends.conf has another key than %s.nk: remove the account first", account, name)
	}
	return false, nil
}

// isFrontEndName keeps names apart from those of the users in nats.conf, whose seeds lie in the same folder, and from
// FRONT_END_EXAMPLE.
func isFrontEndName(name string) bool {
	return regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`).MatchString(name) && name != "example" &&
		!slices.Contains(UserNames(), name)
}
