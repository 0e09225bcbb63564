package checker_test

import (
	"slices"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/checker"
	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// doneAgain repeats a step of task 3 that was handed over.
func (b *book) doneAgain() {
	b.cut(of(31, 99))
	b.run(3, 31, "p4", 0, 3, history.Finished)
}

// interruptedFirst adds a task whose first run is interrupted without a hand-over, and whose second
// run resumes from a checkpoint.
func (b *book) interruptedFirst(between func()) {
	b.enqueue(history.Plan{Seq: 15, Steps: 3, Save: true})
	b.run(15, 150, "p4", 0, 2, 0)
	between()
	b.run(15, 151, "p4", 2, 3, history.Finished)
	b.record(15, history.Task{Status: "succeeded", Interruptions: 1}, history.Run{Run: 150, Status: "interrupted", Reason: "stop"}, ok(151))
}

// neighbour counts a crash for task 11, the neighbour of the suspect.
func (b *book) neighbour() {
	b.rec(11).Runs[0].Crashed = true
	b.rec(11).Interruptions, b.rec(11).Crashes = 0, 1
}

// crashCounts makes the only interruption of a task count as a crash.
func (b *book) crashCounts(seq int) *history.Run {
	r := b.rec(seq)
	r.Interruptions, r.Crashes = 0, 1
	r.Runs[0].Crashed = true
	return &r.Runs[0]
}

func orderEdges() []broken {
	return []broken{
		{"a checkpoint is lost of a handler that may be given up", "", func(b *book) {
			b.loses()
			b.plan(2, func(p *history.Plan) { p.UnresponsiveMS = 1 })
		}},
		{"a checkpoint that is ahead of steps that are never done", "ended order", func(b *book) {
			b.cut(of(21, 99))
			b.run(2, 21, "p4", 3, 4, history.Finished)
		}},
		{"a handed over step is done again of a task whose enqueue may be lost", "", func(b *book) { b.doneAgain(); b.around(3, -2*time.Second) }},
		{"a run that follows a hand-over does not say that it begins", "order", func(b *book) { b.cut(of(31, history.Begun)) }},
		{"a run that is interrupted hands nothing over", "", func(b *book) { b.interruptedFirst(func() {}) }},
	}
}

func crashEdges() []broken {
	return []broken{
		{"a task is cancelled after its crash", "", func(b *book) {
			b.cut(of(21, 99))
			b.becomes(2, "cancelled")
			b.rec(2).Runs = b.rec(2).Runs[:1]
			b.command(history.Cancel, 2, history.Done)
		}},
		{"a crash of a run that was taken after its process had ended well", "crashes", func(b *book) {
			r := b.crashCounts(3)
			r.Ended = b.end(3).Add(10 * time.Millisecond)
		}},
		{"a crash of a run whose process was stopped for a lease", "", func(b *book) { b.crashCounts(12) }},
		{"a neighbour while the suspect hands over", "", func(b *book) {
			b.neighbour()
			b.plan(10, func(p *history.Plan) { p.HandOver = true })
		}},
		{"a neighbour while somebody has asked for another try of the suspect", "", func(b *book) {
			b.neighbour()
			b.command(history.Retry, 10, history.Done)
		}},
		{"a neighbour in a process that was cut off", "", func(b *book) {
			b.neighbour()
			b.event(history.Event{Fault: &history.Fault{ID: 20, Kind: "net-hole", Cut: true, Victims: []string{"p7"}}})
			b.now = b.now.Add(lease)
			b.event(history.Event{Fault: &history.Fault{ID: 20, Kind: "net-hole", Cut: true, Over: true, Victims: []string{"p7"}}})
		}},
		{"a task has failed without a run", "ended stale", func(b *book) {
			b.becomes(1, "failed")
			b.rec(1).Runs = nil
		}},
	}
}

func graceEdges() []broken {
	// late moves the end of p3 to the given time after its signal, with a grace of 5 s.
	late := func(b *book, after time.Duration) time.Time {
		at := b.Events[slices.IndexFunc(b.Events, what("p3", history.Signalled))].At
		b.Events[slices.IndexFunc(b.Events, what("p3", history.Ended))].At = at.Add(after)
		return at
	}
	stop := func(b *book, from, to time.Time) {
		i := slices.IndexFunc(b.Events, what("p3", history.Signalled))
		b.Events = slices.Insert(b.Events, i+1,
			history.Event{N: b.Events[i].N, At: from, Process: &history.Process{Name: "p3", PID: 3, What: history.Stopped}},
			history.Event{N: b.Events[i].N, At: to, Process: &history.Process{Name: "p3", PID: 3, What: history.Continued}})
	}
	const most = 5*time.Second + margin
	return []broken{
		{"a process that was told to end has time when the history ends", "", func(b *book) { b.start("p9"); b.told("p9", time.Minute) }},
		{"it ends in the last moment of its grace", "", func(b *book) { late(b, most) }},
		{"it ends a moment after its grace", "grace", func(b *book) { late(b, most+time.Millisecond) }},
		{"it is stopped when its grace is over", "grace", func(b *book) {
			at := late(b, 2*most)
			stop(b, at.Add(most+time.Millisecond), at.Add(most+time.Second))
		}},
		{"it is stopped in the last moment of its grace", "", func(b *book) {
			at := late(b, 2*most)
			stop(b, at.Add(most), at.Add(most+time.Second))
		}},
		{"it was stopped until it was told", "", func(b *book) {
			at := late(b, 2*most)
			stop(b, at.Add(-time.Second), at)
		}},
		{"it was stopped until a moment before it was told", "grace", func(b *book) {
			at := late(b, 2*most)
			stop(b, at.Add(-time.Second), at.Add(-time.Millisecond))
		}},
	}
}

// again makes the run of task 15 in p9 die, and another run in p4 do its step.
func (b *book) again() {
	b.run(15, 151, "p4", 0, 1, history.Finished)
	b.record(15, history.Task{Status: "succeeded", Crashes: 1}, died(150), ok(151))
}

func endEdges() []broken {
	stops := func(b *book, name string, is history.ProcessEvent) {
		b.process(history.Process{Name: name, PID: pid(name), What: is})
	}
	fault := func(b *book, over bool, victims ...string) {
		b.event(history.Event{Fault: &history.Fault{ID: 21, Kind: "restart", Over: over, Victims: victims}})
	}
	return []broken{
		{"a process that has worked ends while another stands still", "grace", func(b *book) {
			b.enqueue(history.Plan{Seq: 15, Steps: 1})
			stops(b, "p4", history.Stopped)
			b.start("p9")
			b.run(15, 150, "p9", 0, 0, 0)
			b.ended("p9", "SIGABRT")
			stops(b, "p4", history.Continued)
			b.again()
		}},
		{"a process ends that stood still itself", "grace", func(b *book) {
			b.start("p9")
			stops(b, "p9", history.Stopped)
			b.ended("p9", "SIGABRT")
		}},
		{"a process ends long after a fault", "grace", func(b *book) {
			fault(b, false)
			fault(b, true)
			b.now = b.now.Add(10 * time.Second)
			b.start("p9")
			b.ended("p9", "SIGABRT")
		}},
		{"a process ends that a fault of another one does not concern", "grace", func(b *book) {
			fault(b, false, "p4")
			b.start("p9")
			b.ended("p9", "SIGABRT")
			fault(b, true, "p4")
		}},
		{"a process that has begun long before a fault and is not ready", "", func(b *book) {
			b.start("p9")
			b.now = b.now.Add(10 * time.Second)
			fault(b, false)
			b.ended("p9", "SIGABRT")
			fault(b, true)
		}},
		{"a process that has worked ends within the fault in which it has begun", "grace", func(b *book) {
			b.enqueue(history.Plan{Seq: 15, Steps: 1})
			fault(b, false)
			b.start("p9")
			stops(b, "p9", history.Ready)
			b.run(15, 150, "p9", 0, 0, 0)
			b.ended("p9", "SIGABRT")
			fault(b, true)
			b.again()
		}},
		{"a process ends long after the step of a task that kills", "grace", func(b *book) {
			b.enqueue(history.Plan{Seq: 15, Steps: 1, Exit: 1})
			b.start("p9")
			b.run(15, 150, "p9", 0, 1, 0)
			b.now = b.now.Add(10 * time.Second)
			b.ended("p9", "SIGKILL")
			b.again()
		}},
		{"a process ends before the first step of a task that kills", "grace", func(b *book) {
			b.enqueue(history.Plan{Seq: 15, Steps: 1, Exit: 1})
			b.start("p9")
			b.run(15, 150, "p9", 0, 0, 0)
			b.ended("p9", "SIGKILL")
			b.again()
		}},
	}
}

// awayTwice cuts a process off and then stops it, each for half a lease, with a pause in between.
func awayTwice(between time.Duration) func(*book) {
	return func(b *book) {
		b.enqueue(history.Plan{Seq: 15, Steps: 1})
		b.start("p9")
		b.run(15, 150, "p9", 0, 0, 0)
		b.event(history.Event{Fault: &history.Fault{ID: 22, Kind: "net-hole", Cut: true, Victims: []string{"p9"}}})
		b.now = b.now.Add(lease/2 - time.Second)
		b.event(history.Event{Fault: &history.Fault{ID: 22, Kind: "net-hole", Cut: true, Over: true, Victims: []string{"p9"}}})
		b.now = b.now.Add(between - time.Second)
		b.process(history.Process{Name: "p9", PID: 9, What: history.Stopped})
		b.now = b.now.Add(lease/2 - time.Second)
		b.process(history.Process{Name: "p9", PID: 9, What: history.Continued})
		taken := b.now
		b.told("p9", time.Minute)
		b.ended("p9", "")
		b.run(15, 151, "p4", 0, 1, history.Finished)
		lost := history.Run{Run: 150, Status: "interrupted", Reason: "lost", Reclaimed: true}
		b.record(15, history.Task{Status: "succeeded", Interruptions: 1}, lost, ok(151))
		b.rec(15).Runs[0].Ended = taken
	}
}

func awayEdges() []broken {
	return []broken{
		{"a process that was cut off and then stopped at once", "", awayTwice(0)},
		{"a process that was cut off and then stopped a margin later", "", awayTwice(margin)},
		{"a process that was cut off and stopped much later", "alive", awayTwice(margin + time.Millisecond)},
	}
}

func TestCheck_KnowsWhereEachConditionBegins(t *testing.T) {
	t.Parallel()
	check(t, slices.Concat(orderEdges(), crashEdges(), graceEdges(), endEdges(), awayEdges()))
}

func TestOrder_NamesARunOnce(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(*book){
		"steps in a wrong order": func(b *book) { b.cut(of(10, 0)); b.cut(of(10, 2)) },
		"a run that never began": func(b *book) { b.cut(of(10, history.Begun)); b.cut(of(10, 0)) },
	} {
		b := sound()
		do(b)
		found := slices.DeleteFunc(checker.Check(b.History), func(x checker.Breach) bool { return x.Rule != "order" })
		if len(found) != 1 {
			t.Errorf("%s: %v", name, found)
		}
	}
}
