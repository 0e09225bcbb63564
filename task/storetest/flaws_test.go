package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
)

// flaws has, by the text of each case, a store that the case must catch.
var flaws = map[string]func(b *broken){
	"what has ended is kept as long as its run's kind says for its status, whatever Age is": func(b *broken) {
		inner := b.prune
		b.prune = func(ctx context.Context, req task.PruneRequest) (task.PruneReply, error) {
			req.KeepOthers = false
			return inner(ctx, req)
		}
	},
	"the retention goes with the run, whichever worker records its end, and a later run has its own": func(b *broken) {
		inner := b.claim
		first := make(map[string]task.Retention)
		b.claim = func(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
			waiting, err := b.Store.Find(ctx, task.Query{})
			if err != nil {
				return nil, err
			}
			for _, w := range waiting { // its first run's
				if w.Status.Claimable() && len(req.Kinds) > 0 {
					if keep, ok := first[w.ID]; ok {
						req.Kinds[0].Retention = keep
					}
				}
			}
			got, err := inner(ctx, req)
			for _, g := range got {
				first[g.ID] = req.Kinds[0].Retention
			}
			return got, err
		}
	},
	"Delete removes all of an ended task, and its id makes a new one": func(b *broken) {
		inner := b.control
		b.control = func(ctx context.Context, cmd task.Command) error {
			err := inner(ctx, cmd)
			if cmd.Verb == task.VerbDelete && errors.Is(err, task.ErrNotEnded) { // what waits goes too
				if err := inner(ctx, task.Command{Verb: task.VerbCancel, Task: cmd.Task}); err != nil {
					return err
				}
				return inner(ctx, cmd)
			}
			return err
		}
	},
	"a delete that meets a retry, a pruning and another delete leaves all of the task or nothing": func(b *broken) {
		inner := b.control
		b.control = func(ctx context.Context, cmd task.Command) error {
			err := inner(ctx, cmd)
			if cmd.Verb == task.VerbDelete && errors.Is(err, task.ErrNotFound) {
				return nil // it is gone, after all
			}
			return err
		}
	},
	"a task that is added again with another Meta keeps its own": func(b *broken) {
		add, find := b.add, b.find
		newest := make(map[string]map[string]string)
		b.add = func(ctx context.Context, tasks []task.NewTask) ([]task.AddResult, error) {
			for _, n := range tasks {
				newest[n.ID] = n.Meta
			}
			return add(ctx, tasks)
		}
		b.find = func(ctx context.Context, q task.Query) ([]task.Task, error) {
			found, err := find(ctx, q)
			for i := range found {
				found[i].Meta = newest[found[i].ID]
			}
			return found, err
		}
	},
	"a query's Meta admits the tasks that have each of its pairs, whatever else is asked for": func(b *broken) {
		inner := b.find
		b.find = func(ctx context.Context, q task.Query) ([]task.Task, error) {
			if len(q.Meta) < 2 {
				return inner(ctx, q)
			}
			var all []task.Task
			for key, value := range q.Meta { // one of them will do
				q.Meta = map[string]string{key: value}
				found, err := inner(ctx, q)
				if err != nil {
					return nil, err
				}
				all = append(all, found...)
			}
			return all, nil
		}
	},
	"one task in each of many queues: claims of a few take them in their order, and none is empty before the last": func(b *broken) {
		inner, queue := b.claim, 0
		// From one queue after the other.
		b.claim = func(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
			req.Queues = []string{fmt.Sprintf("q%d", queue)}
			queue++
			return inner(ctx, req)
		}
	},
	"the order is that of creation, whatever the ids, and a listing goes on in it": func(b *broken) {
		inner := b.find
		b.find = func(ctx context.Context, q task.Query) ([]task.Task, error) {
			after, limit := q.After, q.Limit
			q.After, q.Limit = "", 1000
			found, err := inner(ctx, q)
			slices.SortFunc(found, func(x, y task.Task) int { return -cmp.Compare(x.ID, y.ID) }) // by id
			found = slices.DeleteFunc(found, func(t task.Task) bool { return after != "" && t.ID >= after })
			if limit > 0 {
				found = found[:min(limit, len(found))]
			}
			return found, err
		}
	},
	"tasks of one moment are in the order of their ids, the larger one first": func(b *broken) {
		inner := b.find
		b.find = func(ctx context.Context, q task.Query) ([]task.Task, error) {
			found, err := inner(ctx, q)
			slices.SortStableFunc(found, func(x, y task.Task) int {
				if x.Created.Equal(y.Created) {
					return cmp.Compare(x.ID, y.ID)
				}
				return 0
			})
			return found, err
		}
	},
	"a listing goes on behind a task that is gone, by the time in its id": func(b *broken) {
		inner := b.find
		b.find = func(ctx context.Context, q task.Query) ([]task.Task, error) {
			found, err := inner(ctx, q)
			if errors.Is(err, task.ErrNotFound) {
				return nil, nil // as if it were the end
			}
			return found, err
		}
	},
	"those that ended first go first, whatever their ids, and no young task stops it": func(b *broken) {
		inner := b.prune
		b.prune = func(ctx context.Context, req task.PruneRequest) (task.PruneReply, error) {
			found, err := b.Store.Find(ctx, task.Query{Limit: 1000})
			if err != nil {
				return task.PruneReply{}, err
			}
			first := slices.MinFunc(found, func(x, y task.Task) int { return cmp.Compare(x.ID, y.ID) })
			if !first.Status.Ended() { // it walks along the ids
				return task.PruneReply{}, nil
			}
			return inner(ctx, req)
		}
	},
	"of the store's clock and the caller's the one that is behind counts": func(b *broken) {
		inner := b.prune
		b.prune = func(ctx context.Context, req task.PruneRequest) (task.PruneReply, error) {
			req.Clock = time.Time{}
			return inner(ctx, req)
		}
	},
	"tasks with keys and without come together, and a key that is held holds up no other": func(b *broken) {
		eachAdd(b, func(added []task.AddResult) {
			if slices.ContainsFunc(added, func(a task.AddResult) bool { return a.Outcome == task.OutcomeExisting }) {
				for i := range added {
					added[i] = task.AddResult{ID: added[i].ID, Busy: true}
				}
			}
		})
	},
	"of those that have one key in a call the first one gets it": func(b *broken) {
		inner := b.add
		b.add = func(ctx context.Context, tasks []task.NewTask) ([]task.AddResult, error) {
			tasks = slices.Clone(tasks)
			seen := make(map[string]bool)
			for i := range tasks {
				if key := tasks[i].Key; key != "" && seen[key] {
					tasks[i].Key = "" // checked before the call, and then forgotten
				}
				seen[tasks[i].Key] = true
			}
			return inner(ctx, tasks)
		}
	},
	"of those that have one id in a call the first one is added": func(b *broken) {
		inner := b.add
		b.add = func(ctx context.Context, tasks []task.NewTask) ([]task.AddResult, error) {
			tasks = slices.Clone(tasks)
			slices.Reverse(tasks)
			added, err := inner(ctx, tasks)
			slices.Reverse(added)
			return added, err
		}
	},
	"a task that exists does not take another key": func(b *broken) {
		inner := b.add
		b.add = func(ctx context.Context, tasks []task.NewTask) ([]task.AddResult, error) {
			added, err := inner(ctx, tasks)
			for i := range added {
				if added[i].Outcome == task.OutcomeExisting && added[i].ID == tasks[i].ID {
					holder := tasks[i]
					holder.ID = random(i)
					_, err = inner(ctx, []task.NewTask{holder})
				}
			}
			return added, err
		}
	},
	"many checkpoints come in one call, each is kept, and each has its own answer": func(b *broken) {
		inner := b.apply
		b.apply = func(ctx context.Context, changes []task.Change) []error {
			changes = slices.Clone(changes)
			for i := range changes {
				changes[i].Checkpoint = changes[0].Checkpoint
			}
			return inner(ctx, changes)
		}
	},
	"a repeated end is counted once, and what is pruned not at all": func(b *broken) {
		ends := 0
		inner, count := b.apply, b.count
		b.apply = func(ctx context.Context, changes []task.Change) []error {
			errs := inner(ctx, changes)
			for i, err := range errs {
				if err == nil && changes[i].Status == task.StatusSucceeded {
					ends++
				}
			}
			return errs
		}
		b.count = func(ctx context.Context, q task.CountQuery) (task.Counts, error) {
			counts, err := count(ctx, q)
			for i := range counts.Tasks {
				if counts.Tasks[i].Status == task.StatusSucceeded {
					counts.Tasks[i].N = ends
				}
			}
			return counts, err
		}
	},
	"an end that is repeated while it is still being written is nil for everyone": func(b *broken) {
		var mu sync.Mutex
		writing := make(map[string]bool)
		inner := b.apply
		b.apply = func(ctx context.Context, changes []task.Change) []error {
			id := changes[0].Task
			mu.Lock()
			busy := writing[id]
			writing[id] = true
			mu.Unlock()
			if busy {
				return slices.Repeat([]error{task.ErrLeaseLost}, len(changes))
			}
			time.Sleep(time.Millisecond)
			errs := inner(ctx, changes)
			mu.Lock()
			defer mu.Unlock()
			writing[id] = false
			return errs
		}
	},
	"of an end, a taking, a cancellation and saves that meet, one outcome is left": func(b *broken) {
		inner := b.apply
		b.apply = func(ctx context.Context, changes []task.Change) []error {
			errs := inner(ctx, changes)
			for i, c := range changes {
				if c.Status != task.StatusRunning {
					errs[i] = nil // every caller gets the answer that it was first
				}
			}
			return errs
		}
	},
	"a claim that was given up is answered, or found by a complete beat, or never made": func(b *broken) {
		claim, heartbeat := b.claim, b.heartbeat
		var late []task.ClaimRequest
		b.claim = func(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
			if ctx.Err() != nil {
				late = append(late, req) // on its way
			}
			return claim(ctx, req)
		}
		b.heartbeat = func(ctx context.Context, beat task.Beat) (task.BeatReply, error) {
			reply, err := heartbeat(ctx, beat)
			for _, req := range late {
				if _, err := claim(ctx, req); err != nil {
					return reply, err
				}
			}
			late = nil
			return reply, err
		}
	},
	"a last beat that meets claims leaves no orphan": func(b *broken) {
		heartbeat, reclaim := b.heartbeat, b.reclaim
		var mu sync.Mutex
		gone := make(map[string]bool)
		b.heartbeat = func(ctx context.Context, beat task.Beat) (task.BeatReply, error) {
			mu.Lock()
			defer mu.Unlock()
			gone[beat.Worker] = beat.State == task.WorkerStopped // whatever it holds
			return heartbeat(ctx, beat)
		}
		b.reclaim = func(ctx context.Context, req task.ReclaimRequest) (task.ReclaimReply, error) {
			mu.Lock()
			defer mu.Unlock()
			if gone[req.Worker] {
				return task.ReclaimReply{Done: true}, nil
			}
			return reclaim(ctx, req)
		}
	},
	"a retry that meets a pruning saves the task, or comes too late": func(b *broken) {
		inner := b.control
		b.control = func(ctx context.Context, cmd task.Command) error {
			err := inner(ctx, cmd)
			if cmd.Verb == task.VerbRetry && errors.Is(err, task.ErrNotFound) {
				return nil
			}
			if cmd.Verb == task.VerbRetry && err == nil { // the pruning had read it before
				if err := inner(ctx, task.Command{Verb: task.VerbCancel, Task: cmd.Task}); err != nil {
					return err
				}
				_, err = b.Store.Prune(ctx, task.PruneRequest{Max: 1000})
			}
			return err
		}
	},
}

