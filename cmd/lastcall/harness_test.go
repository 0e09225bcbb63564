package main

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/sqlitestore"
)

// run runs the program's command line in this process.
func run(t *testing.T, args ...string) (out, remarks string, err error) {
	t.Helper()
	return runWith(t, "", args...)
}

// runWith is run with a standard input.
func runWith(t *testing.T, in string, args ...string) (out, remarks string, err error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(strings.NewReader(in))
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	err = root.ExecuteContext(t.Context())
	return stdout.String(), stderr.String(), err
}

// ground is a store in a file, with a worker's hand to play with its tasks.
type ground struct {
	t       *testing.T
	address string
	store   *sqlitestore.Store
	client  *task.Client
}

func newGround(t *testing.T) *ground {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tasks.db")
	s, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: path, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &ground{t: t, address: "sqlite:" + path, store: s, client: task.NewClient(s)}
}

// submit makes a task.
func (g *ground) submit(kind string, opt *task.EnqueueOptions) string {
	g.t.Helper()
	done, err := g.client.Enqueue(g.t.Context(), kind, []byte(`{"n":1}`), opt)
	if err != nil {
		g.t.Fatal(err)
	}
	return done.ID
}

// work runs a worker with one handler for the kind, until the function that it returns is called.
func (g *ground) work(kind string, handler func(context.Context, *task.Run, map[string]any) error) (end func()) {
	g.t.Helper()
	var mux task.Mux
	task.Handle(&mux, task.Kind[map[string]any]{Name: kind, MaxAttempts: 1}, handler)
	w, err := task.NewWorker(task.WorkerConfig{Store: g.store, Mux: &mux, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		g.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(g.t.Context())
	done := make(chan error)
	go func() { done <- w.Serve(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			g.t.Error(err)
		}
	}
}

// becomes waits until a task has a status.
func (g *ground) becomes(id string, want task.Status) task.Task {
	g.t.Helper()
	return g.until(id, string(want), func(t task.Task) bool { return t.Status == want })
}

// until waits until a task is as wanted.
func (g *ground) until(id, want string, ok func(task.Task) bool) task.Task {
	g.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(time.Minute); ; {
		got, err := g.client.Get(g.t.Context(), id)
		if err != nil {
			g.t.Fatal(err)
		}
		if ok(got) {
			return got
		}
		select {
		case <-tick.C:
		case <-deadline:
			g.t.Fatalf("task %s is %s, want %s", id, got.Status, want)
		}
	}
}
