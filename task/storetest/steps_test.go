package storetest

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/lastcall-go/lastcall/task"
)

func (b *broken) Steps(ctx context.Context, id string) ([]task.StepRecord, error) {
	return b.steps(ctx, id)
}

// eachRetry breaks a retry, before or after it.
func eachRetry(b *broken, alter func(cmd task.Command, do func(task.Command) error) error) {
	inner := b.control
	b.control = func(ctx context.Context, cmd task.Command) error {
		do := func(cmd task.Command) error { return inner(ctx, cmd) }
		if cmd.Verb != task.VerbRetry {
			return do(cmd)
		}
		return alter(cmd, do)
	}
}

// byName returns steps in the order of their names.
func byName(b *broken) {
	inner := b.steps
	b.steps = func(ctx context.Context, id string) ([]task.StepRecord, error) {
		all, err := inner(ctx, id)
		slices.SortFunc(all, func(x, y task.StepRecord) int { return strings.Compare(x.Name, y.Name) })
		return all, err
	}
}

func skipsNothing(b *broken) {
	eachRetry(b, func(cmd task.Command, do func(task.Command) error) error { cmd.SkipSteps = nil; return do(cmd) })
}

// stepFlaws has, for each case about steps, a store that the case must catch.
var stepFlaws = map[string]func(b *broken){
	"a step is kept byte for byte, in its place, with the others and the checkpoint": byName,
	"a step brings counters and progress along as a checkpoint does, and a stale one nothing": func(b *broken) {
		eachChange(b, func(c *task.Change) {
			if c.Step != nil {
				found, err := b.Store.Find(context.Background(), task.Query{IDs: []string{c.Task}})
				if err == nil && len(found) == 1 {
					c.Counters = found[0].Counters
				}
			}
		})
	},
	"steps, checkpoints and ends of many tasks share a call": func(b *broken) {
		inner := b.apply
		b.apply = func(ctx context.Context, changes []task.Change) []error {
			changes = slices.Clone(changes)
			seen := make(map[string]bool)
			for i := range changes { // the last one of a task wins
				if seen[changes[i].Task] && changes[i].Status == task.StatusRunning {
					changes[i].Step = nil
				}
				seen[changes[i].Task] = true
			}
			return inner(ctx, changes)
		}
	},
	"steps go where their task goes": func(b *broken) {
		kept := make(map[string][]task.StepRecord)
		control, steps := b.control, b.steps
		b.control = func(ctx context.Context, cmd task.Command) error {
			all, _ := steps(ctx, cmd.Task)
			err := control(ctx, cmd)
			if cmd.Verb == task.VerbDelete && err == nil {
				kept[cmd.Task] = all
			}
			return err
		}
		b.steps = func(ctx context.Context, id string) ([]task.StepRecord, error) {
			all, err := steps(ctx, id)
			if err == nil && len(all) == 0 {
				all = kept[id]
			}
			return all, err
		}
	},
	"a retry from the start leaves nothing of what the runs have done": func(b *broken) {
		eachRetry(b, func(cmd task.Command, do func(task.Command) error) error {
			found, err := b.Store.Find(context.Background(), task.Query{IDs: []string{cmd.Task}})
			if err == nil && len(found) == 1 && found[0].Status.Ended() {
				cmd.FromStart = false
			}
			return do(cmd)
		})
	},
	"a step is skipped unless it is done, and stands behind the others": func(b *broken) {
		eachRetry(b, func(cmd task.Command, do func(task.Command) error) error {
			if len(cmd.SkipSteps) > 0 {
				cmd.FromStart = true
			}
			return do(cmd)
		})
	},
	"a retry that is refused leaves everything": func(b *broken) {
		eachRetry(b, func(cmd task.Command, do func(task.Command) error) error {
			err := do(cmd)
			if errors.Is(err, task.ErrKeyBusy) { // too late
				b.forgetSteps(cmd.Task)
			}
			return err
		})
	},
}

// forgetSteps hides a task's steps.
func (b *broken) forgetSteps(id string) {
	inner := b.steps
	b.steps = func(ctx context.Context, of string) ([]task.StepRecord, error) {
		all, err := inner(ctx, of)
		if of == id {
			all = nil
		}
		return all, err
	}
}
