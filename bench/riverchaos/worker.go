package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// worker is the handler of River.
type worker struct {
	river.WorkerDefaults[job]
	conn     *wire.Conn
	pool     *pgxpool.Pool
	softStop time.Duration
	stopping context.Context // ends with the stop signal
}

// work is the command "worker". The signal ends the context that the client was started with. That
// is a soft stop, which after SoftStopTimeout becomes a hard one that ends the contexts of the
// jobs. One second is left for the jobs to return and for the client to record them, as in
// Lastcall's default. Jobs that have not returned by then are left behind.
func work(ctx context.Context, pool *pgxpool.Pool) error {
	within, err := grace()
	if err != nil {
		return err
	}
	conn, err := wire.Dial(ctx, "worker")
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	client, err := newClient(pool, &worker{conn: conn, pool: pool, softStop: max(within-time.Second, within/2),
		stopping: ctx})
	if err != nil {
		return err
	}
	if err := client.Start(ctx); err != nil {
		return err
	}
	if err := conn.Ready(); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case <-conn.Calls(): // a worker gets no calls: the harness has gone
		stop()
	}
	select {
	case <-client.Stopped():
		return conn.Close()
	case <-time.After(within - within/20):
		fmt.Fprintln(os.Stderr, "riverchaos: a job has not returned")
		os.Exit(3)
		return nil
	}
}

// NextRetry retries soon, as Lastcall's driver does.
func (w *worker) NextRetry(*river.Job[job]) time.Time { return time.Now().Add(200 * time.Millisecond) }

// Work executes the plan.
func (w *worker) Work(ctx context.Context, j *river.Job[job]) error {
	if j.Args.UnresponsiveMS > 0 && len(j.AttemptedBy) == 1 {
		unheard, end := context.WithCancel(context.WithoutCancel(ctx))
		defer end()
		defer context.AfterFunc(ctx, func() {
			wire.Pause(unheard, time.Duration(j.Args.UnresponsiveMS)*time.Millisecond)
			end()
		})()
		ctx = unheard
	}
	r := &run{worker: w, Job: j}
	// A cursor is River's form of a checkpoint.
	river.ResumableStepCursor(ctx, "steps", nil, r.steps)
	return nil
}

// run is one run of a job.
type run struct {
	*river.Job[job]
	worker *worker
}

// steps runs the steps from a cursor on.
func (r *run) steps(ctx context.Context, at int) error {
	if err := r.report(ctx, history.Effect{Step: history.Begun, Resumed: at}); err != nil {
		return err
	}
	for first := at; at < r.Args.Steps; at++ {
		if r.Args.HandOver && r.worker.stopping.Err() != nil {
			return r.handOver(ctx, at)
		}
		if !wire.Pause(ctx, time.Duration(r.Args.PaceMS)*time.Millisecond) {
			return ctx.Err()
		}
		if err := r.report(ctx, history.Effect{Step: at}); err != nil {
			return err
		}
		if err := r.mishap(at == first); err != nil {
			return err
		}
		if r.Args.Save && !(r.Args.InTx && at == r.Args.Steps-1) {
			if err := r.save(ctx, at+1); err != nil {
				return err
			}
		}
	}
	if r.Args.Result > 0 {
		if err := river.RecordOutput(ctx, strings.Repeat("r", max(r.Args.Result-2, 0))); err != nil {
			return err
		}
	}
	if err := r.report(ctx, history.Effect{Step: history.Finished}); err != nil || !r.Args.InTx {
		return err
	}
	return r.finishTogether(ctx)
}

// handOver leaves the job to another worker. River's documentation recommends to snooze a job at a
// stop: that uses no attempt, and keeps the cursor.
func (r *run) handOver(ctx context.Context, at int) error {
	if err := r.report(ctx, history.Effect{Step: history.HandedOver, Resumed: at}); err != nil {
		return err
	}
	if err := river.ResumableSetCursor(ctx, at); err != nil {
		return err
	}
	return river.JobSnooze(0)
}

// mishap does what the plan wants to go wrong after the first effect.
func (r *run) mishap(first bool) error {
	nth := int(r.fence())
	switch {
	case first && nth <= r.Args.Exit:
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // it cannot fail
		select {}
	case first && nth <= r.Args.Exit+r.Args.Fail:
		return fmt.Errorf("run %d of task %d fails, as planned", nth, r.Args.Seq)
	}
	return nil
}

// save writes the cursor at once. River would otherwise write it at the end of the run.
func (r *run) save(ctx context.Context, at int) error {
	return pgx.BeginFunc(ctx, r.worker.pool, func(tx pgx.Tx) error {
		_, err := river.ResumableSetStepCursorTx[*riverpgxv5.Driver](ctx, tx, r.Job, at)
		return err
	})
}

// finishTogether writes the last effect and completes the job in one transaction. A fault of the
// database is not the handler's fault, so it retries for as long as it may.
func (r *run) finishTogether(ctx context.Context) error {
	for {
		done, err := r.tryFinish(ctx)
		if done {
			return nil
		}
		if !wire.Pause(ctx, 100*time.Millisecond) {
			return errors.Join(ctx.Err(), err)
		}
	}
}

// tryFinish is one transaction. An earlier one of this run may have been committed although its
// answer was lost; in that case its row exists.
func (r *run) tryFinish(ctx context.Context) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err = pgx.BeginFunc(ctx, r.worker.pool, func(tx pgx.Tx) error {
		const look = `select exists (select 1 from chaos_effects where seq = $1 and fence = $2)`
		if err := tx.QueryRow(ctx, look, r.Args.Seq, r.fence()).Scan(&done); done || err != nil {
			return err
		}
		const write = `insert into chaos_effects (seq, step, fence) values ($1, $2, $3)`
		if _, err := tx.Exec(ctx, write, r.Args.Seq, r.Args.Steps-1, r.fence()); err != nil {
			return err
		}
		_, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, r.Job)
		return err
	})
	return done || err == nil, err
}

// fence returns how often the job was fetched, as a substitute for a fencing token. River keeps up
// to a hundred entries of AttemptedBy. Attempt cannot be used: a snooze decrements it.
func (r *run) fence() int64 { return int64(len(r.AttemptedBy)) }

func (r *run) report(ctx context.Context, e history.Effect) error {
	e.Seq, e.TaskID, e.Fence = r.Args.Seq, nameOf(r.Args, r.ID), r.fence()
	return r.worker.conn.Effect(ctx, e)
}
