package pgstore

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storetest"
)

// exec runs statements on a database.
func exec(t *testing.T, dsn string, statements ...string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	for _, sql := range statements {
		if _, err := c.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// closed closes a store that a test has opened.
func closed(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestOpen_SaysWhatIsWrongAndShowsNoSecret(t *testing.T) {
	t.Parallel()
	server := pgtest.New(t, "fsync=off")
	admin := server.DSN("postgres")
	exec(t, admin, `create role guest login`, `create role locked login password 'right-password'`, `revoke create on schema public from public`)
	server.Password(t, "locked")
	as := func(role string) string { return strings.Replace(admin, "lastcall@", role+"@", 1) }
	for _, c := range []struct{ name, dsn, want string }{
		{"a wrong password", as("locked:secret"), "password is wrong"},
		{"an unknown role", as("nobody:secret"), "role"},
		{"an unknown database", strings.Replace(admin, "/postgres?", "/nothing?", 1), "create the database first"},
		{"no rights", as("guest"), "lacks a right"},
		{"nobody there", "postgres://u:secret@127.0.0.1:1/d", "is the server running"},
		{"a password with odd characters", "postgres://u:se/cret@127.0.0.1:port/d", "address is not understood"},
		{"another scheme", "mysql://u:secret@h/d", "address is not understood"},
		{"a read-only session", pgtest.Keywords(admin, "default_transaction_read_only", "on"), "name the primary"},
	} {
		wait := time.Hour // in vain: waiting does not mend it
		if c.name == "nobody there" {
			wait = 0
		}
		_, err := Open(t.Context(), Config{DSN: c.dsn, Migrate: true, Wait: wait})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "cret@")) {
			t.Errorf("%s: the error shows the password: %v", c.name, err)
		}
	}
}

func TestOpen_ChecksItsConfiguration(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "one of Pool and DSN"},
		{Config{DSN: "x", Schema: "a;b"}, "small letters"},
		{Config{DSN: "x", Timeout: -1}, "negative"},
	} {
		if _, err := Open(t.Context(), c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.cfg, err, c.want)
		}
	}
}

func TestMigrate_ASchemaIsMadeOnlyWhenThatIsAskedFor(t *testing.T) {
	dsn := pgtest.DSN(t)
	if _, err := Open(t.Context(), Config{DSN: dsn}); err == nil || !strings.Contains(err.Error(), "--migrate") {
		t.Errorf("%v", err)
	}
	closed(t, openAt(t, Config{DSN: dsn, Migrate: true}))
	closed(t, openAt(t, Config{DSN: dsn}))
}

func TestMigrate_ADatabaseThatANewerProgramMadeUnreadableIsRefused(t *testing.T) {
	dsn := pgtest.DSN(t)
	closed(t, openAt(t, Config{DSN: dsn, Migrate: true}))
	exec(t, dsn, `update lastcall.lastcall set value = 7 where key = 'version'`)
	closed(t, openAt(t, Config{DSN: dsn, Migrate: true}))
	exec(t, dsn, `update lastcall.lastcall set value = 2 where key = 'oldest'`)
	if _, err := Open(t.Context(), Config{DSN: dsn, Migrate: true}); err == nil || !strings.Contains(err.Error(), "use the newer program") {
		t.Errorf("%v", err)
	}
}

func TestMigrate_ManyMayMigrateAtOnce(t *testing.T) {
	dsn := pgtest.DSN(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			s, err := Open(t.Context(), Config{DSN: dsn, Migrate: true})
			if err != nil {
				t.Error(err)
				return
			}
			id := fmt.Sprintf("00000000-0000-7000-8000-%012d", i)
			if _, err := s.Add(t.Context(), []task.NewTask{{ID: id, Kind: "k"}}); err != nil {
				t.Error(err)
			}
			closed(t, s)
		})
	}
	wg.Wait()
}

