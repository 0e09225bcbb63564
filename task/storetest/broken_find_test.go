package storetest

import (
	"context"
	"errors"

	"github.com/lastcall-go/lastcall/task"
)

// goesOnByTheTask continues a listing in the order of ends from where the task of After is now.
func goesOnByTheTask(b *broken) {
	inner := b.find
	b.find = func(ctx context.Context, q task.Query) ([]task.Task, error) {
		if p, ok := task.ParsePosition(q.After); ok && q.Order == task.OrderFinished {
			now, err := inner(ctx, task.Query{IDs: []string{p.ID}})
			if err != nil || len(now) == 0 {
				return nil, errors.Join(err, task.ErrNotFound)
			}
			if now[0].Status.Ended() {
				q.After = q.PositionOf(now[0]).String()
			}
		}
		return inner(ctx, q)
	}
}

// cutsShort does not report that it has stopped.
func cutsShort(b *broken) {
	inner := b.find
	b.find = func(ctx context.Context, q task.Query) ([]task.Task, error) {
		found, err := inner(ctx, q)
		if errors.As(err, new(*task.MoreError)) {
			err = nil
		}
		return found, err
	}
}

// trustsWhatWasSeen applies a command to a task whatever its present status is.
func trustsWhatWasSeen(b *broken) {
	b.controlAll = func(ctx context.Context, cmd task.Command, seen []task.Standing) []error {
		errs := make([]error, len(seen))
		for i, s := range seen {
			cmd.Task = s.ID
			if errs[i] = b.control(ctx, cmd); errs[i] != nil && !errors.Is(errs[i], task.ErrKeyBusy) {
				errs[i] = task.ErrChanged
			}
		}
		return errs
	}
}

// keepsCommands keeps the commands of a deleted task for the next one with its id.
func keepsCommands(b *broken) {
	inner := b.commands
	seen := make(map[string][]task.CommandRecord)
	b.commands = func(ctx context.Context, id string) ([]task.CommandRecord, error) {
		all, err := inner(ctx, id)
		if err == nil && len(all) < len(seen[id]) {
			return seen[id], nil
		}
		if err == nil {
			seen[id] = all
		}
		return all, err
	}
}
