package stage

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"doorcode/services/bench/internal/host"
)

// SyncDefault is NATS's own sync_interval: two minutes. What is published is acknowledged before it is on disk.
const SyncDefault = "default"

// bus starts a NATS server of its own, from its own binary, with the accounts and limits of an installation.
func (s *Stage) bus(ctx context.Context, r *Running, dir, listen, sync string) error {
	path := filepath.Join(s.cfg.Dir, "nats", "nats.conf")
	text, err := os.ReadFile(path) //nolint:gosec // which doorcodectl wrote
	if err != nil {
		return fmt.Errorf("read nats.conf: %w", err)
	}
	changed, err := configureBus(string(text), listen, filepath.Join(dir, "nats"), sync)
	if err != nil {
		return err
	}
	path = filepath.Join(s.cfg.Dir, "nats", "bench.conf") // beside what it includes
	err = os.WriteFile(path, []byte(changed), 0o600)      //nolint:gosec // in a folder that was made for this
	if err != nil {
		return fmt.Errorf("write the configuration of nats: %w", err)
	}
	p, err := host.Launch(ctx, host.Program{
		Name: "nats-server", Path: filepath.Join(s.cfg.Bin, "nats-server"), Args: []string{"-c", path},
		Env: s.environment(nil), Log: filepath.Join(dir, "nats.log"),
	})
	if err != nil {
		return err
	}
	r.stack.Push("nats", func(context.Context) error { return p.Stop() })
	r.Members = append(r.Members, Member{"nats-server", p.PID()})
	return p.Await(ctx, func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", listen)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// configureBus changes address, store and sync in the text of nats.conf and nothing else.
func configureBus(text, listen, store, sync string) (string, error) {
	lines := map[string]string{
		`listen: "0.0.0.0:4222"`:    `listen: "` + listen + `"`,
		`store_dir: "/data/nats"`:   `store_dir: "` + store + `"`,
		"  sync_interval: always\n": "  sync_interval: " + sync + "\n",
	}
	if sync == SyncDefault {
		lines["  sync_interval: always\n"] = ""
	}
	for old, changed := range lines {
		if strings.Count(text, old) != 1 {
			return "", fmt.Errorf("nats.conf does not have %q once", strings.TrimSpace(old))
		}
		text = strings.Replace(text, old, changed, 1)
	}
	return text, nil
}
