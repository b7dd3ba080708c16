package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"doorcode/pkg/certificate"
)

// authorityName is the base name of the authority's two files.
const authorityName = "ca"

// server is one that gets a certificate: the name of its files, and the hosts under which it is reached.
type server struct {
	name  string
	hosts []string
}

// serverFlag adds -server NAME[=HOST,...] to a set; it may be given more than once.
func serverFlag(set *flag.FlagSet) *[]server {
	servers := &[]server{}
	set.Func("server", "NAME or NAME=HOST,HOST", func(text string) error {
		name, hosts, found := strings.Cut(text, "=")
		if !found {
			hosts = name
		}
		if name == "" || name == authorityName || name != filepath.Base(name) {
			return errors.New("no name for a server")
		}
		*servers = append(*servers, server{name: name, hosts: strings.Split(hosts, ",")})
		return nil
	})
	return servers
}

// certificates makes the authority and the servers' certificates that are missing or near their end, and leaves the
// others as they are. With a new authority every server's is made anew.
func (c command) certificates(_ context.Context, args []string) error {
	set := flags("certificates")
	dir := set.String("dir", "certificates", "folder of the certificates")
	servers := serverFlag(set)
	_, err := parse(set, args, 0)
	if err != nil {
		return err
	}
	if len(*servers) == 0 {
		*servers = []server{{"nats", []string{"nats"}}, {"postgres", []string{"postgres"}}}
	}
	err = os.MkdirAll(*dir, 0o700)
	if err != nil {
		return fmt.Errorf("make certificates: %w", err)
	}
	made, err := makeCertificates(*dir, *servers, time.Now())
	if err != nil {
		return fmt.Errorf("make certificates: %w", err)
	}
	c.printf("certificates made in %s: %s\n", *dir, listed(made))
	return nil
}

// makeCertificates returns the names of what it made.
func makeCertificates(dir string, servers []server, now time.Time) ([]string, error) {
	var made []string
	authority, err := ensurePair(dir, authorityName, &made,
		func(p certificate.Pair) error { return certificate.UsableAuthority(p, now) },
		func() (certificate.Pair, error) { return certificate.NewAuthority(now) })
	if err != nil {
		return made, err
	}
	for _, s := range servers {
		_, err := ensurePair(dir, s.name, &made,
			func(p certificate.Pair) error { return certificate.Usable(authority, p, s.hosts, now) },
			func() (certificate.Pair, error) { return certificate.Issue(authority, s.hosts, now) })
		if err != nil {
			return made, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return made, nil
}

// ensurePair returns the pair of a name, made anew when it is not usable. A crash between its two files leaves a pair
// that does not fit together, which the next run makes anew.
func ensurePair(dir, name string, made *[]string, usable func(certificate.Pair) error, create func() (certificate.Pair, error)) (certificate.Pair, error) {
	certFile, keyFile := filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	var pair certificate.Pair
	for path, data := range map[string]*[]byte{certFile: &pair.Certificate, keyFile: &pair.Key} {
		content, err := os.ReadFile(path) //nolint:gosec // a file of the operator's own folder
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return pair, fmt.Errorf("read: %w", err)
		}
		*data = content
	}
	if usable(pair) == nil {
		return pair, nil
	}
	pair, err := create()
	if err != nil {
		return pair, err
	}
	*made = append(*made, name)
	return pair, errors.Join(write(keyFile, pair.Key), write(certFile, pair.Certificate))
}
