package task_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
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
