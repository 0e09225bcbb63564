package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/demo"
	"github.com/lastcall-go/lastcall/task"
)

// demonstration holds the flags of demo.
type demonstration struct {
	tree, dir   string
	grace       time.Duration
	stopAfter   time.Duration
	atLeast     time.Duration // how long the work takes
	concurrency int
	workers     int
	roll        bool
}

// demoTasks is how many tasks a demonstration has.
const demoTasks = 50

func newDemo() *cobra.Command {
	var d demonstration
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See what a stop does to tasks that hash and compress real files",
		Long: `See what a stop does to tasks. Fifty tasks hash and compress the directories of a real tree: by
default the source of Go, or files that the command creates if this machine has none. Ctrl-C or
SIGTERM stops them: tasks that are not done in time are interrupted with their checkpoint. Run it
again, and they resume from there. On a terminal the command shows a picture, elsewhere it prints a
line for each change. The tasks read slowly enough to take as long as --at-least, so that there is
something to stop.

--workers 3 --roll instead starts three servers on one store and replaces one after the other while
they work, as a rollout does. It prints what was handed over, how fast that was, and whether any
task was done twice.

It writes only below --dir, which must be yours alone and can be removed afterwards.`,
		Example: `  lastcall demo
  lastcall demo --stop-after 2s; lastcall demo
  lastcall demo --workers 3 --roll`,
		Args: args(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := d.complete(); err != nil {
				return err
			}
			if d.roll {
				return d.rollOut(cmd.Context(), cmd.OutOrStdout())
			}
			return d.work(cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&d.tree, "tree", "", "the files to work on: a directory with directories (default: the source of Go, or files that the command creates)")
	f.StringVar(&d.dir, "dir", defaultDemoDir(), "the directory of the store and the results")
	f.Var(newDuration(&d.grace, 3*time.Second, minGrace, maxGrace), "grace", "time for a stop, far less than the tasks need")
	f.Var(newDuration(&d.stopAfter, 0, 0, time.Hour), "stop-after", "send this process SIGTERM after this time")
	f.Var(newDuration(&d.atLeast, 0, 0, time.Hour), "at-least", "how long the work takes at least; 0 means four times --stop-after, or 20s")
	f.IntVar(&d.concurrency, "concurrency", 4, "how many tasks run at once in a process")
	f.IntVar(&d.workers, "workers", 1, "how many servers, with --roll")
	f.BoolVar(&d.roll, "roll", false, "replace servers one by one")
	return cmd
}

func (d *demonstration) complete() error {
	switch {
	case d.concurrency < 1:
		return usageError{fmt.Errorf("--concurrency %d: use a positive number", d.concurrency)}
	case d.roll && (d.workers < 1 || d.workers > 20):
		return usageError{fmt.Errorf("--workers %d: use a number from 1 to 20", d.workers)}
	case !d.roll && d.workers != 1:
		return usageError{errors.New("--workers is for --roll: give both")}
	case d.roll && d.stopAfter > 0:
		return usageError{errors.New("--roll stops servers by itself: leave --stop-after out")}
	}
	if d.atLeast == 0 {
		if d.atLeast = 4 * d.stopAfter; d.stopAfter == 0 {
			d.atLeast = 20 * time.Second
		}
	}
	var err error
	if d.dir, err = privateDir(d.dir); err != nil {
		return err
	}
	if d.tree == "" {
		d.tree = someTree()
	}
	if d.tree == "" {
		d.tree = filepath.Join(d.dir, "files")
		if err := makeFiles(d.tree); err != nil {
			return fmt.Errorf("make files to work on: %w: name others with --tree", err)
		}
	}
	if d.tree, err = filepath.Abs(d.tree); err != nil {
		return err
	}
	return os.MkdirAll(filepath.Join(d.dir, "results"), 0o700)
}

func (d *demonstration) store() string { return "sqlite:" + filepath.Join(d.dir, "tasks.db") }

// plan returns the ids of the tasks: those of an earlier demonstration that has not ended, or else
// new ones.
func (d *demonstration) plan(ctx context.Context, client *task.Client) (ids []string, goesOn bool, err error) {
	file := filepath.Join(d.dir, "plan.json")
	if b, err := os.ReadFile(file); err == nil && json.Unmarshal(b, &ids) == nil && len(ids) > 0 {
		tasks, err := client.Find(ctx, task.Query{IDs: ids, Limit: len(ids)})
		if err != nil {
			return nil, false, err
		}
		for _, t := range tasks {
			goesOn = goesOn || !t.Status.Ended()
		}
		if goesOn {
			return ids, true, nil
		}
	}
	tasks, err := d.newTasks()
	if err != nil {
		return nil, false, err
	}
	ids = nil
	for _, t := range tasks {
		ids = append(ids, t.ID)
	}
	if _, err := client.EnqueueMany(ctx, tasks); err != nil {
		return nil, false, err
	}
	b, err := json.Marshal(ids)
	if err != nil {
		return nil, false, err
	}
	return ids, false, os.WriteFile(file, b, 0o600)
}

// newTasks prepares a task of each kind for each directory of the tree, one directory after
// another.
func (d *demonstration) newTasks() ([]task.NewTask, error) {
	entries, err := os.ReadDir(d.tree)
	if err != nil {
		return nil, fmt.Errorf("%w: name a directory with --tree", err)
	}
	var dirs []string
	for _, e := range entries {
		if e.IsDir() {
			dirs = append(dirs, filepath.Join(d.tree, e.Name()))
		}
	}
	if len(dirs) == 0 {
		dirs = []string{d.tree}
	}
	bytesPerSecond, err := d.pace(dirs)
	if err != nil {
		return nil, err
	}
	var tasks []task.NewTask
	for i := range demoTasks {
		kind, suffix := demo.HashTree.Name, ".sums"
		if i%2 == 1 {
			kind, suffix = demo.GzipTree.Name, ".tar.gz"
		}
		dir := dirs[i/2%len(dirs)]
		payload, err := json.Marshal(demo.Args{
			Dir: dir, Out: filepath.Join(d.dir, "results", fmt.Sprintf("%02d-%s%s", i+1, filepath.Base(dir), suffix)), BytesPerSecond: bytesPerSecond,
		})
		if err != nil {
			return nil, err
		}
		// The priorities keep the tasks in this order.
		one, err := task.Prepare(kind, payload, &task.EnqueueOptions{Priority: demoTasks - i})
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, one)
	}
	return tasks, nil
}

