package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// The contenders of steps, and the figure of Each.
const (
	tenSteps    = "ten steps"
	tenSaves    = "ten saves"
	overTheLoop = "over the bare loop, for each item us"
)

// inSteps returns a workload of tasks with ten steps, each with a result of a hundred bytes.
func inSteps(n int) workload {
	w := nothings(n, slots)
	w.within = func(ctx context.Context, r *task.Run) error {
		for i := range 10 {
			got, err := task.Step(ctx, r, "step-"+strconv.Itoa(i), func(context.Context) (position, error) { return somewhere, nil })
			if err != nil || got != somewhere {
				return fmt.Errorf("%+v, %w", got, err)
			}
		}
		return nil
	}
	w.check = func(ctx context.Context, client *task.Client, t task.Task) error {
		all, err := client.Steps(ctx, t.ID)
		if err == nil && len(all) != 10 {
			err = fmt.Errorf("%d steps are recorded", len(all))
		}
		return err
	}
	return w
}

// inSaves returns a workload of tasks that save ten times, a hundred bytes each.
func inSaves(n int) workload {
	w := nothings(n, slots)
	w.within = func(ctx context.Context, r *task.Run) error {
		at := somewhere
		for range 10 {
			at.At++
			if err := r.Save(ctx, at); err != nil {
				return err
			}
		}
		return nil
	}
	w.check = func(_ context.Context, _ *task.Client, t task.Task) error {
		if len(t.Checkpoint) == 0 {
			return fmt.Errorf("no checkpoint")
		}
		return nil
	}
	return w
}

// eachItem measures the cost of Each for an item that does nothing, compared with a loop over the
// same slice.
func eachItem() (float64, error) {
	items := make([]int, 1_000_000/load)
	var cost time.Duration
	w := nothings(1, 1)
	w.within = func(ctx context.Context, r *task.Run) error {
		sum, do := 0, func(_ context.Context, i int) error { return nil }
		began := time.Now()
		for _, i := range items {
			if err := do(ctx, i); err != nil {
				return err
			}
			sum += i
		}
		bare := time.Since(began)
		began = time.Now()
		err := task.EachOf(ctx, r, "items", items, func(_ context.Context, i int) error { sum += i; return nil })
		cost = time.Since(began) - bare
		return err
	}
	_, err := onPostgres(func(store task.Store, db database) (figures, error) { return work(store, w, db) })
	return float64(cost.Nanoseconds()) / 1000 / float64(len(items)), err
}
