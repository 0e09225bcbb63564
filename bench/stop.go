package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
)

// position is a checkpoint. Its JSON has a hundred bytes.
type position struct {
	At   int64  `json:"at"`
	File string `json:"file"`
}

var somewhere = position{At: 123_456_789, File: "exports/" + strings.Repeat("x", 57) + ".csv"}

// handing returns the handler of tasks that wait for the stop and then hand over, with a checkpoint
// or without one.
func handing(checkpoint bool) func(ctx context.Context, r *task.Run) error {
	return func(ctx context.Context, r *task.Run) error {
		<-ctx.Done()
		if checkpoint {
			return r.HandOver(somewhere)
		}
		return ctx.Err()
	}
}

// stopPostgres runs n tasks, each of which hands over. It measures from the stop until all of them
// are recorded as interrupted and the group has ended.
func stopPostgres(n int, checkpoint bool) func() (figures, error) {
	return func() (figures, error) {
		return onPostgres(func(store task.Store, db database) (figures, error) {
			return stopAll(store, max(n/load, 10), checkpoint, db)
		})
	}
}

func stopSQLite(n int) func() (figures, error) {
	return func() (figures, error) {
		return onSQLite(func(store task.Store, db database) (figures, error) {
			return stopAll(store, max(n/load, 10), true, db)
		})
	}
}

func stopAll(store task.Store, n int, checkpoint bool, db database) (figures, error) {
	g, err := running(store, n, handing(checkpoint))
	if err != nil {
		return nil, err
	}
	found, err := clocked(db, n, func() error {
		g.Stop(errors.New("the measure"))           // the kind is interrupted at last call
		if code := g.Wait().ExitCode(); code != 1 { // a stop with a cause
			return fmt.Errorf("the group has ended with exit code %d: it had a minute", code)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	found[forEach] = 1e6 / found[perSecond]
	found[duration] = found[forEach] * float64(n) / 1000
	return found, errors.Join(allAre(store, task.StatusInterrupted, n), checkpointed(store, checkpoint))
}

// checkpointed checks that the newest tasks have their checkpoints.
func checkpointed(store task.Store, want bool) error {
	newest, err := store.Find(context.Background(), task.Query{Status: task.StatusInterrupted, Limit: 100})
	if err != nil {
		return err
	}
	for _, t := range newest {
		if got := len(t.Checkpoint); (got >= 90) != want {
			return fmt.Errorf("task %s has a checkpoint of %d bytes", t.ID, got)
		}
	}
	return nil
}

// running enqueues n tasks and returns once all of them are running at the same time.
func running(store task.Store, n int, handle func(context.Context, *task.Run) error) (*lastcall.Group, error) {
	if err := enqueuePatient(store, n); err != nil {
		return nil, err
	}
	g, begun, err := begin(store, n, handle)
	if err != nil {
		return nil, err
	}
	if err := within(time.Minute, func() bool { return int(begun.Load()) == n }); err != nil {
		g.Stop(nil)
		return nil, fmt.Errorf("%d of %d tasks run: %w", begun.Load(), n, err)
	}
	return g, nil
}

// enqueuePatient enqueues tasks that wait until they are asked to stop.
func enqueuePatient(store task.Store, n int) error {
	client := task.NewClient(store)
	for made := 0; made < n; made += perCall {
		batch := make([]task.NewTask, min(perCall, n-made))
		for i := range batch {
			var err error
			if batch[i], err = patient.Prepare(empty{}, nil); err != nil {
				return err
			}
		}
		if _, err := client.EnqueueMany(context.Background(), batch); err != nil {
			return err
		}
	}
	return nil
}

// begin starts a worker in a group of its own with the given slots, and counts the runs that begin.
func begin(store task.Store, slots int, handle func(context.Context, *task.Run) error) (*lastcall.Group, *atomic.Int64, error) {
	begun := new(atomic.Int64)
	var mux task.Mux
	task.Handle(&mux, patient, func(ctx context.Context, r *task.Run, _ empty) error {
		begun.Add(1)
		return handle(ctx, r)
	})
	w, err := task.NewWorker(task.WorkerConfig{Store: store, Mux: &mux, Concurrency: slots, Logger: quiet})
	if err != nil {
		return nil, nil, err
	}
	g, err := lastcall.New(context.Background(), lastcall.Config{Grace: time.Minute, Delay: -1, Logger: quiet})
	if err != nil {
		return nil, nil, err
	}
	return g, begun, g.Go("worker", w.Serve)
}

// within waits until a condition is true.
func within(limit time.Duration, ok func() bool) error {
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %v", limit)
		}
	}
	return nil
}

// resume stops 100,000 tasks that hand over with a checkpoint. It measures from the start of the
// next process until that has begun all handlers and each has loaded its checkpoint.
func resume() (figures, error) {
	return withCluster(func(db database) (figures, error) {
		n := hundredThousand / load
		store, err := openPostgres(db)
		if err != nil {
			return nil, err
		}
		if _, err := stopAll(store, n, true, db); err != nil {
			return nil, errors.Join(err, store.Close())
		}
		if err := store.Close(); err != nil {
			return nil, err
		}
		began := time.Now()
		next, err := startProcess(resuming, db.dsn, n)
		if err != nil {
			return nil, err
		}
		defer next.end()
		// This makes await fail.
		defer time.AfterFunc(2*time.Minute, func() { _ = next.cmd.Process.Kill() }).Stop()
		if err := next.await("loaded"); err != nil {
			return nil, err
		}
		took := time.Since(began)
		return figures{duration: milliseconds(took), forEach: float64(took.Microseconds()) / float64(n)}, nil
	})
}

// serveResumed is that next process: it prints a line when n handlers have begun and have loaded
// their checkpoints.
func serveResumed(g *lastcall.Group, store task.Store, n int) error {
	var loaded atomic.Int64
	var mux task.Mux
	task.Handle(&mux, patient, func(ctx context.Context, r *task.Run, _ empty) error {
		var at position
		switch ok, err := r.Load(&at); {
		case err != nil:
			return err
		case !ok || at != somewhere:
			return fmt.Errorf("the checkpoint is %+v", at)
		}
		if int(loaded.Add(1)) == n {
			fmt.Println("loaded")
		}
		<-ctx.Done()
		return r.HandOver(at)
	})
	w, err := task.NewWorker(task.WorkerConfig{Store: store, Mux: &mux, Concurrency: n, Logger: quiet})
	if err != nil {
		return err
	}
	return g.Go("worker", w.Serve)
}
