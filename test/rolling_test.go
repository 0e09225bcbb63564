package test

import (
	"syscall"
	"testing"
	"time"
)

func TestRollout_ARollingRestartOfThreeWorkersDoesNoStepTwice(t *testing.T) {
	onBothStores(t, func(t *testing.T, store string) {
		f := newFixture(t, store)
		tasks := 200
		if testing.Short() {
			t.Logf("make test-full: %d tasks at least", tasks)
			tasks = 80
		}
		j := job{Grace: patient, Slots: 20}
		three := []*process{f.start(j), f.start(j), f.start(j)}
		f.until("three workers", func() bool { return len(f.workers()) == 3 })
		long := func() work {
			return work{Steps: 4 + f.rng.IntN(12), Pace: 200*time.Millisecond + time.Duration(f.rng.Int64N(int64(300*time.Millisecond)))}
		}
		f.enqueue(handover, tasks, long)
		for n := 0; f.lacks(); n = (n + 1) % len(three) {
			f.topUp(handover, 80, long) // more than are at work
			three[n] = f.replace(three[n], j)
			f.moment(500*time.Millisecond, three[n])
		}
		for _, p := range three[1:] {
			f.replaced(p)
		}
		f.finish(three[0])
		if n := len(f.histories); n < tasks {
			t.Errorf("%d tasks, want %d at least", n, tasks)
		}
	})
}

// replace starts a process and, when that serves, stops another one, as a rolling update does.
func (f *fixture) replace(old *process, j job) *process {
	f.t.Helper()
	p := f.start(j)
	f.until("a worker more", func() bool { return f.serves(p) })
	f.replaced(old)
	return p
}

// replaced stops a process, whose tasks are handed over.
func (f *fixture) replaced(p *process) {
	f.t.Helper()
	f.fates[p.pid()] = fate{"replaced", handedOver}
	p.signal(syscall.SIGTERM)
	p.exits(0)
}

// serves says whether a process has a worker.
func (f *fixture) serves(p *process) bool {
	for _, w := range f.workers() {
		if w.PID == p.pid() {
			return true
		}
	}
	return false
}