// eachAdd breaks the answers of Add.
func eachAdd(b *broken, alter func(added []task.AddResult)) {
	inner := b.add
	b.add = func(ctx context.Context, tasks []task.NewTask) ([]task.AddResult, error) {
		added, err := inner(ctx, tasks)
		alter(added)
		return added, err
	}
}

// knowsNoConflict answers as existing whenever the id exists.
func knowsNoConflict(added []task.AddResult) {
	for i, a := range added {
		added[i].Outcome, added[i].Conflict = wasThere(a.Outcome == task.OutcomeExisting || a.Conflict), false
	}
}

func TestSuite_ACaseCatchesTheStoreThatItIsFor(t *testing.T) {
	cases := make(map[string]rule)
	for _, r := range slices.Concat(groups...) {
		cases[r.says] = r
	}
	for _, r := range slices.Concat(metaRules[1:], deleteRules, stepRules, retentionRules, suspectRules, turnRules, expireRules, orderRules, batchRules, meetRules, keyRules, keyRaceRules) {
		if flaws[r.says] == nil && suspectFlaws[r.says] == nil && turnFlaws[r.says] == nil && keyFlaws[r.says] == nil && stepFlaws[r.says] == nil {
			t.Errorf("rule %s (%s) has no store that it catches", r.numbers, r.says)
		}
	}
	all := maps.Clone(flaws)
	maps.Copy(all, suspectFlaws)
	maps.Copy(all, stepFlaws)
	maps.Copy(all, turnFlaws)
	maps.Copy(all, keyFlaws)
	for says, breach := range all {
		t.Run(says, func(t *testing.T) {
			r, ok := cases[says]
			if !ok {
				t.Fatal("there is no such case")
			}
			b := whole()
			breach(b)
			if !try(t, r, b, false, aWhile) {
				t.Error("a store that breaks it was not caught")
			}
		})
	}
}

func TestSuite_CasesHoldInABubble(t *testing.T) {
	for _, r := range slices.Concat(groups...) {
		t.Run("rule "+r.numbers+" "+r.says, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := memstore.New()
				r.check(&T{TB: t, real: t, Store: s, bare: s, engine: Engine{Kill: func(_ *testing.T, _ task.Store, worker string) { s.Kill(worker) }}})
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestSuite_AStoreThatForgetsPausedKindsIsCaught(t *testing.T) {
	for _, r := range workerRules {
		b := whole()
		eachBeat(b, func(beat *task.Beat) { beat.Paused = nil })
		if caught := try(t, r, b, false, aWhile); caught != (r.numbers == "33") {
			t.Errorf("rule %s (%s) complains: %v", r.numbers, r.says, caught)
		}
	}
}
