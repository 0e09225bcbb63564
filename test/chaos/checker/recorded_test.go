package checker_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/checker"
	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// scheduled returns a history in which everything went well, with something for the rules of what
// goes on by itself. Its tasks:
//
//	1        has recorded steps, and fails once in the second one
//	2        is an iteration that records its position after each item, and fails once
//	3        is an iteration that hands over, and would have recorded it after an hour
//	4, 5     are to start before a time: one does, and one expires
//	6, 7, 8  are cancelled, retried and deleted with all tasks of their queue
//
// Five ticks of a schedule make a task each before it is paused.
func scheduled() *book {
	b := newBook()
	b.start("p1", "p4")
	b.enqueue(history.Plan{Seq: 1, Steps: 2, Recorded: true, Fail: 1}, history.Plan{Seq: 2, Steps: 4, Items: true, Fail: 1}, history.Plan{Seq: 3, Steps: 4, Items: true, EveryMS: 3_600_000})
	b.effect(1, 10, "p4", history.Begun, 0)
	b.effect(1, 10, "p4", 0, 0)
	b.returned(1, 10, 0, 10)
	b.effect(1, 10, "p4", 1, 0)
	b.effect(1, 11, "p4", history.Begun, 0)
	b.returned(1, 11, 0, 10)
	b.effect(1, 11, "p4", 1, 0)
	b.returned(1, 11, 1, 11)
	b.effect(1, 11, "p4", history.Finished, 0)
	b.record(1, history.Task{Status: "succeeded", Attempts: 1}, history.Run{Run: 10, Status: "queued", Error: "fails"}, ok(11))
	b.items(2, 20, 0, 2, 0)
	b.items(2, 21, 2, 4, history.Finished)
	b.record(2, history.Task{Status: "succeeded", Attempts: 1}, history.Run{Run: 20, Status: "queued", Error: "fails"}, ok(21))
	b.items(3, 30, 0, 3, 0)
	b.now = b.now.Add(3 * lease)
	b.items(3, 31, 3, 4, history.Finished)
	b.record(3, history.Task{Status: "succeeded", Interruptions: 1}, history.Run{Run: 30, Status: "interrupted", Reason: "stop"}, ok(31))
	b.bounded()
	b.queue()
	b.ticking()
	b.told("p4", 5*time.Second)
	b.ended("p4", "")
	return b
}

func (b *book) returned(seq int, fence int64, step int, by int64) {
	b.event(history.Event{Effect: &history.Effect{Seq: seq, TaskID: id(seq), Step: history.Returned, Resumed: step, Result: by, Fence: fence, Process: "p4", PID: 4}})
}

// items adds a run of an iteration.
func (b *book) items(seq int, fence int64, from, to, last int) {
	b.effect(seq, fence, "p4", history.Begun, 0)
	for item := from; item < to; item++ {
		b.effect(seq, fence, "p4", item, 0)
	}
	if last != 0 {
		b.effect(seq, fence, "p4", last, 0)
	}
}

// bounded adds the tasks that are to start before a time.
func (b *book) bounded() {
	created := b.now
	b.enqueue(history.Plan{Seq: 4, Steps: 1, StartBeforeMS: 10_000}, history.Plan{Seq: 5, Steps: 1, StartBeforeMS: 20_000})
	b.run(4, 40, "p4", 0, 1, history.Finished)
	b.now = created.Add(21 * time.Second)
	b.record(4, history.Task{Status: "succeeded", Created: created}, ok(40))
	b.record(5, history.Task{Status: "cancelled", Reason: "expired", Created: created, Ended: b.now})
}

