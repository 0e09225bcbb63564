package test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver
	_ "modernc.org/sqlite"             // the driver
)

// ledger is an external system that handlers write their effects to. It refuses the effects of a
// stale run: it remembers the highest fence of each task and refuses lower ones. With PostgreSQL it
// has two tables in the store's own database, which the store does not use. With SQLite it is a
// separate SQLite file, so that only the fence connects the two.
//
// The writes of a stale run are refused from the moment at which the newer run has written. So each
// run first writes that it has begun.
type ledger struct {
	db    *sql.DB
	write string
}

// effect is something that a run has done.
type effect struct {
	task  string
	step  int // or begun
	fence int64
	pid   int
}

// begun is the step that every run does first.
const begun = -1

const (
	// One statement, and so one transaction: SQLite has one writer at a time.
	sqliteWrite = `insert into effects (task, step, fence, pid) select ?1, ?2, ?3, ?4
		where not exists (select 1 from effects where task = ?1 and fence > ?3)
		on conflict (task, step, fence) do update set pid = excluded.pid`
	// Also one statement, but other transactions may write at the same time. The highest fence is
	// stored in a row of its own, and writing that row locks it.
	postgresWrite = `with held as (
			insert into fences (task, fence) values ($1, $3)
			on conflict (task) do update set fence = excluded.fence where fences.fence <= excluded.fence
			returning task)
		insert into effects (task, step, fence, pid) select task, $2, $3, $4 from held
		on conflict (task, step, fence) do update set pid = excluded.pid`
)

// openLedger opens the ledger of a store.
func openLedger(store string) (*ledger, error) {
	if path, ok := strings.CutPrefix(store, "sqlite:"); ok {
		// The ledger must survive the death of processes, not of the machine.
		db, err := sql.Open("sqlite", "file:"+path+"-effects?_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)")
		if err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(1)
		return &ledger{db: db, write: sqliteWrite}, nil
	}
	db, err := sql.Open("pgx", store)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(4)
	return &ledger{db: db, write: postgresWrite}, nil
}

// create creates the tables.
func (l *ledger) create(ctx context.Context) error {
	number := "integer primary key autoincrement"
	if l.write == postgresWrite {
		number = "bigint generated always as identity primary key"
	}
	_, err := l.db.ExecContext(ctx, `create table effects (n `+number+`, task text not null, step integer not null,
		fence bigint not null, pid integer not null, unique (task, step, fence))`)
	if err == nil {
		_, err = l.db.ExecContext(ctx, `create table fences (task text not null primary key, fence bigint not null)`)
	}
	return err
}

// errStale is returned when the ledger has refused an effect.
var errStale = errors.New("refused: the ledger has seen a newer run")

// execer is the ledger's database, or a transaction in it.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// add writes an effect, or returns errStale. Repeating a write changes nothing.
func (l *ledger) add(ctx context.Context, on execer, e effect) error {
	res, err := on.ExecContext(ctx, l.write, e.task, e.step, e.fence, e.pid)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(errStale, err)
	}
	return nil
}

// all returns the effects by task, in the order in which they were accepted.
func (l *ledger) all(ctx context.Context) (byTask map[string][]effect, err error) {
	rows, err := l.db.QueryContext(ctx, `select task, step, fence, pid from effects order by n`)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	byTask = make(map[string][]effect)
	for rows.Next() {
		var e effect
		if err := rows.Scan(&e.task, &e.step, &e.fence, &e.pid); err != nil {
			return nil, err
		}
		byTask[e.task] = append(byTask[e.task], e)
	}
	return byTask, rows.Err()
}

func TestLedger_RefusesAStaleRun(t *testing.T) {
	t.Parallel()
	onBothStores(t, func(t *testing.T, store string) {
		l, err := openLedger(store)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := l.db.Close(); err != nil {
				t.Error(err)
			}
		}()
		if err := l.create(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			effect
			want error
		}{
			{effect{"a", begun, 10, 1}, nil},
			{effect{"a", 0, 10, 1}, nil},
			{effect{"a", 0, 10, 1}, nil},
			{effect{"a", begun, 11, 2}, nil},
			{effect{"a", 1, 10, 1}, errStale},
			{effect{"a", 0, 10, 1}, errStale},
			{effect{"a", 1, 11, 2}, nil},
			{effect{"b", 0, 10, 1}, nil},
		} {
			if err := l.add(t.Context(), l.db, c.effect); !errors.Is(err, c.want) || c.want == nil && err != nil {
				t.Errorf("%+v: %v, want %v", c.effect, err, c.want)
			}
		}
		all, err := l.all(t.Context())
		want := "[{a -1 10 1} {a 0 10 1} {a -1 11 2} {a 1 11 2}] [{b 0 10 1}]"
		if got := fmt.Sprint(all["a"], all["b"]); err != nil || got != want {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
	})
}
