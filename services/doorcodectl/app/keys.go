package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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
	ConsoleKeys     = "console"
	AssertionKeys   = "assertion" // key pairs; all others are symmetric
)

// KeyRings lists all rings, one per channel included.
func KeyRings() []string {
	names := []string{TagKeys, DigestKeys, HandleKeys, AddressKeys, RowKeys, APIKeyKeys, IdempotencyKeys, CheckIDKeys, ConsoleKeys, AssertionKeys}
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

// keys makes missing key files, or changes one ring.
func (c command) keys(_ context.Context, args []string) error {
	set := flags("keys")
	add := set.String("add", "", "ring to add a key to")
	activate := set.String("activate", "", "ring to make another key of the active one")
	key := set.String("key", "", "id of that key")
	rotate := set.String("rotate", "", "ring to do both with")
	_, err := parse(set, args, 0)
	if err != nil {
		return err
	}
	switch named := set.NFlag(); {
	case *activate != "" && *key != "" && named == 2:
		return c.activate(*activate, *key)
	case *add != "" && named == 1:
		return c.add(*add)
	case *rotate != "" && named == 1:
		return c.rotate(*rotate)
	case named > 0:
		return fmt.Errorf("keys takes -add NAME, -activate NAME -key ID or -rotate NAME, one at a time; %w", errUsage)
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

// add adds a key to a ring, with which nothing is made yet.
func (c command) add(name string) error {
	var id string
	err := c.change(name, func(path string) (data []byte, err error) {
		if name == AssertionKeys {
			data, id, err = added(assertion.Read(path))
			return data, err
		}
		data, id, err = added(keyring.Read(path))
		return data, err
	})
	if err != nil {
		return err
	}
	c.printf("%s: key %s was added\nwhen every process that holds the ring has it and was restarted: doorcodectl keys -activate %s -key=%s\n", name, id, name, id)
	return nil
}

// activate makes a key of a ring the active one; the others keep verifying.
func (c command) activate(name, id string) error {
	err := c.change(name, func(path string) ([]byte, error) {
		if name == AssertionKeys {
			keys, err := assertion.Read(path)
			if err != nil {
				return nil, err
			}
			return marshalled(keys.Activate(id))
		}
		ring, err := keyring.Read(path)
		if err != nil {
			return nil, err
		}
		number, err := strconv.ParseUint(id, 10, 8)
		if err != nil {
			return nil, keyring.ErrUnknownKey
		}
		return marshalled(ring.Activate(uint8(number)))
	})
	if err != nil {
		return fmt.Errorf("activate a key of %s: %w", name, err)
	}
	c.printf("%s: key %s is the active one; restart every process that holds the ring, in any order\n", name, id)
	return nil
}

// rotate adds a key to a ring and makes it the active one at once.
func (c command) rotate(name string) error {
	err := c.change(name, func(path string) ([]byte, error) {
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
	})
	if err != nil {
		return err
	}
	c.printf("%s: a key was added and is the active one; a process that holds the ring refuses what others make with it until it is restarted\n", name)
	return nil
}

// change replaces the file of a ring by what act makes of it, and the public keys with it.
func (c command) change(name string, act func(path string) ([]byte, error)) error {
	if !slices.Contains(KeyRings(), name) {
		return fmt.Errorf("there is no key ring %q; the rings are %s", name, strings.Join(KeyRings(), ", "))
	}
	path := KeyFile(c.cfg.KeysDir, name)
	data, err := act(path)
	if err != nil {
		return err
	}
	err = write(path, data)
	if err != nil {
		return err
	}
	if name != AssertionKeys {
		return nil
	}
	return writeJWKS(c.cfg.KeysDir)
}

// added is the file form of keys that could be read, with one more, and the id of it.
func added[ID any, K interface {
	Add() (K, ID, error)
	Marshal() ([]byte, error)
}](keys K, err error) (data []byte, id string, _ error) {
	if err != nil {
		return nil, "", err
	}
	next, fresh, err := keys.Add()
	if err != nil {
		return nil, "", err
	}
	data, err = next.Marshal()
	return data, fmt.Sprint(fresh), err
}

// fresh returns the file of a new ring.
func fresh(name string) ([]byte, error) {
	if name == AssertionKeys {
		return marshalled(assertion.New())
	}
	return marshalled(keyring.New())
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
