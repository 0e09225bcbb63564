package task_test

import (
	"context"
	"testing"

	"github.com/lastcall-go/lastcall/task"
)

func TestResultAndLogAreKept(t *testing.T) {
	bubble(t, func(b *bench) {
		b.handle = func(_ context.Context, r *task.Run) error {
			r.Log("one")
			r.Log("two")
			return r.SetResult(map[string]int{"n": 3})
		}
		g := b.serve(b.store)
		id := b.enqueue()
		done, err := b.client.Wait(b.t.Context(), id)
		if err != nil || string(done.Result) != `{"n":3}` {
			t.Errorf("result %s, %v", done.Result, err)
		}
		if log, err := b.client.Log(b.t.Context(), id); err != nil || string(log) != "one\ntwo\n" {
			t.Errorf("log %q, %v", log, err)
		}
		b.stop(g, 0)
	})
}