// queue adds the tasks of one queue, and the commands for all of it.
func (b *book) queue() {
	b.enqueue(history.Plan{Seq: 6, Steps: 1, Queue: "q"}, history.Plan{Seq: 7, Steps: 1, Queue: "q", Fail: 1}, history.Plan{Seq: 8, Steps: 1, Queue: "q"})
	b.run(8, 80, "p4", 0, 1, history.Finished)
	gone := b.now
	b.run(7, 70, "p4", 0, 1, 0)
	b.now = b.now.Add(3 * margin)
	b.call(history.Call{Op: history.RetryAll, Queue: "q"}, history.Answer{Outcome: history.Done})
	b.run(7, 71, "p4", 0, 1, history.Finished)
	over := b.now
	b.run(6, 60, "p4", 0, 1, 0)
	b.call(history.Call{Op: history.CancelAll, Queue: "q"}, history.Answer{Outcome: history.Done})
	cancelled := b.now
	b.now = b.now.Add(3 * margin)
	b.call(history.Call{Op: history.DeleteAll, Queue: "q"}, history.Answer{Outcome: history.Done})
	deleted := b.now
	b.record(6, history.Task{Status: "cancelled", Queue: "q", Interruptions: 1, Ended: cancelled, Pruned: deleted}, history.Run{Run: 60, Status: "cancelled"})
	b.record(7, history.Task{Status: "succeeded", Queue: "q", Ended: over, Pruned: deleted}, history.Run{Run: 70, Status: "failed", Error: "fails"}, ok(71))
	b.record(8, history.Task{Status: "succeeded", Queue: "q", Ended: gone, Pruned: deleted}, ok(80))
	b.State.Counts["cancelled"]--
	b.State.Counts["succeeded"] -= 2
}

// each10 is the schedule.
var each10 = history.Schedule{Number: 1, Name: "chaos/each10", Every: 10 * time.Second, Plan: history.Plan{Seq: -1, Kind: history.KindSteps, Steps: 1}}

// tick returns the number of the task of a tick.
func (b *book) tick(n int) int { return each10.Seq(b.first().Add(time.Duration(n) * each10.Every)) }

// first returns the first tick of the schedule.
func (b *book) first() time.Time {
	i := slices.IndexFunc(b.Events, func(e history.Event) bool { return e.Schedule != nil })
	return b.Events[i].At.Truncate(each10.Every).Add(each10.Every)
}

func (b *book) ticking() {
	b.event(history.Event{Schedule: &each10})
	first := b.first()
	for n := range 5 {
		at := first.Add(time.Duration(n) * each10.Every)
		b.now = at
		b.made(at, int64(900+n))
	}
	b.call(history.Call{Op: history.PauseSchedule, Schedule: each10.Name}, history.Answer{Outcome: history.Done})
}

// made adds the task of a tick.
func (b *book) made(at time.Time, fence int64) {
	seq := each10.Seq(at)
	b.run(seq, fence, "p4", 0, 1, history.Finished)
	b.record(seq, history.Task{Status: "succeeded", Schedule: each10.Name, Tick: at}, ok(fence))
	b.State.Tasks[len(b.State.Tasks)-1].Seq = each10.Plan.Seq
}

// ticked returns the record of a tick's task.
func (b *book) ticked(n int) *history.Task {
	at := b.first().Add(time.Duration(n) * each10.Every)
	i := slices.IndexFunc(b.State.Tasks, func(t history.Task) bool { return t.Tick.Equal(at) })
	return &b.State.Tasks[i]
}

// dropTick removes the task of a tick and what it did.
func (b *book) dropTick(n int) {
	b.ticked(n).Seq = b.tick(n)
	b.drop(b.tick(n))
	b.cut(of(int64(900+n), 99))
}

// result changes the result that a run has got of a step.
func result(fence int64, step int, change func(*history.Effect)) func(*book) {
	return func(b *book) {
		b.each(fence, func(e *history.Event) {
			if e.Effect.Step == history.Returned && e.Effect.Resumed == step {
				change(e.Effect)
			}
		})
	}
}

// insert adds an effect of a run before that of a step.
func insert(fence int64, before int, add history.Effect) func(*book) {
	return func(b *book) {
		i := slices.IndexFunc(b.Events, of(fence, before))
		x := *b.Events[i].Effect
		x.Step, x.Resumed, x.Result = add.Step, add.Resumed, add.Result
		e := b.Events[i]
		e.Effect = &x
		b.Events = slices.Insert(b.Events, i, e)
	}
}

