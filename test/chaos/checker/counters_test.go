package checker_test

import (
	"slices"
	"testing"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// kept is how many runs of a task a store keeps.
const kept = 100

// full adds task 15, whose history of runs is full and has lost its first run.
func (b *book) full(t history.Task, run history.Run) {
	b.enqueue(history.Plan{Seq: 15, Steps: 1, Fail: 200, Exit: 200})
	var runs []history.Run
	for n := range kept + 1 {
		b.run(15, int64(1000+n), "p4", 0, 1, 0)
		r := run
		r.Run = int64(1000 + n)
		runs = append(runs, r)
	}
	runs[kept].Status = "failed"
	t.Status = "failed"
	b.record(15, t, runs[1:]...)
}

// attempt makes task 9, which fails once, fail under a changed plan.
func attempt(change func(*history.Plan)) func(*book) {
	return func(b *book) {
		b.plan(9, func(p *history.Plan) {
			p.Fail = 0
			change(p)
		})
	}
}

// lossyAt adds a fault that loses commits at the time of an effect. Its margin does not include the
// seconds before and after the effect.
func (b *book) lossyAt(fence int64, step int) {
	at := b.Events[slices.IndexFunc(b.Events, of(fence, step))].At
	b.Events = append(b.Events, history.Event{N: int64(len(b.Events) + 1), At: at, Fault: &history.Fault{ID: 99, Kind: "crash", Lossy: true, Over: true}})
}

func counterWays() []broken {
	crashed := history.Run{Status: "interrupted", Crashed: true}
	return []broken{
		{"crashes that a full history has lost", "", func(b *book) { b.full(history.Task{Crashes: kept + 1}, crashed) }},
		{"crashes that no history has lost", "counters", func(b *book) {
			b.full(history.Task{Crashes: kept + 1}, crashed)
			b.rec(15).Runs = b.rec(15).Runs[1:]
			b.cut(of(1001, 99))
			b.cut(of(1000, 99))
		}},
		{"interruptions that a full history has lost", "", func(b *book) {
			b.full(history.Task{Interruptions: kept + 50}, history.Run{Status: "interrupted"})
		}},
		{"attempts that a full history has lost", "", func(b *book) {
			b.full(history.Task{Attempts: kept + 50}, history.Run{Status: "queued", Error: "fails"})
		}},
		{"a failure that is no attempt", "", func(b *book) {
			b.fails()
			b.hasFailed(history.Run{Run: 150, Status: "failed", Error: "fails"})
			b.rec(15).Attempts = 0
		}},
		{"a cancelled run that is no attempt", "", func(b *book) { b.rec(8).Runs[0].Error = "cancelled" }},
		{"attempts begin at zero after a retry", "", func(b *book) { b.rec(9).Attempts = 0; b.command(history.Retry, 9, history.Done) }},
		{"an attempt of a task that kills its process", "", attempt(func(p *history.Plan) { p.Exit = 1 })},
		{"an attempt of a task that ends in a transaction", "", func(b *book) {
			attempt(func(p *history.Plan) { p.InTx = true })(b)
			b.State.TxSteps = append(b.State.TxSteps, history.TxStep{Seq: 9, Step: 1, Fence: 91})
		}},
		{"an attempt where commits may be lost", "counters", func(b *book) { attempt(func(*history.Plan) {})(b); b.lossy() }},
		{"an attempt while another run is refused", "counters", func(b *book) {
			b.outlives()
			for i := range b.Events {
				if x := b.Events[i].Effect; x != nil && x.Stale && x.Seq == 9 {
					x.Fence = 89
				}
			}
			b.lossy()
		}},
		{"a refused run and a newer one that may be lost", "", func(b *book) { b.outlives(); b.lossyAt(91, history.Finished) }},
		{"a refused run that may be lost itself", "counters", func(b *book) { b.outlives(); b.lossyAt(90, history.Begun) }},
	}
}

func TestCounters_KnowWhatMayBeMissing(t *testing.T) {
	t.Parallel()
	check(t, counterWays())
}

// What the rule "growth" allows.
const (
	minSamples  = 20
	memorySlack = 32 << 20
	filesSlack  = 32
	tableSlack  = 16 << 20
	taskNeeds   = 16<<10 + 400*7 + 3*1000 // with 7 lines and a result of 1000 bytes
)

// samples replaces the samples by n others, the last quarter of which have another size. If
// enqueued is a valid index, a task is enqueued before the sample at that index.
func samples(n int, early, late history.Sample, enqueued int) func(*book) {
	return func(b *book) {
		b.cut(func(e history.Event) bool { return e.Sample != nil })
		plan := history.Plan{Seq: 15, Steps: 1, Log: 7, Result: 1000}
		for i := range n + 1 {
			if i == enqueued {
				b.enqueue(plan)
			}
			s := early
			if i >= n-n/4 {
				s = late
			}
			if i < n {
				b.event(history.Event{Sample: &s})
			}
		}
		if enqueued <= n {
			b.start("p17")
			b.run(15, 150, "p17", 0, 1, history.Finished)
			b.record(15, history.Task{Status: "succeeded", Result: 1000}, ok(150))
		}
	}
}

func growthBounds() []broken {
	const none = 1000
	process := func(rss int64, files int) history.Sample {
		return history.Sample{Process: "p4", RSS: rss, Files: files}
	}
	table := func(bytes int64) history.Sample {
		return history.Sample{Tables: map[string]int64{"tasks": bytes}}
	}
	const mib = 1 << 20
	return []broken{
		{"memory by as much as it may", "", samples(minSamples, process(100*mib, 20), process(150*mib+memorySlack, 20), none)},
		{"memory by more than it may", "growth", samples(minSamples, process(100*mib, 20), process(150*mib+memorySlack+1, 20), none)},
		{"memory in too few samples", "", samples(minSamples-1, process(100*mib, 20), process(900*mib, 20), none)},
		{"descriptors by as much as they may", "", samples(minSamples, process(mib, 20), process(mib, 30+filesSlack), none)},
		{"descriptors by more than they may", "growth", samples(minSamples, process(mib, 20), process(mib, 31+filesSlack), none)},
		{"a table by as much as it may", "", samples(minSamples, table(50*mib), table(50*mib+tableSlack), none)},
		{"a table by more than it may", "growth", samples(minSamples, table(50*mib), table(50*mib+tableSlack+1), none)},
		{"a table in too few samples", "", samples(minSamples-1, table(50*mib), table(900*mib), none)},
		{"a table by what a task needs", "", samples(minSamples, table(50*mib), table(50*mib+tableSlack+taskNeeds), 10)},
		{"a table by more than a task needs", "growth", samples(minSamples, table(50*mib), table(50*mib+tableSlack+taskNeeds+1), 10)},
		{"a table by what a task needs that came before", "growth", samples(minSamples, table(50*mib), table(50*mib+tableSlack+taskNeeds), 5)},
		{"a table by what a task needs that came after the second quarter had begun", "", samples(minSamples, table(50*mib), table(50*mib+tableSlack+taskNeeds), 6)},
		{"a table by what a task needs that came just before the end", "", samples(minSamples, table(50*mib), table(50*mib+tableSlack+taskNeeds), minSamples-1)},
		{"a table by what a task needs that came too late", "growth", samples(minSamples, table(50*mib), table(50*mib+tableSlack+taskNeeds), minSamples)},
	}
}

func TestGrowth_IsBoundedExactly(t *testing.T) {
	t.Parallel()
	check(t, growthBounds())
}
