package httpapi

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// LogSource is where FollowLog reads: a [*Client] or a [*task.Client].
type LogSource interface {
	// Get returns a task, Log the end of its log.
	Get(ctx context.Context, id string) (task.Task, error)
	Log(ctx context.Context, id string) ([]byte, error)
}

// FollowLog reads a task's log as it grows, across all its runs and whichever worker has them,
// until the task has ended or ctx has. It is read once in each such time.
//
// An error in the loop is one of the source, which is asked again after the pause: a server may be
// between two versions. task.ErrNotFound and a refusal are the last.
//
// The store keeps the last 64 KiB alone. What was written and dropped between two polls is lost,
// and a line "[...]" stands for it; a log that repeats itself with exactly that length may lose
// repetitions.
func FollowLog(ctx context.Context, src LogSource, id string, every time.Duration) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		var seen []byte
		for ctx.Err() == nil {
			// The task first: the log of one that has ended is complete.
			t, err := src.Get(ctx, id)
			if err == nil {
				var log []byte
				if log, err = src.Log(ctx, id); err == nil {
					if more := grown(seen, log); len(more) > 0 && !yield(more, nil) {
						return
					}
					seen = log
				}
			}
			if ctx.Err() != nil {
				return
			}
			if err != nil && (!yield(nil, err) || final(err)) {
				return
			}
			if err == nil && t.Status.Ended() {
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(every):
			}
		}
	}
}

// final reports whether asking again would not help.
func final(err error) bool {
	p := (*Problem)(nil)
	return errors.Is(err, task.ErrNotFound) || errors.Is(err, task.ErrClosed) || errors.As(err, &p) && p.Status < 500
}

// grown is what has been added to the end of a text whose begin may have been dropped: what follows
// the longest end of the old text with which the new one begins.
func grown(old, now []byte) []byte {
	if bytes.HasPrefix(now, old) {
		return now[len(old):]
	}
	n := overlap(old, now)
	if n == 0 {
		return append([]byte("[...]\n"), now...)
	}
	return now[n:]
}

// overlap is the length of the longest end of a that is a begin of b, found in one pass (Knuth,
// Morris and Pratt).
func overlap(a, b []byte) int {
	border := make([]int, len(b)+1) // of each begin of b, the longest that is also its end
	border[0] = -1
	step := func(n int, c byte) int {
		for n >= 0 && (n == len(b) || b[n] != c) {
			n = border[n]
		}
		return n + 1
	}
	for i, n := 0, -1; i < len(b); i++ {
		for n >= 0 && b[n] != b[i] {
			n = border[n]
		}
		n++
		border[i+1] = n
	}
	n := 0
	for _, c := range a {
		n = step(n, c)
	}
	return n
}
