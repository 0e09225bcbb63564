package storetest

import (
	"context"

	"github.com/lastcall-go/lastcall/task"
)

func eachReply(b *broken, alter func(r *task.BeatReply)) {
	inner := b.heartbeat
	b.heartbeat = func(ctx context.Context, beat task.Beat) (task.BeatReply, error) {
		reply, err := inner(ctx, beat)
		alter(&reply)
		return reply, err
	}
}

// takesAnyPriority has a claim take what comes first.
func takesAnyPriority(b *broken) {
	eachClaim(b, func(req *task.ClaimRequest) { req.MinPriority = nil })
}
