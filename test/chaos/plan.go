//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"

	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// forGood is more attempts and crashes than a task has: a plan with that many fails for good.
const forGood = 100

// planner makes plans of every kind from a seed.
type planner struct {
	rng      *rand.Rand
	seq      int
	inTx     bool            // the store can end a task in a transaction of the handler's
	programs bool            // the real server is available, which runs programs
	hostile  bool            // their children may be hostile
	can      map[string]bool // what the library can do, by the names of package wire
	// last is the last plan that may kill its process for good. The pauses between such runs grow to
	// half a minute, and a run waits for the end of all tasks.
	last int
}

// next makes a plan. Most plans are short; one in some dozens has a special property.
func (p *planner) next() history.Plan {
	p.seq++
	r := p.rng
	plan := history.Plan{Seq: p.seq, Kind: history.KindSteps, Steps: 1 + r.IntN(5), PaceMS: 2 + r.IntN(40)}
	often := func(percent int) bool { return r.IntN(100) < percent }
	plan.Save = often(60)
	plan.HandOver = often(50)
	switch {
	case often(4):
		plan.Steps, plan.PaceMS = 10+r.IntN(20), 50+r.IntN(100)
	case p.programs && often(5):
		plan.Kind, plan.Children = history.KindProgram, r.IntN(3)
		plan.Hostile = p.hostile && plan.Children > 0 && often(5)
		plan.Save = false // the server reads a program's checkpoint once a second, not after each step
	}
	if plan.Kind == history.KindSteps {
		p.records(&plan, often)
		p.oddities(&plan, often)
	}
	p.terms(&plan, often)
	return plan
}

// records makes the library record the steps of a plan, or its position in them.
func (p *planner) records(plan *history.Plan, often func(percent int) bool) {
	switch {
	case p.can[wire.CanRecord] && often(10):
		plan.Recorded = true
	case p.can[wire.CanIterate] && often(10):
		plan.Items, plan.Steps, plan.PaceMS = true, plan.Steps*4, 1+plan.PaceMS/4
		plan.EveryMS = []int{0, 50, 1000}[p.rng.IntN(3)]
	default:
		return
	}
	plan.Save, plan.HandOver = false, false
}

// oddities gives a plan properties that few have.
func (p *planner) oddities(plan *history.Plan, often func(percent int) bool) {
	r := p.rng
	plan.InTx = p.inTx && often(15)
	if often(20) {
		plan.Result = 1 << r.IntN(14)
	}
	if often(15) {
		plan.Log = 1 + r.IntN(40)
	}
	plan.Progress = often(10)
	switch {
	case often(3):
		plan.Fail = 1 + r.IntN(2)
	case r.IntN(400) == 0:
		plan.Fail = forGood
	case r.IntN(2000) == 0:
		plan.Kind, plan.Exit = history.KindPoison, 1+r.IntN(2)
	case r.IntN(8000) == 0:
		if plan.Kind, plan.Exit = history.KindPoison, 1; plan.Seq <= p.last {
			plan.Exit = forGood // it kills every worker that runs it
		}
	case !plan.Recorded && !plan.Items && r.IntN(500) == 0:
		plan.UnresponsiveMS = 500 + r.IntN(4000)
	}
}

// terms sets the options that a task is enqueued with.
func (p *planner) terms(plan *history.Plan, often func(percent int) bool) {
	r := p.rng
	if often(25) {
		plan.ID = uuid(r)
	}
	switch {
	case often(30):
		plan.Queue = fmt.Sprintf("tenant-%d", r.IntN(3000))
	case often(30):
		plan.Queue = fmt.Sprintf("shared-%d", r.IntN(4))
	}
	if often(8) {
		plan.Key = fmt.Sprintf("key-%d", r.IntN(20))
	}
	if often(10) {
		plan.Priority = r.IntN(7) - 3
	}
	if often(8) {
		plan.DelayMS = r.IntN(4000)
	}
	if p.can[wire.CanStartBefore] && often(4) {
		plan.StartBeforeMS = plan.DelayMS + 1 + r.IntN(1500)
	}
}

// uuid returns an id of one of the versions in use, only some of which are ordered by time.
func uuid(r *rand.Rand) string {
	var b [16]byte
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	versions := [...]byte{1, 3, 4, 5, 6, 7, 8}
	b[6] = b[6]&0x0f | versions[r.IntN(len(versions))]<<4
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
