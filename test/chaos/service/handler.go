//go:build linux

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/pgstore"
	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// handle is the handler: it executes the plan.
func (w *worker) handle(ctx context.Context, r *task.Run, plan history.Plan) error {
	if plan.Seq < 0 {
		seq, err := w.seqOf(r.Task())
		if err != nil {
			return task.Permanent(err)
		}
		plan.Seq = seq
	}
	u := &run{worker: w, Run: r, plan: plan, nth: r.Task().Runs}
	if plan.InTx && w.db == nil {
		return task.Permanent(errNoTx)
	}
	if plan.UnresponsiveMS > 0 && u.nth == 1 {
		var stop func()
		ctx, stop = outliving(ctx, time.Duration(plan.UnresponsiveMS)*time.Millisecond)
		defer stop()
		u.unresponsive = true
	}
	return u.work(w.breaks.context(ctx))
}

// run is one run of a task.
type run struct {
	*task.Run
	worker       *worker
	plan         history.Plan
	nth          int  // the number of the task's run, from 1
	unresponsive bool // it ignores a stop
}

// work does the remaining steps. A stale verdict of the harness ends the run like any other error:
// the store already knows that another run has the task.
func (u *run) work(ctx context.Context) error {
	at := 0
	if _, err := u.Load(&at); err != nil {
		return err
	}
	if err := u.report(ctx, history.Effect{Step: history.Begun, Resumed: at}); err != nil {
		return err
	}
	for line := range u.plan.Log {
		u.Log(fmt.Sprintf("run %d, line %d", u.FencingToken(), line))
	}
	switch {
	case u.plan.Recorded:
		return u.workRecorded(ctx)
	case u.plan.Items:
		return u.workItems(ctx)
	}
	for first := at; at < u.plan.Steps; at++ {
		if u.plan.HandOver && !u.unresponsive && u.Stopping() {
			if err := u.report(ctx, history.Effect{Step: history.HandedOver, Resumed: at}); err != nil {
				return err
			}
			return u.HandOver(u.worker.breaks.handOver(at))
		}
		if err := u.step(ctx, at, at == first); err != nil {
			return err
		}
	}
	return u.finish(ctx)
}

// step does one step. What the plan lets go wrong happens after the first effect of the run and
// before that effect is saved, where it costs most.
func (u *run) step(ctx context.Context, at int, first bool) error {
	if !wire.Pause(ctx, time.Duration(u.plan.PaceMS)*time.Millisecond) {
		return context.Cause(ctx)
	}
	if err := u.report(ctx, history.Effect{Step: at}); err != nil {
		return err
	}
	if first {
		if err := u.mishap(); err != nil {
			return err
		}
	}
	if u.plan.Progress {
		u.SetProgress(float64(at+1)/float64(u.plan.Steps), fmt.Sprintf("step %d", at))
	}
	if u.plan.Save && !(u.plan.InTx && at == u.plan.Steps-1) {
		return u.Save(ctx, at+1)
	}
	return nil
}

// mishap does what the plan lets go wrong: the first runs end their process, the following ones
// fail.
func (u *run) mishap() error {
	switch {
	case u.nth <= u.plan.Exit:
		endProcess(u.plan.Seq)
	case u.nth <= u.plan.Exit+u.plan.Fail:
		return fmt.Errorf("run %d of task %d fails, as planned", u.nth, u.plan.Seq)
	}
	return nil
}

// endProcess ends this process. For every second task it kills it, without a chance to clean up.
func endProcess(seq int) {
	if seq%2 == 0 {
		os.Exit(codePlanned)
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // it cannot fail
	select {}
}

// finish reports that the run is complete. For a plan with InTx it ends the task together with its
// last effect.
func (u *run) finish(ctx context.Context) error {
	if u.plan.Result > 0 {
		if err := u.SetResult(resultOf(u.plan.Result)); err != nil {
			return err
		}
	}
	if err := u.report(ctx, history.Effect{Step: history.Finished}); err != nil {
		return err
	}
	if u.plan.InTx {
		return u.finishTogether(ctx)
	}
	return nil
}

// resultOf returns a value whose JSON has the given number of bytes.
func resultOf(size int) any {
	if size == 1 {
		return 1
	}
	return strings.Repeat("r", size-2)
}

// finishTogether writes the last effect and the end of the task in one transaction. A fault of the
// database is not the handler's fault, so it retries for as long as it may.
func (u *run) finishTogether(ctx context.Context) error {
	for {
		done, err := u.tryFinish(lastcall.UntilAbandon(ctx))
		if done || errors.Is(err, task.ErrLeaseLost) {
			return err
		}
		u.worker.log.Warn("not finished yet", "task", u.ID(), "error", err)
		if !wire.Pause(ctx, 100*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
}

// tryFinish is one transaction. An earlier one of this run may have been committed although its
// answer was lost; in that case its row exists.
func (u *run) tryFinish(ctx context.Context) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	tx, err := u.worker.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return false, err
	}
	defer tx.Rollback() // after a commit it does nothing
	const look = `select exists (select 1 from chaos_effects where seq = $1 and fence = $2)`
	if err := tx.QueryRowContext(ctx, look, u.plan.Seq, u.FencingToken()).Scan(&done); done || err != nil {
		return done, err
	}
	const write = `insert into chaos_effects (seq, step, fence) values ($1, $2, $3)`
	for range u.worker.breaks.times() {
		if _, err := tx.ExecContext(ctx, write, u.plan.Seq, u.plan.Steps-1, u.FencingToken()); err != nil {
			return false, err
		}
	}
	if err := u.FinishTx(ctx, pgstore.SQLTx(tx)); err != nil {
		return false, err
	}
	err = tx.Commit()
	return err == nil, err
}

// report reports an effect to the harness.
func (u *run) report(ctx context.Context, e history.Effect) error {
	e.Seq, e.TaskID, e.Fence = u.plan.Seq, u.ID(), u.worker.breaks.fence(u.FencingToken())
	return u.worker.conn.Effect(ctx, e)
}

// outliving returns a context that ends d after ctx has ended. stop releases its resources.
func outliving(ctx context.Context, d time.Duration) (unheard context.Context, stop func()) {
	unheard, end := context.WithCancelCause(context.WithoutCancel(ctx))
	forget := context.AfterFunc(ctx, func() {
		wire.Pause(unheard, d)
		end(context.Cause(ctx))
	})
	return unheard, func() {
		forget()
		end(nil)
	}
}