func stepsWays() []broken {
	return []broken{
		{"a recorded step is done again", "steps", insert(11, history.Returned, history.Effect{Step: 0})},
		{"a step is done twice in a run", "steps", insert(10, history.Returned, history.Effect{Step: 0})},
		{"a step is left out", "ended steps", func(b *book) {
			b.cut(of(10, 1))
			b.cut(of(11, 1))
			result(11, 1, func(x *history.Effect) { x.Step = -9 })(b)
		}},
		{"the result is that of no run", "steps", result(10, 0, func(x *history.Effect) { x.Result = 9 })},
		{"the result of a later run is another one", "steps", func(b *book) {
			result(11, 0, func(x *history.Effect) { x.Result = 9 })(b)
			i := slices.IndexFunc(b.Events, of(10, history.Begun))
			for step, at := range []int{history.Begun, 0} {
				e := b.Events[i]
				x := *e.Effect
				x.Fence, x.Step = 9, at
				e.Effect = &x
				b.Events = slices.Insert(b.Events, i+step, e)
			}
			b.rec(1).Runs = slices.Insert(b.rec(1).Runs, 0, history.Run{Run: 9, PID: 4, Status: "interrupted", Reason: "stop"})
			b.rec(1).Interruptions++
		}},
		{"the result of another step", "steps", result(11, 0, func(x *history.Effect) { x.Resumed = 1 })},
		{"a run returns before its last step", "ended steps", func(b *book) { b.plan(1, func(p *history.Plan) { p.Steps = 3 }) }},
		{"a run did not say that it begins", "steps", func(b *book) { b.cut(of(11, history.Begun)) }},
		{"a run that ended before its step was recorded", "", func(b *book) {
			b.cut(of(10, history.Returned))
			b.cut(of(10, 1))
		}},
		{"a step is done again that was not recorded", "", func(b *book) {
			b.cut(of(10, history.Returned))
			b.cut(of(10, 1))
			result(11, 0, func(x *history.Effect) { x.Result = 11 })(b)
			insert(11, history.Returned, history.Effect{Step: 0})(b)
		}},
		{"a recorded step is done again after a loss", "", func(b *book) {
			insert(11, history.Returned, history.Effect{Step: 0})(b)
			at := b.Events[slices.IndexFunc(b.Events, of(10, 1))].At
			b.Events = append(b.Events, history.Event{N: int64(len(b.Events) + 1), At: at, Fault: &history.Fault{ID: 9, Kind: "failover", Lossy: true, Over: true}})
		}},
	}
}

func eachWays() []broken {
	return []broken{
		{"an item is left out", "each ended", func(b *book) { b.cut(of(21, 2)) }},
		{"an item is left out within a run", "each ended", func(b *book) { b.cut(of(30, 1)) }},
		{"a recorded item is done again", "each", insert(21, 2, history.Effect{Step: 0})},
		{"the last item is done again", "", insert(21, 2, history.Effect{Step: 1})},
		{"an item that was handed over is done again", "each", insert(31, 3, history.Effect{Step: 1})},
		{"the last item of a hand-over is done again", "", insert(31, 3, history.Effect{Step: 2})},
		{"an item is done again after a crash within an hour", "", func(b *book) {
			insert(31, 3, history.Effect{Step: 2})(b)
			insert(31, 2, history.Effect{Step: 1})(b)
			b.crashed(3)
		}},
		{"an item is done again after a crash, and an hour after it", "each", func(b *book) {
			insert(31, 3, history.Effect{Step: 2})(b)
			insert(31, 2, history.Effect{Step: 1})(b)
			insert(31, 1, history.Effect{Step: 0})(b)
			b.plan(3, func(p *history.Plan) { p.EveryMS = 1000 })
			b.crashed(3)
		}},
		{"an item that was handed over while the store was away is done again", "", func(b *book) {
			insert(31, 3, history.Effect{Step: 2})(b)
			insert(31, 2, history.Effect{Step: 1})(b)
			i := slices.IndexFunc(b.Events, of(30, 2))
			e := b.Events[i]
			e.Effect, e.Fault = nil, &history.Fault{ID: 9, Kind: "restart", Over: true}
			b.Events = slices.Insert(b.Events, i, e)
		}},
	}
}

