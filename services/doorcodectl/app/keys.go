package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"doorcode/pkg/assertion"
	"doorcode/pkg/bus"
	"doorcode/pkg/delivery"
	"doorcode/pkg/keyring"
)

// The names of the key rings, which are also those of their files without
// `.json`. DESIGN 2 says which process holds which.
const (
	TagKeys         = "tag"
	DigestKeys      = "digest"
	HandleKeys      = "handle"
	AddressKeys     = "address"
	RowKeys         = "row"
	APIKeyKeys      = "api-key"
	IdempotencyKeys = "idempotency"
	CheckIDKeys     = "check-id"
	AssertionKeys   = "assertion" // key pairs; all others are symmetric
)

// KeyRings lists all rings, one per channel included.
func KeyRings() []string {
	names := []string{TagKeys, DigestKeys, HandleKeys, AddressKeys, RowKeys, APIKeyKeys, IdempotencyKeys, CheckIDKeys, AssertionKeys}
	for _, c := range delivery.Channels() {
		names = append(names, ChannelKeys(c))
	}
	return names
}

// ChannelKeys is the name of a channel's ring: auth seals with it, that
// channel's dispatcher opens.
func ChannelKeys(c delivery.Channel) string { return "channel-" + string(c) }

// KeyFile is the path of a ring in the folder of keys.
func KeyFile(dir, name string) string { return filepath.Join(dir, name+".json") }

// JWKSFile is the path of the public assertion keys, which auth serves.
func JWKSFile(dir string) string { return filepath.Join(dir, "jwks.json") }

// keys makes missing key files, or adds a key to one.
func (c command) keys(_ context.Context, args []string) error {
	set := flags("keys")
	rotate := set.String("rotate", "", "ring to add a key to")
	_, err := parse(set, args, 0)
	if err != nil {
		return err
	}
	if *rotate != "" {
		return c.rotate(*rotate)
	}
	made, err := makeKeys(c.cfg.KeysDir)
	if err != nil {
		return err
	}
	users, err := bus.WriteKeys(c.cfg.NATSDir)
	if err != nil {
		return err
	}
	c.printf("keys made in %s: %s\n", c.cfg.KeysDir, listed(made))
	c.printf("NATS users made in %s: %s\n", c.cfg.NATSDir, listed(users))
	return nil
}

// listed writes names for a person.
func listed(names []string) string {
	if len(names) == 0 {
		return "none, all are there"
	}
	return strings.Join(names, ", ")
}

// makeKeys makes every key file that is missing in dir and leaves the others as
// they are; it writes the public assertion keys anew. It returns what it made.
func makeKeys(dir string) ([]string, error) {
	err := os.MkdirAll(dir, 0o700)
	if err != nil {
		return nil, fmt.Errorf("make keys: %w", err)
	}
	var made []string
	for _, name := range KeyRings() {
		path := KeyFile(dir, name)
		_, err := os.Stat(path)
		if err == nil {
			continue
		}
		if !errors.Is(err, os.ErrNotExist) {
			return made, fmt.Errorf("make keys: %w", err)
		}
		data, err := fresh(name)
		if err == nil {
			err = write(path, data)
		}
		if err != nil {
			return made, fmt.Errorf("make keys %s: %w", name, err)
		}
		made = append(made, name)
	}
	return made, writeJWKS(dir)
}

// rotate adds a key to a ring and makes it the active one; the others keep
// verifying.
func (c command) rotate(name string) error {
	if !slices.Contains(KeyRings(), name) {
		return fmt.Errorf("there is no key ring %q; the rings are %s", name, strings.Join(KeyRings(), ", "))
	}
	path := KeyFile(c.cfg.KeysDir, name)
	data, err := rotated(path, name)
	if err != nil {
		return err
	}
	err = write(path, data)
	if err != nil {
		return err
	}
	if name == AssertionKeys {
		err = writeJWKS(c.cfg.KeysDir)
		if err != nil {
			return err
		}
	}
	c.printf("%s: a key was added and is the active one; restart every process that holds the ring, those that only verify with it first\n", name)
	return nil
}

// fresh returns the file of a new ring.
func fresh(name string) ([]byte, error) {
	if name == AssertionKeys {
		return marshalled(assertion.New())
	}
	return marshalled(keyring.New())
}

// rotated returns the file of a ring with one more key.
func rotated(path, name string) ([]byte, error) {
	if name == AssertionKeys {
		keys, err := assertion.Read(path)
		if err != nil {
			return nil, err
		}
		return marshalled(keys.Rotate())
	}
	ring, err := keyring.Read(path)
	if err != nil {
		return nil, err
	}
	return marshalled(ring.Rotate())
}

// marshalled is the file form of keys that could be made.
func marshalled[K interface{ Marshal() ([]byte, error) }](keys K, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return keys.Marshal()
}

// writeJWKS writes the public halves of the assertion keys.
func writeJWKS(dir string) error {
	keys, err := assertion.Read(KeyFile(dir, AssertionKeys))
	if err != nil {
		return err
	}
	data, err := keys.JWKS()
	if err != nil {
		return err
	}
	return write(JWKSFile(dir), data)
}

// write replaces a file in one step, readable by its owner alone: a reader sees
// the old keys or the new ones, and a crash leaves one of them whole.
func write(path string, data []byte) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("write key file: %w", err)
	}
	_, err = temporary.Write(data)
	if err == nil {
		err = temporary.Sync()
	}
	err = errors.Join(err, temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write key file: %w", err), os.Remove(temporary.Name()))
	}
	return nil
}
