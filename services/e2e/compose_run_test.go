package e2e

import (
	"context"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"doorcode/pkg/bus/embedded"
	"doorcode/pkg/client"
	"doorcode/pkg/postgres/pgtest"
)

// ensemble runs the containers of docker-compose.yml without containers: the same binaries with the same commands and
// environments, in the same order, with NATS and Postgres as the files of deploy/ set them up. Volumes are folders, and
// hosts are ports of this machine; that is all that is changed.
type ensemble struct {
	file  composeFile
	dir   string
	hosts map[string]string // `host:port` of the file and where it is here
	ops   map[string]string // container and its operations address
}

// volume is the folder of a volume.
func (e *ensemble) volume(name string) string { return filepath.Join(e.dir, name) }

// here returns where an address of the file is on this machine.
func (e *ensemble) here(t testing.TB, address string) string {
	t.Helper()
	if e.hosts[address] == "" {
		ports, err := freePorts(1)
		if err != nil {
			t.Fatal(err)
		}
		e.hosts[address] = ports[0]
	}
	return e.hosts[address]
}

// translate turns paths and addresses as a container sees them into those of this machine.
func (e *ensemble) translate(t testing.TB, name, text string) string {
	t.Helper()
	text = regexp.MustCompile(`0\.0\.0\.0:(\d+)`).ReplaceAllString(text, name+":$1")
	text = regexp.MustCompile(`\b([a-z-]+):(\d{4})\b`).ReplaceAllStringFunc(text, func(address string) string {
		host, _, _ := strings.Cut(address, ":")
		_, there := e.file.Services[host]
		if !there {
			return address
		}
		return e.here(t, address)
	})
	for _, m := range e.file.Services[name].mounts(t) {
		text = regexp.MustCompile(`(^|=)`+regexp.QuoteMeta(m.path)+`(/|$)`).ReplaceAllString(text, "${1}"+e.volume(m.volume)+"$2")
	}
	for secret, from := range e.file.Secrets {
		text = strings.ReplaceAll(text, "/run/secrets/"+secret, filepath.Join(repository(t), from.File))
	}
	return text
}

// environment is that of a container.
func (e *ensemble) environment(t testing.TB, name string) map[string]string {
	t.Helper()
	settings := map[string]string{}
	for variable, value := range e.file.Services[name].Environment {
		settings[variable] = e.translate(t, name, value)
	}
	return settings
}

