package storetest

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"

	"github.com/lastcall-go/lastcall/task"
)

// raceRules are rules that a store can keep call by call and break when calls of one kind, or of
// two kinds, meet.
var raceRules = []rule{
	{"6", "a claim that meets a reclaim leaves no orphan", func(t *T) {
		for round := range 5 {
			w := "w" + strconv.Itoa(round)
			claimers := t.startClaimers(w, 20)
			taken := t.reclaim(task.ReclaimRequest{Worker: w, Seq: 1, Max: 7})
			claimers.Wait()
			found, err := t.Store.Find(t.Context(), task.Query{Status: task.StatusRunning})
			if err != nil || len(found) != 0 {
				t.Fatalf("%d runs were taken, and %d tasks still run, %v", taken, len(found), err)
			}
		}
	}},
	{"8", "a checkpoint that meets a taking is recorded or refused", func(t *T) {
		for round := range 5 {
			c := t.run("w" + strconv.Itoa(round))
			begun, accepted := make(chan struct{}), ""
			var saver sync.WaitGroup
			saver.Go(func() {
				for n := range 1000 {
					save := change(c, task.StatusRunning)
					save.Checkpoint = []byte(strconv.Itoa(n))
					if err := t.apply(save); err != nil {
						t.wantErr("a late checkpoint", err, task.ErrLeaseLost)
						return
					}
					if accepted = string(save.Checkpoint); n == 2 {
						close(begun)
					}
				}
			})
			<-begun
			taken := change(c, task.StatusInterrupted)
			taken.Reclaimed = true
			t.mustApply(taken)
			saver.Wait()
			if got := t.get(c.ID); string(got.Checkpoint) != accepted || got.Status != task.StatusInterrupted {
				t.Fatalf("%s with checkpoint %s; the last one that was accepted is %s", got.Status, got.Checkpoint, accepted)
			}
			t.mustAsk(task.VerbCancel, c.ID) // out of the way of the next round
		}
	}},
	{"10", "batches that meet in opposite order are both written", func(t *T) {
		t.join("w")
		for range 50 {
			t.add()
		}
		got := t.claim("w", 50)
		var writers sync.WaitGroup
		for n := range 4 {
			batch := make([]task.Change, len(got))
			for i, c := range got {
				batch[i] = change(c, task.StatusRunning)
				batch[i].Progress = &task.Progress{Fraction: float64(n)}
			}
			if n%2 == 1 {
				slices.Reverse(batch)
			}
			writers.Go(func() {
				for range 5 {
					for _, err := range t.Store.Apply(t.Context(), batch) {
						t.wantErr("a change", err, nil)
					}
				}
			})
		}
		writers.Wait()
	}},
	{"21", "of many callers that add one key at a time one succeeds", func(t *T) {
		var (
			adders sync.WaitGroup
			mu     sync.Mutex
			holder = make(map[string]bool)
			added  int
		)
		for range 10 {
			n := task.NewTask{ID: t.id(), Kind: "k", Queue: "default", Key: "key"}
			adders.Go(func() {
				for {
					got, err := t.Store.Add(t.Context(), []task.NewTask{n})
					if err == nil && got[0].Busy {
						continue
					}
					mu.Lock()
					defer mu.Unlock()
					if err != nil {
						t.Errorf("Add: %v", err)
						return
					}
					holder[got[0].ID] = true
					if got[0].Outcome != task.OutcomeExisting {
						added++
					}
					return
				}
			})
		}
		adders.Wait()
		if found, err := t.Store.Find(t.Context(), task.Query{Key: "key"}); err != nil || len(found) != 1 || added != 1 || len(holder) != 1 || !holder[found[0].ID] {
			t.Errorf("%d were added, the holders are %v, found %v, %v", added, holder, ids(found), err)
		}
	}},
	{"23", "a cancellation that meets a claim is not forgotten", func(t *T) {
		t.join("w")
		var all []string
		for range 30 {
			all = append(all, t.add())
		}
		var claimer sync.WaitGroup
		claimer.Go(func() {
			for {
				got, err := t.Store.Claim(t.Context(), request("w", 2))
				if err != nil {
					t.Errorf("Claim: %v", err)
				}
				if len(got) == 0 {
					return
				}
			}
		})
		for _, id := range slices.Backward(all) {
			t.wantErr("Cancel", t.ask(task.VerbCancel, id), nil)
		}
		claimer.Wait()
		running, err := t.Store.Find(t.Context(), task.Query{Status: task.StatusRunning})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range running {
			t.mustApply(change(c, task.StatusInterrupted))
		}
		if found, err := t.Store.Find(t.Context(), task.Query{Status: task.StatusCancelled}); err != nil || len(found) != len(all) {
			t.Errorf("%d of %d are cancelled, %d ran, %v", len(found), len(all), len(running), err)
		}
	}},
	{"29", "two prunings at a time do no harm", func(t *T) {
		t.join("w")
		for range 30 {
			t.add()
		}
		for _, c := range t.claim("w", 20) {
			t.mustApply(change(c, task.StatusSucceeded))
		}
		var (
			pruners sync.WaitGroup
			mu      sync.Mutex
			total   int
		)
		t.tick()
		for range 3 {
			pruners.Go(func() {
				n := t.prune(0, 3)
				mu.Lock()
				total += n
				mu.Unlock()
			})
		}
		pruners.Wait()
		t.count("default k queued", 10)
		if total != 20 {
			t.Errorf("%d tasks are said to have been removed, of 20", total)
		}
	}},
}

