package pgstore

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib" // a driver for database/sql

	"github.com/lastcall-go/lastcall/task"
)

// desk is a store and, in the same database, a table of the user's own.
type desk struct {
	*Store
	t      *testing.T
	dsn    string
	client *task.Client
	db     *sql.DB
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	dsn := migrated.DSN(t)
	d := &desk{Store: openAt(t, Config{DSN: dsn, Migrate: true, Logger: slog.New(slog.DiscardHandler)}), t: t, dsn: dsn}
	d.client = task.NewClient(d.Store)
	exec(t, dsn, `create table public.rows (n integer)`)
	var err error
	if d.db, err = sql.Open("pgx", dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.db.Close(); err != nil {
			t.Error(err)
		}
		closed(t, d.Store)
	})
	return d
}

// rows counts the user's rows.
func (d *desk) rows() (n int) {
	d.t.Helper()
	if err := d.pool.QueryRow(d.t.Context(), `select count(*) from public.rows`).Scan(&n); err != nil {
		d.t.Fatal(err)
	}
	return n
}

// serve runs a worker with one handler until the task has ended, or until the condition is true.
func (d *desk) serve(kind task.Kind[int], id string, until func(task.Task) bool, handle func(context.Context, *task.Run) error) task.Task {
	d.t.Helper()
	var mux task.Mux
	task.Handle(&mux, kind, func(ctx context.Context, r *task.Run, _ int) error { return handle(ctx, r) })
	w, err := task.NewWorker(task.WorkerConfig{Store: d.Store, Mux: &mux, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		d.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(d.t.Context())
	var served sync.WaitGroup
	served.Go(func() {
		if err := w.Serve(ctx); err != nil {
			d.t.Error(err)
		}
	})
	defer func() { stop(); served.Wait() }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := soon(d.t); ; <-tick.C {
		got, err := d.client.Get(d.t.Context(), id)
		if err != nil {
			d.t.Fatal(err)
		}
		if until(got) {
			return got
		}
		if deadline.Err() != nil {
			d.t.Fatalf("the task did not get there: %+v", got)
		}
	}
}

func hasEnded(t task.Task) bool { return t.Status.Ended() }

var numbered = task.Kind[int]{Name: "numbered", MaxAttempts: 1}

func TestWithTx_ATaskExistsWhenItsTransactionHasCommittedAndNeverIfItDoesNot(t *testing.T) {
	d := newDesk(t)
	begin := func() (task.Tx, func(commit bool) error) {
		tx, err := d.pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return Tx(tx), func(commit bool) error {
			if commit {
				return tx.Commit(t.Context())
			}
			return tx.Rollback(t.Context())
		}
	}
	beginSQL := func() (task.Tx, func(commit bool) error) {
		tx, err := d.db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return SQLTx(tx), func(commit bool) error {
			if commit {
				return tx.Commit()
			}
			return tx.Rollback()
		}
	}
	for name, begin := range map[string]func() (task.Tx, func(bool) error){"pgx": begin, "database/sql": beginSQL} {
		for _, commit := range []bool{true, false} {
			tx, end := begin()
			e, err := numbered.Enqueue(t.Context(), d.client.WithTx(tx), 1, &task.EnqueueOptions{Key: name})
			if err != nil || e.Outcome == task.OutcomeExisting {
				t.Fatalf("%s: %+v, %v", name, e, err)
			}
			if _, err := d.client.Get(t.Context(), e.ID); !errors.Is(err, task.ErrNotFound) {
				t.Errorf("%s: seen before the commit: %v", name, err)
			}
			if err := end(commit); err != nil {
				t.Fatal(err)
			}
			d.client.Wake()
			_, err = d.client.Get(t.Context(), e.ID)
			if commit && err != nil || !commit && !errors.Is(err, task.ErrNotFound) {
				t.Errorf("%s, committed %v: %v", name, commit, err)
			}
			if commit {
				if err := d.client.Cancel(t.Context(), e.ID); err != nil { // the key is free again
					t.Error(err)
				}
			}
		}
	}
}

func TestFinishTx_RowsAndTheEndOfTheTaskAreCommittedTogether(t *testing.T) {
	d := newDesk(t)
	for name, c := range map[string]struct {
		finish func(context.Context, *task.Run) error
		status task.Status
		rows   int
	}{
		"pgx, committed": {func(ctx context.Context, r *task.Run) error {
			return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, `insert into public.rows values (1)`); err != nil {
					return err
				}
				return r.FinishTx(ctx, Tx(tx))
			})
		}, task.StatusSucceeded, 1},
		"database/sql, committed, and then an error": {func(ctx context.Context, r *task.Run) error {
			tx, err := d.db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, `insert into public.rows values (1)`); err != nil {
				return err
			}
			if err := r.FinishTx(ctx, SQLTx(tx)); err != nil {
				return err
			}
			return errors.Join(tx.Commit(), errors.New("too late to matter"))
		}, task.StatusSucceeded, 1},
		"rolled back, and then nil": {func(ctx context.Context, r *task.Run) error {
			tx, err := d.pool.Begin(ctx)
			if err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, `insert into public.rows values (1)`); err != nil {
				return err
			}
			return errors.Join(r.FinishTx(ctx, Tx(tx)), tx.Rollback(ctx))
		}, task.StatusFailed, 0},
	} {
		t.Run(name, func(t *testing.T) {
			before := d.rows()
			e, err := numbered.Enqueue(t.Context(), d.client, 1, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := d.serve(numbered, e.ID, hasEnded, c.finish)
			if got.Status != c.status || got.Runs != 1 || d.rows()-before != c.rows {
				t.Errorf("%s after %d runs, %d rows, error %q", got.Status, got.Runs, d.rows()-before, got.Error)
			}
		})
	}
}

