package storetest

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// turnFlaws are the flaws of rules 43 to 45.
var turnFlaws = map[string]func(b *broken){
	"a claim with a least priority gives no task of a lower one, and hides none from the next": func(b *broken) {
		found := false
		inner := b.claim
		b.claim = func(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
			if req.MinPriority == nil && found { // idle, as it believes
				return nil, nil
			}
			got, err := inner(ctx, req)
			found = req.MinPriority != nil && len(got) == 0
			return got, err
		}
	},
	"what is queued again since it was the turn of others comes after those, and says so": func(b *broken) {
		eachChange(b, func(c *task.Change) {
			if c.Status == task.StatusQueued {
				c.Reason = ""
			}
		})
	},
	"a pause with what runs asks each run of the queue to hand over, and no other": pausesWithoutRuns,
	"a pause with what runs reaches a run whose claim is under way":                asksBeforeItPauses,

	"a task that was not claimed in time never is, and is cancelled with what belongs to it": func(b *broken) {
		eachFound(b, func(t *task.Task) {
			if t.Status == task.StatusCancelled {
				t.Reason = ""
			}
		})
	},
	"until then it is claimed as others are, and has no bound from then on": func(b *broken) {
		eachFound(b, func(t *task.Task) {
			if t.Status.Claimable() && t.Runs > 0 { // by what was submitted
				t.StartBefore = t.Created.Add(time.Hour)
			}
		})
	},
	"commands find a task that has expired as one that is cancelled, and Retry takes the bound away": func(b *broken) {
		inner := b.control
		b.control = func(ctx context.Context, cmd task.Command) error {
			if cmd.Verb == task.VerbRetry { // it expires once more
				return nil
			}
			return inner(ctx, cmd)
		}
	},
	"a claim finds what waits behind many that have expired": func(b *broken) {
		inner := b.claim
		var stepped int
		b.claim = func(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
			if stepped += req.Max; stepped < 300 {
				return nil, nil
			}
			return inner(ctx, req)
		}
	},
}

// forgetsBounds lets every task wait without a bound.
func forgetsBounds(b *broken) {
	inner := b.add
	b.add = func(ctx context.Context, tasks []task.NewTask) ([]task.AddResult, error) {
		tasks = slices.Clone(tasks)
		for i := range tasks {
			tasks[i].StartBefore = 0
		}
		return inner(ctx, tasks)
	}
}

// eachFound breaks the tasks that are found.
func eachFound(b *broken, alter func(t *task.Task)) {
	inner := b.find
	b.find = func(ctx context.Context, q task.Query) ([]task.Task, error) {
		found, err := inner(ctx, q)
		for i := range found {
			alter(&found[i])
		}
		return found, err
	}
}

func eachReply(b *broken, alter func(r *task.BeatReply)) {
	inner := b.heartbeat
	b.heartbeat = func(ctx context.Context, beat task.Beat) (task.BeatReply, error) {
		reply, err := inner(ctx, beat)
		alter(&reply)
		return reply, err
	}
}

// takesAnyPriority lets a claim take the first task of any priority.
func takesAnyPriority(b *broken) {
	eachClaim(b, func(req *task.ClaimRequest) { req.MinPriority = nil })
}

// pausesWithoutRuns requests nothing of running tasks.
func pausesWithoutRuns(b *broken) {
	inner := b.control
	b.control = func(ctx context.Context, cmd task.Command) error {
		cmd.Running = false
		return inner(ctx, cmd)
	}
}

// asksBeforeItPauses misses the runs that begin in between.
func asksBeforeItPauses(b *broken) {
	inner := b.control
	b.control = func(ctx context.Context, cmd task.Command) error {
		if cmd.Verb != task.VerbPause || !cmd.Running {
			return inner(ctx, cmd)
		}
		running, err := b.Find(ctx, task.Query{Status: task.StatusRunning, Queue: cmd.Queue})
		for _, r := range running {
			err = errors.Join(err, inner(ctx, task.Command{Verb: task.VerbInterrupt, Task: r.ID}))
		}
		runtime.Gosched()
		cmd.Running = false
		return errors.Join(err, inner(ctx, cmd))
	}
}
