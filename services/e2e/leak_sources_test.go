package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"doorcode/pkg/postgres/local"
	"doorcode/pkg/postgres/pgtest"
)

// holdsAddresses reports whether a table holds addresses by design.
func holdsAddresses(table string) bool { return table == "workspaces" || table == "logins" }

// archive is a Postgres whose own files are read.
type archive struct {
	*pgtest.Database
	server *local.Cluster
	bin    string
	from   walPlace          // where the WAL of the test begins
	tables map[string]string // table that a file of a relation belongs to, by the file's path
}

// newArchive starts a server that keeps all it can: whole rows in the WAL, old ones too, every statement in its log, and
// nothing compressed.
func newArchive(t *testing.T) *archive {
	t.Helper()
	l := &archive{tables: map[string]string{}}
	l.Database, l.server = pgtest.Private(t, map[string]string{
		"wal_level": "logical", "full_page_writes": "on", "wal_compression": "off", "wal_keep_size": "1GB", "log_statement": "all",
	})
	var err error
	l.bin, err = local.Find(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	l.Exec(t, `DO $$ DECLARE r record; BEGIN
		FOR r IN SELECT oid::regclass AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' LOOP
			EXECUTE format('ALTER TABLE %s REPLICA IDENTITY FULL', r.name);
		END LOOP;
		FOR r IN SELECT attrelid::regclass AS name, attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
			WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND attnum > 0 AND attstorage = 'x' LOOP
			EXECUTE format('ALTER TABLE %s ALTER %I SET STORAGE EXTERNAL', r.name, r.attname);
		END LOOP;
	END $$`)
	l.from = l.end(t)
	return l
}

// walPlace is a place in the WAL.
type walPlace uint64

func (p walPlace) String() string { return fmt.Sprintf("%X/%X", uint64(p)>>32, uint32(p)) }

// end is where the WAL ends now.
func (l *archive) end(t *testing.T) walPlace {
	t.Helper()
	var bytes int64
	l.Scan(t, `SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn`, nil, &bytes)
	return walPlace(bytes)
}

// documents are all that the server wrote: the dump by tables, the WAL by relations, the files by relations, its
// statistics by tables, its log.
func (l *archive) documents(t *testing.T) []evidence {
	t.Helper()
	l.Exec(t, `ANALYZE`) // The statistics quote rows.
	l.Exec(t, `CHECKPOINT`)
	l.relations(t)
	printed, err := os.ReadFile(l.server.Dir() + ".log")
	if err != nil {
		t.Fatal(err)
	}
	all := []evidence{{source: "logs", name: "postgres", data: printed}}
	all = append(all, l.statistics(t)...)
	all = append(all, l.dump(t)...)
	all = append(all, l.wal(t)...)
	return append(all, l.files(t)...)
}

// statistics is what the planner knows, by tables.
func (l *archive) statistics(t *testing.T) []evidence {
	t.Helper()
	var names, values []string
	l.Scan(t, `SELECT array_agg(tablename::text), array_agg(concat(most_common_vals, histogram_bounds, most_common_elems))
		FROM pg_stats WHERE schemaname = 'public'`, nil, &names, &values)
	var all []evidence
	for i, name := range names {
		all = append(all, evidence{source: "statistics", name: name, inDirectory: holdsAddresses(name), data: []byte(values[i])})
	}
	return all
}

// relations learns which file belongs to which table. The file of the statistics counts as the directory's, because
// statistics tells them apart.
func (l *archive) relations(t *testing.T) {
	t.Helper()
	var paths, names []string
	l.Scan(t, `SELECT array_agg(pg_relation_filepath(c.oid)), array_agg(coalesce(i.indrelid, o.oid, c.oid)::regclass::text)
		FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_class o ON o.reltoastrelid = c.oid
		WHERE pg_relation_filepath(c.oid) IS NOT NULL`, nil, &paths, &names)
	for i, path := range paths {
		l.tables[path] = names[i]
	}
}

// table is the document of a relation's file without data.
func (l *archive) table(source, path string) evidence {
	name := l.tables[path]
	d := evidence{source: source, name: name, inDirectory: holdsAddresses(name) || name == "pg_statistic"}
	if name == "" {
		d.name = path
	}
	return d
}

// run runs a program of Postgres.
func (l *archive) run(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	owner, err := url.Parse(l.OwnerURL())
	if err != nil {
		t.Fatal(err)
	}
	password, _ := owner.User.Password()
	owner.User = url.User(owner.User.Username())
	cmd := exec.CommandContext(ctx, filepath.Join(l.bin, name), args...)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+password, "DATABASE="+owner.String())
	if strings.HasPrefix(name, "pg_dump") {
		cmd.Args = append(cmd.Args, "--dbname="+owner.String())
	}
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, complaint.String())
	}
	return out
}