func TestFinishTx_ATransactionOfALostRunCannotBeCommitted(t *testing.T) {
	d := newDesk(t)
	c := runOne(t, d.Store)
	tx, err := d.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `insert into public.rows values (1)`); err != nil {
		t.Fatal(err)
	}
	stale := task.Change{Fence: task.Fence{Task: c.ID, Run: c.Run - 1, Worker: c.Worker}, Status: task.StatusSucceeded}
	if err := d.FinishTx(t.Context(), Tx(tx), stale); !errors.Is(err, task.ErrLeaseLost) {
		t.Errorf("FinishTx: %v", err)
	}
	if err := tx.Commit(t.Context()); err == nil {
		t.Error("committed")
	}
	if n := d.rows(); n != 0 {
		t.Errorf("%d rows", n)
	}
	if got, err := d.client.Get(t.Context(), c.ID); err != nil || got.Status != task.StatusRunning {
		t.Errorf("%s, %v", got.Status, err)
	}
}

func TestWithTx_AKeyInAnOpenTransactionIsBusyAndHoldsUpNobodyElse(t *testing.T) {
	d := newDesk(t)
	if _, err := numbered.Enqueue(t.Context(), d.client, 1, nil); err != nil { // the kind is known
		t.Fatal(err)
	}
	tx, err := d.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := numbered.Enqueue(t.Context(), d.client.WithTx(Tx(tx)), 1, &task.EnqueueOptions{Key: "one"}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := numbered.Enqueue(t.Context(), d.client, 1, &task.EnqueueOptions{Key: "one"}); !errors.Is(err, task.ErrKeyBusy) {
		t.Errorf("the same key: %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("waited %v", took)
	}
	var many []task.NewTask
	for i := range 500 {
		n, err := numbered.Prepare(i, nil)
		if err != nil {
			t.Fatal(err)
		}
		many = append(many, n)
	}
	if done, err := d.client.EnqueueMany(t.Context(), many); err != nil || len(done) != len(many) {
		t.Errorf("%d tasks without a key, %v", len(done), err)
	}
}

func TestWorker_AnIdleWorkerHoldsNoTransactionAndNoSnapshot(t *testing.T) {
	d := newDesk(t)
	e, err := numbered.Enqueue(t.Context(), d.client, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	looks := 0
	d.serve(numbered, e.ID, func(got task.Task) bool {
		if !got.Status.Ended() {
			return false
		}
		var held, locks int
		err := d.pool.QueryRow(t.Context(), `select count(*) filter (where state <> 'active' and (xact_start is not null or backend_xmin is not null)),
			count(*) filter (where application_name like 'lastcall session %')
			from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`).Scan(&held, &locks)
		if err != nil || held != 0 || locks != 1 {
			t.Errorf("%d sessions hold something, %d sessions for locks, %v", held, locks, err)
		}
		looks++
		return looks == 50
	}, func(context.Context, *task.Run) error { return nil })
}

// The transaction's snapshot is older than what another transaction has done to the run since.
func TestFinishTx_InARepeatableReadTransactionFailsAndLeavesNothingBehind(t *testing.T) {
	d := newDesk(t)
	run := runOne(t, d.Store)
	tx, err := d.pool.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), `insert into public.rows values (1)`); err != nil {
		t.Fatal(err)
	}
	if err := d.Control(t.Context(), task.Command{Verb: task.VerbInterrupt, Task: run.ID}); err != nil {
		t.Fatal(err)
	}
	var e *pgconn.PgError
	if err := d.FinishTx(t.Context(), Tx(tx), success(run)); !errors.As(err, &e) || e.Code != codeSerialization {
		t.Errorf("FinishTx: %v", err)
	}
	if err := tx.Commit(t.Context()); err == nil {
		t.Error("committed")
	}
	if n := d.rows(); n != 0 {
		t.Errorf("%d rows", n)
	}
	if got, err := d.client.Get(t.Context(), run.ID); err != nil || got.Status != task.StatusRunning {
		t.Errorf("%s, %v", got.Status, err)
	}
	// Again, in an isolation level that sees no later commits.
	err = pgx.BeginTxFunc(t.Context(), d.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `insert into public.rows values (1)`)
		return errors.Join(err, d.FinishTx(t.Context(), Tx(tx), success(run)))
	})
	if got, findErr := d.client.Get(t.Context(), run.ID); err != nil || findErr != nil || got.Status != task.StatusSucceeded || d.rows() != 1 {
		t.Errorf("%s, %v, %v", got.Status, err, findErr)
	}
}

