package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/lastcall-go/lastcall/task"
)

// slots is how many tasks a worker of either library may run at once, unless a measure says
// otherwise.
const slots = 2000

// empty is the payload of tasks that need none, numbered that of tasks with a key.
type (
	empty    struct{}
	numbered struct {
		N int `json:"n" river:"unique"`
	}
)

// workload is a number of tasks, what their handlers do, and how to check that it was done.
type workload struct {
	n      int
	slots  int
	keyed  bool
	handle func(r *task.Run) error
	// If set, it is called instead of handle.
	within func(ctx context.Context, r *task.Run) error
	work   func(ctx context.Context, job *rivertype.JobRow) error // the same for River

	check    func(ctx context.Context, client *task.Client, t task.Task) error
	checkJob func(job *rivertype.JobRow) error
}

// nothings returns a workload of tasks that do nothing.
func nothings(n, slots int) workload {
	return workload{
		n: n, slots: slots,
		handle:   func(*task.Run) error { return nil },
		work:     func(context.Context, *rivertype.JobRow) error { return nil },
		check:    func(context.Context, *task.Client, task.Task) error { return nil },
		checkJob: func(*rivertype.JobRow) error { return nil },
	}
}

// keyed returns a workload of tasks that do nothing, each with a key of its own.
func keyed(n int) workload {
	w := nothings(n, slots)
	w.keyed = true
	return w
}

// shortOnes returns a workload of tasks that take two milliseconds, for a worker with the default
// concurrency.
func shortOnes(n int) workload {
	w := nothings(n, 10)
	w.handle = func(*task.Run) error { time.Sleep(2 * time.Millisecond); return nil }
	w.work = func(context.Context, *rivertype.JobRow) error { time.Sleep(2 * time.Millisecond); return nil }
	return w
}

// written is the result of a task that leaves one, about a hundred bytes.
type written struct {
	Rows   int    `json:"rows"`
	File   string `json:"file"`
	Digest string `json:"digest"`
}

var anything = written{Rows: 4711, File: "exports/2026/customers-0017.csv", Digest: "9f86d081884c7d659a2feaa0c55ad015"}

// realOnes returns a workload of tasks that leave a result. Ours also write a log line and a
// progress, which River does not have.
func realOnes(n, slots int) workload {
	w := nothings(n, slots)
	w.handle = func(r *task.Run) error {
		r.Log("read 4711 customers, wrote exports/2026/customers-0017.csv")
		r.SetProgress(1, "written")
		return r.SetResult(anything)
	}
	w.work = func(ctx context.Context, _ *rivertype.JobRow) error { return river.RecordOutput(ctx, anything) }
	w.check = func(ctx context.Context, client *task.Client, t task.Task) error {
		log, err := client.Log(ctx, t.ID)
		if err == nil && (len(log) == 0 || t.Progress.Message != "written") {
			err = errors.New("log or progress is missing")
		}
		return errors.Join(err, sameResult(t.Result))
	}
	w.checkJob = func(job *rivertype.JobRow) error { return sameResult(job.Output()) }
	return w
}

// sameResult checks that a stored result is what the handler returned.
func sameResult(stored []byte) error {
	var got written
	if err := json.Unmarshal(stored, &got); err != nil {
		return fmt.Errorf("result %q: %w", stored, err)
	}
	if got != anything {
		return fmt.Errorf("result %s", stored)
	}
	return nil
}

var errFirst = errors.New("the first attempt fails")

// failingOnce returns a workload of tasks that fail at their first attempt, are retried at once,
// and succeed.
func failingOnce(n int) workload {
	w := nothings(n, slots)
	w.handle = func(r *task.Run) error {
		if r.Task().Attempts == 0 {
			return errFirst
		}
		return nil
	}
	w.work = func(_ context.Context, job *rivertype.JobRow) error {
		if job.Attempt == 1 {
			return errFirst
		}
		return nil
	}
	w.check = func(ctx context.Context, client *task.Client, t task.Task) error {
		history, err := client.History(ctx, t.ID)
		if err == nil && (len(history) != 2 || history[0].Error != errFirst.Error()) {
			err = fmt.Errorf("history %+v", history)
		}
		return err
	}
	w.checkJob = func(job *rivertype.JobRow) error {
		if job.Attempt != 2 || len(job.Errors) != 1 {
			return fmt.Errorf("%d attempts, %d errors", job.Attempt, len(job.Errors))
		}
		return nil
	}
	return w
}
