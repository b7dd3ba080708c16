package bus

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nkeys"

	"doorcode/deploy"
)

const frontEndsConf = `# Further login front-ends, one account each, as doorcodectl front-end create makes them. The form is that of
# FRONT_END_EXAMPLE in nats.conf:
#
#   FRONT_END_<NAME> {
#     imports: [ { service: { account: AUTH, subject: "doorcode.api.challenges.*" } } ]
#     users: [ { nkey: "U…", permissions: {
#       publish: { allow: [ "doorcode.api.challenges.*" ] }
#       subscribe: { allow: [ "_INBOX_<name>.>" ] }
#     } } ]
#   }
`

// UserNames lists the users of nats.conf. Each is also the name of its process (front-end: of the example
// account) and, with `.nk` behind it, of the file that holds its seed.
func UserNames() []string {
	return []string{"auth", "email-dispatcher", "sms-dispatcher", "receipts", "verifier", "auditor", "doorcodectl", "front-end"}
}

// NewUserKey makes a NATS user key. The seed is the secret that its process reads from a file; the public key
// stands in the server's configuration.
func NewUserKey() (seed, public string, err error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return "", "", fmt.Errorf("make a user key: %w", err)
	}
	defer pair.Wipe()
	secret, err := pair.Seed()
	if err != nil {
		return "", "", fmt.Errorf("encode a user seed: %w", err)
	}
	public, err = pair.PublicKey()
	if err != nil {
		return "", "", fmt.Errorf("encode a user's public key: %w", err)
	}
	return string(secret), public, nil
}

// WriteKeys makes dir ready for a server: a seed `<user>.nk` (mode 0600) for each user that has none, their public
// keys in `nkeys.conf`, `nats.conf` and `nats-tls.conf` themselves, and an empty `front-ends.conf` if there is none. It may be called again
// and again: a seed that is there is kept. It returns the users it made a key for.
func WriteKeys(dir string) ([]string, error) {
	err := os.MkdirAll(dir, 0o700)
	if err != nil {
		return nil, fmt.Errorf("make the folder of the bus keys: %w", err)
	}
	var made []string
	var publics strings.Builder
	publics.WriteString("# Public keys of the users in nats.conf; written with the seeds beside it.\n")
	for _, user := range UserNames() {
		public, fresh, err := ensureSeed(filepath.Join(dir, user+".nk"))
		if err != nil {
			return made, fmt.Errorf("key of user %s: %w", user, err)
		}
		if fresh {
			made = append(made, user)
		}
		fmt.Fprintf(&publics, "NKEY_%s: %q\n", strings.ToUpper(underscored(user)), public)
	}
	err = writeFile(filepath.Join(dir, "nkeys.conf"), publics.String())
	if err != nil {
		return made, err
	}
	err = errors.Join(
		writeFile(filepath.Join(dir, "nats.conf"), deploy.NATSConf()),
		writeFile(filepath.Join(dir, "nats-tls.conf"), deploy.NATSTLSConf()),
	)
	if err != nil {
		return made, err
	}
	frontEnds := filepath.Join(dir, "front-ends.conf")
	_, err = os.Stat(frontEnds)
	if errors.Is(err, fs.ErrNotExist) {
		return made, writeFile(frontEnds, frontEndsConf)
	}
	if err != nil {
		return made, fmt.Errorf("look for front-ends.conf: %w", err)
	}
	return made, nil
}

// ensureSeed returns the public key of the seed in path and makes the seed first when there is none.
func ensureSeed(path string) (public string, fresh bool, err error) {
	seed, err := os.ReadFile(path) //nolint:gosec // The path is a folder of the operator and a fixed name.
	if errors.Is(err, fs.ErrNotExist) {
		secret, public, err := NewUserKey()
		if err != nil {
			return "", false, err
		}
		return public, true, writeFile(path, secret+"\n")
	}
	if err != nil {
		return "", false, fmt.Errorf("read the seed: %w", err)
	}
	pair, err := nkeys.FromSeed(bytes.TrimSpace(seed))
	if err != nil {
		return "", false, fmt.Errorf("decode the seed: %w", err)
	}
	defer pair.Wipe()
	public, err = pair.PublicKey()
	if err != nil {
		return "", false, fmt.Errorf("encode the public key: %w", err)
	}
	if !nkeys.IsValidPublicUserKey(public) {
		return "", false, errors.New("the seed is not that of a user")
	}
	return public, false, nil
}

// writeFile writes a file of mode 0600 whole or not at all: a process killed in between leaves the old one.
func writeFile(path, content string) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	_, err = file.WriteString(content)
	if err == nil {
		err = file.Sync()
	}
	err = errors.Join(err, file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", filepath.Base(path), err), os.Remove(file.Name()))
	}
	return nil
}

// underscored is a user's name as it stands in inbox prefixes and variables, where a hyphen may not.
func underscored(name string) string {
	return strings.ReplaceAll(name, "-", "_")
}
