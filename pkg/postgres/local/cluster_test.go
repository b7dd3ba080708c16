package local

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ask runs a query of one text value as the owner.
func ask(t *testing.T, c *Cluster, query string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	var answer string
	err = conn.QueryRow(t.Context(), query).Scan(&answer)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// execute runs a statement as the owner.
func execute(t *testing.T, c *Cluster, statement string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	_, err = conn.Exec(t.Context(), statement)
	if err != nil {
		t.Fatal(err)
	}
}

func TestCluster_RunsAsPromised(t *testing.T) {
	t.Parallel()
	c := start(t, config(t, tempDir(t)))
	for query, want := range map[string]string{
		`SHOW data_checksums`:          "on",
		`SHOW unix_socket_directories`: "",
		`SHOW listen_addresses`:        "127.0.0.1",
		`SHOW password_encryption`:     "scram-sha-256",
		`SHOW server_encoding`:         "UTF8",
		`SHOW timezone`:                "UTC",
		`SHOW fsync`:                   "off",
		`SELECT current_user::text`:    Owner,
		`SELECT count(*)::text FROM pg_hba_file_rules WHERE auth_method <> 'scram-sha-256'`: "0",
	} {
		got := ask(t, c, query)
		if got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	info, err := os.Stat(c.Dir() + ".password")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the password's file: %v, %v, want mode 0600", info, err)
	}
	owner, ok := ownerOf(filepath.Join(c.Dir(), "PG_VERSION"))
	if !ok || owner.uid == 0 {
		t.Errorf("the server runs as %+v, want an unprivileged user", owner)
	}
}

func TestCluster_RefusesAWrongPassword(t *testing.T) {
	t.Parallel()
	c := start(t, config(t, tempDir(t)))
	_, err := pgx.Connect(t.Context(), strings.Replace(c.URL("postgres"), c.secret, "wrong", 1))
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code != "28P01" {
		t.Errorf("a wrong password got %v, want 28P01", err)
	}
	log, err := os.ReadFile(c.Dir() + ".log")
	if err != nil || bytes.Contains(log, []byte(c.secret)) {
		t.Errorf("the log holds the password or cannot be read: %v", err)
	}
}

func TestCluster_KeepsDataAndMakesADatabaseOnce(t *testing.T) {
	t.Parallel()
	cfg := config(t, tempDir(t))
	c := start(t, cfg)
	for range 2 {
		err := c.EnsureDatabase(t.Context(), "doorcode")
		if err != nil {
			t.Fatal(err)
		}
	}
	execute(t, c, `CREATE TABLE kept AS SELECT 'yes' AS value`)
	stop(t, c)
	stop(t, c) // twice is harmless
	select {
	case err := <-c.Failed():
		t.Error("a stop counts as a failure:", err)
	default:
	}
	again := start(t, cfg)
	if ask(t, again, `SELECT value FROM kept`) != "yes" {
		t.Error("the data is gone")
	}
	if ask(t, again, `SELECT count(*)::text FROM pg_database WHERE datname = 'doorcode'`) != "1" {
		t.Error("the database is gone")
	}
}

func TestCluster_TellsAnUnaskedEndAndStartsAfterIt(t *testing.T) {
	t.Parallel()
	cfg := config(t, tempDir(t))
	c := start(t, cfg)
	execute(t, c, `CREATE TABLE kept AS SELECT 'yes' AS value`)
	c.server.signal(syscall.SIGKILL)
	err := <-c.Failed()
	if err == nil || !strings.Contains(err.Error(), "unasked") {
		t.Errorf("an unasked end is told as %v", err)
	}
	stop(t, c)
	if ask(t, start(t, cfg), `SELECT value FROM kept`) != "yes" {
		t.Error("the data is gone")
	}
}

func TestCluster_RefusesAFolderInUse(t *testing.T) {
	t.Parallel()
	cfg := config(t, tempDir(t))
	first := start(t, cfg)
	_, err := Start(t.Context(), cfg)
	if !errors.Is(err, ErrInUse) {
		t.Errorf("a claimed folder: %v, want ErrInUse", err)
	}
	// A server that somebody else started holds no lock of ours.
	err = os.Remove(first.Dir() + ".lock")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Start(t.Context(), cfg)
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), strconv.Itoa(first.server.cmd.Process.Pid)) {
		t.Errorf("a folder with a living server: %v, want ErrInUse and its number", err)
	}
	if ask(t, first, `SELECT 'up'`) != "up" {
		t.Error("the first server was disturbed")
	}
}

