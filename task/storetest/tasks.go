package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

var addRules = []rule{
	{"1", "an id that exists is not added again, so a submit can be repeated", func(t *T) {
		first := task.NewTask{ID: t.id(), Kind: "k", Queue: "default", Payload: []byte("first")}
		second := first
		second.Queue, second.Priority = "other", 7
		for i, n := range []task.NewTask{first, second} {
			added, err := t.Store.Add(t.Context(), []task.NewTask{n})
			if err != nil || added[0] != (task.AddResult{ID: first.ID, Outcome: wasThere(i == 1)}) {
				t.Fatalf("Add %d: %+v, %v", i, added, err)
			}
		}
		if got := t.get(first.ID); got.Queue != "default" || got.Priority != 0 {
			t.Errorf("the queue is %q, the priority %d", got.Queue, got.Priority)
		}
	}},
	{"32", "an id that exists with another kind or payload is a conflict, whatever its task does, and holds up no other task", conflicts},
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
		if got := t.get(id); got.Status != task.StatusQueued || got.Created.IsZero() {
			t.Errorf("%+v", got)
		}
	}},
	{"2", "what was recorded survives the process too", func(t *T) {
		if t.engine.Reopen == nil {
			t.Log("the engine does not outlive its process, and says so")
			return
		}
		t.join("w")
		key := t.keyed("k", "key").ID
		c := t.claim("w", 1)[0]
		save := change(c, task.StatusRunning)
		save.Checkpoint, save.Log = []byte("half"), []byte("line\n")
		t.mustApply(save)
		t.mustAsk(task.VerbInterrupt, key)
		done := t.add()
		end := change(t.claim("w", 1)[0], task.StatusSucceeded)
		end.Result = []byte("42")
		t.mustApply(end)
		if err := t.Store.Control(t.Context(), task.Command{Verb: task.VerbPause, Queue: "q"}); err != nil {
			t.Fatal(err)
		}
		if err := t.Store.Close(); err != nil {
			t.Fatal(err)
		}
		t.Store = t.engine.Reopen(t.real)
		defer func() {
			if err := t.Store.Close(); err != nil {
				t.Error(err)
			}
		}()
		if got := t.get(key); got.Status != task.StatusRunning || got.Run != c.Run || string(got.Checkpoint) != "half" || got.Limits != c.Limits {
			t.Errorf("the running task: %+v", got)
		}
		if got := t.get(done); got.Status != task.StatusSucceeded || string(got.Result) != "42" {
			t.Errorf("the ended task: %+v", got)
		}
		if log, err := t.Store.Log(t.Context(), key); err != nil || string(log) != "line\n" {
			t.Errorf("log %q, %v", log, err)
		}
		if counts, err := t.Store.Count(t.Context(), task.CountQuery{}); err != nil || !slices.Equal(counts.Paused, []string{"q"}) {
			t.Errorf("paused %v, %v", counts.Paused, err)
		}
		if got := t.keyed("k", "key"); got.Outcome != task.OutcomeExisting || got.ID != key {
			t.Errorf("the key: %+v", got)
		}
		reply, err := t.beat("w", 2, task.WorkerRunning)
		if err != nil || !slices.Equal(reply.Commands, []task.PendingCommand{{Fence: save.Fence, Verb: task.VerbInterrupt}}) {
			t.Errorf("asked %+v, %v", reply.Commands, err)
		}
		t.mustApply(change(c, task.StatusInterrupted))
		if again := t.claim("w", 1); len(again) != 1 || again[0].Run <= c.Run {
			t.Errorf("the next run: %+v after %d", again, c.Run)
		}
	}},
	{"18", "Find knows a task by the status that it has, whatever it was before", func(t *T) {
		var made []string
		all := func(statuses ...task.Status) {
			t.Helper()
			got := make(map[string]task.Status)
			for _, s := range task.Statuses() {
				found, err := t.Store.Find(t.Context(), task.Query{Status: s})
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range found {
					if f.Status != s || got[f.ID] != "" {
						t.Errorf("found as %s: %+v", s, f)
					}
					got[f.ID] = s
				}
			}
			for i, id := range made {
				if want := statuses[i]; got[id] != want {
					t.Errorf("task %d is found as %q, want %q", i, got[id], want)
				}
			}
			if n := len(got); n != len(statuses) {
				t.Errorf("%d tasks are found, want %d", n, len(statuses))
			}
		}
		t.join("w")
		for range 5 {
			made = append(made, t.add())
		}
		all(task.StatusQueued, task.StatusQueued, task.StatusQueued, task.StatusQueued, task.StatusQueued)
		runs := t.claim("w", 4)
		t.mustAsk(task.VerbCancel, made[4])
		all(task.StatusRunning, task.StatusRunning, task.StatusRunning, task.StatusRunning, task.StatusCancelled)
		t.mustAsk(task.VerbCancel, runs[3].ID)
		for i, s := range []task.Status{task.StatusSucceeded, task.StatusFailed, task.StatusInterrupted, task.StatusInterrupted} {
			t.mustApply(change(runs[i], s))
		}
		all(task.StatusSucceeded, task.StatusFailed, task.StatusInterrupted, task.StatusCancelled, task.StatusCancelled)
		t.mustAsk(task.VerbRetry, made[1])
		t.mustAsk(task.VerbRetry, made[3])
		t.mustAsk(task.VerbCancel, made[2])
		all(task.StatusSucceeded, task.StatusQueued, task.StatusCancelled, task.StatusQueued, task.StatusCancelled)
		again := t.claim("w", 2)
		t.mustApply(change(again[0], task.StatusFailed))
		t.mustApply(change(again[1], task.StatusSucceeded))
		all(task.StatusSucceeded, task.StatusFailed, task.StatusCancelled, task.StatusSucceeded, task.StatusCancelled)
		t.tick()
		if n := t.prune(0, 100); n != 5 {
			t.Errorf("%d tasks pruned, want 5", n)
		}
		made = nil
		all()
	}},
	{"18", "Find returns the newest first, and only what every filter admits", func(t *T) {
		a, b, c := t.add(), t.add(func(n *task.NewTask) { n.Kind = "other" }), t.add()
		keyed := t.keyed("k", "key").ID
		aside := t.add(func(n *task.NewTask) { n.Queue = "aside" })
		for _, q := range []struct {
			query task.Query
			want  []string
		}{
			{task.Query{Key: "key"}, []string{keyed}},
			{task.Query{Key: "key", Kind: "other"}, nil},
			{task.Query{Queue: "aside"}, []string{aside}},
			{task.Query{Queue: "aside", Status: task.StatusQueued, Kind: "k"}, []string{aside}},
			{task.Query{Queue: "default", After: keyed, Limit: 2}, []string{c, b}},
		} {
			got, err := t.Store.Find(t.Context(), q.query)
			if err != nil || !slices.Equal(ids(got), q.want) {
				t.Errorf("Find %+v: %v, %v, want %v", q.query, ids(got), err, q.want)
			}
		}
		t.mustAsk(task.VerbCancel, keyed)
		t.mustAsk(task.VerbCancel, aside)
		for _, q := range []struct {
			query task.Query
			want  []string
		}{
			{task.Query{}, []string{aside, keyed, c, b, a}},
			{task.Query{Kind: "k", Status: task.StatusQueued}, []string{c, a}},
			{task.Query{Limit: 1}, []string{aside}},
			{task.Query{After: c}, []string{b, a}},
			{task.Query{Status: task.StatusRunning}, nil},
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
		t.mustApply(change(first, task.StatusInterrupted))
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
	{"5", "one task in each of many queues: claims of a few take them in their order, and none is empty before the last", func(t *T) {
		t.join("w")
		const queues = 60
		var news []task.NewTask
		for i := range queues {
			news = append(news, task.NewTask{ID: t.id(), Kind: "k", Queue: fmt.Sprintf("q%d", i*7%queues), Priority: i % 4})
		}
		if _, err := t.Store.Add(t.Context(), news); err != nil {
			t.Fatal(err)
		}
		slices.SortStableFunc(news, func(a, b task.NewTask) int { return b.Priority - a.Priority })
		var want, got []string
		for _, n := range news {
			want = append(want, n.ID)
		}
		for len(got) < queues {
			some := ids(t.claim("w", 7))
			if len(some) == 0 {
				t.Fatalf("a claim was empty when %d of %d tasks had been claimed", len(got), queues)
			}
			got = append(got, some...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("claimed %v, want %v", got, want)
		}
	}},
	{"5", "priority, then interrupted before queued, then RunAt, then id", func(t *T) {
		t.join("w")
		interrupted := t.add()
		t.mustApply(change(t.claim("w", 1)[0], task.StatusInterrupted))
		plain, next := t.add(), t.add()
		high := t.add(func(n *task.NewTask) { n.Priority = 1 })
		want := []string{high, interrupted, plain, next}
		if got := ids(t.claim("w", 10)); !slices.Equal(got, want) {
			t.Errorf("claimed %v, want %v", got, want)
		}
	}},
	{"5", "the order holds across kinds and queues", func(t *T) {
		t.join("w")
		sort := func(kind, queue string, priority int) string {
			return t.add(func(n *task.NewTask) { n.Kind, n.Queue, n.Priority = kind, queue, priority })
		}
		want := []string{sort("other", "a", 9), sort("k", "b", 8), sort("other", "b", 7), sort("k", "a", 7), sort("k", "b", 7)}
		low := sort("k", "a", -1)
		req := request("w", len(want))
		req.Kinds = append(req.Kinds, task.KindClaim{Kind: "other", Max: 10})
		if got, err := t.Store.Claim(t.Context(), req); err != nil || !slices.Equal(ids(got), want) {
			t.Errorf("claimed %v, %v, want %v and not yet %s", ids(got), err, want, low)
		}
	}},
	{"5", "a negative delay gives a task its place back", func(t *T) {
		t.join("w")
		first, second := t.add(), t.add()
		runs := t.claim("w", 2)
		early := change(runs[1], task.StatusQueued)
		early.Delay = -time.Minute
		t.mustApply(change(runs[0], task.StatusQueued))
		t.mustApply(early)
		if got, want := ids(t.claim("w", 10)), []string{second, first}; !slices.Equal(got, want) {
			t.Errorf("claimed %v, want %v", got, want)
		}
	}},
	{"5", "the order holds up to the ends of the range", func(t *T) {
		t.join("w")
		with := func(priority int) string {
			return t.add(func(n *task.NewTask) { n.Priority = priority })
		}
		low, next, plain, high := with(math.MinInt32), with(math.MinInt32+1), with(0), with(math.MaxInt32)
		for _, one := range t.claim("w", 2) { // that order is kept by what was interrupted too
			t.mustApply(change(one, task.StatusInterrupted))
		}
		got := t.claim("w", 10)
		if want := []string{high, plain, next, low}; !slices.Equal(ids(got), want) {
			t.Fatalf("claimed %v, want %v", ids(got), want)
		}
		for i, want := range []int{math.MaxInt32, 0, math.MinInt32 + 1, math.MinInt32} {
			if got[i].Priority != want {
				t.Errorf("a priority is %d, and was %d", got[i].Priority, want)
			}
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
	{"7", "the limits are the claim's, whichever worker reclaims", func(t *T) {
		if got := t.run("w").Limits; got != (task.Limits{MaxAttempts: 3, MaxCrashes: 4}) {
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

var closeRules = []rule{
	{"19", "after Close everything is ErrClosed, and waiting calls return", func(t *T) {
		waiting := make(chan error, 1)
		go func() {
			for seen := (task.Generations{}); ; {
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
		for method, err := range t.everyMethod(t.Context()) {
			if !errors.Is(err, task.ErrClosed) {
				t.Errorf("%s: %v", method, err)
			}
		}
	}},
	{"preface", "an ended context is an error, and its cause", func(t *T) {
		enough := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(enough)
		errs := t.everyMethod(ctx)
		_, errs["Wait"] = t.Store.Wait(ctx, task.Generations{})
		for method, err := range errs {
			if !errors.Is(err, enough) {
				t.Errorf("%s: %v", method, err)
			}
		}
	}},
	{"20", "what makes a task claimable ends the waiting calls", func(t *T) {
		c := t.run("w")
		failed := t.add()
		t.mustApply(change(t.claim("w", 1)[0], task.StatusFailed))
		for what, do := range map[string]func() error{
			"a task handed over": func() error { return t.apply(change(c, task.StatusInterrupted)) },
			"a retry":            func() error { return t.ask(task.VerbRetry, failed) },
			"a resumed queue": func() error {
				return t.Store.Control(t.Context(), task.Command{Verb: task.VerbResume, Queue: "default"})
			},
		} {
			before, err := t.Store.Wait(t.Context(), task.Generations{})
			if err != nil {
				t.Fatal(err)
			}
			if err := do(); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			for now := before; now.Tasks == before.Tasks; { // in vain: the case ends with its test
				if now, err = t.Store.Wait(t.Context(), now); err != nil {
					t.Fatalf("%s woke nobody: %v", what, err)
				}
			}
		}
	}},
	{"20", "no change is lost between two calls of Wait, and the number begins above zero", func(t *T) {
		wait := func(seen task.Generations) task.Generations {
			now, err := t.Store.Wait(t.Context(), seen)
			if err != nil {
				t.Fatalf("Wait: %v", err)
			}
			return now
		}
		for range 10 {
			before := wait(task.Generations{})
			t.add()
			after := wait(before) // returns, though the change came before the call
			done := make(chan struct{})
			go func() { defer close(done); wait(after) }()
			t.add()
			<-done
		}
	}},
}
