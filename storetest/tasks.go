package storetest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

var addRules = []rule{
	{"1", "an id that exists is not added again, so a submit can be repeated", func(t *T) {
		first := task.NewTask{ID: t.id(), Kind: "k", Queue: "default", Payload: []byte("first")}
		second := first
		second.Payload = []byte("second")
		for i, n := range []task.NewTask{first, second} {
			added, err := t.Store.Add(t.Context(), []task.NewTask{n})
			if err != nil || added[0].Existed != (i == 1) {
				t.Fatalf("Add %d: %v, %v", i, added, err)
			}
		}
		if got := t.get(first.ID); string(got.Payload) != "first" {
			t.Errorf("payload is %q", got.Payload)
		}
	}},
	{"2", "an accepted task survives the process", func(t *T) {
		if t.engine.Reopen == nil {
			t.Log("the engine does not outlive its process, and says so")
			return
		}
		id := t.add()
		if err := t.Store.Close(); err != nil {
			t.Fatal(err)
		}
		t.Store = t.engine.Reopen(t.real)
		defer func() {
			if err := t.Store.Close(); err != nil {
				t.Error(err)
			}
		}()
		if got := t.get(id); got.Status != task.Queued || got.Created.IsZero() {
			t.Errorf("%+v", got)
		}
	}},
	{"18", "Find returns the newest first, and only what every filter admits", func(t *T) {
		a, b, c := t.add(), t.add(func(n *task.NewTask) { n.Kind = "other" }), t.add()
		for _, q := range []struct {
			query task.Query
			want  []string
		}{
			{task.Query{}, []string{c, b, a}},
			{task.Query{Kind: "k"}, []string{c, a}},
			{task.Query{Limit: 1}, []string{c}},
			{task.Query{After: c}, []string{b, a}},
			{task.Query{Status: task.Running}, nil},
			{task.Query{IDs: []string{a, b}, Kind: "other"}, []string{b}},
			{task.Query{IDs: []string{t.id()}}, nil},
		} {
			got, err := t.Store.Find(t.Context(), q.query)
			if err != nil || !slices.Equal(ids(got), q.want) {
				t.Errorf("Find %+v: %v, %v, want %v", q.query, ids(got), err, q.want)
			}
		}
	}},
}

