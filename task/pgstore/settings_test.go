package pgstore

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task"
)

// foreign is text that no encoding but Unicode's can hold.
const foreign = "Grüße, 日本語, 🙂, \\ and '"

// wholeWay takes tasks all the way through a store: one with a key fails after it has saved, one
// succeeds, one is cancelled, and all are pruned. The worker must be new to the database.
func wholeWay(t *testing.T, s *Store, worker string) error {
	t.Helper()
	if _, err := s.Heartbeat(t.Context(), task.Beat{Worker: worker, Seq: 1, State: task.WorkerRunning, Lease: 15 * time.Second}); err != nil {
		return err
	}
	news := []task.NewTask{
		{ID: testID(1), Kind: "k", Queue: "q", Key: foreign, Payload: []byte("\x00\xff")}, {ID: testID(2), Kind: "k", Queue: "q"}, {ID: testID(3), Kind: "later", Queue: "q", Delay: time.Hour},
	}
	if _, err := s.Add(t.Context(), news); err != nil {
		return err
	}
	claim := claimOf(10)
	claim.Worker = worker
	got, err := s.Claim(t.Context(), claim)
	if err != nil || len(got) != 2 {
		return fmt.Errorf("claimed %d: %w", len(got), err)
	}
	saved, failed := success(got[0]), success(got[0])
	saved.Status, saved.Checkpoint, saved.Progress, saved.Log = task.StatusRunning, []byte("\x00half"), &task.Progress{Message: foreign}, []byte(foreign)
	failed.Status, failed.Error = task.StatusFailed, foreign
	good := success(got[1])
	good.Result = []byte("\xff\x00")
	for _, c := range []task.Change{saved, failed, good} {
		if err := s.Apply(t.Context(), []task.Change{c})[0]; err != nil {
			return err
		}
	}
	if err := s.Control(t.Context(), task.Command{Task: testID(3), Verb: task.VerbCancel}); err != nil {
		return err
	}
	all, err := s.Find(t.Context(), task.Query{Key: foreign})
	if err != nil || len(all) != 1 || all[0].ID != testID(1) || all[0].Error != foreign || all[0].Progress.Message != foreign || string(all[0].Checkpoint) != "\x00half" {
		return fmt.Errorf("found %+v: %w", all, err)
	}
	if log, err := s.Log(t.Context(), testID(1)); err != nil || string(log) != foreign {
		return fmt.Errorf("logged %q: %w", log, err)
	}
	counts, err := s.Count(t.Context(), task.CountQuery{})
	if err != nil {
		return err
	}
	for _, c := range counts.Tasks {
		if c.N != 1 || c.Status != task.StatusFailed && c.Status != task.StatusSucceeded && c.Status != task.StatusCancelled {
			t.Errorf("counted %+v", c)
		}
	}
	done, err := s.Prune(t.Context(), task.PruneRequest{Max: 100})
	if err == nil && done.Tasks != len(news) {
		err = fmt.Errorf("%d tasks were pruned", done.Tasks)
	}
	return err
}

// setUp is a setting that people have made for a role, a database or a server, and its effect.
type setUp struct {
	name, value string
	// refused is the error of Open for a pool of the caller whose sessions have the setting; empty
	// means that it works. A pool that the store opens works with each setting.
	refused string
}

var setUps = []setUp{
	{"client_encoding", "WIN1252", "and must have UTF8:"},
	{"client_encoding", "SJIS", "and must have UTF8:"},
	{"client_encoding", "EUC_JP", "and must have UTF8:"},
	{"client_encoding", "SQL_ASCII", "and must have UTF8:"},
	{"default_transaction_isolation", "repeatable read", "and must have read committed:"},
	{"default_transaction_isolation", "serializable", "and must have read committed:"},
	{"default_transaction_isolation", "read uncommitted", "and must have read committed:"},
	{"default_transaction_read_only", "on", "takes no writes"},
	{"default_transaction_deferrable", "on", ""},
	{"standard_conforming_strings", "off", "and must have on:"},
	{"statement_timeout", "5s", ""},
	{"lock_timeout", "1ms", ""},
	{"idle_in_transaction_session_timeout", "1s", ""},
	{"search_path", "elsewhere", ""},
	{"search_path", "", ""},
	{"synchronous_commit", "off", ""},
	{"synchronous_commit", "remote_apply", ""},
	{"row_security", "off", ""},
	{"plan_cache_mode", "force_custom_plan", ""},
	{"plan_cache_mode", "force_generic_plan", ""},
	{"jit", "on", ""},
	{"jit_above_cost", "0", ""},
	{"enable_indexscan", "off", ""},
	{"force_parallel_mode", "on", ""}, // debug_parallel_query since 16
	{"debug_parallel_query", "on", ""},
	{"datestyle", "SQL, DMY", ""},
	{"intervalstyle", "sql_standard", ""},
	{"timezone", "Asia/Kathmandu", ""},
	{"bytea_output", "escape", ""},
	{"extra_float_digits", "-15", ""},
	{"transform_null_equals", "on", ""},
	{"array_nulls", "off", "and must have on:"},
	{"session_replication_role", "replica", ""},
	{"idle_session_timeout", "2s", ""},
	{"transaction_timeout", "5s", ""},
}