func TestCluster_StopsAtOnceWhenTimeIsUp(t *testing.T) {
	t.Parallel()
	cfg := config(t, tempDir(t))
	c := start(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c.server.signal(syscall.SIGSTOP) // a server that cannot react in time
	ended := make(chan error, 1)
	go func() { ended <- c.Stop(ctx) }()
	eventually(t, "the stop has begun", c.server.stopping.Load)
	c.server.signal(syscall.SIGCONT)
	err := <-ended
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a hurried stop returned %v, want the context's end", err)
	}
	start(t, cfg)
}

func TestCluster_TakesAnotherFreePort(t *testing.T) {
	t.Parallel()
	c, err := newCluster(config(t, tempDir(t)))
	if err != nil {
		t.Fatal(err)
	}
	taken := occupied(t)
	offers := []int{taken, taken}
	c.freePort = func(ctx context.Context, listen string) (int, error) {
		if len(offers) == 0 {
			return freePort(ctx, listen)
		}
		next := offers[0]
		offers = offers[1:]
		return next, nil
	}
	err = c.start(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, c) })
	if c.port == taken || len(offers) != 0 {
		t.Errorf("port %d after %d offers left", c.port, len(offers))
	}
}

func TestCluster_NamesATakenPort(t *testing.T) {
	t.Parallel()
	cfg := config(t, tempDir(t))
	cfg.Port = occupied(t)
	_, err := Start(t.Context(), cfg)
	if !errors.Is(err, errPortTaken) || !strings.Contains(err.Error(), strconv.Itoa(cfg.Port)) {
		t.Errorf("a taken port: %v", err)
	}
}

// occupied returns a port that is in use until the test ends.
func occupied(t *testing.T) int {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // a TCP listener
}

func TestCluster_QuotesTheLogWhenTheServerGivesUp(t *testing.T) {
	t.Parallel()
	cfg := config(t, tempDir(t))
	cfg.Settings = map[string]string{"shared_buffers": "nonsense"}
	_, err := Start(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "shared_buffers") {
		t.Errorf("a wrong setting: %v, want the server's words", err)
	}
	cfg.Settings = quick()
	start(t, cfg) // the folder was given back
}

func TestCluster_FinishesAHalfMadeFolder(t *testing.T) {
	t.Parallel()
	cfg := config(t, tempDir(t))
	err := os.MkdirAll(filepath.Join(cfg.Dir+".new", "base"), 0o700)
	if err != nil {
		t.Fatal(err)
	}
	start(t, cfg)
}

func TestCluster_RefusesWhatIsNoCluster(t *testing.T) {
	t.Parallel()
	cfg := config(t, tempDir(t))
	kept := filepath.Join(cfg.Dir, "thesis.txt")
	err := errors.Join(os.Mkdir(cfg.Dir, 0o755), os.WriteFile(kept, []byte("years of work"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Start(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "no cluster") {
		t.Errorf("a folder with other things: %v", err)
	}
	_, err = os.Stat(kept)
	if err != nil {
		t.Error("a file that is not ours is gone:", err)
	}
}

func TestCluster_NamesALostPassword(t *testing.T) {
	t.Parallel()
	cfg := config(t, tempDir(t))
	c := start(t, cfg)
	stop(t, c)
	err := os.Remove(c.Dir() + ".password")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Start(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "password of the database owner is missing") {
		t.Errorf("a lost password: %v", err)
	}
}

func TestCluster_RemovesEveryTrace(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	c, err := Start(t.Context(), config(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	err = c.Remove(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestCluster_WorksBelowAFolderThatItsUserCannotReach(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	err := os.Chmod(dir, 0o700)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cfg := config(t, dir)
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	c, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	moved := c.Dir() != cfg.Dir
	if moved != (os.Geteuid() == 0) {
		t.Errorf("as user %d the data is at %s, wanted at %s", os.Geteuid(), c.Dir(), cfg.Dir)
	}
	if moved && !strings.Contains(log.String(), c.Dir()) {
		t.Errorf("the log does not say where the data went:\n%s", log.String())
	}
	err = c.Remove(t.Context())
	if err != nil {
		t.Error(err)
	}
}

func TestStart_RefusesAnEmptyConfig(t *testing.T) {
	t.Parallel()
	_, err := Start(t.Context(), Config{})
	if err == nil {
		t.Error("an empty configuration was taken")
	}
}
