package test

import (
	"syscall"
	"testing"
	"time"
)

func TestRollout_ARollingRestartOfThreeWorkersDoesNoStepTwice(t *testing.T) {
	onBothStores(t, func(t *testing.T, store string) {
		g := newGround(t, store)
		tasks := 200
		if testing.Short() {
			t.Logf("make test-full: %d tasks at least", tasks)
			tasks = 80
		}
		j := job{Grace: patient, Slots: 20}
		three := []*process{g.start(j), g.start(j), g.start(j)}
		g.until("three workers", func() bool { return len(g.workers()) == 3 })
		long := func() work {
			return work{Steps: 4 + g.rng.IntN(12), Pace: 200*time.Millisecond + time.Duration(g.rng.Int64N(int64(300*time.Millisecond)))}
		}
		g.enqueue(handover, tasks, long)
		for n := 0; g.lacks(); n = (n + 1) % len(three) {
			g.topUp(handover, 80, long) // more than are at work
			three[n] = g.replace(three[n], j)
			g.moment(500*time.Millisecond, three[n])
		}
		for _, p := range three[1:] {
			g.replaced(p)
		}
		g.finish(three[0])
		if n := len(g.histories); n < tasks {
			t.Errorf("%d tasks, want %d at least", n, tasks)
		}
	})
}

// replace starts a process and, when that serves, stops another one, as a rolling update does.
func (g *ground) replace(old *process, j job) *process {
	g.t.Helper()
	p := g.start(j)
	g.until("a worker more", func() bool { return g.serves(p) })
	g.replaced(old)
	return p
}

// replaced stops a process, whose tasks are handed over.
func (g *ground) replaced(p *process) {
	g.t.Helper()
	g.fates[p.pid()] = fate{"replaced", handedOver}
	p.signal(syscall.SIGTERM)
	p.exits(0)
}

// serves says whether a process has a worker.
func (g *ground) serves(p *process) bool {
	for _, w := range g.workers() {
		if w.PID == p.pid() {
			return true
		}
	}
	return false
}