// work runs the tasks in this process, until they are done or the process is stopped.
func (d *demonstration) work(out, remarks io.Writer) error {
	// The view shows what happens, and the log what goes wrong.
	log := slog.New(slog.NewTextHandler(remarks, &slog.HandlerOptions{Level: slog.LevelError}))
	code := lastcall.Main(lastcall.Config{Grace: d.grace, GraceFlag: d.grace, Logger: log}, func(ctx context.Context, g *lastcall.Group) error {
		store, err := openStore(ctx, d.store(), openOptions{create: true}, log)
		if err != nil {
			return told(remarks, err)
		}
		g.Defer("store", lastcall.CloseFunc(store.Close))
		client := task.NewClient(store)
		ids, goesOn, err := d.plan(ctx, client)
		if err != nil {
			return told(remarks, err)
		}
		var mux task.Mux
		demo.Register(&mux, nil)
		worker, err := task.NewWorker(task.WorkerConfig{Store: store, Mux: &mux, Concurrency: d.concurrency, Logger: log})
		if err != nil {
			return err
		}
		ended := make(chan struct{})
		view := newView(out, client, ids)
		view.begin(d, goesOn)
		err = errors.Join(
			g.Go("worker", func(ctx context.Context) error {
				defer close(ended)
				return worker.Serve(ctx)
			}),
			g.Go("view", func(ctx context.Context) error {
				return view.watch(ctx, ended, func() { g.Stop(nil) })
			}))
		if err == nil && d.stopAfter > 0 {
			err = g.Loop("timer", func(ctx context.Context) error { return signalAfter(ctx, d.stopAfter) })
		}
		return err
	})
	if code != 0 {
		return exitError(code)
	}
	return nil
}

// told prints an error that the silent logger would suppress.
func told(remarks io.Writer, err error) error {
	fmt.Fprintf(remarks, "lastcall: demo: %v\n", err)
	return err
}

// signalAfter sends this process SIGTERM, as a platform would.
func signalAfter(ctx context.Context, after time.Duration) error {
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(after):
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		return err
	}
	if err := self.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
