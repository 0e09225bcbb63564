package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
)

// unrepeatable has stores that are right for a first call and wrong for its repetition.
var unrepeatable = map[string]func(b *broken){
	"an end that is written again is taken for a loss": func(b *broken) {
		inner, seen := b.apply, make(map[task.Fence]bool)
		b.apply = func(ctx context.Context, changes []task.Change) []error {
			errs := inner(ctx, changes)
			for i, c := range changes {
				if seen[c.Fence] {
					errs[i] = task.ErrLeaseLost
				}
				seen[c.Fence] = seen[c.Fence] || c.Status != task.StatusRunning
			}
			return errs
		}
	},
	"a task that is added again is another one": func(b *broken) {
		inner, n := b.add, 0
		b.add = func(ctx context.Context, tasks []task.NewTask) ([]task.AddResult, error) {
			tasks = slices.Clone(tasks)
			if n++; n%2 == 0 {
				for i := range tasks {
					tasks[i].ID, tasks[i].Key = tasks[i].ID+"'", ""
				}
			}
			return inner(ctx, tasks)
		}
	},
	"a second Cancel says that the task has ended": func(b *broken) {
		inner, seen := b.control, make(map[string]bool)
		b.control = func(ctx context.Context, cmd task.Command) error {
			if seen[cmd.Task] && cmd.Verb == task.VerbCancel {
				return task.ErrAlreadyFinished
			}
			seen[cmd.Task] = seen[cmd.Task] || cmd.Verb == task.VerbCancel
			return inner(ctx, cmd)
		}
	},
	"only one reply has the commands": breaches["25"],
}

func TestFaults_AStoreWhoseCallsCannotBeRepeatedIsCaught(t *testing.T) {
	caught := func(breach func(b *broken), within time.Duration) bool {
		return slices.ContainsFunc(slices.Concat(alone...), func(r rule) bool {
			b := whole()
			breach(b)
			return try(t, r, b, true, within)
		})
	}
	if caught(func(*broken) {}, forever) {
		t.Error("a whole store is complained of")
	}
	for name, breach := range unrepeatable {
		if !caught(breach, aWhile) {
			t.Errorf("not caught: %s", name)
		}
	}
}

// untrue has stores that break a promise, some of them only when a call goes wrong.
var untrue = map[string]struct {
	breach func(b *broken)
	plan   *plan
}{
	"a claim whose answer was lost is not found":  {breaches["31"], &plan{method: "Claim", fault: "loses its answer", n: 1}},
	"a submit that is sent again makes two tasks": {unrepeatable["a task that is added again is another one"], &plan{method: "Add", fault: "loses its answer", n: 1}},
	"a submit that is sent again looks like new":  {breaches["1"], &plan{}},
	"a cancellation is forgotten":                 {breaches["23"], &plan{}},
	"a retry does nothing":                        {breaches["24"], &plan{}},
	"numbers are missing":                         {breaches["30"], &plan{}},
	"a worker that leaves stays":                  {breaches["17"], &plan{}},
	"a key is nobody's":                           {breaches["21"], &plan{}},
	"a task is given to two workers": {func(b *broken) {
		var mu sync.Mutex
		inner, second := b.claim, make(map[string]bool)
		b.claim = func(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
			got, err := inner(ctx, req)
			if err != nil || len(got) > 0 {
				return got, err
			}
			// A task that has been running for a while is returned by a second claim.
			running, err := b.Find(ctx, task.Query{Status: task.StatusRunning})
			mu.Lock()
			defer mu.Unlock()
			for _, t := range running {
				if t.Worker != req.Worker && !second[t.ID] {
					second[t.ID] = true
					got = append(got, t)
				}
			}
			return got, err
		}
	}, &plan{}},
	"counters are not kept": {func(b *broken) {
		eachChange(b, func(c *task.Change) { c.Counters.Attempts = 0 })
	}, &plan{}},
	"a checkpoint is not kept": {func(b *broken) {
		eachChange(b, func(c *task.Change) { c.Checkpoint = nil })
	}, &plan{}},
	"a run is missing in the history": {func(b *broken) {
		inner := b.history
		b.history = func(ctx context.Context, id string) ([]task.RunRecord, error) {
			runs, err := inner(ctx, id)
			return runs[:max(0, len(runs)-1)], err
		}
	}, &plan{}},
	"nothing is ever removed": {func(b *broken) {
		b.prune = func(context.Context, task.PruneRequest) (task.PruneReply, error) { return task.PruneReply{}, nil }
	}, &plan{}},
}

func TestFaults_AStoreThatBreaksAPromiseIsCaughtByTheStory(t *testing.T) {
	caught := func(breach func(b *broken), p *plan) (complains bool) {
		synctest.Test(t, func(t *testing.T) {
			b := whole()
			breach(b)
			rec := &recorder{TB: t, ctx: t.Context()}
			done := make(chan struct{})
			go func() { // which a failure may end
				defer close(done)
				story(t.Context(), rec, b, b.Kill, true, 0, &plan{method: p.method, fault: p.fault, n: p.n})
			}()
			<-done
			complains = rec.Failed()
		})
		return complains
	}
	if caught(func(*broken) {}, &plan{}) {
		t.Error("a whole store is complained of")
	}
	for name, u := range untrue {
		if !caught(u.breach, u.plan) {
			t.Errorf("not caught: %s", name)
		}
	}
}

func TestFaults_AFaultHappensToTheCallThatItIsPlannedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := memstore.New()
		defer inner.Close()
		for _, method := range []string{"Add", "Count"} {
			var asked []string
			next := Fault{}
			s := &FaultyStore{Store: inner, Plan: func(m string) Fault { asked = append(asked, m); return next }}
			do := func() error {
				if method == "Count" {
					_, err := s.Count(t.Context(), task.CountQuery{})
					return err
				}
				_, err := s.Add(t.Context(), []task.NewTask{{ID: "a", Kind: "k"}})
				return err
			}
			for i, c := range []struct {
				fault Fault
				took  time.Duration
				there int
			}{
				{Fault{Before: errFault}, 0, 0},
				{Fault{After: errFault}, 0, 1},
				{Fault{Delay: time.Second}, 2 * time.Second, 1},
				{Fault{Delay: time.Second, Before: errFault}, time.Second, 1},
			} {
				next = c.fault
				began := time.Now()
				err := do()
				found, ferr := inner.Find(t.Context(), task.Query{})
				if (err == nil) != (c.fault.Before == nil && c.fault.After == nil) || time.Since(began) != c.took || ferr != nil || method == "Add" && len(found) != c.there {
					t.Errorf("%s %d: %v after %v, %d tasks", method, i, err, time.Since(began), len(found))
				}
			}
			if len(asked) != 4 || asked[0] != method {
				t.Errorf("asked for %v", asked)
			}
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errFault)
			defer cancel()
			next = Fault{Delay: time.Hour}
			began := time.Now()
			for _, err := range s.Apply(ctx, make([]task.Change, 2)) {
				if !errors.Is(err, errFault) || time.Since(began) != time.Minute {
					t.Errorf("a slow call after %v: %v", time.Since(began), err)
				}
			}
		}
	})
}
