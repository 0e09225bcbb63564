package storetest

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// sweep lets a worker without faults reclaim the workers whose last beat was lost.
func (t *teller) sweep() {
	listed := func() (all, sweepers int) {
		workers, err := t.store.Workers(t.ctx)
		if err != nil {
			t.Fatalf("Workers: %v", err)
		}
		for _, w := range workers {
			if w.Name == "sweep" {
				sweepers++
			}
		}
		return len(workers), sweepers
	}
	if all, _ := listed(); all == 0 {
		return
	}
	mux := &task.Mux{}
	task.Handle(mux, task.Kind[job]{Name: t.queue("nothing")}, func(context.Context, *task.Run, job) error { return nil })
	w, err := task.NewWorker(task.WorkerConfig{Store: t.store, Mux: mux, Name: "sweep", Lease: time.Second, Poll: 20 * time.Millisecond,
		Retention: -1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.ctx)
	done := make(chan error, 1)
	go func() { done <- w.Serve(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the worker that sweeps: %v", err)
		}
	}()
	poll(t.ctx, t, "the workers that are gone are listed no more", func() bool {
		all, sweepers := listed()
		return all == 1 && sweepers == 1
	})
}

// check compares the promises with what is in the store.
func (t *teller) check(evidence bool) {
	client := task.NewClient(t.store)
	for id, do := range t.tasks {
		got, err := client.Get(t.ctx, id)
		if err != nil {
			t.Errorf("an accepted task is lost, %s: %v", do, err)
			continue
		}
		var history []task.RunRecord
		t.insist("History", func() (err error) { history, err = t.client.History(t.ctx, id); return err })
		t.ended(got, do, evidence, history)
		t.books(got, do, history)
	}
	all, err := t.store.Workers(t.ctx)
	if err != nil || len(all) != 0 {
		t.Errorf("workers are left: %+v, %v", all, err)
	}
	t.counted()
	t.freed()
	t.pruned()
}

// givenBack reports whether a run was prefetched, or claimed at last call, and no handler was
// called.
func (t *teller) givenBack(id string, r task.RunRecord) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	may := r.Status == task.StatusQueued && r.Error == "" || r.Reason == task.ReasonReleased
	return may && !slices.Contains(t.runs[id], r.Run)
}

// ended compares a task with the end that it must have.
func (t *teller) ended(got task.Task, do string, evidence bool, history []task.RunRecord) {
	w := wants[do]
	for _, r := range history {
		if t.givenBack(got.ID, r) {
			w.runs++
		}
	}
	if !evidence {
		w.interruptions, w.crashes = w.interruptions+w.crashes, 0
	}
	if got.Status != w.status || string(got.Result) != w.result || string(got.Checkpoint) != w.checkpoint || got.Attempts != w.attempts || got.Finished.IsZero() {
		t.Errorf("the %s task is %s with %+v, result %s, checkpoint %s, error %q, want %+v", do, got.Status, got.Counters, got.Result, got.Checkpoint, got.Error, w)
	}
	// Of two workers that are stopped the second may briefly claim what the first hands over.
	exact := t.exact && do != "steps"
	if got.Runs < w.runs || got.Interruptions < w.interruptions || got.Crashes < w.crashes ||
		exact && (got.Runs != w.runs || got.Interruptions != w.interruptions || got.Crashes != w.crashes) {
		t.Errorf("the %s task has %d runs with %+v, want %+v", do, got.Runs, got.Counters, w)
	}
}

