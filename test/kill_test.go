package test

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

func TestKill_WhatAKilledProcessHasAcceptedIsDoneByTheNextOne(t *testing.T) {
	onBothStores(t, func(t *testing.T, store string) {
		g := newGround(t, store)
		for g.lacks() {
			p := g.start(job{Grace: patient, Slots: 10, Accept: 15})
			p.waitLog("did task=")
			g.moment(1200*time.Millisecond, p)
			g.kill(p)
			for _, line := range p.lines("accepted task=") {
				g.accepted[line[len("accepted task="):]] = true
			}
		}
		g.finish(g.last(20))
	})
}

func TestStop_AGraceThatIsTooShortLosesNothing(t *testing.T) {
	onBothStores(t, func(t *testing.T, store string) {
		g := newGround(t, store)
		slow := func() work {
			w := g.work()
			w.Slow = time.Duration(g.rng.Int64N(int64(150 * time.Millisecond)))
			return w
		}
		for g.lacks() {
			g.topUp(steps, 20, slow)
			j := job{Grace: patient, Slots: 12}
			short := g.rng.IntN(2) == 0
			if short { // Interrupt after half of it, and after half of the rest nobody is waited for
				j.Grace = 600*time.Millisecond + time.Duration(g.rng.Int64N(int64(400*time.Millisecond)))
			}
			p := g.start(j)
			p.waitLog("did task=")
			g.moment(500*time.Millisecond, p)
			p.signal(syscall.SIGTERM)
			if short {
				g.cutByItsOwnGrace(p)
			} else {
				g.outlives(250*time.Millisecond, p)
				g.cutByThePlatform(p)
			}
		}
		g.finish(g.last(20))
	})
}

// cutByItsOwnGrace waits for the end of a process that knows how little time it has.
func (g *ground) cutByItsOwnGrace(p *process) {
	g.t.Helper()
	switch code := p.exit().ExitCode(); code {
	case 0:
		g.fates[p.pid()] = fate{"interrupted", either(handedOver, unheard)}
	case abandoned:
		g.fates[p.pid()] = fate{"abandoned", either(handedOver, unheard, g.tooLate(p))}
	default:
		g.t.Fatalf("process %d ended with code %d:\n%s", p.pid(), code, p.text())
	}
}

// cutByThePlatform kills a process in its drain.
func (g *ground) cutByThePlatform(p *process) {
	g.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGKILL) // it may be done already
	p.exit()
	g.fates[p.pid()] = fate{"killed in the drain", g.tooLate(p)}
}

// tooLate is what becomes of a run whose process has ended in its stop. Whether that had been
// announced by then decides whose fault it was.
func (g *ground) tooLate(p *process) func(task.RunRecord) bool {
	if len(p.lines("stop announced to the store")) > 0 {
		return overdue
	}
	return either(overdue, crashed)
}

// Many runs end at the same moment, and a process is killed in the middle of that.
func TestStop_ACrowdOfTasksLosesNothingToKillsAndStops(t *testing.T) {
	onBothStores(t, func(t *testing.T, store string) {
		g := newGround(t, store)
		alike := func() work { return work{Pace: 40 * time.Millisecond} }
		for round := range 2 + g.points/25 {
			g.topUp(bare, 1000, alike) // more than can be done before the moment comes
			p := g.start(job{Grace: patient, Slots: 100})
			p.waitLog("task running")
			g.moment(300*time.Millisecond, p)
			if round%2 == 0 {
				g.kill(p)
				continue
			}
			g.fates[p.pid()] = fate{"interrupted", handedOver}
			g.drain(p)
		}
		last := g.last(100)
		g.until("all tasks ended", func() bool { return g.unfinished() == 0 })
		g.finish(last)
	})
}

func TestUnresponsive_ADeafHandlersTaskIsTakenUpByTheNextProcess(t *testing.T) {
	onBothStores(t, func(t *testing.T, store string) {
		const each = 10
		g := newGround(t, store)
		hanging := func() work {
			w := g.work()
			w.Hang = g.rng.IntN(w.Steps)
			return w
		}
		for n := 0; n < max(g.points, 5*each); n += each { // in one of five it is recorded in time
			g.enqueue(deaf, each, hanging)
			p := g.start(job{Grace: 800 * time.Millisecond, Slots: 3 * each})
			p.waitLines("hears nothing", each)
			g.moment(300*time.Millisecond, p)
			p.signal(syscall.SIGTERM)
			p.exits(abandoned)
			g.fates[p.pid()] = fate{"abandoned", either(handedOver, unheard, g.tooLate(p))}
		}
		g.finish(g.last(20))
		inTime := 0
		for _, h := range g.histories {
			if unheard(h[0]) {
				inTime++
			}
			if handedOver(h[0]) || h[0].Status != task.StatusInterrupted {
				t.Errorf("a deaf run became %s %s %s", h[0].Status, h[0].Reason, h[0].Error)
			}
		}
		if inTime == 0 {
			t.Error("no deaf run was recorded before its process ended")
		}
		t.Logf("%d of %d deaf runs were recorded before their process ended", inTime, len(g.histories))
	})
}

func TestKill_TheTasksOfAKilledProcessRunInTheOtherOne(t *testing.T) {
	onBothStores(t, func(t *testing.T, store string) {
		g := newGround(t, store)
		j := job{Grace: patient, Slots: 16}
		two := []*process{g.start(j), g.start(j)}
		var noticed []time.Duration
		for g.lacks() {
			g.until("two workers", func() bool { return len(g.workers()) == 2 })
			g.until("both busy", func() bool {
				g.topUp(steps, 24, g.work)
				return g.busy(two[0]) && g.busy(two[1])
			})
			g.moment(400*time.Millisecond, two[0])
			n := g.rng.IntN(2)
			victim, heir := two[n], two[1-n]
			g.heirs[victim.pid()] = heir.pid()
			g.kill(victim)
			noticed = append(noticed, g.inherited(victim, heir))
			two[n] = g.start(j)
		}
		slices.Sort(noticed)
		median, worst := noticed[len(noticed)/2], noticed[len(noticed)-1]
		t.Logf("%d deaths were noticed after %v, %v at most", len(noticed), median.Round(time.Millisecond), worst.Round(time.Millisecond))
		if worst > 5*time.Second { // on a machine that is busy; the lease would be 15 s
			t.Errorf("a death was noticed after %v", worst)
		}
		g.until("two workers", func() bool { return len(g.workers()) == 2 })
		g.drain(two[0])
		g.finish(two[1])
	})
}

// busy says whether a process has tasks; there are more than the other one has room for.
func (g *ground) busy(p *process) bool {
	g.t.Helper()
	running := g.tasks(task.StatusRunning)
	for _, w := range g.workers() {
		if w.PID == p.pid() {
			return slices.ContainsFunc(running, func(t task.Task) bool { return t.Worker == w.Worker })
		}
	}
	return false
}

// inherited waits until the tasks of a dead process run in the other one, or are done. It returns after how long
// the death had been noticed, and all its runs been taken away.
func (g *ground) inherited(dead, heir *process) (noticed time.Duration) {
	g.t.Helper()
	began := time.Now()
	heir.until("heir of all tasks", func() bool {
		for _, w := range g.workers() {
			if w.PID == dead.pid() {
				return false
			}
		}
		if noticed == 0 {
			noticed = time.Since(began)
		}
		return g.count(task.StatusInterrupted) == 0
	})
	return noticed
}
