//go:build linux

package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// The kinds that workers serve. A failed attempt is repeated soon, so that a short run sees all
// attempts. In a run processes are killed all the time, so no number of crashes may fail a task
// that does not kill its process itself.
var (
	steps  = task.Kind[history.Plan]{Name: history.KindSteps, MaxCrashes: -1, Backoff: backoff}
	poison = task.Kind[history.Plan]{Name: history.KindPoison, Backoff: backoff}
)

func backoff(n int) time.Duration { return time.Duration(n) * 200 * time.Millisecond }

// worker is a process that serves tasks.
type worker struct {
	settings
	conn *wire.Conn
	db   *sql.DB // the service's own tables; nil if there are none
}

// serve is the command "worker".
func serve(s settings) int {
	conn, err := wire.Dial(context.Background(), "worker")
	if err != nil {
		return exitCode(err)
	}
	before := openFiles()
	w := &worker{settings: s, conn: conn}
	s.breaks.begin()
	code := lastcall.Main(lastcall.Config{Grace: s.grace, Logger: s.log, TerminationLog: "-"}, w.setUp)
	if code == 0 { // otherwise what is left was reported, or was cut off
		if left := leftOvers(before); left != "" {
			err = conn.Left(left)
		}
	}
	s.breaks.end()
	if err := errors.Join(err, conn.Close()); err != nil {
		return exitCode(err)
	}
	return code
}

func (w *worker) setUp(ctx context.Context, g *lastcall.Group) error {
	store, err := openStore(ctx, w.store, false, w.log)
	if err != nil {
		return err
	}
	g.Defer("store", lastcall.CloseFunc(store.Close))
	if w.db, err = openTables(w.store, concurrency); err != nil {
		return err
	}
	if w.db != nil {
		g.Defer("tables", lastcall.CloseFunc(w.db.Close))
	}
	kept := w.breaks.store(store)
	var mux task.Mux
	task.Handle(&mux, steps, w.handle)
	task.Handle(&mux, poison, w.handle)
	tasks, err := task.NewWorker(task.WorkerConfig{Store: kept, Mux: &mux, Concurrency: concurrency, Name: w.conn.Name(),
		Lease: w.lease, Retention: cmp.Or(w.retention, -1), Logger: w.log})
	if err != nil {
		return err
	}
	if err := g.Loop("harness", w.watchHarness); err != nil {
		return err
	}
	if w.retention > 0 {
		if err := g.Loop("pruner", func(ctx context.Context) error { return w.prune(ctx, kept) }); err != nil {
			return err
		}
	}
	if err := g.Go("worker", tasks.Serve); err != nil {
		return err
	}
	if len(w.schedules) > 0 {
		scheduler, err := w.scheduler(kept)
		if err != nil {
			return err
		}
		if err := g.Go("scheduler", scheduler.Serve); err != nil {
			return err
		}
	}
	return w.conn.Ready()
}

// concurrency is how many tasks a worker runs at once.
const concurrency = 16

// prune removes ended tasks like the library's worker, but far more often: few workers of a run
// live long enough for the library's first pruning.
func (w *worker) prune(ctx context.Context, store task.Store) error {
	for wire.Pause(ctx, pruneEvery/2+rand.N(pruneEvery)) {
		for req := (task.PruneRequest{Age: w.retention, Clock: time.Now(), Max: pruneMost}); ; {
			done, err := store.Prune(ctx, req)
			if err != nil {
				w.log.Warn("nothing pruned", "error", err)
			}
			if req.After = done.Next; done.Next == "" {
				break
			}
		}
	}
	return nil
}

// How often a worker prunes, and how many tasks per call: so few that several calls are needed.
const (
	pruneEvery = time.Second
	pruneMost  = 50
)

// watchHarness ends the worker when the harness has gone.
func (w *worker) watchHarness(ctx context.Context) error {
	select {
	case <-w.conn.Calls(): // a worker gets no calls: the connection has ended
		return errors.New("the harness has gone")
	case <-ctx.Done():
		return nil
	}
}
