package pgstore

import (
	"log/slog"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task"
)

// The server vacuums a table once a minute at most. By then a queue has more dead rows than live
// ones.
func TestVacuum_ClearsUpTablesThatAreFullOfDeadRows(t *testing.T) {
	b := newRig(t)
	vacuumed := func(table string) int {
		return b.number(`select count(*) from pg_stat_user_tables where relid = $1::regclass and last_vacuum is not null`, "lastcall."+table)
	}
	b.fillReady(1, deadRows+5000, "default")
	mustExec(t, b.store, `delete from @.ready`)
	b.untilCounted(`select n_dead_tup > 20000 or last_autovacuum is not null from pg_stat_user_tables where relid = '@.ready'::regclass`)
	if err := b.store.vacuum(t.Context()); err != nil || vacuumed("ready") != 0 {
		t.Errorf("a store in which nothing happens has vacuumed: %v", err)
	}
	b.store.busy.Store(true)
	if err := b.store.vacuum(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.untilCounted(`select last_vacuum is not null or last_autovacuum is not null from pg_stat_user_tables where relid = '@.ready'::regclass`)
	if n := vacuumed("tasks"); n != 0 {
		t.Error("a table without dead rows was vacuumed")
	}
}

func TestVacuum_IsNoErrorForARoleThatOwnsNoTable(t *testing.T) {
	dsn := migrated.DSN(t)
	b := &rig{T: t, store: openAt(t, Config{DSN: dsn, Migrate: true})}
	t.Cleanup(func() { closed(t, b.store) })
	b.fillReady(1, deadRows+5000, "default")
	mustExec(t, b.store, `delete from @.ready`)
	b.untilCounted(`select n_dead_tup > 20000 or last_autovacuum is not null from pg_stat_user_tables where relid = '@.ready'::regclass`)
	exec(t, dsn, `create role guest_of_tables login`,
		`grant usage on schema lastcall to guest_of_tables`, `grant select, insert, update, delete on all tables in schema lastcall to guest_of_tables`)
	defer exec(t, dsn, `drop owned by guest_of_tables`, `drop role guest_of_tables`)
	s := openAt(t, Config{DSN: pgtest.Keywords(dsn, "user", "guest_of_tables"), Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	s.busy.Store(true)
	if err := s.vacuum(t.Context()); err != nil {
		t.Error(err)
	}
}

// Tasks that have passed through the tables leave no more space behind than after the first time.
func TestTables_DoNotGrowWithWhatHasBeen(t *testing.T) {
	b := newRig(t)
	const n = 400
	checkpoint := func(run task.Task) task.Change {
		c := success(run)
		c.Status, c.Checkpoint = task.StatusRunning, make([]byte, 200)
		return c
	}
	round := func(nth int) (pages int) {
		t.Helper()
		b.fillReady(n*nth, n*nth+n-1, "default")
		b.store.Wake()
		got := b.claim(n)
		b.apply(checkpoint, got...)
		b.apply(interruption, got...)
		got = b.claim(n)
		b.apply(checkpoint, got...)
		b.end(got...)
		b.prune(task.PruneRequest{Max: n})
		mustExec(t, b.store, b.store.q.CompactCounts, int64(1))
		for _, table := range append([]string{"workers"}, growing...) {
			mustExec(t, b.store, `vacuum @.`+table)
		}
		return b.number(`select sum(pg_total_relation_size(oid) / 8192) from pg_class where relnamespace = 'lastcall'::regnamespace and relkind = 'r'`)
	}
	var pages []int
	for nth := range 4 {
		pages = append(pages, round(nth))
	}
	if first, last := pages[1], pages[3]; last > first+first/4 {
		t.Errorf("the tables have %d pages", pages)
	}
}

// A checkpoint that is saved again and a beat update rows where no index has the changed columns
// and the pages have room: so they leave no dead index entries.
func TestTables_AreUpdatedWithinTheirPages(t *testing.T) {
	b := newRig(t)
	const n, saves = 200, 20
	b.fillReady(0, n-1, "default")
	got := b.claim(n)
	for range saves {
		b.apply(func(run task.Task) task.Change {
			c := success(run)
			c.Status, c.Checkpoint, c.Progress = task.StatusRunning, []byte(`{"row": 12345}`), &task.Progress{Fraction: 0.5}
			return c
		}, got...)
		b.beat(task.WorkerRunning)
	}
	b.untilCounted(`select n_tup_upd >= 200 * 19 from pg_stat_user_tables where relid = '@.checkpoints'::regclass`)
	b.untilCounted(`select n_tup_upd >= 20 from pg_stat_user_tables where relid = '@.workers'::regclass`)
	for _, table := range []string{"checkpoints", "workers"} {
		all := b.number(`select n_tup_upd from pg_stat_user_tables where relid = $1::regclass`, "lastcall."+table)
		within := b.number(`select n_tup_hot_upd from pg_stat_user_tables where relid = $1::regclass`, "lastcall."+table)
		if within < all*9/10 {
			t.Errorf("%d updates of %s, %d of them within their page", all, table, within)
		}
	}
	for _, table := range []string{"tasks", "ready", "running", "ended", "runs"} {
		if updated := b.number(`select n_tup_upd from pg_stat_user_tables where relid = $1::regclass`, "lastcall."+table); updated != 0 {
			t.Errorf("%d updates of %s", updated, table)
		}
	}
}

func TestStore_LooksAfterItsTablesOnlyWithAWorkerAndUntilItIsClosed(t *testing.T) {
	dsn := migrated.DSN(t)
	s := openAt(t, Config{DSN: dsn, Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	if _, err := s.Heartbeat(t.Context(), task.Beat{Worker: "w", Seq: 1, State: task.WorkerRunning}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	closed(t, s) // which waits for it
	if took := time.Since(began); took > maintainEvery/2 {
		t.Errorf("closing took %v", took)
	}
}