// crashed makes the first run of a task one that was taken from its process, which was killed.
func (b *book) crashed(seq int) {
	r := b.rec(seq)
	r.Interruptions, r.Crashes = 0, 1
	first := &r.Runs[0]
	first.Reason, first.Crashed, first.Reclaimed = "lost", true, true
	b.each(first.Run, func(e *history.Event) { e.Effect.Process, e.Effect.PID = "p9", 9 })
	first.PID = 9
	i := slices.IndexFunc(b.Events, of(first.Run, 2))
	for _, e := range []history.Event{
		{Process: &history.Process{Name: "p9", PID: 9, What: history.Ended, By: "SIGKILL"}},
		{Process: &history.Process{Name: "p9", PID: 9, What: history.Signalled, Signal: "SIGKILL"}},
	} {
		e.N, e.At = b.Events[i].N, b.Events[i].At
		b.Events = slices.Insert(b.Events, i+1, e)
	}
}

func ticksWays() []broken {
	return []broken{
		{"a tick has made nothing", "ticks", func(b *book) { b.dropTick(1) }},
		{"a tick that came just before the pause has made nothing", "", func(b *book) { b.dropTick(4) }},
		{"a tick that came long before the pause, and no other after it, has made nothing", "ticks", func(b *book) {
			b.dropTick(2)
			b.dropTick(3)
			b.dropTick(4)
		}},
		{"ticks have made nothing in an outage that lasted until the pause", "", func(b *book) {
			b.dropTick(2)
			b.dropTick(3)
			b.dropTick(4)
			b.Events = append(b.Events, history.Event{N: 9000, At: b.first().Add(15 * time.Second), Fault: &history.Fault{ID: 9, Kind: "restart"}},
				history.Event{N: 9001, At: b.first().Add(42 * time.Second), Fault: &history.Fault{ID: 9, Kind: "restart", Over: true}})
		}},
		{"no tick has made anything", "ticks", func(b *book) {
			for n := range 5 {
				b.dropTick(n)
			}
		}},
		{"a tick has made two tasks", "ended ticks", func(b *book) {
			again := *b.ticked(1)
			again.ID = "id-99"
			b.State.Tasks = append(b.State.Tasks, again)
			b.State.Counts["succeeded"]++
			b.each(901, func(e *history.Event) { e.Effect.TaskID = "" })
		}},
		{"a time that is no tick", "ticks", func(b *book) {
			at := b.first().Add(53 * time.Second)
			b.made(at.Add(-8*time.Second), 990)
		}},
		{"a tick after the pause", "ticks", func(b *book) { b.made(b.first().Add(5*each10.Every), 990) }},
		{"a task of a schedule that nobody has made", "invented", func(b *book) { b.ticked(4).Schedule = "chaos/other" }},
		{"a tick after a pause of which nobody knows", "", func(b *book) {
			b.Events[slices.IndexFunc(b.Events, func(e history.Event) bool { return e.Call != nil && e.Call.Op == history.PauseSchedule })+1].Answer.Outcome = history.Unknown
			b.made(b.first().Add(5*each10.Every), 990)
		}},
	}
}

func expiredWays() []broken {
	return []broken{
		{"a task begins too late", "expired", func(b *book) { b.rec(4).Created = b.rec(4).Created.Add(-8 * time.Second) }},
		{"a task has expired that has no such time", "expired", func(b *book) { b.plan(5, func(p *history.Plan) { p.StartBeforeMS = 0 }) }},
		{"a task has expired too early", "expired", func(b *book) { b.rec(5).Ended = b.rec(5).Created.Add(19 * time.Second) }},
		{"a task has expired after a run", "expired", func(b *book) {
			b.rec(5).Runs = []history.Run{{Run: 50, PID: 4, Started: b.rec(5).Created, Ended: b.rec(5).Created, Status: "cancelled"}}
		}},
		{"an expired task that was retried", "", func(b *book) {
			b.call(history.Call{Op: history.Retry, Seq: 5, TaskID: id(5)}, history.Answer{Outcome: history.Done})
			b.start("p5")
			b.run(5, 50, "p5", 0, 1, history.Finished)
			created := b.rec(5).Created
			b.drop(5)
			b.record(5, history.Task{Status: "succeeded", Created: created}, ok(50))
			b.told("p5", time.Minute)
			b.ended("p5", "")
		}},
	}
}