// startClaimers adds tasks, and starts three goroutines that claim one at a time for a new worker,
// each until there are no more or the worker is gone.
func (t *T) startClaimers(worker string, tasks int) *sync.WaitGroup {
	t.Helper()
	t.join(worker)
	for range tasks {
		t.add()
	}
	claimers := new(sync.WaitGroup)
	for range 3 {
		claimers.Go(func() {
			for {
				got, err := t.Store.Claim(t.Context(), request(worker, 1))
				if err != nil && !errors.Is(err, task.ErrWorkerGone) {
					t.Errorf("Claim: %v", err)
				}
				if len(got) == 0 {
					return
				}
			}
		})
	}
	return claimers
}

// reclaim takes over everything that a worker holds, and returns how much it was.
func (t *T) reclaim(req task.ReclaimRequest) (taken int) {
	t.Helper()
	for {
		left, err := t.Store.Reclaim(t.Context(), req)
		if err != nil {
			t.Fatalf("Reclaim: %v", err)
		}
		if left.Done {
			return taken
		}
		for _, c := range left.Tasks {
			end := change(c, task.StatusCancelled)
			end.Reclaimed = true
			t.mustApply(end)
			taken++
		}
	}
}

// everyMethod calls each method of the store but Wait and Close, and returns the error of each.
func (t *T) everyMethod(ctx context.Context) map[string]error {
	s := t.Store
	errs := make(map[string]error)
	_, errs["Add"] = s.Add(ctx, []task.NewTask{{ID: t.id(), Kind: "k", Queue: "default"}})
	_, errs["Claim"] = s.Claim(ctx, request("w", 1))
	errs["Apply"] = s.Apply(ctx, []task.Change{{Fence: task.Fence{Task: t.id(), Run: 1, Worker: "w"}, Status: task.StatusSucceeded}})[0]
	_, errs["Heartbeat"] = s.Heartbeat(ctx, task.Beat{Worker: "x", Lease: lease, Seq: 1, State: task.WorkerRunning})
	_, errs["Workers"] = s.Workers(ctx)
	_, errs["Reclaim"] = s.Reclaim(ctx, task.ReclaimRequest{Worker: "w", Max: 1})
	_, errs["Find"] = s.Find(ctx, task.Query{})
	_, errs["History"] = s.History(ctx, t.id())
	_, errs["Steps"] = s.Steps(ctx, t.id())
	_, errs["Log"] = s.Log(ctx, t.id())
	errs["Control"] = s.Control(ctx, task.Command{Verb: task.VerbPause, Queue: "q"})
	errs["ControlAll"] = s.ControlAll(ctx, task.Command{Verb: task.VerbCancel}, []task.Standing{{ID: t.id(), Status: task.StatusQueued}})[0]
	_, errs["Commands"] = s.Commands(ctx, t.id())
	_, errs["Count"] = s.Count(ctx, task.CountQuery{})
	_, errs["Prune"] = s.Prune(ctx, task.PruneRequest{Max: 1})
	_, errs["PutSchedules"] = s.PutSchedules(ctx, putSet(1))
	_, errs["Schedules"] = s.Schedules(ctx, task.ScheduleQuery{})
	_, errs["DueSchedules"] = s.DueSchedules(ctx, task.DueRequest{Set: "set", Max: 1})
	_, errs["Tick"] = s.Tick(ctx, task.TickRequest{Set: "set"})
	return errs
}