// books compares a task with its history, its log, and what its handlers have written down.
func (t *teller) books(got task.Task, do string, runs []task.RunRecord) {
	var log []byte
	t.insist("Log", func() (err error) { log, err = t.client.Log(t.ctx, got.ID); return err })
	var sums task.Counters
	var numbers []int64
	called := 0
	for i, r := range runs {
		back := t.givenBack(got.ID, r)
		if !back {
			called++
		}
		switch {
		case back:
		case r.Crashed:
			sums.Crashes++
		case r.Status == task.StatusInterrupted:
			sums.Interruptions++
		case r.Status == task.StatusFailed, r.Status == task.StatusQueued && r.Error != "":
			sums.Attempts++
		}
		numbers = append(numbers, r.Run)
		if i > 0 && r.Run <= runs[i-1].Run || r.Status == task.StatusRunning || r.Ended.IsZero() {
			t.Errorf("the history of the %s task: %+v", do, runs)
		}
	}
	if wants[do].reset {
		sums.Attempts = 0
	}
	if len(runs) != got.Runs || sums.Attempts != got.Attempts || sums.Interruptions != got.Interruptions || sums.Crashes != got.Crashes {
		t.Errorf("the %s task has %d runs with %+v, and its history is %+v", do, got.Runs, got.Counters, runs)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.runs[got.ID] {
		if !slices.Contains(numbers, n) {
			t.Errorf("a handler of the %s task has run as %d, which the history does not know: %v", do, n, numbers)
		}
	}
	if t.exact && len(t.runs[got.ID]) != called {
		t.Errorf("the handler of the %s task has run %d times, its history is %+v", do, len(t.runs[got.ID]), runs)
	}
	if want := []int{0, 1, 2, 3, 4, 5, 6}; do == "steps" && !slices.Equal(t.steps[got.ID], want) {
		t.Errorf("the steps that were done are %v, want %v", t.steps[got.ID], want)
	}
	// A line may be there twice, because the answer of the write was lost.
	if lines := strings.Count(string(log), do+"\n"); lines < len(t.runs[got.ID])-1 || len(log) != lines*len(do+"\n") {
		t.Errorf("the log of the %s task is %q after %d runs", do, log, len(t.runs[got.ID]))
	}
}

// counted compares the counts with the tasks.
func (t *teller) counted() {
	wanted := make(map[task.Count]int)
	for _, do := range t.tasks {
		c := task.Count{Queue: t.queue("work"), Kind: t.queue("work"), Status: wants[do].status}
		if do == "late" {
			c.Kind = t.queue("late")
		}
		wanted[c]++
	}
	var counts task.Counts
	t.insist("Count", func() (err error) { counts, err = t.client.Count(t.ctx); return err })
	got := make(map[task.Count]int)
	for _, c := range counts.Tasks {
		if c.Kind != t.queue("work") && c.Kind != t.queue("late") {
			continue
		}
		n := c.N
		c.N, c.Queue = 0, t.queue("work") // two of them were put aside
		got[c] += n
	}
	for c, n := range wanted {
		if got[c] != n {
			t.Errorf("%d tasks of %s are %s, want %d", got[c], c.Kind, c.Status, n)
		}
		delete(got, c)
	}
	if len(got) > 0 {
		t.Errorf("counted besides: %v", got)
	}
	if slices.Contains(counts.Paused, t.queue("aside")) {
		t.Errorf("paused: %v", counts.Paused)
	}
}

// freed checks that the key of an ended task is free.
func (t *teller) freed() {
	next, err := t.kind().Enqueue(t.ctx, task.NewClient(t.store), job{Do: "plain"}, &task.EnqueueOptions{Key: "key"})
	if err != nil || next.Outcome == task.OutcomeExisting {
		t.Errorf("the key is not free: %+v, %v", next, err)
		return
	}
	if err := t.store.Control(t.ctx, task.Command{Verb: task.VerbCancel, Task: next.ID}); err != nil {
		t.Errorf("Cancel: %v", err)
	}
}

// pruned removes everything, in as many calls as it takes.
func (t *teller) pruned() {
	s := &FaultyStore{Store: t.store, Plan: t.plan.next}
	left := func() int {
		n := 0
		for _, kind := range []task.Kind[job]{t.kind(), t.lateKind()} {
			found, err := t.store.Find(t.ctx, task.Query{Kind: kind.Name})
			if err != nil {
				t.Fatalf("Find: %v", err)
			}
			n += len(found)
		}
		return n
	}
	poll(t.ctx, t, "the ended tasks are gone", func() bool {
		for req := (task.PruneRequest{Max: 5}); ; {
			var done task.PruneReply
			t.insist("Prune", func() (err error) { done, err = s.Prune(t.ctx, req); return err })
			if req.After = done.Next; done.Next == "" {
				return left() == 0
			}
		}
	})
}
