package test

import (
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/stopwatch"
	"github.com/lastcall-go/lastcall/task"
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
			f.topUp(handover, 80, long) // more than there are slots
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

// Three workers are full, each with three long tasks, and there is a backlog. Each is replaced by a
// new worker, which starts tasks of the backlog before the old one receives its stop signal.
func TestRollout_WhatIsHandedOverRunsElsewhereAtOnceBeforeABacklog(t *testing.T) {
	onBothStores(t, func(t *testing.T, store string) {
		f := newFixture(t, store)
		backlog, pace, long := 1000, 5*time.Second, 300
		if testing.Short() {
			t.Logf("make test-full: a backlog of %d tasks of %v, and long tasks of %d steps", backlog, pace, long)
			backlog, pace, long = 120, 2*time.Second, 150
		}
		j := job{Grace: patient, Slots: 12}
		f.points = 0 // this test counts the runs that were cut short itself
		var three []*process
		for n := range 3 {
			f.enqueue(handover, 3, func() work { return work{Steps: long, Pace: 200 * time.Millisecond} })
			f.enqueue(steps, 9, func() work { return work{Steps: 1, Pace: 10 * time.Second} })
			three = append(three, f.start(j))
			f.until("all slots taken", func() bool { return f.count(task.StatusRunning) == 12*(n+1) })
		}
		f.enqueue(steps, backlog, func() work { return work{Steps: 1, Pace: pace} })
		for n := range three {
			began := f.count(task.StatusQueued)
			p := f.start(j)
			f.until("a worker more, which has begun something", func() bool { return f.serves(p) && f.count(task.StatusQueued) < began })
			watch := stopwatch.Start(t)
			f.fates[three[n].pid()] = fate{"replaced", handedOver}
			three[n].signal(syscall.SIGTERM)
			f.until("three tasks handed over, and all of them running", func() bool { return f.handedOver() == 3*(n+1) })
			// Longer if it has to wait for a slot.
			watch.AtMost(1200*time.Millisecond, "a handover, with a step of 200 ms")
			three[n].exits(0)
			three[n] = p
		}
		// The backlog takes longer than patience.
		for left := f.unfinished(); left > 0; left = f.unfinished() {
			f.until("another task ended", func() bool { return f.unfinished() < left })
		}
		f.drain(three[0])
		f.drain(three[1])
		f.finish(three[2])
		for _, runs := range f.histories {
			handed := 0
			for _, r := range runs {
				if r.Reason == task.ReasonStop {
					handed++
				}
			}
			if handed > 2 {
				t.Errorf("a task was handed over %d times", handed)
			}
		}
	})
}

// handedOver returns how many times a task was handed over and runs again.
func (f *fixture) handedOver() (n int) {
	f.t.Helper()
	for _, t := range f.tasks(task.StatusRunning) {
		n += t.Interruptions
	}
	return n
}

// replace starts a process and, once it is serving, stops another one, as a rolling update does.
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

// serves reports whether a process has a worker.
func (f *fixture) serves(p *process) bool {
	for _, w := range f.workers() {
		if w.PID == p.pid() {
			return true
		}
	}
	return false
}
