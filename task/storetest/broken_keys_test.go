package storetest

import (
	"context"
	"slices"
	"sync"

	"github.com/lastcall-go/lastcall/task"
)

// eachNew breaks new tasks.
func eachNew(b *broken, alter func(n *task.NewTask)) {
	inner := b.add
	b.add = func(ctx context.Context, tasks []task.NewTask) ([]task.AddResult, error) {
		tasks = slices.Clone(tasks)
		for i := range tasks {
			alter(&tasks[i])
		}
		return inner(ctx, tasks)
	}
}

// replacesNothing leaves the waiting task as it is.
func replacesNothing(b *broken) {
	eachNew(b, func(n *task.NewTask) {
		if n.OnConflict == task.Replace {
			n.OnConflict = task.Existing
		}
	})
}

// holdsForNoTime releases keys when their tasks end.
func holdsForNoTime(b *broken) { eachNew(b, func(n *task.NewTask) { n.KeyFor = 0 }) }

// eachOutcome breaks answers.
func eachOutcome(b *broken, is, becomes task.Outcome) {
	eachAdd(b, func(added []task.AddResult) {
		for i := range added {
			if added[i].Outcome == is {
				added[i].Outcome = becomes
			}
		}
	})
}

// keyFlaws are flaws in the rules about keys.
var keyFlaws = map[string]func(b *broken){
	"one that waits takes over what the new task brings, and begins from the start": func(b *broken) {
		inner := b.claim // a checkpoint is left
		b.claim = func(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
			got, err := inner(ctx, req)
			for i := range got {
				if got[i].Runs > 1 {
					got[i].Checkpoint = []byte("of the old payload")
				}
			}
			return got, err
		}
	},
	"one that runs or has ended is left, and stands for the new one": func(b *broken) {
		inner := b.add // which adds another one
		b.add = func(ctx context.Context, tasks []task.NewTask) ([]task.AddResult, error) {
			added, err := inner(ctx, tasks)
			for i, n := range tasks {
				if n.OnConflict == task.Replace && added[i].Outcome == task.OutcomeExisting {
					n.Key, n.OnConflict = "", task.Existing
					_, err = inner(ctx, []task.NewTask{n})
				}
			}
			return added, err
		}
	},
	"what is discarded is not added, changes nothing, and is said to be discarded": func(b *broken) {
		eachOutcome(b, task.OutcomeDiscarded, task.OutcomeExisting)
	},
	"a replacement that is sent again changes nothing, and ids stay those of their first payloads": func(b *broken) {
		inner, n := b.add, 0 // it forgets which task has replaced it
		b.add = func(ctx context.Context, tasks []task.NewTask) ([]task.AddResult, error) {
			added, err := inner(ctx, tasks)
			for i, by := range tasks {
				if added[i].Outcome == task.OutcomeReplaced {
					n++
					by.ID = random(n)
					_, err = inner(ctx, []task.NewTask{by})
				}
			}
			return added, err
		}
	},
	"tasks with one key in a call come one by one": func(b *broken) {
		inner := b.add
		b.add = func(ctx context.Context, tasks []task.NewTask) ([]task.AddResult, error) {
			tasks = slices.Clone(tasks)
			slices.Reverse(tasks)
			added, err := inner(ctx, tasks)
			slices.Reverse(added)
			return added, err
		}
	},
	"a key is held for its time, whatever happens to the task": func(b *broken) {
		inner := b.prune // which takes the keys along
		b.prune = func(ctx context.Context, req task.PruneRequest) (task.PruneReply, error) {
			eachNew(b, func(n *task.NewTask) { n.Key, n.OnConflict, n.KeyFor = "", task.Existing, 0 })
			return inner(ctx, req)
		}
	},
	"a time that is over holds no key, and Delete gives it back before": func(b *broken) {
		eachNew(b, func(n *task.NewTask) { n.KeyFor *= 10_000 })
	},
	"commands to all tasks with a key leave its time as those to one do": func(b *broken) {
		inner := b.controlAll // which says that it has deleted, and has not
		b.controlAll = func(ctx context.Context, cmd task.Command, seen []task.Standing) []error {
			if cmd.Verb == task.VerbDelete {
				return make([]error, len(seen))
			}
			return inner(ctx, cmd, seen)
		}
	},
	"one that is replaced keeps its time": func(b *broken) {
		eachOutcome(b, task.OutcomeDiscarded, task.OutcomeAdded)
	},
	"replacements and claims that meet leave whole tasks, and none is lost": func(b *broken) {
		claim, add := b.claim, b.add // a payload is kept apart, for claims, and forgotten there
		var mu sync.Mutex
		first := make(map[string][]byte)
		b.add = func(ctx context.Context, tasks []task.NewTask) ([]task.AddResult, error) {
			mu.Lock()
			defer mu.Unlock()
			for _, n := range tasks {
				first[n.ID] = n.Payload
			}
			return add(ctx, tasks)
		}
		b.claim = func(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
			got, err := claim(ctx, req)
			mu.Lock()
			defer mu.Unlock()
			for i := range got {
				got[i].Payload = first[got[i].ID]
			}
			return got, err
		}
	},
	"of many callers that add a key whose time is over one succeeds": func(b *broken) {
		eachOutcome(b, task.OutcomeDiscarded, task.OutcomeAdded)
	},
}
