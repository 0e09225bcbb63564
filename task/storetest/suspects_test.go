package storetest

import (
	"context"

	"github.com/lastcall-go/lastcall/task"
)

// suspectFlaws are the flaws of rule 26.
var suspectFlaws = map[string]func(b *broken){
	"suspects are claimed only by a claim that says so: one of any group, or those of a group": func(b *broken) {
		eachClaim(b, func(req *task.ClaimRequest) {
			if req.Suspicion != 0 { // it does not know of groups
				req.Suspicion, req.Suspects = 0, 1
			}
		})
	},
	"a group of suspects is claimed by the rules of every claim": func(b *broken) {
		eachClaim(b, func(req *task.ClaimRequest) {
			if req.Suspicion != 0 {
				req.Queues = nil
			}
		})
	},
	"Reclaim says how many suspects a dead worker held, and where they are halved": func(b *broken) {
		inner := b.reclaim
		b.reclaim = func(ctx context.Context, req task.ReclaimRequest) (task.ReclaimReply, error) {
			left, err := inner(ctx, req)
			if left.Suspects == 0 { // only suspects are halved
				left.Split = ""
			}
			return left, err
		}
	},
	"a task keeps its group until a change takes it away, it is retried or it has ended": func(b *broken) {
		eachChange(b, func(c *task.Change) {
			if c.Status == task.StatusQueued { // as one of which only an interruption may be a crash
				c.Counters.Suspicion = 0
			}
		})
	},
	"Reclaim says why the run before was interrupted: a task that is cut off by every stop becomes a suspect": func(b *broken) {
		inner := b.reclaim
		b.reclaim = func(ctx context.Context, req task.ReclaimRequest) (task.ReclaimReply, error) {
			left, err := inner(ctx, req)
			for i := range left.Tasks {
				left.Tasks[i].Reason = ""
			}
			return left, err
		}
	},
}

func eachClaim(b *broken, alter func(*task.ClaimRequest)) {
	inner := b.claim
	b.claim = func(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
		alter(&req)
		return inner(ctx, req)
	}
}
