//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// workRecorded does each step with task.Step, whose result is the fence of the run that did it.
func (u *run) workRecorded(ctx context.Context) error {
	first := true
	for at := range u.plan.Steps {
		by, err := task.Step(ctx, u.Run, fmt.Sprintf("step-%d", at), func(ctx context.Context) (int64, error) {
			err := u.step(ctx, at, first)
			first = false
			return u.FencingToken(), err
		})
		if err != nil {
			return err
		}
		if err := u.report(ctx, history.Effect{Step: history.Returned, Resumed: at, Result: by}); err != nil {
			return err
		}
	}
	return u.finish(ctx)
}

// workItems does the steps as the items of a task.Each.
func (u *run) workItems(ctx context.Context) error {
	source := func(_ context.Context, after *int, yield func(int, int) bool) error {
		at := 0
		if after != nil {
			at = *after + 1
		}
		for at < u.plan.Steps && yield(at, at) {
			at++
		}
		return nil
	}
	first := true
	do := func(ctx context.Context, at int) error {
		err := u.step(ctx, at, first)
		first = false
		return err
	}
	err := task.Each(ctx, u.Run, "items", source, do, task.Length(u.plan.Steps), task.SaveEvery(time.Duration(u.plan.EveryMS)*time.Millisecond))
	if err != nil {
		return err
	}
	return u.finish(ctx)
}