func allWays() []broken {
	all := func(op history.Op) func(history.Event) bool {
		return func(e history.Event) bool { return e.Call != nil && e.Call.Op == op }
	}
	spare := func(op history.Op, seq int, do func(*book)) func(*book) {
		return func(b *book) {
			do(b)
			b.Events[slices.IndexFunc(b.Events, all(op))+1].Answer.Spared = []string{id(seq)}
		}
	}
	late := func(b *book) { // task 6 begins after it was cancelled
		b.rec(6).Runs[0].Started = b.Events[slices.IndexFunc(b.Events, all(history.CancelAll))+1].At.Add(time.Second)
	}
	kept := func(b *book) { // task 8 is not deleted
		b.rec(8).Pruned = time.Time{}
		b.State.Counts["succeeded"]++
	}
	failed := func(b *book) { // task 7 is not retried
		b.cut(of(71, 99))
		ended := b.rec(7).Runs[0].Ended
		deleted := b.rec(7).Pruned
		b.State.Counts["succeeded"]++
		b.drop(7)
		b.record(7, history.Task{Status: "failed", Queue: "q", Ended: ended, Pruned: deleted}, history.Run{Run: 70, Status: "failed", Error: "fails"})
		b.State.Counts["failed"]--
	}
	return []broken{
		{"a task begins after all were cancelled", "all", late},
		{"a task that was not reached begins", "", spare(history.CancelAll, 6, late)},
		{"another one was not reached", "all", spare(history.CancelAll, 7, late)},
		{"a task begins after a cancel that was refused", "ended", func(b *book) {
			late(b)
			b.Events[slices.IndexFunc(b.Events, all(history.CancelAll))+1].Answer.Outcome = history.Refused
		}},
		{"a task is not deleted with the others", "all", kept},
		{"a task that was not reached is not deleted", "", spare(history.DeleteAll, 8, kept)},
		{"a task of another queue is not deleted", "kept", func(b *book) {
			b.plan(8, func(p *history.Plan) { p.Queue = "r" })
			b.rec(8).Queue = "r"
		}},
		{"a task is not retried with the others", "all", failed},
		{"a task that was not reached is not retried", "", spare(history.RetryAll, 7, failed)},
		{"a task came after the command", "", func(b *book) {
			b.cut(all(history.DeleteAll))
			kept(b)
			b.rec(6).Pruned, b.rec(7).Pruned = time.Time{}, time.Time{}
			b.State.Counts["cancelled"]++
			b.State.Counts["succeeded"]++
			b.call(history.Call{Op: history.DeleteAll, Queue: "q"}, history.Answer{Outcome: history.Unknown})
		}},
	}
}

func TestCheck_FindsNothingInASoundHistoryOfWhatGoesOnByItself(t *testing.T) {
	t.Parallel()
	for _, b := range checker.Check(scheduled().History) {
		t.Error(b)
	}
}

func TestCheck_NamesWhatIsBrokenOfWhatGoesOnByItself(t *testing.T) {
	t.Parallel()
	checkFrom(t, scheduled, slices.Concat(stepsWays(), eachWays(), ticksWays(), expiredWays(), allWays()))
}

func TestStory_HasResultsSchedulesAndTasksThatWereNotReached(t *testing.T) {
	t.Parallel()
	b := scheduled()
	for _, e := range b.Events {
		if e.Answer != nil && e.Answer.Call == 5 {
			e.Answer.Spared = []string{"id-6"}
		}
	}
	for seq, want := range map[int]string{1: "has the result of step 0, by run 10", 6: "not reached: [id-6]", b.tick(1): "schedule chaos/each10, every 10s"} {
		if got := checker.Story(b.History, seq); !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
