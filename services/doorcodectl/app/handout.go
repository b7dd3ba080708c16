package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"doorcode/pkg/delivery"
)

// The database roles that have a password, by the names of their files.
const (
	ownerPassword    = "owner"
	authPassword     = "auth"
	verifierPassword = "verifier"
	consolePassword  = "console"
)

// folders are where the things lie that hand-out copies.
type folders struct {
	keys, nats, certificates, passwords string
}

// holdings lists what each process holds (DESIGN 2 and 6), for containers that mount one folder each (P10). API keys,
// such as the demo's, which is not among them, and the console's, are made by api-key create.
func (f folders) holdings() map[string][]string {
	rings := func(names ...string) []string {
		for i, name := range names {
			names[i] = KeyFile(f.keys, name)
		}
		return names
	}
	user := func(name string) string { return filepath.Join(f.nats, name+".nk") }
	conf := func(name string) string { return filepath.Join(f.nats, name+".conf") }
	tls := func(name string) string { return filepath.Join(f.certificates, name) }
	password := func(name string) string { return filepath.Join(f.passwords, name+".password") }
	authority := tls(authorityName + ".pem")
	return map[string][]string{
		"auth": append(
			rings(TagKeys, DigestKeys, HandleKeys, AddressKeys, RowKeys, APIKeyKeys, IdempotencyKeys,
				ChannelKeys(delivery.Email), ChannelKeys(delivery.SMS)),
			JWKSFile(f.keys), user("auth"), password(authPassword), authority),
		"verifier": append(rings(DigestKeys, HandleKeys, CheckIDKeys, AssertionKeys),
			user("verifier"), password(verifierPassword), authority),
		"email-dispatcher": append(rings(ChannelKeys(delivery.Email)), user("email-dispatcher"), authority),
		"sms-dispatcher":   append(rings(ChannelKeys(delivery.SMS)), user("sms-dispatcher"), authority),
		"receipts":         append(rings(AddressKeys), user("receipts"), authority),
		"console":          append(rings(ConsoleKeys), password(consolePassword), authority),
		"nats":             {conf("nats"), conf("nats-tls"), conf("nkeys"), conf("front-ends"), tls("nats.pem"), tls("nats.key")},
		"postgres":         {tls("postgres.pem"), tls("postgres.key"), password(ownerPassword)},
		// The commands that follow: migrate, streams apply, api-key, operator.
		"doorcodectl": append(rings(RowKeys, APIKeyKeys, ConsoleKeys),
			user("doorcodectl"), password(ownerPassword), password(authPassword), password(verifierPassword), password(consolePassword), authority),
	}
}

// handOut makes the passwords of the database roles that are missing and copies to a folder per process what that
// process holds, and nothing else. What else lies in such a folder stays.
func (c command) handOut(_ context.Context, args []string) error {
	set := flags("hand-out")
	to := set.String("to", "", "folder of the processes' folders")
	from := folders{keys: c.cfg.KeysDir, nats: c.cfg.NATSDir}
	set.StringVar(&from.certificates, "certificates", "certificates", "folder of the certificates")
	set.StringVar(&from.passwords, "passwords", "passwords", "folder of the passwords")
	_, err := parse(set, args, 0)
	if err != nil {
		return err
	}
	if *to == "" {
		return fmt.Errorf("hand-out: -to is missing; %w", errUsage)
	}
	err = from.makePasswords()
	if err != nil {
		return fmt.Errorf("make passwords: %w", err)
	}
	holdings := from.holdings()
	for _, process := range slices.Sorted(maps.Keys(holdings)) {
		err = copyInto(filepath.Join(*to, process), holdings[process])
		if err != nil {
			return fmt.Errorf("hand out to %s: %w", process, err)
		}
		c.printf("%s: %d files\n", process, len(holdings[process]))
	}
	return nil
}

// makePasswords makes the files of passwords that are missing; 26 characters of base32 carry 130 bits.
func (f folders) makePasswords() error {
	err := os.MkdirAll(f.passwords, 0o700)
	if err != nil {
		return err
	}
	for _, role := range []string{ownerPassword, authPassword, verifierPassword, consolePassword} {
		path := filepath.Join(f.passwords, role+".password")
		_, err := os.Stat(path)
		if errors.Is(err, os.ErrNotExist) {
			err = write(path, []byte(rand.Text()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copyInto copies files under their own names, readable by their owner alone.
func copyInto(dir string, files []string) error {
	err := os.MkdirAll(dir, 0o700)
	if err != nil {
		return err
	}
	for _, path := range files {
		data, err := os.ReadFile(path) //nolint:gosec // a file of the operator's own folders
		if err != nil {
			return err
		}
		err = write(filepath.Join(dir, filepath.Base(path)), data)
		if err != nil {
			return err
		}
	}
	return nil
}
