package test

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task"
)

func TestKill_WhatAKilledProcessHasAcceptedIsDoneByTheNextOne(t *testing.T) {
	onBothStores(t, func(t *testing.T, store string) {
		f := newFixture(t, store)
		for f.lacks() {
			p := f.start(job{Grace: patient, Slots: 10, Accept: 15})
			p.waitLog("did task=")
			f.moment(1200*time.Millisecond, p)
			f.kill(p)
			for _, line := range p.lines("accepted task=") {
				f.accepted[line[len("accepted task="):]] = true
			}
		}
		f.finish(f.last(20))
	})
}

// The rows that a handler writes together with its checkpoints are counted: none may be duplicated,
// and none missing.
func TestKill_WorkThatSharesATransactionWithItsCheckpointIsDoneExactlyOnce(t *testing.T) {
	f := newFixture(t, pgtest.DSN(t))
	exact := func() work {
		w := f.work()
		w.Exact, w.Pace, w.InTx = true, w.Pace/10, f.rng.IntN(2) == 0 // most of a step is its transaction
		w.Steps *= 10
		return w
	}
	for f.lacks() {
		f.topUp(steps, 20, exact)
		p := f.start(job{Grace: patient, Slots: 20})
		p.waitLog("did task=")
		f.moment(300*time.Millisecond, p)
		f.kill(p)
	}
	f.finish(f.last(20))
}

func TestStop_AGraceThatIsTooShortLosesNothing(t *testing.T) {
	onBothStores(t, func(t *testing.T, store string) {
		f := newFixture(t, store)
		slow := func() work {
			w := f.work()
			w.Slow = time.Duration(f.rng.Int64N(int64(150 * time.Millisecond)))
			return w
		}
		for f.lacks() {
			f.topUp(steps, 20, slow)
			j := job{Grace: patient, Slots: 12}
			short := f.rng.IntN(2) == 0
			// Interrupt comes after half of it, and after half of the rest the server waits for nobody.
			if short {
				j.Grace = 600*time.Millisecond + time.Duration(f.rng.Int64N(int64(400*time.Millisecond)))
			}
			p := f.start(j)
			p.waitLog("did task=")
			f.moment(500*time.Millisecond, p)
			p.signal(syscall.SIGTERM)
			if short {
				f.cutByItsOwnGrace(p)
			} else {
				f.outlives(250*time.Millisecond, p)
				f.cutByThePlatform(p)
			}
		}
		f.finish(f.last(20))
	})
}

// cutByItsOwnGrace waits for the end of a process that knows how little time it has.
func (f *fixture) cutByItsOwnGrace(p *process) {
	f.t.Helper()
	switch code := p.exit().ExitCode(); code {
	case 0:
		f.fates[p.pid()] = fate{"interrupted", either(handedOver, unheard)}
	case abandoned:
		f.fates[p.pid()] = fate{"abandoned", either(handedOver, unheard, f.tooLate(p))}
	case unrecorded:
		f.fates[p.pid()] = fate{"too late to record it", either(handedOver, unheard, f.tooLate(p))}
	default:
		f.t.Fatalf("process %d ended with code %d:\n%s", p.pid(), code, p.text())
	}
}

// cutByThePlatform kills a process during its drain.
func (f *fixture) cutByThePlatform(p *process) {
	f.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGKILL) // it may be done already
	p.exit()
	f.fates[p.pid()] = fate{"killed in the drain", f.tooLate(p)}
}

// tooLate returns the possible results of a run whose process ended during its stop. If the
// process had announced its stop, the run is overdue. Otherwise it may also count as a crash.
func (f *fixture) tooLate(p *process) func(task.RunRecord) bool {
	if len(p.lines("stop announced to the store")) > 0 {
		return overdue
	}
	return either(overdue, crashed)
}

// Many runs end at the same moment, and a process is killed in the middle of that.
func TestStop_ACrowdOfTasksLosesNothingToKillsAndStops(t *testing.T) {
	onBothStores(t, func(t *testing.T, store string) {
		f := newFixture(t, store)
		alike := func() work { return work{Pace: 40 * time.Millisecond} }
		// Between the ends of some tasks and the claim of the next ones, nobody runs.
		for round := 0; round < 2+f.points/25 || f.lacks(); round++ {
			f.topUp(bare, 1000, alike) // more than can be done before the moment comes
			p := f.start(job{Grace: patient, Slots: 100})
			p.waitLog("task running")
			f.moment(300*time.Millisecond, p)
			if round%2 == 0 {
				f.kill(p)
				continue
			}
			f.fates[p.pid()] = fate{"interrupted", handedOver}
			f.drain(p)
		}
		last := f.last(100)
		f.until("all tasks ended", func() bool { return f.unfinished() == 0 })
		f.finish(last)
	})
}

