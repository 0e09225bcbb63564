package storetest

import (
	"bytes"
	"errors"
	"strconv"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

var applyRules = []rule{
	{"8", "a stale run's write is refused and changes nothing", func(t *T) {
		first := t.run("w")
		t.mustApply(change(first, task.StatusInterrupted))
		second := t.claim("w", 1)[0]
		late := change(first, task.StatusRunning)
		late.Checkpoint = []byte("late")
		if err := t.apply(late); !errors.Is(err, task.ErrLeaseLost) {
			t.Errorf("a stale checkpoint: %v", err)
		}
		stranger := change(second, task.StatusSucceeded)
		stranger.Worker = "other"
		if err := t.apply(stranger); !errors.Is(err, task.ErrLeaseLost) {
			t.Errorf("another worker's outcome: %v", err)
		}
		if got := t.get(first.ID); got.Status != task.StatusRunning || got.Checkpoint != nil {
			t.Errorf("%s, checkpoint %q", got.Status, got.Checkpoint)
		}
		unknown := change(second, task.StatusSucceeded)
		unknown.Task = t.id()
		if err := t.apply(unknown); !errors.Is(err, task.ErrNotFound) {
			t.Errorf("an unknown task: %v", err)
		}
	}},
	{"8", "a worker's number for another task's run is none for this one", func(t *T) {
		first, numbers := t.run("w"), make(map[int64]bool)
		for range 5 {
			next := t.run("w").Run
			numbers[next], numbers[next+1] = true, true
		}
		numbers[first.Run-1], numbers[first.Run+1] = true, true
		delete(numbers, first.Run)
		for run := range numbers {
			for _, status := range []task.Status{task.StatusRunning, task.StatusSucceeded, task.StatusInterrupted, task.StatusFailed} {
				c := change(first, status)
				c.Run = run
				if err := t.apply(c); !errors.Is(err, task.ErrLeaseLost) {
					t.Errorf("%s with the number %d instead of %d: %v", status, run, first.Run, err)
				}
			}
		}
		if got := t.get(first.ID); got.Status != task.StatusRunning || got.Run != first.Run {
			t.Errorf("%s in run %d", got.Status, got.Run)
		}
	}},
	{"9", "a repeated outcome is nil, another one ErrAlreadyFinished, after a taking ErrLeaseLost", func(t *T) {
		first := t.run("w")
		t.mustApply(change(first, task.StatusInterrupted))
		t.claim("w", 1)
		if err := t.apply(change(first, task.StatusInterrupted)); err != nil {
			t.Errorf("the same again, after a newer run began: %v", err)
		}
		if err := t.apply(change(first, task.StatusSucceeded)); !errors.Is(err, task.ErrAlreadyFinished) {
			t.Errorf("another outcome: %v", err)
		}
		taken := t.run("v")
		c := change(taken, task.StatusInterrupted)
		c.Reclaimed = true
		t.mustApply(c)
		if err := t.apply(change(taken, task.StatusInterrupted)); !errors.Is(err, task.ErrLeaseLost) {
			t.Errorf("after a taking: %v", err)
		}
	}},
	{"9", "a repeated outcome is nil, whatever was asked of the task since", func(t *T) {
		for i, c := range []struct {
			end  task.Status
			asks []task.Verb
		}{
			{task.StatusFailed, []task.Verb{task.VerbRetry}},
			{task.StatusCancelled, []task.Verb{task.VerbRetry, task.VerbCancel}},
			{task.StatusInterrupted, []task.Verb{task.VerbCancel}},
			{task.StatusQueued, []task.Verb{task.VerbCancel, task.VerbRetry}},
		} {
			end := change(t.run("w"+strconv.Itoa(i)), c.end)
			t.mustApply(end)
			for _, verb := range c.asks {
				t.mustAsk(verb, end.Task)
				t.wantErr(string(c.end)+" again, after "+string(verb), t.apply(end), nil)
			}
			if t.get(end.Task).Status.Claimable() {
				t.mustAsk(task.VerbCancel, end.Task) // out of the way
			}
		}
	}},
	{"8", "a run of a worker that is marked dead may end as long as nobody has taken it", func(t *T) {
		c := t.run("w")
		if _, err := t.Store.Reclaim(t.Context(), task.ReclaimRequest{Worker: "w", Seq: 1, Max: 1}); err != nil {
			t.Fatal(err)
		}
		t.mustApply(change(c, task.StatusSucceeded))
		taken := change(c, task.StatusInterrupted)
		taken.Reclaimed = true
		t.wantErr("a taking that comes too late", t.apply(taken), task.ErrAlreadyFinished)
		if got := t.get(c.ID); got.Status != task.StatusSucceeded {
			t.Errorf("%+v", got)
		}
	}},
	{"10", "a change that cannot be made does not hold back its neighbours", func(t *T) {
		a := t.run("w")
		t.add()
		b := t.claim("w", 1)[0]
		bad := change(a, task.StatusSucceeded)
		bad.Run++
		errs := t.Store.Apply(t.Context(), []task.Change{change(a, task.StatusSucceeded), bad, change(b, task.StatusFailed)})
		if len(errs) != 3 || errs[0] != nil || !errors.Is(errs[1], task.ErrLeaseLost) || errs[2] != nil {
			t.Errorf("%v", errs)
		}
		if got := t.get(b.ID); got.Status != task.StatusFailed || got.Finished.IsZero() {
			t.Errorf("%+v", got)
		}
	}},
	{"11", "nil leaves checkpoint and progress, and bytes are bytes", func(t *T) {
		c := t.run("w")
		save := change(c, task.StatusRunning)
		save.Checkpoint = []byte("\x00\xff'\"")
		save.Progress = &task.Progress{Fraction: 0.5, Message: "half"}
		save.Counters.CrashStreak = 2
		t.mustApply(save)
		t.mustApply(change(c, task.StatusInterrupted))
		got := t.get(c.ID)
		if !bytes.Equal(got.Checkpoint, save.Checkpoint) || got.Progress != *save.Progress || got.CrashStreak != 0 {
			t.Errorf("checkpoint %q, progress %+v, counters %+v", got.Checkpoint, got.Progress, got.Counters)
		}
		again := t.claim("w", 1)[0]
		if !bytes.Equal(again.Checkpoint, save.Checkpoint) {
			t.Errorf("the next run gets %q", again.Checkpoint)
		}
	}},
	{"4", "a retry waits for its delay, and an end is an end", func(t *T) {
		c := t.run("w")
		retry := change(c, task.StatusQueued)
		retry.Delay, retry.Error, retry.Counters.Attempts = time.Hour, "broken", 1
		t.mustApply(retry)
		if got := t.claim("w", 1); len(got) != 0 {
			t.Errorf("claimed before its time: %v", ids(got))
		}
		got := t.get(c.ID)
		if got.Status != task.StatusQueued || got.Error != "broken" || got.Attempts != 1 || time.Until(got.RunAt) < 59*time.Minute {
			t.Errorf("%+v", got)
		}
		runs, err := t.Store.History(t.Context(), c.ID)
		if err != nil || len(runs) != 1 || runs[0].Status != task.StatusQueued || runs[0].Ended.IsZero() || runs[0].Host != "h" || runs[0].PID != 1 {
			t.Errorf("history %+v, %v", runs, err)
		}
		if _, err := t.Store.History(t.Context(), t.id()); !errors.Is(err, task.ErrNotFound) {
			t.Errorf("history of nothing: %v", err)
		}
	}},
}
