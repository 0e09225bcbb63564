package storetest

import (
	"context"
	"slices"

	"github.com/lastcall-go/lastcall/task"
)

// losesMeta reads a payload that is not small from elsewhere, without its Meta.
func losesMeta(b *broken) {
	inner := b.claim
	b.claim = func(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
		got, err := inner(ctx, req)
		for i := range got {
			if len(got[i].Payload) > 256 {
				got[i].Meta = nil
			}
		}
		return got, err
	}
}

// keepsTheLog deletes only the task.
func keepsTheLog(b *broken) {
	control, log := b.control, b.log
	kept := make(map[string][]byte)
	b.control = func(ctx context.Context, cmd task.Command) error {
		body, _ := log(ctx, cmd.Task)
		err := control(ctx, cmd)
		if cmd.Verb == task.VerbDelete && err == nil {
			kept[cmd.Task] = body
		}
		return err
	}
	b.log = func(ctx context.Context, id string) ([]byte, error) {
		if body, ok := kept[id]; ok {
			return body, nil
		}
		return log(ctx, id)
	}
}

// forgetsRetention applies Age to failed tasks.
func forgetsRetention(b *broken) {
	inner := b.claim
	b.claim = func(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
		for i := range req.Kinds {
			req.Kinds[i].Retention.Failed = 0
		}
		return inner(ctx, req)
	}
}

func eachBeat(b *broken, alter func(beat *task.Beat)) {
	inner := b.heartbeat
	b.heartbeat = func(ctx context.Context, beat task.Beat) (task.BeatReply, error) {
		alter(&beat)
		return inner(ctx, beat)
	}
}

// eachChange breaks single changes.
func eachChange(b *broken, alter func(c *task.Change)) {
	inner := b.apply
	b.apply = func(ctx context.Context, changes []task.Change) []error {
		changes = slices.Clone(changes)
		for i := range changes {
			alter(&changes[i])
		}
		return inner(ctx, changes)
	}
}
