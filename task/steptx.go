package task

import (
	"context"
	"errors"
	"fmt"
)

// StepTx records the result of the [Step] that is under way, as JSON, inside the caller's
// transaction, which a store's package wraps: the rows of the step and its result are committed
// together, or neither is. So such a step is done exactly once, whenever the process dies. Call
// StepTx in the function of the step, with the value that the function returns:
//
//	invoice, err := task.Step(ctx, r, "invoice", func(ctx context.Context) (Invoice, error) {
//		tx, err := pool.Begin(ctx)
//		...insert the rows of the invoice...
//		err = r.StepTx(ctx, pgstore.Tx(tx), invoice)
//		err = tx.Commit(ctx)
//		return invoice, err
//	})
//
// What [Run.SaveTx] says about the context, the transaction and a run that is lost applies here
// too. Until the transaction has ended, other writes of the run wait for it; Step itself writes
// once more when the function has returned nil.
//
// An error of the function after StepTx means that it is not known whether the transaction was
// committed. Return it: the same Step is refused in this run, and the next run finds out. Where the
// transaction has failed before its commit, the function may begin another one and call StepTx
// again.
//
// There is no StepTx for the items of [Each]: let their writes be such that they can be repeated,
// or write a loop with SaveTx.
func (r *Run) StepTx(ctx context.Context, tx Tx, v any) error {
	b, err := encodeCheckpoint(v)
	if err != nil {
		return err
	}
	store, ok := r.store.(TxStore)
	if !ok {
		return errNoTx(r.store, tx)
	}
	r.steps.mu.Lock()
	s := r.steps.now
	r.steps.mu.Unlock()
	if s == nil {
		return invalid("StepTx is called, and no Step is under way: call it in the function of the step")
	}
	rec, _ := s.record(StepDone, b)
	if err := s.fits(len(b)); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.awaitAnswer(ctx) // no save of this run shall wait for the transaction
	c := Change{Fence: r.fence(), Status: StatusRunning, Step: &rec, Progress: r.progress, Counters: afresh(r.task.Counters)}
	s.inTx, r.stepInTx = true, true
	if err := store.SaveTx(ctx, tx, c); err != nil {
		if errors.Is(err, ErrLeaseLost) {
			r.ctx.cancel(ErrLeaseLost)
		}
		return fmt.Errorf("task: step %s in transaction: %w", s.name, err)
	}
	return nil
}