// dump is that of all databases, cut at the tables.
func (l *archive) dump(t *testing.T) []evidence {
	t.Helper()
	var all []evidence
	current := evidence{source: "dump", name: "beside the tables"}
	for line := range bytes.Lines(l.run(t, "pg_dumpall")) {
		start := regexp.MustCompile(`^COPY public\.(\w+) `).FindSubmatch(line)
		if start != nil {
			all = append(all, current)
			current = evidence{source: "dump", name: string(start[1]), inDirectory: holdsAddresses(string(start[1]))}
		}
		current.data = append(current.data, line...)
		if string(line) == "\\.\n" {
			all = append(all, current)
			current = evidence{source: "dump", name: "beside the tables"}
		}
	}
	return append(all, current)
}

// Sizes of the WAL (src/include/access/xlog_internal.h of Postgres).
const (
	walPage      = 8192
	walPageHead  = 24
	walSegment   = 16 << 20
	walFirstHead = 40 // of a segment's first page
)

// wal is every record since the test began, under the relation whose rows it has.
func (l *archive) wal(t *testing.T) []evidence {
	t.Helper()
	end := l.end(t)
	l.Exec(t, `CHECKPOINT`) // It writes down all that came before.
	var (
		folder  = filepath.Join(l.server.Dir(), "pg_wal")
		listing = l.run(t, "pg_waldump", "-p", folder, "-s", l.from.String(), "-e", end.String())
		place   = regexp.MustCompile(`len \(rec/tot\):\s*\d+/\s*(\d+),.* lsn: ([0-9A-F]+)/([0-9A-F]+),`)
		blocks  = regexp.MustCompile(`rel (\d+)/(\d+)/(\d+)`)
		all     []evidence
		covered walPlace
	)
	for line := range bytes.Lines(listing) {
		m := place.FindSubmatch(line)
		if m == nil {
			t.Fatalf("a record without a place: %s", line)
		}
		length, err1 := strconv.Atoi(string(m[1]))
		high, err2 := strconv.ParseUint(string(m[2]), 16, 32)
		low, err3 := strconv.ParseUint(string(m[3]), 16, 32)
		data, err4 := walRecord(folder, walPlace(high<<32|low), length)
		err := errors.Join(err1, err2, err3, err4)
		if err != nil {
			t.Fatal(err)
		}
		d := evidence{source: "WAL", name: "no relation"}
		for i, block := range blocks.FindAllSubmatch(line, -1) {
			one := l.table("WAL", fmt.Sprintf("base/%s/%s", block[2], block[3]))
			if i == 0 || !one.inDirectory { // A record of two tables is the directory's only if both are.
				d = one
			}
		}
		d.data = data
		all = append(all, d)
		covered = walPlace(high<<32|low) + walPlace(length)
	}
	if len(all) == 0 || end > covered+1024 {
		t.Fatalf("the WAL is read until %s of %s", covered, end)
	}
	return all
}

// record reads a record's bytes, which the heads of pages interrupt.
func walRecord(folder string, at walPlace, length int) ([]byte, error) {
	var data []byte
	for length > 0 {
		switch {
		case at%walSegment == 0:
			at += walFirstHead
		case at%walPage == 0:
			at += walPageHead
		}
		part := make([]byte, min(length, int(walPage-at%walPage)))
		name := fmt.Sprintf("%08X%08X%08X", 1, uint64(at)>>32, uint64(at)%(1<<32)/walSegment)
		file, err := os.Open(filepath.Join(folder, name))
		if err != nil {
			return nil, err
		}
		_, err = file.ReadAt(part, int64(at%walSegment))
		err = errors.Join(err, file.Close())
		if err != nil {
			return nil, err
		}
		data, at, length = append(data, part...), at+walPlace(len(part)), length-len(part)
	}
	return data, nil
}

// files are those of the data folder but for the WAL, each under its table.
func (l *archive) files(t *testing.T) []evidence {
	t.Helper()
	root := l.server.Dir()
	return evidenceBelow(t, root, func(path string) (evidence, bool) {
		main := regexp.MustCompile(`(_vm|_fsm|\.\d+)+$`).ReplaceAllString(path, "")
		return l.table("files", main), !strings.HasPrefix(path, "pg_wal/")
	})
}

// tree reads the files below a folder that are wanted.
func evidenceBelow(t *testing.T, root string, name func(path string) (evidence, bool)) []evidence {
	t.Helper()
	var all []evidence
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		short, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		d, wanted := name(short)
		if !wanted {
			return nil
		}
		d.data, err = os.ReadFile(path)
		all = append(all, d)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
