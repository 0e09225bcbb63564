// Package stopwatch measures how long something takes on a machine that may have other things to
// do. A test that says "within a second" means the program, and not the machine that it shares.
package stopwatch

import (
	"context"
	"os/exec"
	"testing"
	"time"
)

// starts is how many times the start of a process fits into what a busy machine adds to what is
// measured: a signal, a few requests and an end wait for a processor about as often.
const starts = 5

// pause is between two processes that are started.
const pause = 50 * time.Millisecond

// Watch is a stopwatch that runs. Beside it processes are started, one after the other, which shows
// how long the machine makes a process wait.
type Watch struct {
	t     testing.TB
	began time.Time
	stop  context.CancelFunc
	lag   chan time.Duration // the longest start of a process, when it has stopped
}

// Start starts a stopwatch, which ends with the test at the latest.
func Start(t testing.TB) *Watch {
	ctx, stop := context.WithCancel(context.Background())
	w := &Watch{t: t, began: time.Now(), stop: stop, lag: make(chan time.Duration, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.lag <- longest(ctx, start)
	}()
	t.Cleanup(func() { stop(); <-done })
	return w
}

// AtMost stops the watch and returns what it shows. The test fails if that is more than a time and
// what the machine may have added to it.
func (w *Watch) AtMost(limit time.Duration, what string) time.Duration {
	w.t.Helper()
	took := time.Since(w.began)
	w.stop()
	lag := <-w.lag
	if over := took - limit - starts*lag; over > 0 {
		w.t.Errorf("%s took %v, want at most %v, and %v on this machine", what, took, limit, starts*lag)
	}
	return took
}

// longest does something again and again until the context ends, but once in any case, and returns
// the longest time that it took.
func longest(ctx context.Context, do func()) (most time.Duration) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		began := time.Now()
		do()
		most = max(most, time.Since(began))
		select {
		case <-ctx.Done():
			return most
		case <-tick.C:
		}
	}
}

// start starts a process that does nothing.
func start() { _ = exec.CommandContext(context.Background(), "true").Run() } // only its time counts