func TestOpen_AGivenPoolOfOneConnectionIsEnoughAndStaysOpen(t *testing.T) {
	cfg, err := pgxpool.ParseConfig(pgtest.DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	s := openAt(t, Config{Pool: pool, Migrate: true, Schema: "other"})
	got := runOne(t, s)
	if err := s.Apply(t.Context(), []task.Change{{Fence: task.Fence{Task: got.ID, Run: got.Run, Worker: "w"}, Status: task.StatusSucceeded}})[0]; err != nil {
		t.Error(err)
	}
	if _, err := s.Add(t.Context(), []task.NewTask{{ID: "00000000-0000-7000-8000-000000000002", Kind: "new", Key: "key"}}); err != nil {
		t.Errorf("a task with a key, of a new kind: %v", err)
	}
	closed(t, s)
	if err := pool.Ping(t.Context()); err != nil {
		t.Errorf("the pool: %v", err)
	}
}

// runOne registers the worker w, adds a task, and claims it.
func runOne(t *testing.T, s *Store) task.Task {
	t.Helper()
	beat := task.Beat{Worker: "w", Seq: 1, State: task.WorkerRunning, Lease: 15e9}
	if _, err := s.Heartbeat(t.Context(), beat); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Add(t.Context(), []task.NewTask{{ID: "00000000-0000-7000-8000-000000000001", Kind: "k"}}); err != nil {
		t.Fatal(err)
	}
	got, err := s.Claim(t.Context(), task.ClaimRequest{Worker: "w", Max: 1, Kinds: []task.KindClaim{{Kind: "k", Max: 1}}})
	if err != nil || len(got) != 1 {
		t.Fatalf("claimed %+v, %v", got, err)
	}
	return got[0]
}

func TestAdd_ABadItemFailsAloneInItsBatch(t *testing.T) {
	s := openAt(t, Config{DSN: pgtest.DSN(t), Migrate: true})
	defer closed(t, s)
	var ids []task.NewTask
	for i := range 9 {
		ids = append(ids, task.NewTask{ID: fmt.Sprintf("00000000-0000-7000-8000-%012d", i), Kind: "k"})
	}
	if _, err := s.Add(t.Context(), ids); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Heartbeat(t.Context(), task.Beat{Worker: "w", Seq: 1, State: task.WorkerRunning}); err != nil {
		t.Fatal(err)
	}
	got, err := s.Claim(t.Context(), task.ClaimRequest{Worker: "w", Max: 9, Kinds: []task.KindClaim{{Kind: "k", Max: 9}}})
	if err != nil || len(got) != 9 {
		t.Fatalf("claimed %d, %v", len(got), err)
	}
	var changes []task.Change
	for i, c := range got {
		ch := task.Change{Fence: task.Fence{Task: c.ID, Run: c.Run, Worker: "w"}, Status: task.StatusSucceeded}
		if i == 4 {
			ch.Error = "a NUL\x00 that nothing has made storable"
		}
		changes = append(changes, ch)
	}
	for i, err := range s.Apply(t.Context(), changes) {
		if (err != nil) != (i == 4) {
			t.Errorf("change %d: %v", i, err)
		}
	}
}

// soon returns a context for something that will happen soon.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestOpen_ARoleThatMayReadAndWriteTheTablesIsEnough(t *testing.T) {
	dsn := pgtest.DSN(t)
	closed(t, openAt(t, Config{DSN: dsn, Migrate: true}))
	exec(t, dsn, `drop role if exists modest`, `create role modest login`,
		`grant usage on schema lastcall to modest`, `grant select, insert, update, delete on all tables in schema lastcall to modest`)
	defer exec(t, dsn, `drop owned by modest`, `drop role modest`)
	s := openAt(t, Config{DSN: pgtest.Keywords(dsn, "user", "modest"), Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	storetest.Property(t, s, 3)
	if _, err := s.Prune(t.Context(), task.PruneRequest{Max: 100}); err != nil {
		t.Error(err)
	}
	if _, err := s.Count(t.Context(), task.CountQuery{}); err != nil {
		t.Error(err)
	}
}
