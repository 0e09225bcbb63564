// Package stopwatch measures how long something takes on a machine that may be busy with other
// work. A test that requires "within a second" then tests the program, not the load of the machine.
package stopwatch

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// waits is how often a busy machine may make a program wait within a measurement, each time as long
// as the longest sample: a signal, a few requests and transactions, and an exit wait about that
// often, for a processor or for the disk.
const waits = 5

// pause is the pause between two samples.
const pause = 50 * time.Millisecond

// Watch is a running stopwatch. While it runs it takes samples, one after the other, of how long
// the machine makes a process wait: each starts a process, and writes a page to the disk.
type Watch struct {
	t     testing.TB
	began time.Time
	stop  context.CancelFunc
	lag   chan time.Duration // the longest sample, when it has stopped
}

// Start starts a stopwatch. It ends with the test at the latest.
func Start(t testing.TB) *Watch {
	ctx, stop := context.WithCancel(context.Background())
	file := filepath.Join(t.TempDir(), "stopwatch")
	w := &Watch{t: t, began: time.Now(), stop: stop, lag: make(chan time.Duration, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.lag <- longest(ctx, func() { sample(file) })
	}()
	t.Cleanup(func() { stop(); <-done })
	return w
}

// AtMost stops the watch and returns the measured time. The test fails if that exceeds the limit by
// more than the machine may have added. It is called once.
func (w *Watch) AtMost(limit time.Duration, what string) time.Duration {
	w.t.Helper()
	took := time.Since(w.began)
	w.stop()
	lag := <-w.lag
	if over := took - limit - waits*lag; over > 0 {
		w.t.Errorf("%s took %v, want at most %v, and %v on this machine", what, took, limit, waits*lag)
	}
	return took
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

// sample starts a process that does nothing, and writes a file to the disk. Only the time counts: a
// failure is quick.
func sample(file string) {
	_ = exec.CommandContext(context.Background(), "true").Run()
	f, err := os.Create(file)
	if err != nil {
		return
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, 4096)); err == nil {
		_ = f.Sync()
	}
}