// ask asks a database for a number.
func ask(t *testing.T, dsn, sql string) (n int) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	if err := c.QueryRow(t.Context(), sql).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestSettings_OfADatabaseEachWorksOrIsRefusedWithASentence(t *testing.T) {
	dsn := pgtest.DSN(t)
	closed(t, openAt(t, Config{DSN: dsn, Migrate: true}))
	change := func(what, value string) {
		exec(t, dsn, `set default_transaction_read_only = off`, fmt.Sprintf(`do $$ begin execute format('alter database %%I %s', current_database()%s); end $$`, what, value))
	}
	for _, c := range setUps {
		t.Run(c.name+"="+c.value, func(t *testing.T) {
			if ask(t, dsn, `select count(*) from pg_settings where lower(name) = '`+c.name+`'`) == 0 {
				return // another version has it
			}
			change("set "+c.name+" = %L", ", '"+c.value+"'")
			defer change("reset all", "")
			s := openAt(t, Config{DSN: dsn, Logger: slog.New(slog.DiscardHandler)})
			if err := wholeWay(t, s, t.Name()); err != nil {
				t.Errorf("a pool of our own: %v", err)
			}
			closed(t, s)

			pool, err := pgxpool.New(t.Context(), dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			s, err = Open(t.Context(), Config{Pool: pool, Logger: slog.New(slog.DiscardHandler)})
			if err == nil {
				defer closed(t, s)
				err = wholeWay(t, s, t.Name()+" in a pool")
			}
			if (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
				t.Errorf("a pool that was given: %v, want %q", err, c.refused)
			}
		})
	}
}

// A server may have many of these settings at once, for all databases and roles.
func TestSettings_OfAServerDoNotReachASessionOfOurs(t *testing.T) {
	t.Parallel()
	server := pgtest.New(t, "fsync=off", "default_transaction_isolation=serializable", "default_transaction_read_only=on", "search_path=elsewhere", "statement_timeout=2s", "lock_timeout=1ms",
		"idle_in_transaction_session_timeout=10ms", "synchronous_commit=off", "plan_cache_mode=force_custom_plan", "jit_above_cost=0", "bytea_output=escape")
	s := openAt(t, Config{DSN: server.DSN("postgres"), Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	if err := wholeWay(t, s, "w"); err != nil {
		t.Error(err)
	}
}

func TestSettings_ADatabaseWhoseOrderIsAnotherWorks(t *testing.T) {
	admin := pgtest.DSN(t)
	if ask(t, admin, `select current_setting('server_version_num')::integer`) < 150000 || ask(t, admin, `select count(*) from pg_collation where collprovider = 'i'`) == 0 {
		t.Log("this server has no database in an order of ICU's")
		return
	}
	const name = "lastcall_order"
	exec(t, admin, `create database `+name+` encoding 'UTF8' locale 'C' locale_provider icu icu_locale 'en-US' template template0`)
	defer exec(t, admin, `drop database `+name+` with (force)`)
	s := openAt(t, Config{DSN: pgtest.Keywords(admin, "dbname", name), Migrate: true})
	defer closed(t, s)
	if err := wholeWay(t, s, "w"); err != nil {
		t.Error(err)
	}
}

// A policy hides rows, and the store would not notice.
func TestOpen_RefusesARoleFromWhichPoliciesHideRows(t *testing.T) {
	dsn := pgtest.DSN(t)
	closed(t, openAt(t, Config{DSN: dsn, Migrate: true}))
	exec(t, dsn, `drop role if exists fenced`, `create role fenced login`, `grant usage on schema lastcall to fenced`,
		`grant select, insert, update, delete on all tables in schema lastcall to fenced`, `alter table lastcall.tasks enable row level security`)
	defer exec(t, dsn, `drop owned by fenced`, `drop role fenced`)
	fenced := pgtest.Keywords(dsn, "user", "fenced")
	pool, err := pgxpool.New(t.Context(), fenced)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for _, cfg := range []Config{{DSN: fenced}, {Pool: pool}} {
		s, err := Open(t.Context(), cfg)
		if err == nil {
			closed(t, s)
		}
		if err == nil || !strings.Contains(err.Error(), "alter role ROLE bypassrls") {
			t.Errorf("%v", err)
		}
	}
	exec(t, dsn, `alter role fenced bypassrls`)
	s := openAt(t, Config{DSN: fenced, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	if err := wholeWay(t, s, "w"); err != nil {
		t.Error(err)
	}
}

// pathPool returns a pool whose sessions have a search_path.
func pathPool(t *testing.T, dsn, path string) *pgxpool.Pool {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	cfg.ConnConfig.RuntimeParams["search_path"] = path
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func TestOpen_RefusesAPathThatHasAnotherSchemaBeforeTheServers(t *testing.T) {
	dsn := pgtest.DSN(t)
	closed(t, openAt(t, Config{DSN: dsn, Migrate: true}))
	for path, refused := range map[string]bool{
		"public, pg_catalog": true, "public, pg_catalog, pg_temp": true,
		"public": false, `"$user", public`: false, "pg_catalog, public": false, "pg_temp, public": false, `""`: false, ownPath: false,
	} {
		pool := pathPool(t, dsn, path)
		// The session's own schema comes first then.
		if _, err := pool.Exec(t.Context(), `create temporary table tasks ()`); err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), Config{Pool: pool, Logger: slog.New(slog.DiscardHandler)})
		if err == nil {
			closed(t, s)
		}
		if (err != nil) != refused || refused && !strings.Contains(err.Error(), `look into the schema "public" before pg_catalog`) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestOpen_RefusesASchemaInWhichEverybodyMayCreate(t *testing.T) {
	dsn := pgtest.DSN(t)
	exec(t, dsn, `create schema shared`, `grant create on schema shared to public`)
	for _, migrate := range []bool{true, false} {
		s, err := Open(t.Context(), Config{DSN: dsn, Schema: "shared", Migrate: migrate})
		if err == nil {
			closed(t, s)
		}
		if err == nil || !strings.Contains(err.Error(), "revoke create on schema shared from public") {
			t.Errorf("migrate %v: %v", migrate, err)
		}
	}
	exec(t, dsn, `revoke create on schema shared from public`)
	closed(t, openAt(t, Config{DSN: dsn, Schema: "shared", Migrate: true}))
}
