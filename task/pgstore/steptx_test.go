package pgstore

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// invoicing is a kind whose one step inserts a row.
var invoicing = task.Kind[int]{Name: "invoicing", MaxAttempts: 3, Backoff: func(int) time.Duration { return 0 }}

// invoice does the step. What after returns, if it is an error, is the step's.
func (d *desk) invoice(ctx context.Context, r *task.Run, begin func(context.Context) (openTx, error), after func(tx openTx) error) (int, error) {
	return task.Step(ctx, r, "invoice", func(ctx context.Context) (int, error) {
		tx, err := begin(ctx)
		if err != nil {
			return 0, err
		}
		number := int(r.FencingToken() % 1000)
		if err := errors.Join(tx.insert(ctx), r.StepTx(ctx, tx.Tx, number)); err != nil {
			return 0, errors.Join(err, tx.rollback(ctx))
		}
		return number, after(tx)
	})
}

func TestStepTx_RowsAndTheResultAreCommittedTogether(t *testing.T) {
	d := newDesk(t)
	lost := errors.New("the answer was lost")
	for name, begin := range map[string]func(context.Context) (openTx, error){
		"pgx":          func(ctx context.Context) (openTx, error) { return openPgx(ctx, d.pool) },
		"database/sql": func(ctx context.Context) (openTx, error) { return openSQL(ctx, d.db) },
	} {
		for how, c := range map[string]struct {
			after func(ctx context.Context, tx openTx) error // in the first run
			runs  int
			by    int // the run whose result counts
		}{
			"committed":                   {func(ctx context.Context, tx openTx) error { return tx.commit(ctx) }, 1, 1},
			"committed without an answer": {func(ctx context.Context, tx openTx) error { return errors.Join(tx.commit(ctx), lost) }, 2, 1},
			"rolled back":                 {func(ctx context.Context, tx openTx) error { return errors.Join(tx.rollback(ctx), lost) }, 2, 2},
		} {
			t.Run(name+", "+how, func(t *testing.T) {
				before := d.rows()
				e, err := invoicing.Enqueue(t.Context(), d.client, 1, nil)
				if err != nil {
					t.Fatal(err)
				}
				var fences []int
				var got int
				ended := d.serve(invoicing, e.ID, hasEnded, func(ctx context.Context, r *task.Run) error {
					first := len(fences) == 0
					fences = append(fences, int(r.FencingToken()%1000))
					after := func(tx openTx) error { return tx.commit(ctx) }
					if first {
						after = func(tx openTx) error { return c.after(ctx, tx) }
					}
					number, err := d.invoice(ctx, r, begin, after)
					if errors.Is(err, lost) {
						if _, again := d.invoice(ctx, r, begin, after); again == nil {
							t.Error("the step was done again although its transaction may have been committed")
						}
					}
					got = number
					return err
				})
				if n := d.rows() - before; ended.Status != task.StatusSucceeded || n != 1 || len(fences) != c.runs || got != fences[c.by-1] {
					t.Errorf("%s: %s, %d rows, the result %d in the runs %v", ended.Status, ended.Error, n, got, fences)
				}
			})
		}
	}
}

func TestStepTx_WhoseTransactionStaysOpenIsAnError(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	e, err := numbered.Enqueue(t.Context(), d.client, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	d.serve(numbered, e.ID, hasEnded, func(ctx context.Context, r *task.Run) error {
		begin := func(ctx context.Context) (openTx, error) { return openPgx(ctx, d.pool) }
		var open openTx
		_, err := d.invoice(ctx, r, begin, func(tx openTx) error { open = tx; return nil })
		if !errors.Is(err, task.ErrHeldUp) {
			t.Errorf("%v, want ErrHeldUp", err)
		}
		return errors.Join(err, open.rollback(ctx))
	})
	if n := d.rows(); n != 0 {
		t.Errorf("%d rows", n)
	}
}

func TestStepTx_IsCalledInAStepOnly(t *testing.T) {
	d := newDesk(t)
	e, err := numbered.Enqueue(t.Context(), d.client, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := d.serve(numbered, e.ID, hasEnded, func(ctx context.Context, r *task.Run) error {
		tx, err := openPgx(ctx, d.pool)
		if err != nil {
			return err
		}
		outside := r.StepTx(ctx, tx.Tx, 1)
		inEach := task.EachOf(ctx, r, "items", []int{1}, func(ctx context.Context, _ int) error { return r.StepTx(ctx, tx.Tx, 1) })
		for what, err := range map[string]error{"outside": outside, "in an item": inEach, "without a transaction": r.StepTx(ctx, Tx(nil), 1)} {
			if !errors.Is(err, task.ErrInvalid) {
				t.Errorf("%s: %v, want ErrInvalid", what, err)
			}
		}
		return tx.rollback(ctx)
	})
	if got.Status != task.StatusSucceeded {
		t.Errorf("%s: %s", got.Status, got.Error)
	}
}
