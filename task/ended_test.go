package task_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/lastcall-go/lastcall/task"
)

// immediate is a store whose transactions do everything at once.
type immediate struct{ task.Store }

func (s immediate) AddTx(ctx context.Context, _ task.Tx, tasks []task.NewTask) ([]task.AddResult, error) {
	return s.Add(ctx, tasks)
}
func (s immediate) FinishTx(ctx context.Context, _ task.Tx, c task.Change) error {
	return s.Apply(ctx, []task.Change{c})[0]
}
func (s immediate) SaveTx(ctx context.Context, _ task.Tx, c task.Change) error {
	return s.Apply(ctx, []task.Change{c})[0]
}
func (immediate) Wake() {}

type noTx struct{}

func (noTx) StoreTx() string { return "nothing" }

// textOnly is a log that asks errors for their text and does not expect a panic.
type textOnly struct {
	slog.Handler
	texts *[]string
}

func (h textOnly) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if err, ok := a.Value.Any().(error); ok {
			*h.texts = append(*h.texts, err.Error())
		} else {
			*h.texts = append(*h.texts, a.Value.String())
		}
		return true
	})
	return nil
}

func TestFinishIn_AnErrorThatPanicsAfterTheCommitIsLoggedAndTheSuccessStands(t *testing.T) {
	bubble(t, func(b *bench) {
		var texts []string
		b.log = slog.New(textOnly{slog.NewTextHandler(new(bytes.Buffer), nil), &texts})
		b.handle = func(ctx context.Context, r *task.Run) error {
			if err := r.FinishTx(ctx, noTx{}); err != nil {
				return err
			}
			return typedNil()
		}
		g := b.serve(immediate{b.store})
		id := b.enqueue()
		b.want(id, task.StatusSucceeded, "", 0, 0, 0)
		b.stop(g, 0)
		if !strings.Contains(strings.Join(texts, " "), "panic: ") {
			t.Errorf("logged: %q", texts)
		}
	})
}

// lossy is a store that loses the commit of a transaction just after it has been seen.
type lossy struct {
	immediate
	lost, seen *atomic.Bool
}

func (s lossy) FinishTx(ctx context.Context, tx task.Tx, c task.Change) error {
	if s.lost.CompareAndSwap(false, true) {
		return nil
	}
	return s.immediate.FinishTx(ctx, tx, c)
}

// Apply answers the first check of the run as if the commit were still there.
func (s lossy) Apply(ctx context.Context, changes []task.Change) []error {
	if s.lost.Load() && changes[0].Status == task.StatusRunning && s.seen.CompareAndSwap(false, true) {
		return []error{task.ErrLeaseLost}
	}
	return s.immediate.Apply(ctx, changes)
}

func TestFinishTx_ACommitThatTheStoreLosesIsNotMadeASuccessWithoutItsTransaction(t *testing.T) {
	bubble(t, func(b *bench) {
		b.handle = func(ctx context.Context, r *task.Run) error { return r.FinishTx(ctx, noTx{}) }
		g := b.serve(lossy{immediate{b.store}, new(atomic.Bool), new(atomic.Bool)})
		id := b.enqueue()
		b.want(id, task.StatusQueued, "", 1, 0, 0) // as after a transaction that was rolled back
		b.stop(g, 0)
	})
}
