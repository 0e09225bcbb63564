package checker_test

import (
	"slices"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

func endedWays() []broken {
	return []broken{
		{"a task is gone", "ended", func(b *book) { b.drop(1) }},
		{"a task is there twice", "ended", func(b *book) { b.record(1, history.Task{Status: "succeeded", Result: 102}, ok(10)) }},
		{"a task waits for ever", "ended", func(b *book) { b.becomes(11, "queued") }},
		{"a task runs for ever", "ended", func(b *book) {
			b.becomes(1, "running")
			b.rec(1).Runs[0].Status = "running"
		}},
		{"a healthy task has failed", "ended", func(b *book) {
			b.becomes(1, "failed")
			b.rec(1).Runs[0].Status = "failed"
		}},
		{"a task is cancelled for nothing", "ended", func(b *book) {
			b.becomes(1, "cancelled")
			b.rec(1).Runs[0].Status = "cancelled"
		}},
		{"a task stays cancelled after its retry", "ended", func(b *book) { b.becomes(14, "cancelled") }},
		{"a task goes on after its cancel", "ended", goesOn},
		{"a step is left out", "ended order", func(b *book) { b.cut(of(10, 2)) }},
		{"a handler had not returned", "ended", func(b *book) { b.cut(of(10, history.Finished)) }},
		{"a result is lost", "ended", func(b *book) { b.rec(1).Result = 0 }},
		{"a task ends twice", "ended", func(b *book) {
			b.run(1, 11, "p4", 0, 3, history.Finished)
			b.rec(1).Runs = append(b.rec(1).Runs, history.Run{Run: 11, PID: 4, Status: "succeeded", Started: b.now, Ended: b.now})
		}},
		{"a task goes on after it has failed", "ended", func(b *book) { b.rec(9).Runs[0].Status, b.rec(9).Runs[0].Error = "failed", "" }},
		{"a status without its run", "ended", func(b *book) { b.rec(1).Runs[0].Status = "queued" }},
		{"a success without a run", "ended stale", func(b *book) { b.rec(1).Runs = nil }},
		{"another kind", "ended", func(b *book) { b.rec(1).Kind = "send-mail" }},
		{"another queue", "ended", func(b *book) { b.plan(1, func(p *history.Plan) { p.Queue = "q" }) }},
		{"another key", "ended", func(b *book) { b.rec(1).Key = "q" }},
		{"another id than answered", "ended", func(b *book) {
			b.rec(1).ID = "id-99"
			b.each(10, func(e *history.Event) { e.Effect.TaskID = "id-99" })
		}},
		{"another id than asked for", "ended", func(b *book) { b.plan(1, func(p *history.Plan) { p.ID = "id-99" }) }},
	}
}

func inventedWays() []broken {
	there := func(seq int) func(*book) {
		return func(b *book) {
			key := ""
			if seq == 6 {
				key = "k"
			}
			b.run(seq, 500, "p4", 0, 2, history.Finished)
			b.record(seq, history.Task{Status: "succeeded", Key: key}, ok(500))
		}
	}
	return []broken{
		{"nobody has asked for it", "invented", there(77)},
		{"it existed", "invented", there(6)},
		{"it was rolled back", "invented", there(7)},
		{"it was refused", "invented", there(13)},
		{"a holder that is not there", "invented", func(b *book) { b.answer(6).Answer.IDs[0] = "id-99" }},
		{"a holder of another key", "invented", func(b *book) { b.answer(6).Answer.IDs[0] = id(1) }},
		{"a holder of no key", "invented", func(b *book) {
			b.plan(6, func(p *history.Plan) { p.Key = "" })
			b.answer(6).Answer.IDs[0] = id(1)
		}},
		{"a holder that had ended", "invented", func(b *book) {
			b.enqueue(history.Plan{Seq: 15, Steps: 1, Key: "k"})
			b.answer(15).Answer.IDs[0], b.answer(15).Answer.Existed[0] = id(5), true
		}},
		{"a holder in the same transaction", "", func(b *book) {
			some := []history.Plan{{Seq: 15, Kind: history.KindSteps, Steps: 1, Key: "t"}, {Seq: 16, Kind: history.KindSteps, Steps: 1, Key: "t"}}
			b.call(history.Call{Op: history.EnqueueTx, Plans: some}, history.Answer{Outcome: history.Done, IDs: []string{id(15), id(15)}, Existed: []bool{false, true}})
		}},
		{"a holder that came later", "invented", func(b *book) {
			b.enqueue(history.Plan{Seq: 15, Steps: 1, Key: "k"})
			b.run(15, 150, "p4", 0, 1, history.Finished)
			b.record(15, history.Task{Status: "succeeded", Key: "k"}, ok(150))
			b.answer(6).Answer.IDs[0] = id(15)
		}},
	}
}

func keysWays() []broken {
	return []broken{
		{"a key is given twice", "keys", func(b *book) {
			b.answer(6).Answer.IDs[0], b.answer(6).Answer.Existed[0] = id(6), false
			b.run(6, 60, "p4", 0, 2, history.Finished)
			b.record(6, history.Task{Status: "succeeded", Key: "k"}, ok(60))
		}},
		{"a key is given again when its holder was cancelled in a process that stands still", "", func(b *book) {
			b.start("p15")
			b.enqueue(history.Plan{Seq: 15, Steps: 2, Key: "t"})
			b.effect(15, 150, "p15", history.Begun, 0)
			b.process(history.Process{Name: "p15", PID: 15, What: history.Stopped})
			b.now = b.now.Add(2 * lease)
			b.call(history.Call{Op: history.Cancel, Seq: 15, TaskID: id(15)}, history.Answer{Outcome: history.Done})
			end := b.now
			b.enqueue(history.Plan{Seq: 16, Steps: 1, Key: "t"})
			b.run(16, 160, "p4", 0, 1, history.Finished)
			b.process(history.Process{Name: "p15", PID: 15, What: history.Continued})
			b.effect(15, 150, "p15", 0, 0)
			b.record(15, history.Task{Status: "cancelled", Key: "t"},
				history.Run{Run: 150, PID: 15, Started: end.Add(-3 * lease), Ended: end, Status: "cancelled", Reclaimed: true})
			b.record(16, history.Task{Status: "succeeded", Key: "t"}, ok(160))
		}},
		{"a key is given again when its holder has ended", "", func(b *book) {
			b.enqueue(history.Plan{Seq: 15, Steps: 1, Key: "k"})
			b.run(15, 150, "p4", 0, 1, history.Finished)
			b.record(15, history.Task{Status: "succeeded", Key: "k"}, ok(150))
		}},
	}
}

func pausedWays() []broken {
	// queue puts a pause and a resume of the queue of task 1 at the times of two events of its run, or
	// of the event before it.
	queue := func(from, to int, outcome history.Outcome) func(*book) {
		return func(b *book) {
			b.plan(1, func(p *history.Plan) { p.Queue = "q" })
			b.rec(1).Queue = "q"
			begun := slices.IndexFunc(b.Events, of(10, history.Begun))
			at := func(i int, e history.Event) {
				e.N, e.At = b.Events[begun+i].N, b.Events[begun+i].At.Add(-10*time.Millisecond)
				b.Events = slices.Insert(b.Events, begun+i, e)
			}
			at(to, history.Event{Answer: &history.Answer{Call: 901, Outcome: history.Done}})
			at(to, history.Event{Call: &history.Call{ID: 901, Op: history.Resume, Queue: "q"}})
			at(from, history.Event{Answer: &history.Answer{Call: 900, Outcome: outcome}})
			at(from, history.Event{Call: &history.Call{ID: 900, Op: history.Pause, Queue: "q"}})
		}
	}
	return []broken{
		{"a run begins in a paused queue", "paused", queue(0, 1, history.Done)},
		{"a run goes on in a paused queue", "", queue(1, 2, history.Done)},
		{"a run begins when its queue was resumed", "", queue(-1, 0, history.Done)},
		{"a resume of which nobody knows", "", func(b *book) {
			queue(0, 1, history.Done)(b)
			resume := history.Event{N: 1, At: b.Events[0].At, Call: &history.Call{ID: 902, Op: history.Resume, Queue: "q"}}
			b.Events = slices.Insert(b.Events, 1, resume)
		}},
		{"a pause of which nobody knows", "", queue(0, 1, history.Unknown)},
	}
}

// program turns task 1 into a task of a program.
func program(b *book) {
	b.plan(1, func(p *history.Plan) { p.Kind = history.KindProgram })
	b.rec(1).Kind = history.KindProgram
}

// forget has a task with more runs than a store keeps.
func forget(b *book) {
	b.enqueue(history.Plan{Seq: 15, Steps: 1, Fail: 200})
	var runs []history.Run
	for n := range 101 {
		b.run(15, int64(1000+n), "p4", 0, 1, 0)
		runs = append(runs, history.Run{Run: int64(1000 + n), Status: "queued", Error: "fails"})
	}
	runs[100].Status = "failed"
	b.record(15, history.Task{Status: "failed", Attempts: 101}, runs[1:]...)
}

// lostBefore makes the store lose the run of task 2 two margins before its effects. With away, the
// store stays unavailable until after them.
func lostBefore(b *book, away bool) {
	fence := b.rec(2).Runs[0].Run
	var first, last time.Time
	b.each(fence, func(e *history.Event) {
		if first.IsZero() {
			first = e.At
		}
		last = e.At
	})
	b.rec(2).Runs[0].Run = fence - 1
	add := func(at time.Time, x history.Fault) {
		b.Events = append(b.Events, history.Event{N: int64(len(b.Events) + 1), At: at, Fault: &x})
	}
	add(first.Add(-2*margin), history.Fault{ID: 98, Kind: "failover", Lossy: true, Over: true})
	if away {
		add(first.Add(-3*margin/2), history.Fault{ID: 99, Kind: "restart"})
		add(last, history.Fault{ID: 99, Kind: "restart", Over: true})
	}
}

func staleWays() []broken {
	return []broken{
		{"a stale effect is accepted", "order stale", func(b *book) { b.Events[slices.IndexFunc(b.Events, of(120, 1))].Effect.Stale = false }},
		{"a run that the history has not", "stale", func(b *book) { b.rec(2).Runs[0].Run = 19 }},
		{"a run that was lost, in a process that cannot know yet", "", func(b *book) { lostBefore(b, true) }},
		{"a run that was lost, in a process that knows", "stale", func(b *book) { lostBefore(b, false) }},
		{"a run in another process", "stale", func(b *book) { b.rec(1).Runs[0].PID = 4 }},
		{"a program in another process", "stale", func(b *book) { program(b); b.rec(1).Runs[0].PID = 4 }},
		{"a program of the process", "", func(b *book) {
			program(b)
			b.each(10, func(e *history.Event) { e.Effect.PID = 77 })
		}},
		{"a run that was forgotten", "", forget},
		{"a run that was not forgotten", "stale", func(b *book) {
			forget(b)
			b.rec(15).Runs[0].Run -= 10
		}},
		{"an effect of another process", "stale", func(b *book) { b.each(10, func(e *history.Event) { e.Effect.PID = 77 }) }},
		{"an effect of another task", "stale", func(b *book) { b.each(10, func(e *history.Event) { e.Effect.TaskID = id(2) }) }},
	}
}

func overlapWays() []broken {
	stopShorter := func(b *book) {
		b.cut(what("p8", history.Stopped))
		b.cut(what("p8", history.Continued))
	}
	toldBefore := func(b *book) {
		i := slices.IndexFunc(b.Events, what("p8", history.Signalled))
		k := slices.IndexFunc(b.Events, of(120, 0))
		b.Events[i].At = b.Events[k].At
		b.Events[i].Process.Grace = time.Hour
	}
	return []broken{
		{"a run that is at work is given away", "alive overlap", stopShorter},
		{"it was cut off meanwhile", "", func(b *book) {
			stopShorter(b)
			for _, e := range b.Events {
				if e.Fault != nil && e.Fault.ID == 2 {
					e.Fault.Cut = true
				}
			}
		}},
		{"another one was cut off meanwhile", "alive overlap", func(b *book) {
			stopShorter(b)
			for _, e := range b.Events {
				if e.Fault != nil && e.Fault.ID == 2 {
					e.Fault.Cut, e.Fault.Victims = true, []string{"p4"}
				}
			}
		}},
		{"an unresponsive handler that was told to end", "alive", func(b *book) {
			stopShorter(b)
			b.plan(12, func(p *history.Plan) { p.UnresponsiveMS = 1000 })
			toldBefore(b)
		}},
		{"an unresponsive handler that was left in peace", "alive overlap", func(b *book) {
			stopShorter(b)
			b.plan(12, func(p *history.Plan) { p.UnresponsiveMS = 1000 })
		}},
		{"a handler that was told to end", "alive overlap", func(b *book) { stopShorter(b); toldBefore(b) }},
		{"by the times of the store", "overlap", func(b *book) {
			r := b.rec(9).Runs
			r[0].Ended = r[1].Started.Add(margin + time.Second)
		}},
		{"runs that do not grow", "overlap", func(b *book) {
			r := b.rec(9).Runs
			r[0], r[1].PID = history.Run{Run: 91, PID: 4, Status: "queued", Error: "fails"}, 4
			b.each(90, func(e *history.Event) { e.Effect.Fence = 91 })
			b.cut(of(91, 99))
			b.run(9, 91, "p4", 0, 2, history.Finished)
		}},
	}
}

func onceWays() []broken {
	return []broken{
		{"the effect is missing", "once", func(b *book) { b.State.TxSteps = nil }},
		{"the effect is there twice", "once", func(b *book) { b.State.TxSteps = append(b.State.TxSteps, b.State.TxSteps[0]) }},
		{"the effect of another run", "once", func(b *book) { b.State.TxSteps[0].Fence = 39 }},
		{"another step", "once", func(b *book) { b.State.TxSteps[0].Step = 0 }},
		{"the effect of a task that was cancelled", "once", func(b *book) { b.State.TxSteps[0].Seq = 8; b.plan(4, func(p *history.Plan) { p.InTx = false }) }},
		{"the effect of no task", "once", func(b *book) { b.State.TxSteps[0].Seq = 99; b.plan(4, func(p *history.Plan) { p.InTx = false }) }},
	}
}

// begunAgain makes a run begin again after a crash. With lost, the crash may have lost the run's
// end.
func begunAgain(lost bool) func(*book) {
	return func(b *book) {
		i := slices.IndexFunc(b.Events, of(10, history.Finished))
		end := b.Events[i]
		soon := func(d time.Duration, e history.Event) history.Event {
			e.At = end.At.Add(d)
			return e
		}
		after := []history.Event{
			soon(5*time.Second, history.Event{Fault: &history.Fault{ID: 98, Kind: "crash", Lossy: lost}}),
			soon(6*time.Second, history.Event{Fault: &history.Fault{ID: 98, Kind: "crash", Lossy: lost, Over: true}}),
		}
		for n, from := range slices.DeleteFunc(slices.Clone(b.Events[:i+1]), func(e history.Event) bool { return e.Effect == nil || e.Effect.Fence != 10 }) {
			after = append(after, soon(10*time.Second+time.Duration(n)*time.Millisecond, from))
		}
		b.Events = slices.Insert(b.Events, i+1, after...)
	}
}

func orderWays() []broken {
	step := func(fence int64, from, to int) func(*book) {
		return func(b *book) {
			b.each(fence, func(e *history.Event) {
				if e.Effect.Step == from {
					e.Effect.Step = to
				}
			})
		}
	}
	resumed := func(fence int64, at int) func(*book) {
		return func(b *book) { b.Events[slices.IndexFunc(b.Events, of(fence, history.Begun))].Effect.Resumed = at }
	}
	return []broken{
		{"a step is done twice in a run", "ended order", step(10, 1, 0)},
		{"a step follows none", "order", step(10, history.Begun, 0)},
		{"a run begins twice", "ended order", step(10, 0, history.Begun)},
		{"a step after the end", "ended order", func(b *book) { b.effect(14, 140, "p4", 1, 0) }},
		{"a checkpoint that is ahead", "order", resumed(21, 3)},
		{"a checkpoint is lost", "order", func(b *book) { b.cut(of(21, 99)); b.run(2, 21, "p4", 0, 4, history.Finished) }},
		{"a run returns too early", "ended order", func(b *book) { b.plan(1, func(p *history.Plan) { p.Steps = 4 }) }},
		{"a step was done again", "", func(b *book) { b.cut(of(21, 99)); b.run(2, 21, "p4", 1, 4, history.Finished) }},
		{"a run begins again", "order", begunAgain(false)},
		{"a run begins again whose end a crash has lost", "", begunAgain(true)},
		{"it hands over another step", "handover order", func(b *book) {
			b.Events[slices.IndexFunc(b.Events, of(30, history.HandedOver))].Effect.Resumed = 2
		}},
	}
}