// The transaction's snapshot is older than the task that has the id.
func TestAddTx_InARepeatableReadTransactionFailsAndLeavesNothingBehind(t *testing.T) {
	d := newDesk(t)
	tx, err := d.pool.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), `insert into public.rows values (1)`); err != nil {
		t.Fatal(err)
	}
	n := task.NewTask{ID: testID(1), Kind: "k", Queue: "default", Key: "key"}
	if _, err := d.Add(t.Context(), []task.NewTask{{ID: n.ID, Kind: "k", Queue: "default"}}); err != nil {
		t.Fatal(err)
	}
	var e *pgconn.PgError
	if added, err := d.AddTx(t.Context(), Tx(tx), []task.NewTask{n}); !errors.As(err, &e) || e.Code != codeSerialization {
		t.Errorf("AddTx: %+v, %v", added, err)
	}
	if err := tx.Commit(t.Context()); err == nil {
		t.Error("committed")
	}
	if n := d.rows(); n != 0 {
		t.Errorf("%d rows", n)
	}
	// Its key is free.
	if added, err := d.Add(t.Context(), []task.NewTask{{ID: testID(2), Kind: "k", Queue: "default", Key: "key"}}); err != nil || added[0].Outcome == task.OutcomeExisting || added[0].Busy {
		t.Errorf("%+v, %v", added, err)
	}
}
