package checker_test

import (
	"slices"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

func endWays() []broken {
	return []broken{
		{"an id that was asked for", "", func(b *book) { b.plan(1, func(p *history.Plan) { p.ID = "ID-1" }) }},
		{"a queue that nobody asked for", "", func(b *book) { b.rec(1).Queue = "default" }},
		{"the handler of another run had returned", "ended", func(b *book) {
			b.plan(9, func(p *history.Plan) { p.Steps = 2 })
			b.cut(of(91, history.Finished))
			b.effect(9, 92, "p4", history.Begun, 2)
			b.effect(9, 92, "p4", history.Finished, 0)
			b.rec(9).Runs[0].Run, b.rec(9).Runs[1].Run = 91, 92
			b.rec(9).Runs[0], b.rec(9).Runs[1] = b.rec(9).Runs[1], b.rec(9).Runs[0]
			b.rec(9).Runs = []history.Run{{Run: 90, PID: 4, Status: "queued", Error: "fails"}, {Run: 92, PID: 4, Status: "queued", Error: "fails"}, {Run: 91, PID: 4, Status: "succeeded"}}
			b.rec(9).Attempts = 2
			b.clocksMove()
		}},
		{"a process died between the commit and the last effect", "", func(b *book) { b.cut(of(40, history.Finished)) }},
		{"a cancelled run of a task that was cancelled again", "ended", func(b *book) {
			b.becomes(9, "cancelled")
			b.cut(of(91, 99))
			b.rec(9).Runs = b.rec(9).Runs[:1]
			b.rec(9).Runs[0].Status = "succeeded"
			b.command(history.Retry, 9, history.Done)
			b.command(history.Cancel, 9, history.Done)
			b.rec(9).Attempts = 0
		}},
		{"one run begins after a cancel", "", func(b *book) {
			b.run(8, 81, "p4", 0, 1, 0)
			b.rec(8).Runs = []history.Run{{Run: 80, PID: 4, Status: "queued"}, {Run: 81, PID: 4, Status: "cancelled"}}
		}},
		{"two runs began before a cancel", "", func(b *book) {
			goesOn(b)
			b.command(history.Cancel, 8, history.Done)
			b.cut(func(e history.Event) bool {
				return e.Call != nil && e.Call.Op == history.Cancel && e.Call.Seq == 8 && e.Call.ID < 8
			})
		}},
		{"it goes on after its cancel by a retry that was asked for before and answered after", "", func(b *book) {
			goesOn(b)
			i := slices.IndexFunc(b.Events, func(e history.Event) bool { return e.Call != nil && e.Call.Op == history.Cancel && e.Call.Seq == 8 })
			n := b.Events[i].N
			b.Events = append([]history.Event{{N: n - 1, At: b.Events[i].At, Call: &history.Call{ID: 900, Op: history.Retry, Seq: 8}}}, b.Events...)
			b.event(history.Event{Answer: &history.Answer{Call: 900, Outcome: history.Done}})
		}},
	}
}

// clocksMove adds a fault that moves the store's clock.
func (b *book) clocksMove() {
	b.event(history.Event{Fault: &history.Fault{ID: 9, Kind: "clock", Over: true, Clocks: true}})
}

func TestEnded_KnowsWhatMayBe(t *testing.T) {
	t.Parallel()
	check(t, endWays())
}

// late makes a run of task 9 try to write, and be refused, after run 91 has begun.
func (b *book) late(fence int64, process string) {
	i := slices.IndexFunc(b.Events, of(91, history.Begun))
	e := b.Events[i]
	e.Effect = &history.Effect{Seq: 9, TaskID: id(9), Step: 1, Fence: fence, Process: process, PID: pid(process), Stale: true}
	b.Events = slices.Insert(b.Events, i+1, e)
}

func effectWays() []broken {
	return []broken{
		{"an effect that does not name its task", "", func(b *book) { b.each(10, func(e *history.Event) { e.Effect.TaskID = "" }) }},
		{"a run whose process is not known", "", func(b *book) { b.rec(1).Runs[0].PID = 0 }},
		{"a run is refused that was never accepted", "", func(b *book) { b.late(89, "p4") }},
		{"a run is refused that is the newest", "", func(b *book) { b.late(91, "p4") }},
		{"a run of a process that is not known is refused", "overlap", func(b *book) { b.late(90, "p77") }},
		{"a run is active alongside the next one", "overlap", func(b *book) { b.late(90, "p4") }},
		{"a run is active alongside the next one where commits may be lost", "", func(b *book) { b.late(90, "p4"); b.lossy() }},
		{"a run of a process that had died is refused", "", func(b *book) {
			b.event(history.Event{Effect: &history.Effect{Seq: 2, TaskID: id(2), Step: 2, Fence: 20, Process: "p2", PID: 2, Stale: true}})
		}},
		{"the next run is claimed within the margin before the end", "", func(b *book) {
			r := b.rec(9).Runs
			r[0].Ended = r[1].Started.Add(margin)
		}},
		{"the next run is claimed before the end of a process that was away", "", func(b *book) {
			r := b.rec(12).Runs
			r[0].Ended = r[1].Started.Add(2 * margin)
		}},
		{"the effect in the transaction of a task that did not succeed", "once", func(b *book) {
			b.becomes(4, "cancelled")
			b.rec(4).Runs[0].Status = "cancelled"
			b.command(history.Cancel, 4, history.Done)
		}},
		{"the effect in the transaction of a task that was cancelled and has no run", "once stale", func(b *book) {
			b.becomes(4, "cancelled")
			b.rec(4).Runs = nil
			b.command(history.Cancel, 4, history.Done)
		}},
		{"the effect in the transaction of a task without one in its plan", "once", func(b *book) { b.plan(4, func(p *history.Plan) { p.InTx = false }) }},
		{"a success in a transaction without a run", "ended once stale", func(b *book) { b.rec(4).Runs = nil }},
	}
}

func TestEffects_KnowWhatMayBe(t *testing.T) {
	t.Parallel()
	check(t, effectWays())
}

// Each run is reported once, however many effects it has.
func TestStale_TellsOnceOfARun(t *testing.T) {
	t.Parallel()
	b := sound()
	b.each(10, func(e *history.Event) { e.Effect.PID = 77 })
	for _, more := range []int{1, 2} {
		i := slices.IndexFunc(b.Events, of(121, 2))
		e := history.Event{N: b.Events[i].N, At: b.Events[i].At.Add(time.Duration(more)),
			Effect: &history.Effect{Seq: 12, TaskID: id(12), Step: more, Fence: 120, Process: "p8", PID: 8}}
		b.Events = slices.Insert(b.Events, i+1, e)
	}
	if n := count(b, "stale", 1); n != 1 {
		t.Errorf("task 1 is reported %d times", n)
	}
	if n := count(b, "stale", 12); n != 1 {
		t.Errorf("task 12 is reported %d times", n)
	}
	b = sound()
	b.late(90, "p4")
	b.late(90, "p4")
	if n := count(b, "overlap", 9); n != 1 {
		t.Errorf("task 9 is reported %d times", n)
	}
}
