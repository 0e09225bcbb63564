package task

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// FinishTx records the task's success inside the caller's transaction, which a store's package
// wraps: the handler's own rows and the task's end are committed together, or neither is. Commit
// the transaction and return nil.
//
// FinishTx does not wait for a store that cannot be reached, and works only as long as ctx and the
// transaction do. Use [lastcall.UntilAbandon] of the handler's context for both: it lasts beyond
// the interrupt.
//
// When the run no longer belongs to this worker, the error is ErrLeaseLost and the transaction
// cannot be committed. A handler that returns nil although its transaction was rolled back has used
// an attempt. An error returned after the commit is logged, and the task has succeeded.
func (r *Run) FinishTx(ctx context.Context, tx Tx) error {
	s, ok := r.store.(TxStore)
	if !ok {
		return errNoTx(r.store, tx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.awaitAnswer(ctx) // no save of this run shall wait for the transaction
	c := Change{Fence: r.fence(), Status: StatusSucceeded, Counters: r.task.Counters, Result: r.result,
		Progress: r.progress, Log: r.log.peek()}
	if err := s.FinishTx(ctx, tx, c); err != nil {
		if errors.Is(err, ErrLeaseLost) {
			r.ctx.cancel(ErrLeaseLost)
		}
		return fmt.Errorf("task: finish in transaction: %w", err)
	}
	r.inTx = true
	return nil
}

// SaveTx records a checkpoint, as JSON, inside the caller's transaction, which a store's package
// wraps: the handler's own rows and the checkpoint are committed together, or neither is. So work
// inside the database is done exactly once, whenever the process dies:
//
//	tx, err := pool.Begin(ctx)
//	...insert what row at.Row makes...
//	at.Row++
//	err = r.SaveTx(ctx, pgstore.Tx(tx), at)
//	err = tx.Commit(ctx)
//
// SaveTx costs a statement in the transaction. It does not wait for a store that cannot be reached,
// and does not outlive ctx. Use [lastcall.UntilAbandon] of the handler's context for ctx and for
// the transaction: it lasts beyond the interrupt. Between SaveTx and the end of the transaction
// other calls of the run wait (Save, Load, the end of the run): commit soon, and make them
// afterwards.
//
// When the run no longer belongs to this worker, the error is ErrLeaseLost and the transaction
// cannot be committed.
//
// When the answer to the commit is lost, it is not known whether the commit was made. Return the
// error, and the next run begins at the recorded checkpoint; or call Load, which asks the store. To
// go on from a variable would do the work of that transaction twice, or leave it out.
func (r *Run) SaveTx(ctx context.Context, tx Tx, v any) error {
	b, err := encodeCheckpoint(v)
	if err != nil {
		return err
	}
	s, ok := r.store.(TxStore)
	if !ok {
		return errNoTx(r.store, tx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.awaitAnswer(ctx) // no save of this run shall wait for the transaction
	// The log is left to other writes: it is not known whether this one was made.
	c := Change{Fence: r.fence(), Status: StatusRunning, Checkpoint: b, Progress: r.progress,
		Counters: progressed(r.task.Counters, r.task.Checkpoint, b)}
	r.inDoubt = true
	if err := s.SaveTx(ctx, tx, c); err != nil {
		if errors.Is(err, ErrLeaseLost) {
			r.ctx.cancel(ErrLeaseLost)
		}
		return fmt.Errorf("task: save in transaction: %w", err)
	}
	return nil
}

// checkpoint returns the recorded checkpoint.
func (r *Run) checkpoint() ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.inDoubt {
		return r.task.Checkpoint, nil
	}
	ctx, cancel := context.WithTimeout(r.saver.ctx, 5*time.Second)
	defer cancel()
	err := r.settleTx(ctx)
	return r.task.Checkpoint, err
}

// settleTx finds out which checkpoint is recorded after SaveTx, and tries until ctx ends. r.mu is
// held.
func (r *Run) settleTx(ctx context.Context) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := r.lookUpCheckpoint(ctx)
		if !again(err) || !pause(ctx, wait) {
			return err
		}
	}
}

// lookUpCheckpoint reads the checkpoint after the transaction of SaveTx has ended. r.mu is held.
func (r *Run) lookUpCheckpoint(ctx context.Context) error {
	_ = r.awaitAnswer(ctx)
	// A change that changes nothing waits for the transaction, whose commit may still be under way,
	// and is refused when the run is no longer held.
	c := Change{Fence: r.fence(), Status: StatusRunning, Counters: r.task.Counters}
	if err := r.store.Apply(ctx, []Change{c})[0]; err != nil {
		return err
	}
	found, err := r.store.Find(ctx, Query{IDs: []string{r.task.ID}})
	if err != nil {
		return err
	}
	if len(found) == 0 || found[0].Run != r.task.Run {
		return ErrLeaseLost
	}
	c.Counters = progressed(r.task.Counters, r.task.Checkpoint, found[0].Checkpoint)
	if c.Counters != r.task.Counters { // which the first change has put back
		if err := r.store.Apply(ctx, []Change{c})[0]; err != nil {
			return err
		}
	}
	r.task.Counters, r.task.Checkpoint, r.inDoubt = c.Counters, found[0].Checkpoint, false
	return nil
}

// settleStreaks finds out, for a run that ends in anything but success, whether a transaction of
// SaveTx has ended its streaks.
func (r *Run) settleStreaks(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := r.task.Counters; r.inDoubt && (n.CrashStreak > 0 || n.InterruptStreak > 0) {
		_ = r.settleTx(ctx) // without an answer they stand
	}
}
