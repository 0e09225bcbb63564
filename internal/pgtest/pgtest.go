// Package pgtest gives tests a PostgreSQL of their own: a private cluster in a temporary directory,
// on a Unix socket, run by an unprivileged user, gone with the test. It touches no server that
// happens to run.
//
// LASTCALL_TEST_POSTGRES names another server: the address of a role there that may create
// databases. Tests that start and stop the server have their own cluster all the same.
// LASTCALL_TEST_PGBIN names the directory of another version's programs, which the user nobody can
// run when root runs the tests.
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

// Main runs the tests, stops the shared cluster and removes the files from which clusters are made.
// The TestMain of each package whose tests start a cluster calls it.
func Main(m *testing.M) int {
	useTemplate()
	code := m.Run()
	var err error
	if shared.server != nil {
		err = shared.server.Close()
	}
	if err = errors.Join(err, removeTemplate()); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		return max(code, 1)
	}
	return code
}

// DSN returns the address of a new, empty database. Without a PostgreSQL on the machine it skips
// the test and says why.
func DSN(t testing.TB) string {
	t.Helper()
	if admin := os.Getenv("LASTCALL_TEST_POSTGRES"); admin != "" {
		return database(t, admin)
	}
	shared.once.Do(func() { shared.server, shared.err = start("fsync=off", "full_page_writes=off") })
	return database(t, serverOrSkip(t, shared.server, shared.err).DSN("postgres"))
}

// New returns a cluster for one test, which may stop and start it. Settings are name=value.
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

// Start makes a cluster for a program that is no test, and starts it; Close ends it.
func Start(settings ...string) (*Server, error) { return start(settings...) }

// Setup says how a cluster is made.
type Setup struct {
	// Data is a directory for the data, which Close leaves; they are created if there are none.
	// Empty: a temporary one.
	Data string
	// WAL is an empty directory for the log, SegmentMB the size of its files; 0: the server's default.
	WAL       string
	SegmentMB int
	// Parent is the directory in which the temporary ones are made; empty: /tmp. A socket's path must
	// be short, and the user nobody must be able to enter when the program is run by root.
	Parent   string
	Settings []string // name=value
	Env      []string // in addition to the program's own environment
}

// errMissing means that the tests that need PostgreSQL cannot run here.
var errMissing = errors.New("no PostgreSQL here")

// Missing says why there can be no cluster on this machine, if it has no PostgreSQL, or lacks one
// of some programs of it.
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

// database creates a database on a server, and drops it after the test.
func database(t testing.TB, admin string) string {
	t.Helper()
	cfg, err := pgx.ParseConfig(admin)
	if err != nil {
		t.Fatal("the address of the test's server is not understood")
	}
	name := fmt.Sprintf("lastcall_test_%d_%d", os.Getpid(), databases.Add(1))
	do := func(sql string) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		c, err := pgx.ConnectConfig(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Exec(ctx, sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
		if err := c.Close(ctx); err != nil {
			t.Error(err)
		}
	}
	do("create database " + name + " template template0")
	t.Cleanup(func() { do("drop database " + name + " with (force)") })
	return Keywords(admin, "dbname", name)
}

// Keywords returns an address with one of its keywords set, in the form of keywords or of a URL as
// it was given.
func Keywords(dsn, key, value string) string {
	if head, query, ok := strings.Cut(dsn, "?"); strings.Contains(head, "://") {
		if ok {
			query += "&"
		}
		return head + "?" + query + key + "=" + value
	}
	return dsn + " " + key + "=" + value
}

// programs is the directory of PostgreSQL's programs: what LASTCALL_TEST_PGBIN says, or the newest.
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
		n, _ := strconv.Atoi(strings.Split(path, "/")[4]) // 0 for what is no number
		return n
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })), nil
}
