package checker_test

import (
	"fmt"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// book writes a history in which a second passes with every event.
type book struct {
	history.History
	now   time.Time
	calls int64
}

const lease, margin = 5 * time.Second, time.Second

func newBook() *book {
	b := &book{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	b.Lease, b.Margin = lease, margin
	b.State.Counts = make(map[string]int64)
	return b
}

func (b *book) event(e history.Event) {
	b.now = b.now.Add(time.Second)
	e.N, e.At = int64(len(b.Events)+1), b.now
	b.Events = append(b.Events, e)
}

func (b *book) process(p history.Process) { b.event(history.Event{Process: &p}) }

// start starts processes. The process id of each is in its name.
func (b *book) start(names ...string) {
	for _, name := range names {
		b.process(history.Process{Name: name, PID: pid(name), What: history.Started})
	}
}

func pid(name string) (n int) {
	_, _ = fmt.Sscanf(name, "p%d", &n)
	return n
}

func (b *book) ended(name, by string) {
	b.process(history.Process{Name: name, PID: pid(name), What: history.Ended, By: by})
}

func (b *book) told(name string, grace time.Duration) {
	b.process(history.Process{Name: name, PID: pid(name), What: history.Signalled, Signal: "SIGTERM", Grace: grace})
}

// kill adds a fault that kills a process.
func (b *book) kill(id int, name string) {
	b.event(history.Event{Fault: &history.Fault{ID: id, Kind: "kill", Victims: []string{name}}})
	b.process(history.Process{Name: name, PID: pid(name), What: history.Signalled, Signal: "SIGKILL"})
	b.ended(name, "SIGKILL")
	b.event(history.Event{Fault: &history.Fault{ID: id, Kind: "kill", Over: true, Victims: []string{name}}})
}

// call adds a call and its answer.
func (b *book) call(c history.Call, a history.Answer) {
	b.calls++
	c.ID, a.Call, c.Process = b.calls, b.calls, "p1"
	b.event(history.Event{Call: &c})
	b.event(history.Event{Answer: &a})
}

func id(seq int) string { return fmt.Sprintf("id-%d", seq) }

// enqueue adds the enqueue of tasks, which are accepted.
func (b *book) enqueue(plans ...history.Plan) {
	a := history.Answer{Outcome: history.Done}
	for i := range plans {
		plans[i].Kind = history.KindSteps
		a.IDs, a.Existed = append(a.IDs, id(plans[i].Seq)), append(a.Existed, false)
	}
	b.call(history.Call{Op: history.Enqueue, Plans: plans}, a)
}

// run adds a run with its effects: Begun at one step, the steps before another one, and the last
// effect that the run reports, 0 for none.
func (b *book) run(seq int, fence int64, name string, from, to, last int) {
	b.effect(seq, fence, name, history.Begun, from)
	for step := from; step < to; step++ {
		b.effect(seq, fence, name, step, 0)
	}
	if last != 0 {
		b.effect(seq, fence, name, last, to)
	}
}

func (b *book) effect(seq int, fence int64, name string, step, resumed int) {
	if step == history.Finished {
		resumed = 0
	}
	b.event(history.Event{Effect: &history.Effect{Seq: seq, TaskID: id(seq), Step: step, Fence: fence, Process: name, PID: pid(name), Resumed: resumed}})
}

// record adds the store's record of a task. The times of the runs are those of their effects.
func (b *book) record(seq int, t history.Task, runs ...history.Run) {
	t.ID, t.Seq, t.Kind = id(seq), seq, history.KindSteps
	for i := range runs {
		r := &runs[i]
		for _, e := range b.Events {
			if e.Effect == nil || e.Effect.Seq != seq || e.Effect.Fence != r.Run {
				continue
			}
			if r.PID = e.Effect.PID; r.Started.IsZero() {
				r.Started = e.At.Add(-time.Millisecond)
			}
			if !e.Effect.Stale {
				r.Ended = e.At.Add(time.Millisecond)
			}
		}
		if p := b.end(r.PID); r.Reclaimed && !p.IsZero() {
			r.Ended = p.Add(10 * time.Millisecond)
		}
	}
	t.Runs = runs
	b.State.Tasks = append(b.State.Tasks, t)
	b.State.Counts[t.Status]++
}

// end returns when a process ended.
func (b *book) end(of int) (at time.Time) {
	for _, e := range b.Events {
		if e.Process != nil && e.Process.PID == of && e.Process.What == history.Ended {
			at = e.At
		}
	}
	return at
}

func ok(run int64) history.Run { return history.Run{Run: run, Status: "succeeded"} }

func died(run int64) history.Run {
	return history.Run{Run: run, Status: "interrupted", Reason: "lost", Error: "the process died", Crashed: true, Reclaimed: true}
}

// sound returns a history in which everything went well, with something for each rule. Its tasks:
//
//	1   has a result and succeeds
//	2   is in a process that is killed
//	3   is handed over
//	4   ends in a transaction
//	5   has a key
//	6   is not added, since 5 has its key
//	7   is rolled back
//	8   is cancelled
//	9   fails once
//	10  kills its processes p5, p6 and p7
//	11  is the neighbour of 10 in p7
//	12  is in a process that is stopped for longer than a lease
//	13  is refused
//	14  is cancelled and retried
func sound() *book {
	b := newBook()
	b.start("p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8")
	b.enqueue(history.Plan{Seq: 1, Steps: 3, Result: 100}, history.Plan{Seq: 2, Steps: 4, Save: true}, history.Plan{Seq: 3, Steps: 3, HandOver: true})
	b.enqueue(history.Plan{Seq: 4, Steps: 2, InTx: true}, history.Plan{Seq: 5, Steps: 2, Key: "k"})
	b.run(1, 10, "p2", 0, 3, history.Finished)
	b.run(2, 20, "p2", 0, 2, 0)
	b.run(3, 30, "p3", 0, 1, history.HandedOver)
	b.run(5, 50, "p4", 0, 1, 0)
	b.keyed()
	b.effect(5, 50, "p4", 1, 0)
	b.effect(5, 50, "p4", history.Finished, 0)
	b.kill(1, "p2")
	b.told("p3", 5*time.Second)
	b.ended("p3", "")
	b.run(2, 21, "p4", 2, 4, history.Finished)
	b.run(3, 31, "p4", 1, 3, history.Finished)
	b.run(4, 40, "p4", 0, 2, history.Finished)
	b.commanded()
	b.poisoned()
	b.frozen()
	for range 40 {
		b.event(history.Event{Sample: &history.Sample{Process: "p4", RSS: 100 << 20, Files: 20}})
		b.event(history.Event{Sample: &history.Sample{Tables: map[string]int64{"tasks": 50 << 20}}})
	}
	b.told("p4", 5*time.Second)
	b.ended("p4", "")
	b.told("p1", 5*time.Second)
	b.ended("p1", "")
	b.record(1, history.Task{Status: "succeeded", Result: 102}, ok(10))
	b.record(2, history.Task{Status: "succeeded", Crashes: 1}, died(20), ok(21))
	b.record(3, history.Task{Status: "succeeded", Interruptions: 1}, history.Run{Run: 30, Status: "interrupted", Reason: "stop"}, ok(31))
	b.record(4, history.Task{Status: "succeeded"}, ok(40))
	b.State.TxSteps = []history.TxStep{{Seq: 4, Step: 1, Fence: 40}}
	b.record(5, history.Task{Status: "succeeded", Key: "k"}, ok(50))
	return b
}

// keyed adds a task that is a duplicate, one that is rolled back, and one that is refused.
func (b *book) keyed() {
	six := history.Plan{Seq: 6, Kind: history.KindSteps, Steps: 2, Key: "k"}
	b.call(history.Call{Op: history.Enqueue, Plans: []history.Plan{six}}, history.Answer{Outcome: history.Done, IDs: []string{id(5)}, Existed: []bool{true}})
	seven := history.Plan{Seq: 7, Kind: history.KindSteps, Steps: 2}
	b.call(history.Call{Op: history.EnqueueTx, Plans: []history.Plan{seven}}, history.Answer{Outcome: history.Done, IDs: []string{id(7)}, Existed: []bool{false}})
	thirteen := history.Plan{Seq: 13, Kind: history.KindSteps, Steps: 2}
	b.call(history.Call{Op: history.Enqueue, Plans: []history.Plan{thirteen}}, history.Answer{Outcome: history.Refused, Error: "too large"})
}

// commanded adds a task that is cancelled while it runs, one that fails once, and one that is
// retried after its cancel.
func (b *book) commanded() {
	b.enqueue(history.Plan{Seq: 8, Steps: 5}, history.Plan{Seq: 9, Steps: 2, Fail: 1}, history.Plan{Seq: 14, Steps: 1})
	b.run(8, 80, "p4", 0, 2, 0)
	b.call(history.Call{Op: history.Cancel, Seq: 8, TaskID: id(8)}, history.Answer{Outcome: history.Done})
	b.run(9, 90, "p4", 0, 1, 0)
	b.run(9, 91, "p4", 0, 2, history.Finished)
	b.call(history.Call{Op: history.Cancel, Seq: 14, TaskID: id(14)}, history.Answer{Outcome: history.Done})
	b.call(history.Call{Op: history.Retry, Seq: 14, TaskID: id(14)}, history.Answer{Outcome: history.Done})
	b.run(14, 140, "p4", 0, 1, history.Finished)
	b.record(8, history.Task{Status: "cancelled", Interruptions: 1}, history.Run{Run: 80, Status: "cancelled"})
	b.record(9, history.Task{Status: "succeeded", Attempts: 1}, history.Run{Run: 90, Status: "queued", Error: "fails"}, ok(91))
	b.record(14, history.Task{Status: "succeeded"}, ok(140))
}

// poisoned adds a task that kills three processes, and its neighbour in the last one.
func (b *book) poisoned() {
	b.enqueue(history.Plan{Seq: 10, Steps: 3, Exit: 9}, history.Plan{Seq: 11, Steps: 2})
	b.run(10, 100, "p5", 0, 1, 0)
	b.ended("p5", "SIGKILL")
	b.run(10, 101, "p6", 0, 1, 0)
	b.ended("p6", "SIGKILL")
	b.run(11, 110, "p7", 0, 1, 0)
	b.run(10, 102, "p7", 0, 1, 0)
	b.ended("p7", "SIGKILL")
	b.run(11, 111, "p4", 0, 2, history.Finished)
	last := died(102)
	last.Status, last.Reason = "failed", ""
	b.record(10, history.Task{Status: "failed", Crashes: 3, Error: "3 crashes"}, died(100), died(101), last)
	neighbour := died(110)
	neighbour.Crashed = false
	b.record(11, history.Task{Status: "succeeded", Interruptions: 1}, neighbour, ok(111))
}

// frozen adds a process that is stopped for longer than a lease, and continues too late.
func (b *book) frozen() {
	b.enqueue(history.Plan{Seq: 12, Steps: 3, Save: true})
	b.run(12, 120, "p8", 0, 1, 0)
	b.event(history.Event{Fault: &history.Fault{ID: 2, Kind: "freeze", Victims: []string{"p8"}}})
	b.process(history.Process{Name: "p8", PID: 8, What: history.Stopped})
	b.now = b.now.Add(lease)
	taken := b.now
	b.run(12, 121, "p4", 1, 3, history.Finished)
	b.process(history.Process{Name: "p8", PID: 8, What: history.Continued})
	b.event(history.Event{Fault: &history.Fault{ID: 2, Kind: "freeze", Over: true, Victims: []string{"p8"}}})
	b.event(history.Event{Effect: &history.Effect{Seq: 12, TaskID: id(12), Step: 1, Fence: 120, Process: "p8", PID: 8, Stale: true}})
	b.told("p8", 5*time.Second)
	b.ended("p8", "")
	b.record(12, history.Task{Status: "succeeded", Interruptions: 1}, history.Run{Run: 120, Status: "interrupted", Reason: "lost", Error: "the lease ran out", Reclaimed: true}, ok(121))
	b.State.Tasks[len(b.State.Tasks)-1].Runs[0].Ended = taken
}
