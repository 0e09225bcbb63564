// Package pgtest gives tests a PostgreSQL of their own: a private cluster on a Unix socket in a
// temporary directory, with its data in memory if there is room. An unprivileged user runs it, and
// it is removed after the test. It does not touch other servers on the machine.
//
// Two environment variables change what the tests use:
//
//   - LASTCALL_TEST_POSTGRES is the address of another server, with a role that may create
//     databases. Tests that start and stop the server still use a private cluster.
//   - LASTCALL_TEST_PGBIN is the directory of PostgreSQL's programs in another version. If root
//     runs the tests, the user nobody must be able to run these programs.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// shared is the cluster of the test binary.
var shared struct {
	once   sync.Once
	server *Server
	err    error
}

var databases atomic.Int64

// Main runs the tests, then stops the shared cluster and removes the template of new clusters. Call
// it in the TestMain of each package whose tests start a cluster.
func Main(m *testing.M) int {
	useTemplate()
	code := m.Run()
	err := dropPrepared()
	if shared.server != nil {
		err = errors.Join(err, shared.server.Close())
	}
	if err = errors.Join(err, removeTemplate()); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		return max(code, 1)
	}
	return code
}

// DSN returns the address of a new, empty database. If the machine has no PostgreSQL, it skips the
// test with the reason.
func DSN(t testing.TB) string {
	t.Helper()
	return database(t, admin(t), "template0")
}

// admin returns the address of the server on which tests create databases.
func admin(t testing.TB) string {
	t.Helper()
	if other := os.Getenv("LASTCALL_TEST_POSTGRES"); other != "" {
		return other
	}
	shared.once.Do(func() { shared.server, shared.err = start("fsync=off", "full_page_writes=off", "max_wal_size=128MB") })
	return serverOrSkip(t, shared.server, shared.err).DSN("postgres")
}

// New starts a cluster for one test; the test may stop and start it. Settings are name=value.
func New(t testing.TB, settings ...string) *Server {
	t.Helper()
	s, err := start(settings...)
	serverOrSkip(t, s, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Start creates and starts a cluster for a program that is not a test. Close it at the end.
func Start(settings ...string) (*Server, error) { return StartWith(Setup{Settings: settings}) }

// Setup configures a new cluster.
type Setup struct {
	// Data is the data directory. The directory and the data in it are created if they do not exist,
	// and Close does not remove them. Empty: a temporary directory.
	Data string
	// WAL is an empty directory for the write-ahead log, SegmentMB the size of its files; 0: the
	// server's default.
	WAL       string
	SegmentMB int
	// Parent is the directory in which temporary directories are created; empty: /tmp. Its path must
	// be short, since a socket's path must be. If root runs the program, the user nobody must be able
	// to enter it.
	Parent   string
	Settings []string // name=value
	Env      []string // in addition to the program's own environment

	inMemory bool // the data is in memory if there is room
}

// errMissing means that this machine lacks the PostgreSQL that the tests need.
var errMissing = errors.New("no PostgreSQL here")

// Missing returns nil if this machine has PostgreSQL with the named programs, or an error that says
// what is missing.
func Missing(names ...string) error {
	bin, err := programs()
	for _, name := range names {
		if err == nil {
			if _, e := os.Stat(filepath.Join(bin, name)); e != nil {
				err = fmt.Errorf("this PostgreSQL has no %s: %w", name, e)
			}
		}
	}
	return err
}

func serverOrSkip(t testing.TB, s *Server, err error) *Server {
	t.Helper()
	if errors.Is(err, errMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// database creates a database on a server as a copy of another, and drops it after the test.
func database(t testing.TB, admin, of string) string {
	t.Helper()
	name := newName()
	if err := do(admin, "create database "+name+" template "+of); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := do(admin, "drop database "+name+" with (force)"); err != nil {
			t.Error(err)
		}
	})
	return Keywords(admin, "dbname", name)
}

func newName() string { return fmt.Sprintf("lastcall_test_%d_%d", os.Getpid(), databases.Add(1)) }

// do executes one statement on a connection of its own.
func do(dsn, sql string) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close(ctx)) }()
	if _, err := c.Exec(ctx, sql); err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	return nil
}

// Keywords returns an address with one keyword added. The address keeps its form, a URL or a list
// of keywords.
func Keywords(dsn, key, value string) string {
	if head, query, ok := strings.Cut(dsn, "?"); strings.Contains(head, "://") {
		if ok {
			query += "&"
		}
		return head + "?" + query + key + "=" + value
	}
	return dsn + " " + key + "=" + value
}

// programs returns the directory of PostgreSQL's programs: LASTCALL_TEST_PGBIN, or the newest
// version that is installed.
func programs() (string, error) {
	if bin := os.Getenv("LASTCALL_TEST_PGBIN"); bin != "" {
		if _, err := os.Stat(filepath.Join(bin, "initdb")); err != nil {
			return "", fmt.Errorf("LASTCALL_TEST_PGBIN: %w: it must name the directory of initdb and postgres", err)
		}
		return bin, nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("%w: /usr/lib/postgresql/*/bin/initdb is missing; make setup installs it, or LASTCALL_TEST_POSTGRES names a server", errMissing)
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(strings.Split(path, "/")[4]) // 0 if it is not a number
		return n
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })), nil
}