// job runs a job to its end.
func (e *ensemble) job(t testing.TB, name string) {
	t.Helper()
	c := e.file.Services[name]
	var args []string
	for _, arg := range c.Command {
		// The servers are reached under the address of this machine as well.
		if name == "certificates" && len(args) > 0 && args[len(args)-1] == "-server" {
			arg += "=" + arg + ",127.0.0.1"
		}
		args = append(args, e.translate(t, name, arg))
	}
	if name == "hand-out" { // -to names the folder in which the volumes are mounted
		args[slices.Index(args, "/volumes")] = e.dir
	}
	out, err := runBinary(c.service(), e.environment(t, name), args...)
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// nats runs the server from nats-tls.conf.
func (e *ensemble) nats(t *testing.T) {
	t.Helper()
	conf := filepath.Join(e.volume("nats"), "nats-tls.conf")
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	moved := strings.ReplaceAll(string(text), "/doorcode/", e.volume("nats")+"/")
	err = os.WriteFile(conf, []byte(moved), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	server, err := embedded.Start(t.Context(), embedded.Config{
		ConfigFile: conf, StoreDir: e.volume("nats-data"), Listen: e.here(t, "nats:4222"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := server.Stop(context.Background())
		if err != nil {
			t.Error(err)
		}
	})
}

// postgres runs the server with the certificate, the rules and the owner's password of the container.
func (e *ensemble) postgres(t *testing.T) {
	t.Helper()
	var content []string
	for _, path := range []string{
		filepath.Join(e.volume("postgres"), "postgres.pem"), filepath.Join(e.volume("postgres"), "postgres.key"),
		filepath.Join(repository(t), e.file.Configs["pg_hba"].File), filepath.Join(e.volume("postgres"), "owner.password"),
	} {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		content = append(content, string(data))
	}
	cluster := pgtest.Secure(t, []byte(content[0]), []byte(content[1]), content[2])
	address, err := url.Parse(cluster.URL("doorcode"))
	if err != nil {
		t.Fatal(err)
	}
	e.hosts["postgres:5432"] = address.Host
	address.RawQuery = url.Values{"sslmode": {"verify-full"}, "sslrootcert": {filepath.Join(e.volume("auth"), "ca.pem")}}.Encode()
	conn, err := pgx.Connect(t.Context(), address.String())
	if err != nil {
		t.Fatal(err)
	}
	_, err = conn.Exec(t.Context(), "ALTER ROLE doorcode PASSWORD '"+content[3]+"'")
	if err != nil {
		t.Fatal(err)
	}
	err = conn.Close(t.Context())
	if err != nil {
		t.Fatal(err)
	}
}

// process starts a process and waits until it is ready. What the hand-out gave it is what its settings name.
func (e *ensemble) process(t *testing.T, name, replica string) {
	t.Helper()
	settings := e.environment(t, name)
	for variable, value := range settings {
		if strings.HasSuffix(variable, "_OPERATIONS_LISTEN") {
			if replica != "" {
				ports, err := freePorts(1)
				if err != nil {
					t.Fatal(err)
				}
				value = ports[0]
			}
			settings[variable], e.ops[name+replica] = value, value
		}
	}
	p, err := launch(name, filepath.Join(e.dir, name+replica+".log"), settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := p.signal(syscall.SIGTERM)
		if err != nil {
			t.Error(err)
		}
	})
	err = p.ready(e.ops[name+replica])
	if err != nil {
		t.Fatal(err)
	}
}

// start runs all containers in their order.
func start(t *testing.T) *ensemble {
	t.Helper()
	e := &ensemble{file: compose(t), dir: t.TempDir(), hosts: map[string]string{}, ops: map[string]string{}}
	for name := range e.file.Volumes {
		err := os.Mkdir(e.volume(name), 0o700)
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range e.file.order(t) {
		c := e.file.Services[name]
		switch {
		case len(c.Profiles) > 0: // Not started unless somebody asks for it.
		case name == "nats":
			e.nats(t)
		case name == "postgres":
			e.postgres(t)
		case c.job():
			e.job(t, name)
		default:
			e.process(t, name, "")
		}
	}
	return e
}

// pages returns what each process shows as metrics.
func (e *ensemble) pages(t *testing.T) map[string]string {
	t.Helper()
	hc := &http.Client{Timeout: patience}
	t.Cleanup(hc.CloseIdleConnections)
	all := map[string]string{}
	for name, c := range e.file.Services {
		if c.service() != "" && !c.job() {
			all[name] = get(t, hc, "http://"+e.ops[name]+"/metrics")
		}
	}
	return all
}

// named lists the files of a container's volume that its settings name.
func (e *ensemble) named(t testing.TB, name string) []string {
	t.Helper()
	names := map[string]bool{}
	for _, value := range e.file.Services[name].Environment {
		for _, path := range regexp.MustCompile(`/doorcode/([a-z.-]+)`).FindAllStringSubmatch(value, -1) {
			names[path[1]] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func TestCompose_WorksWithoutContainers(t *testing.T) {
	t.Parallel()
	e := start(t)
	for name, c := range e.file.Services {
		if c.service() == "" || c.job() || len(c.Volumes) == 0 {
			continue
		}
		entries, err := os.ReadDir(e.volume(name))
		if err != nil {
			t.Fatal(err)
		}
		var there []string
		for _, entry := range entries {
			there = append(there, entry.Name())
		}
		if diff := cmp.Diff(e.named(t, name), there); diff != "" {
			t.Errorf("P10: %s needs and has (-needs +has):\n%s", name, diff)
		}
	}
	for _, replica := range []string{"-2", "-3", "-4"} { // --scale email-dispatcher=4
		e.process(t, "email-dispatcher", replica)
	}

	watched(t, e.pages(t))

	key, err := os.ReadFile(filepath.Join(e.volume("demo"), "api-key"))
	if err != nil {
		t.Fatal(err)
	}
	s := &installation{auth: e.here(t, "auth:8080"), sandbox: e.here(t, "sandbox:8025"), http: &http.Client{Timeout: patience}}
	t.Cleanup(s.http.CloseIdleConnections)
	err = s.use(string(key))
	if err != nil {
		t.Fatal(err)
	}
	workspace, email := s.workspace(t)
	for range 4 {
		ch := s.create(t, workspace)
		person, err := s.front.Check(t.Context(), ch.Handle, s.codeOf(t, email, ch))
		if err != nil || person.Login != "kim" {
			t.Errorf("sign-in: %v", err)
		}
	}

	// A second `up` runs the jobs again and changes nothing.
	for _, name := range e.file.order(t) {
		if e.file.Services[name].job() && name != "hand-out" { // whose copy of nats-tls.conf was moved above
			e.job(t, name)
		}
	}
	again, err := os.ReadFile(filepath.Join(e.volume("demo"), "api-key"))
	if err != nil || string(again) != string(key) {
		t.Errorf("the demo's key was made anew: %v", err)
	}
	page := get(t, s.http, "http://"+e.here(t, "demo:8090")+"/")
	if !strings.Contains(page, "Lanternbird") {
		t.Errorf("the demo shows %.200s", page)
	}

	// Neither server answers in plain.
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", e.here(t, "nats:4222"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, err = conn.Write([]byte("PING\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 64)
	n, _ := conn.Read(answer)
	if strings.Contains(string(answer[:n]), "PONG") || strings.Contains(string(answer[:n]), "INFO") {
		t.Errorf("NATS answers %q", answer[:n])
	}
}

// codeOf waits for the message of a challenge, told by its label, and returns its code.
func (s *installation) codeOf(t testing.TB, to string, ch client.Challenge) string {
	t.Helper()
	var found message
	eventually(t, "the message labelled "+ch.Label, func() bool {
		for _, m := range s.inbox(t, to) {
			if strings.Contains(m.Text, ch.Label) {
				found = m
				return true
			}
		}
		return false
	})
	return codeIn(t, found)
}
