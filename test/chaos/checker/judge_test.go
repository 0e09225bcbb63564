package checker_test

import (
	"slices"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// loses makes task 2 begin at its first step again, as if its checkpoints were lost.
func (b *book) loses() {
	b.cut(of(21, 99))
	b.run(2, 21, "p4", 0, 4, history.Finished)
}

// lossyNow adds a fault that loses commits, the given time after the last event.
func (b *book) lossyNow(after time.Duration) {
	b.now = b.now.Add(after - time.Second)
	b.event(history.Event{Fault: &history.Fault{ID: 99, Kind: "crash", Lossy: true, Over: true}})
}

// interrupted adds a request to interrupt task 2.
func (b *book) interrupted() { b.command(history.Interrupt, 2, history.Done) }

func judgeWays() []broken {
	return []broken{
		{"a checkpoint is lost", "order", (*book).loses},
		{"a checkpoint is lost of a task whose enqueue may be lost", "", func(b *book) { b.loses(); b.around(2, -2*time.Second) }},
		{"a checkpoint is lost of a task whose enqueue was answered when commits may be lost", "", func(b *book) { b.loses(); b.around(2, time.Second) }},
		{"a checkpoint is lost of a task that was enqueued before commits may be lost", "order", func(b *book) { b.loses(); b.around(2, 2*time.Second) }},
		{"a checkpoint is lost of a task whose command was asked for when commits may be lost", "", func(b *book) {
			b.loses()
			b.lossyNow(5 * time.Second)
			b.now = b.now.Add(margin - 1500*time.Millisecond)
			b.interrupted()
		}},
		{"a checkpoint is lost of a task whose command was answered when commits may be lost", "", func(b *book) {
			b.loses()
			b.now = b.now.Add(5 * time.Second)
			b.interrupted()
			b.lossyNow(margin)
		}},
		{"a checkpoint is lost of a task whose command was answered before commits may be lost", "order", func(b *book) {
			b.loses()
			b.now = b.now.Add(5 * time.Second)
			b.interrupted()
			b.lossyNow(margin + time.Millisecond)
		}},
	}
}

func fateWays() []broken {
	return []broken{
		{"a transaction that was committed", "", func(b *book) {
			plan := history.Plan{Seq: 15, Kind: history.KindSteps, Steps: 1}
			b.call(history.Call{Op: history.EnqueueTx, Commit: true, Plans: []history.Plan{plan}}, history.Answer{Outcome: history.Done, IDs: []string{id(15)}, Existed: []bool{false}})
			b.succeeds(15, plan)
		}},
		{"a transaction that was committed and whose task is gone", "ended", func(b *book) {
			plan := history.Plan{Seq: 15, Kind: history.KindSteps, Steps: 1}
			b.call(history.Call{Op: history.EnqueueTx, Commit: true, Plans: []history.Plan{plan}}, history.Answer{Outcome: history.Done, IDs: []string{id(15)}, Existed: []bool{false}})
		}},
		{"a cancel that was refused", "ended", func(b *book) {
			b.becomes(1, "cancelled")
			b.rec(1).Runs[0].Status = "cancelled"
			b.command(history.Cancel, 1, history.Refused)
		}},
		{"a process that takes long to die", "", func(b *book) {
			b.start("p15")
			b.event(history.Event{Fault: &history.Fault{ID: 15, Kind: "kill", Victims: []string{"p15"}}})
			b.process(history.Process{Name: "p15", PID: 15, What: history.Signalled, Signal: "SIGKILL"})
			b.now = b.now.Add(5 * margin)
			b.ended("p15", "SIGKILL")
		}},
		{"the clocks were moved, and then something else was done", "", func(b *book) {
			b.keeps(0)
			b.clocksMove()
			b.event(history.Event{Fault: &history.Fault{ID: 10, Kind: "kill", Over: true, Victims: []string{"p4"}}})
		}},
		{"a run taken as long before the end of its process as clocks may differ", "", func(b *book) {
			b.rec(2).Runs[0].Ended = b.end(2).Add(-margin)
		}},
		{"a run taken earlier than clocks may differ", "alive crashes", func(b *book) {
			b.rec(2).Runs[0].Ended = b.end(2).Add(-margin - time.Millisecond)
		}},
		{"a run taken from a process that was stopped for just long enough", "", func(b *book) {
			i := slices.IndexFunc(b.Events, what("p8", history.Stopped))
			b.rec(12).Runs[0].Ended = b.Events[i].At.Add(lease - 2*margin)
		}},
		{"a run taken from a process that was stopped for not quite long enough", "alive", func(b *book) {
			i := slices.IndexFunc(b.Events, what("p8", history.Stopped))
			b.rec(12).Runs[0].Ended = b.Events[i].At.Add(lease - 2*margin - time.Millisecond)
		}},
		{"a process whose number another one has had just after the run began", "", func(b *book) {
			begun := b.Events[slices.IndexFunc(b.Events, of(20, history.Begun))]
			begun.Effect, begun.Process = nil, &history.Process{Name: "p16", PID: 2, What: history.Started}
			begun.At = begun.At.Add(margin / 2)
			b.Events = append(b.Events, begun)
		}},
	}
}

func TestCheck_KnowsWhatMayBeLostAndWhoHadARun(t *testing.T) {
	t.Parallel()
	check(t, slices.Concat(judgeWays(), fateWays()))
}
