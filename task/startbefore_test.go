package task_test

import (
	"errors"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

func TestStartBefore_ATaskThatNobodyHasBegunInTimeEndsForWhoWaitsForIt(t *testing.T) {
	bubble(t, func(b *bench) {
		b.slots = 1
		b.forever()
		g := b.serve(b.store)
		first := b.enqueueOf(kind, &task.EnqueueOptions{StartBefore: time.Second}) // begins at once
		b.want(first, task.StatusRunning, "", 0, 0, 0)
		second := b.enqueueOf(kind, &task.EnqueueOptions{StartBefore: time.Minute, Key: "key"})
		begin := time.Now()
		got, err := b.client.Wait(b.t.Context(), second)
		if err != nil || got.Status != task.StatusCancelled || got.Reason != task.ReasonExpired || time.Since(begin) < time.Minute || time.Since(begin) > 61*time.Second {
			t.Errorf("after %v: %+v, %v", time.Since(begin), got, err)
		}
		if third, err := kind.Enqueue(b.t.Context(), b.client, args{}, &task.EnqueueOptions{Key: "key"}); err != nil || third.Existed {
			t.Errorf("its key: %+v, %v", third, err)
		}
		b.want(first, task.StatusRunning, "", 0, 0, 0)
		b.stop(g, 0)
		b.want(first, task.StatusInterrupted, task.ReasonStop, 0, 1, 0)
		time.Sleep(time.Hour)
		b.want(first, task.StatusInterrupted, task.ReasonStop, 0, 1, 0) // it had begun
	})
}

func TestStartBefore_MustBeLongerThanTheDelay(t *testing.T) {
	for _, o := range []task.EnqueueOptions{
		{StartBefore: -1}, {StartBefore: time.Minute, Delay: time.Minute}, {StartBefore: 101 * 365 * 24 * time.Hour},
	} {
		if _, err := kind.Prepare(args{}, &o); !errors.Is(err, task.ErrInvalid) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	n, err := kind.Prepare(args{}, &task.EnqueueOptions{StartBefore: time.Minute, Delay: time.Second})
	if err != nil || n.StartBefore != time.Minute {
		t.Errorf("%+v, %v", n, err)
	}
}