var claimRules = []rule{
	{"3", "a run number grows, and is at least the clock in milliseconds", func(t *T) {
		before := time.Now().UnixMilli()
		first := t.run("w")
		t.mustApply(change(first, task.Interrupted))
		second := t.claim("w", 1)[0]
		if first.Run < before || second.Run <= first.Run || second.Runs != 2 {
			t.Errorf("runs %d, %d (%d) after %d", first.Run, second.Run, second.Runs, before)
		}
	}},
	{"4", "a task is claimed once, and not before its time", func(t *T) {
		t.join("a")
		t.join("b")
		late := t.add(func(n *task.NewTask) { n.Delay = time.Hour })
		const count = 20
		for range count {
			t.add()
		}
		var (
			wg   sync.WaitGroup
			mu   sync.Mutex
			seen = make(map[string]int)
		)
		for _, w := range []string{"a", "b", "a", "b"} {
			wg.Go(func() {
				for {
					got, err := t.Store.Claim(t.Context(), request(w, 3))
					if err != nil {
						t.Errorf("Claim: %v", err)
					}
					if len(got) == 0 {
						return
					}
					mu.Lock()
					for _, g := range got {
						seen[g.ID]++
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if len(seen) != count || seen[late] != 0 {
			t.Errorf("%d tasks claimed of %d; the late one %d times", len(seen), count, seen[late])
		}
		for id, n := range seen {
			if n != 1 {
				t.Errorf("task %s was claimed %d times", id, n)
			}
		}
	}},
	{"5", "priority, then interrupted before queued, then RunAt, then id", func(t *T) {
		t.join("w")
		interrupted := t.add()
		t.mustApply(change(t.claim("w", 1)[0], task.Interrupted))
		plain, next := t.add(), t.add()
		high := t.add(func(n *task.NewTask) { n.Priority = 1 })
		want := []string{high, interrupted, plain, next}
		if got := ids(t.claim("w", 10)); !slices.Equal(got, want) {
			t.Errorf("claimed %v, want %v", got, want)
		}
	}},
	{"6", "a worker that is not registered, or is dead, gets nothing", func(t *T) {
		t.add()
		if got, err := t.Store.Claim(t.Context(), request("stranger", 1)); !errors.Is(err, task.ErrWorkerGone) {
			t.Errorf("a stranger's claim: %v, %v", got, err)
		}
		t.join("w")
		t.claim("w", 1)
		t.add()
		if _, err := t.Store.Reclaim(t.Context(), task.ReclaimRequest{Worker: "w", Seq: 1, Max: 1}); err != nil {
			t.Fatal(err)
		}
		if got, err := t.Store.Claim(t.Context(), request("w", 1)); !errors.Is(err, task.ErrWorkerGone) {
			t.Errorf("a dead worker's claim: %v, %v", got, err)
		}
	}},
	{"7", "the caps are the claim's, for whoever reclaims", func(t *T) {
		if got := t.run("w").Caps; got != (task.Caps{MaxAttempts: 3, MaxCrashes: 4}) {
			t.Errorf("%+v", got)
		}
	}},
	{"4", "a claim takes only the kinds that it names, each up to its bound", func(t *T) {
		t.join("w")
		one, two := t.add(), t.add()
		other := t.add(func(n *task.NewTask) { n.Kind = "other" })
		req := request("w", 10)
		req.Kinds[0].Max = 1
		got, err := t.Store.Claim(t.Context(), req)
		if err != nil || !slices.Equal(ids(got), []string{one}) {
			t.Errorf("claimed %v, %v; want %s and not %s, %s", ids(got), err, one, two, other)
		}
	}},
}

var applyRules = []rule{
	{"8", "a stale run's write is refused and changes nothing", func(t *T) {
		first := t.run("w")
		t.mustApply(change(first, task.Interrupted))
		second := t.claim("w", 1)[0]
		late := change(first, task.Running)
		late.Checkpoint = []byte("late")
		if err := t.apply(late); !errors.Is(err, task.ErrLeaseLost) {
			t.Errorf("a stale checkpoint: %v", err)
		}
		stranger := change(second, task.Succeeded)
		stranger.Worker = "other"
		if err := t.apply(stranger); !errors.Is(err, task.ErrLeaseLost) {
			t.Errorf("another worker's outcome: %v", err)
		}
		if got := t.get(first.ID); got.Status != task.Running || got.Checkpoint != nil {
			t.Errorf("%s, checkpoint %q", got.Status, got.Checkpoint)
		}
		unknown := change(second, task.Succeeded)
		unknown.Task = t.id()
		if err := t.apply(unknown); !errors.Is(err, task.ErrNotFound) {
			t.Errorf("an unknown task: %v", err)
		}
	}},
	{"9", "a repeated outcome is nil, another one ErrAlreadyFinished, after a taking ErrLeaseLost", func(t *T) {
		first := t.run("w")
		t.mustApply(change(first, task.Interrupted))
		t.claim("w", 1)
		if err := t.apply(change(first, task.Interrupted)); err != nil {
			t.Errorf("the same again, after a newer run began: %v", err)
		}
		if err := t.apply(change(first, task.Succeeded)); !errors.Is(err, task.ErrAlreadyFinished) {
			t.Errorf("another outcome: %v", err)
		}
		taken := t.run("v")
		c := change(taken, task.Interrupted)
		c.Taken = true
		t.mustApply(c)
		if err := t.apply(change(taken, task.Interrupted)); !errors.Is(err, task.ErrLeaseLost) {
			t.Errorf("after a taking: %v", err)
		}
	}},
	{"10", "a change that cannot be made does not hold back its neighbours", func(t *T) {
		a := t.run("w")
		t.add()
		b := t.claim("w", 1)[0]
		bad := change(a, task.Succeeded)
		bad.Run++
		errs := t.Store.Apply(t.Context(), []task.Change{change(a, task.Succeeded), bad, change(b, task.Failed)})
		if len(errs) != 3 || errs[0] != nil || !errors.Is(errs[1], task.ErrLeaseLost) || errs[2] != nil {
			t.Errorf("%v", errs)
		}
		if got := t.get(b.ID); got.Status != task.Failed || got.Finished.IsZero() {
			t.Errorf("%+v", got)
		}
	}},
	{"11", "nil leaves checkpoint and progress, and bytes are bytes", func(t *T) {
		c := t.run("w")
		save := change(c, task.Running)
		save.Checkpoint = []byte("\x00\xff'\"")
		save.Progress = &task.Progress{Fraction: 0.5, Message: "half"}
		save.Counters.CrashStreak = 2
		t.mustApply(save)
		t.mustApply(change(c, task.Interrupted))
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
		retry := change(c, task.Queued)
		retry.Delay, retry.Error, retry.Counters.Attempts = time.Hour, "broken", 1
		t.mustApply(retry)
		if got := t.claim("w", 1); len(got) != 0 {
			t.Errorf("claimed before its time: %v", ids(got))
		}
		got := t.get(c.ID)
		if got.Status != task.Queued || got.Error != "broken" || got.Attempts != 1 || time.Until(got.RunAt) < 59*time.Minute {
			t.Errorf("%+v", got)
		}
		runs, err := t.Store.History(t.Context(), c.ID)
		if err != nil || len(runs) != 1 || runs[0].Status != task.Queued || runs[0].Ended.IsZero() || runs[0].Host != "h" || runs[0].PID != 1 {
			t.Errorf("history %+v, %v", runs, err)
		}
		if _, err := t.Store.History(t.Context(), t.id()); !errors.Is(err, task.ErrNotFound) {
			t.Errorf("history of nothing: %v", err)
		}
	}},
}

var closeRules = []rule{
	{"19", "after Close everything is ErrClosed, and waiting calls return", func(t *T) {
		waiting := make(chan error, 1)
		go func() {
			for seen := (task.Seen{}); ; {
				now, err := t.Store.Wait(context.WithoutCancel(t.Context()), seen)
				if err != nil {
					waiting <- err
					return
				}
				seen = now
			}
		}()
		for range 2 {
			if err := t.Store.Close(); err != nil {
				t.Fatalf("Close: %v", err)
			}
		}
		if err := <-waiting; !errors.Is(err, task.ErrClosed) {
			t.Errorf("Wait: %v", err)
		}
		_, add := t.Store.Add(t.Context(), []task.NewTask{{ID: t.id(), Kind: "k"}})
		_, claim := t.Store.Claim(t.Context(), request("w", 1))
		_, beat := t.beat("w", 1, task.WorkerRunning)
		_, workers := t.Store.Workers(t.Context())
		_, reclaim := t.Store.Reclaim(t.Context(), task.ReclaimRequest{Worker: "w"})
		_, find := t.Store.Find(t.Context(), task.Query{})
		_, history := t.Store.History(t.Context(), t.id())
		apply := t.Store.Apply(t.Context(), []task.Change{{}})[0]
		for i, err := range []error{add, claim, beat, workers, reclaim, find, history, apply} {
			if !errors.Is(err, task.ErrClosed) {
				t.Errorf("method %d: %v", i, err)
			}
		}
	}},
	{"preface", "an ended context is an error, and its cause", func(t *T) {
		if _, err := t.Store.Find(ended(t), task.Query{}); !errors.Is(err, context.Canceled) {
			t.Errorf("Find: %v", err)
		}
		if _, err := t.Store.Wait(ended(t), task.Seen{}); !errors.Is(err, context.Canceled) {
			t.Errorf("Wait: %v", err)
		}
	}},
	{"20", "no change is lost between two calls of Wait, and the number begins above zero", func(t *T) {
		wait := func(seen task.Seen) task.Seen {
			now, err := t.Store.Wait(t.Context(), seen)
			if err != nil {
				t.Fatalf("Wait: %v", err)
			}
			return now
		}
		for range 10 {
			before := wait(task.Seen{})
			t.add()
			after := wait(before) // returns, though the change came before the call
			done := make(chan struct{})
			go func() { defer close(done); wait(after) }()
			t.add()
			<-done
		}
	}},
}
