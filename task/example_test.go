package task_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
)

// Rows is the payload of the example's kind.
type Rows struct{ Count int }

// Two processes, one after the other, on one store. The first is stopped in the middle of a task.
func Example() {
	store := memstore.New() // a real program takes one that outlives it, as sqlitestore
	client := task.NewClient(store)
	imports := task.Kind[Rows]{Name: "import"}

	process := func(name string, stopAt int) {
		signals := make(chan os.Signal, 1)
		var mux task.Mux
		task.Handle(&mux, imports, func(ctx context.Context, r *task.Run, a Rows) error {
			var row int
			if _, err := r.Load(&row); err != nil {
				return err
			}
			fmt.Printf("%s begins at row %d\n", name, row)
			for ; row < a.Count; row++ {
				if row == stopAt {
					signals <- os.Interrupt
					<-lastcall.LastCall(ctx)
				}
				if r.Stopping() {
					return r.HandOver(row)
				}
			}
			fmt.Printf("%s is done at row %d\n", name, row)
			signals <- os.Interrupt
			return nil
		})
		quiet := slog.New(slog.DiscardHandler)
		cfg := lastcall.Config{Grace: 10 * time.Second, Signals: signals, Logger: quiet, TerminationLog: "-"}
		code := lastcall.Main(cfg, func(_ context.Context, g *lastcall.Group) error {
			w, err := task.NewWorker(task.WorkerConfig{Store: store, Mux: &mux, Logger: quiet})
			if err != nil {
				return err
			}
			return g.Go("worker", w.Serve)
		})
		fmt.Printf("%s ends with exit code %d\n", name, code)
	}

	ctx := context.Background()
	enqueued, err := imports.Enqueue(ctx, client, Rows{Count: 1000}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	status := func() {
		t, err := client.Get(ctx, enqueued.ID)
		fmt.Printf("the task is %s %s %v\n", t.Status, t.Reason, err)
	}
	process("the first process", 420)
	status()
	process("the second process", -1)
	status()
	// Output:
	// the first process begins at row 0
	// the first process ends with exit code 0
	// the task is interrupted stop <nil>
	// the second process begins at row 420
	// the second process is done at row 1000
	// the second process ends with exit code 0
	// the task is succeeded  <nil>
}