func TestUnresponsive_AHandlersTaskIsTakenUpByTheNextProcess(t *testing.T) {
	onBothStores(t, func(t *testing.T, store string) {
		const each = 10
		f := newFixture(t, store)
		hanging := func() work {
			w := f.work()
			w.Hang = f.rng.IntN(w.Steps)
			return w
		}
		for n := 0; n < max(f.points, 5*each); n += each { // in one round of five it is recorded in time
			f.enqueue(unresponsive, each, hanging)
			p := f.start(job{Grace: 800 * time.Millisecond, Slots: 3 * each})
			p.waitLines("hears nothing", each)
			f.moment(300*time.Millisecond, p)
			p.signal(syscall.SIGTERM)
			p.exits(abandoned)
			f.fates[p.pid()] = fate{"abandoned", either(handedOver, unheard, f.tooLate(p))}
		}
		f.finish(f.last(20))
		inTime := 0
		for _, h := range f.histories {
			if unheard(h[0]) {
				inTime++
			}
			if handedOver(h[0]) || h[0].Status != task.StatusInterrupted {
				t.Errorf("an unresponsive run became %s %s %s", h[0].Status, h[0].Reason, h[0].Error)
			}
		}
		if inTime == 0 {
			t.Error("no unresponsive run was recorded before its process ended")
		}
		t.Logf("%d of %d unresponsive runs were recorded before their process ended", inTime, len(f.histories))
	})
}

func TestKill_TheTasksOfAKilledProcessRunInTheOtherOne(t *testing.T) {
	onBothStores(t, func(t *testing.T, store string) {
		f := newFixture(t, store)
		j := job{Grace: patient, Slots: 16}
		two := []*process{f.start(j), f.start(j)}
		var noticed []time.Duration
		for f.lacks() {
			f.until("two workers", func() bool { return len(f.workers()) == 2 })
			f.until("both busy", func() bool {
				f.topUp(steps, 24, f.work)
				return f.busy(two[0]) && f.busy(two[1])
			})
			f.moment(400*time.Millisecond, two[0])
			n := f.rng.IntN(2)
			victim, heir := two[n], two[1-n]
			f.heirs[victim.pid()] = heir.pid()
			f.kill(victim)
			noticed = append(noticed, f.inherited(victim, heir))
			two[n] = f.start(j)
		}
		slices.Sort(noticed)
		median, worst := noticed[len(noticed)/2], noticed[len(noticed)-1]
		t.Logf("%d deaths were noticed after %v, %v at most", len(noticed), median.Round(time.Millisecond), worst.Round(time.Millisecond))
		if worst > 5*time.Second { // on a busy machine; the lease would be 15 s
			t.Errorf("a death was noticed after %v", worst)
		}
		f.until("two workers", func() bool { return len(f.workers()) == 2 })
		f.drain(two[0])
		f.finish(two[1])
	})
}

// busy reports whether a process has tasks. There are more tasks than the other process has slots
// for.
func (f *fixture) busy(p *process) bool {
	f.t.Helper()
	running := f.tasks(task.StatusRunning)
	for _, w := range f.workers() {
		if w.PID == p.pid() {
			return slices.ContainsFunc(running, func(t task.Task) bool { return t.Worker == w.Worker })
		}
	}
	return false
}

// inherited waits until the tasks of a dead process run in the other process, or are done. It
// returns how long it took until the death was noticed and all runs had been taken away.
func (f *fixture) inherited(dead, heir *process) (noticed time.Duration) {
	f.t.Helper()
	began := time.Now()
	heir.until("heir of all tasks", func() bool {
		for _, w := range f.workers() {
			if w.PID == dead.pid() {
				return false
			}
		}
		if noticed == 0 {
			noticed = time.Since(began)
		}
		return f.count(task.StatusInterrupted) == 0
	})
	return noticed
}
