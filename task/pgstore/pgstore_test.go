package pgstore

import (
	"context"
	"database/sql"
	"os"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storetest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func TestStore_KeepsItsRules(t *testing.T) {
	t.Parallel()
	storetest.Run(t, engine(t))
}

func TestStore_KeepsItsRulesWhenCallsAreRepeated(t *testing.T) {
	t.Parallel()
	storetest.RunTwice(t, engine(t))
}

func TestPromise_HoldThroughFaults(t *testing.T) {
	t.Parallel()
	storetest.RunFaults(t, engine(t), 9)
}

// engine gives each case a store of its own. The stores use the pool of a first one, whose sessions
// have their statements planned after the first cases: planning is most of what a store with a new
// pool costs the server.
func engine(t *testing.T) storetest.Engine {
	dsn := migrated.DSN(t)
	first := openAt(t, Config{DSN: dsn, Migrate: true})
	t.Cleanup(func() { closed(t, first) })
	store := emptyStores(func(t *testing.T) *Store {
		s := openAt(t, Config{Pool: first.pool})
		s.preparing.Do(func() {})      // it would run the same statements each time
		s.detector.most = -time.Minute // who is killed here does not come back
		return s
	})
	begin := []func(*testing.T, task.Store) storetest.Transaction{beginPgx, beginSQL(t, dsn)}
	return storetest.Engine{Open: store, Reopen: store, Begin: begin, Kill: func(t *testing.T, s task.Store, worker string) {
		lose(t, ours(t, s), worker)
	}}
}

// emptyStores opens one database for test after test. Each test finds it empty, and when it opens
// it again finds what it has left there. To empty the tables takes a tenth of the time that it
// takes to create them.
func emptyStores(open func(*testing.T) *Store) func(*testing.T) task.Store {
	last := ""
	return func(t *testing.T) task.Store {
		s := open(t)
		if t.Name() != last {
			mustExec(t, s, `do $$ declare name text; begin
				for name in select tablename from pg_tables where schemaname = 'lastcall' and tablename not in ('lastcall', 'channel') loop
					execute format('delete from lastcall.%I', name);
				end loop;
			end $$`)
			last = t.Name()
		}
		return s
	}
}

func ours(t *testing.T, s task.Store) *Store {
	t.Helper()
	pg, ok := s.(*Store)
	if !ok {
		t.Fatalf("a %T is no pgstore", s)
	}
	return pg
}

func beginPgx(t *testing.T, s task.Store) storetest.Transaction {
	tx, err := ours(t, s).pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// It has ended, unless the case has failed.
	t.Cleanup(func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) })
	return storetest.Transaction{
		Tx: Tx(tx), Commit: func() error { return tx.Commit(t.Context()) }, Rollback: func() error { return tx.Rollback(t.Context()) },
	}
}

func beginSQL(t *testing.T, dsn string) func(*testing.T, task.Store) storetest.Transaction {
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return func(t *testing.T, _ task.Store) storetest.Transaction {
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return storetest.Transaction{Tx: SQLTx(tx), Commit: tx.Commit, Rollback: tx.Rollback}
	}
}

func openAt(t testing.TB, cfg Config) *Store {
	t.Helper()
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore_DoesWhatTheModelDoes(t *testing.T) {
	s := openAt(t, Config{DSN: migrated.DSN(t), Migrate: true})
	defer closed(t, s)
	if testing.Short() {
		t.Log("make test-full: five times as many random calls, in sequences twice as long")
	}
	storetest.Property(t, s, 40)
}
