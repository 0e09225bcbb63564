package httpapi

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// LogSource is what FollowLog reads from: a [*Client] or a [*task.Client].
type LogSource interface {
	// Get returns a task, Log the end of its log.
	Get(ctx context.Context, id string) (task.Task, error)
	Log(ctx context.Context, id string) ([]byte, error)
}

// FollowLog yields a task's log as it grows, across all its runs and whichever workers run it,
// until the task has ended or ctx has. every is the time between two reads.
//
// An error in the loop is an error of the source, which is asked again after the pause: a server
// may be between two versions. After task.ErrNotFound or a refusal there is no more.
//
// The store keeps only the last 64 KiB. If lines were written and dropped between two reads they
// are lost, and a line "[...]" takes their place; a log that repeats itself with exactly that
// length may lose repetitions.
func FollowLog(ctx context.Context, src LogSource, id string, every time.Duration) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		var seen []byte
		for ctx.Err() == nil {
			// The task first: when it has ended, the log that is read after it is complete.
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

// grown returns what has been added to the end of a text whose beginning may have been dropped:
// what follows the longest end of the old text with which the new one begins.
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

// overlap returns the length of the longest end of a that is a beginning of b, found in one pass
// (Knuth, Morris and Pratt).
func overlap(a, b []byte) int {
	border := make([]int, len(b)+1) // of each beginning of b, the longest that is also its end
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
