// Package stopwatch measures how long something takes on a machine that may be busy with other
// work. A test that requires "within a second" then tests the program, not the load of the machine.
package stopwatch

import (
	"context"
	"os/exec"
	"testing"
	"time"
)

// starts is the time that a busy machine may add to a measurement, as a number of process starts: a
// signal, a few requests and an exit wait for a processor about that often.
const starts = 5

// pause is the pause between two process starts.
const pause = 50 * time.Millisecond

// Watch is a running stopwatch. While it runs it starts processes, one after the other, to measure
// how long the machine makes a process wait.
type Watch struct {
	t     testing.TB
	began time.Time
	took  time.Duration // until Stop, 0 before
	stop  context.CancelFunc
	lag   chan time.Duration // the longest start of a process, when it has stopped
}

// Start starts a stopwatch. It ends with the test at the latest.
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

// Stop stops the watch, for a limit that is known only later.
func (w *Watch) Stop() {
	if w.took == 0 {
		w.took = time.Since(w.began)
		w.stop()
	}
}

// AtMost stops the watch and returns the measured time. The test fails if that exceeds the limit by
// more than the machine may have added. It is called once.
func (w *Watch) AtMost(limit time.Duration, what string) time.Duration {
	w.t.Helper()
	w.Stop()
	lag := <-w.lag
	if over := w.took - limit - starts*lag; over > 0 {
		w.t.Errorf("%s took %v, want at most %v, and %v on this machine", what, w.took, limit, starts*lag)
	}
	return w.took
}

// longest calls do repeatedly until the context ends, at least once, and returns the longest time
// of a call.
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
