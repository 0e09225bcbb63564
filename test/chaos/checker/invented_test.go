package checker_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/checker"
	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// answered enqueues two tasks in a call. ids and existed are the answer: the ids, and which of the
// tasks existed before.
func (b *book) answered(one, two history.Plan, ids []string, existed []bool) {
	plans := []history.Plan{one, two}
	for i := range plans {
		plans[i].Seq, plans[i].Steps = 15+i, 1
		if plans[i].Kind == "" {
			plans[i].Kind = history.KindSteps
		}
	}
	b.call(history.Call{Op: history.Enqueue, Plans: plans}, history.Answer{Outcome: history.Done, IDs: ids, Existed: existed})
}

// succeeds makes a task run and succeed.
func (b *book) succeeds(seq int, p history.Plan) {
	b.run(seq, int64(10*seq), "p4", 0, 1, history.Finished)
	b.record(seq, history.Task{Status: "succeeded", Key: p.Key}, ok(int64(10*seq)))
	if p.Kind != "" {
		b.rec(seq).Kind = p.Kind
	}
}

// holds makes task 15 wait, then answers task 16 that 15 has its key, and then lets task 15
// succeed.
func holds(holder, asked history.Plan) func(*book) {
	return func(b *book) {
		holder.Seq, holder.Steps = 15, 1
		b.enqueue(holder)
		asked.Seq, asked.Steps = 16, 1
		if asked.Kind == "" {
			asked.Kind = history.KindSteps
		}
		b.call(history.Call{Op: history.Enqueue, Plans: []history.Plan{asked}}, history.Answer{Outcome: history.Done, IDs: []string{id(15)}, Existed: []bool{true}})
		b.succeeds(15, holder)
	}
}

// around adds a fault that loses commits, at the given distance from the answer to the enqueue of a
// task, so that either the call or the answer is within the fault's margin.
func (b *book) around(seq int, from time.Duration) {
	at := b.answer(seq).At.Add(from)
	b.Events = append(b.Events, history.Event{N: int64(len(b.Events) + 1), At: at, Fault: &history.Fault{ID: 99, Kind: "crash", Lossy: true, Over: true}})
}

// gone answers task 6 that a task which is not in the store has its key.
func gone(b *book) { b.answer(6).Answer.IDs[0] = "id-99" }

// fails makes task 15, which has a key, run and fail.
func (b *book) fails() {
	b.enqueue(history.Plan{Seq: 15, Steps: 2, Fail: 9, Key: "t"})
	b.run(15, 150, "p4", 0, 1, 0)
}

func (b *book) hasFailed(runs ...history.Run) {
	b.record(15, history.Task{Status: "failed", Attempts: len(runs), Key: "t"}, runs...)
}

// asksForItsKey answers task 16 that task 15 has its key.
func (b *book) asksForItsKey() {
	b.now = b.now.Add(2 * margin)
	b.call(history.Call{Op: history.Enqueue, Plans: []history.Plan{{Seq: 16, Kind: history.KindSteps, Steps: 1, Key: "t"}}},
		history.Answer{Outcome: history.Done, IDs: []string{id(15)}, Existed: []bool{true}})
}

func holderWays() []broken {
	keyed := history.Plan{Key: "t"}
	failed := history.Run{Run: 150, Status: "failed", Error: "fails"}
	return []broken{
		{"a holder that waits", "", holds(keyed, keyed)},
		{"a holder that waits and has another key", "invented", holds(history.Plan{Key: "u"}, keyed)},
		{"a holder that waits and neither has a key", "invented", holds(history.Plan{}, history.Plan{})},
		{"a holder that waits and is of another kind", "invented", holds(keyed, history.Plan{Key: "t", Kind: history.KindPoison})},
		{"a holder that is not there when the call may be lost", "", func(b *book) { gone(b); b.around(6, -2*time.Second) }},
		{"a holder that is not there when the answer may be lost", "", func(b *book) { gone(b); b.around(6, time.Second) }},
		{"a holder that is not there and nothing was lost", "invented", func(b *book) { gone(b); b.around(6, 2*time.Second) }},
		{"an answer with fewer ids than plans", "ended invented", func(b *book) { b.answered(keyed, keyed, []string{"id-99"}, []bool{true}) }},
		{"a holder that is not there, and another one with the key", "invented", func(b *book) {
			b.answered(keyed, keyed, []string{"id-99", id(16)}, []bool{true, false})
			b.succeeds(16, keyed)
		}},
		{"a holder in the same call with another key", "invented", func(b *book) {
			b.answered(keyed, history.Plan{Key: "u"}, []string{id(16), id(16)}, []bool{true, false})
			b.succeeds(16, history.Plan{Key: "u"})
		}},
		{"a holder in the same call of another kind", "invented", func(b *book) {
			poison := history.Plan{Key: "t", Kind: history.KindPoison}
			b.answered(keyed, poison, []string{id(16), id(16)}, []bool{true, false})
			b.succeeds(16, poison)
		}},
		{"a holder that had ended by a clock that was moved", "", func(b *book) {
			b.fails()
			b.asksForItsKey()
			b.hasFailed(failed)
			b.event(history.Event{Fault: &history.Fault{ID: 9, Kind: "clock", Over: true, Clocks: true}})
		}},
		{"a holder that had failed", "invented", func(b *book) { b.fails(); b.asksForItsKey(); b.hasFailed(failed) }},
		{"a holder whose end waited for a fault at the store", "", func(b *book) {
			b.fails()
			b.event(history.Event{Fault: &history.Fault{ID: 9, Kind: "lock"}})
			b.asksForItsKey()
			b.event(history.Event{Fault: &history.Fault{ID: 9, Kind: "lock", Over: true}})
			b.hasFailed(failed)
		}},
		{"a holder that had failed and may have been retried", "", func(b *book) {
			b.fails()
			b.command(history.Retry, 15, history.Unknown)
			b.asksForItsKey()
			b.hasFailed(failed)
		}},
		{"a holder that was cancelled and never ran", "", func(b *book) {
			b.enqueue(history.Plan{Seq: 15, Steps: 1, Key: "t"})
			b.asksForItsKey()
			b.command(history.Cancel, 15, history.Done)
			b.record(15, history.Task{Status: "cancelled", Key: "t"})
		}},
		{"a holder that was cancelled long after its last run", "", func(b *book) {
			b.fails()
			b.asksForItsKey()
			b.command(history.Cancel, 15, history.Done)
			b.record(15, history.Task{Status: "cancelled", Attempts: 1, Key: "t"}, history.Run{Run: 150, Status: "queued", Error: "fails"})
		}},
	}
}

func TestInvented_KnowsWhoMayHaveAKey(t *testing.T) {
	t.Parallel()
	check(t, holderWays())
}

func TestInvented_SaysWhyItWasNotDone(t *testing.T) {
	t.Parallel()
	for seq, want := range map[int]string{15: "it was refused: busy", 7: "its transaction was rolled back", 13: "it was refused: too large", 6: "another one had its key"} {
		b := sound()
		fifteen := history.Plan{Seq: 15, Kind: history.KindSteps, Steps: 2}
		b.call(history.Call{Op: history.EnqueueTx, Commit: true, Plans: []history.Plan{fifteen}}, history.Answer{Outcome: history.Refused, Error: "busy"})
		b.run(seq, 500, "p4", 0, 2, history.Finished)
		b.record(seq, history.Task{Status: "succeeded", Key: map[int]string{6: "k"}[seq]}, ok(500))
		found := checker.Check(b.History)
		if !slices.ContainsFunc(found, func(x checker.Breach) bool { return x.Seq == seq && strings.HasSuffix(x.Text, want) }) {
			t.Errorf("task %d: %v, want %q", seq, found, want)
		}
	}
}

// givenAgain makes task 15, which has a key, continue after task 16 was accepted with the same key.
func givenAgain(holder history.Plan, between func(*book)) func(*book) {
	return func(b *book) {
		holder.Seq, holder.Steps, holder.Key = 15, 2, "t"
		b.enqueue(holder)
		b.effect(15, 150, "p4", history.Begun, 0)
		between(b)
		b.enqueue(history.Plan{Seq: 16, Steps: 1, Key: "t"})
		b.succeeds(16, history.Plan{Key: "t"})
	}
}

func keyWays() []broken {
	nothing := func(*book) {}
	return []broken{
		{"a key is given again while its holder works", "keys", func(b *book) {
			givenAgain(history.Plan{}, nothing)(b)
			b.effect(15, 150, "p4", 0, 0)
			b.effect(15, 150, "p4", 1, 0)
			b.effect(15, 150, "p4", history.Finished, 0)
			b.record(15, history.Task{Status: "succeeded", Key: "t"}, ok(150))
		}},
		{"a key is given again while its holder works where commits may be lost", "", func(b *book) {
			givenAgain(history.Plan{}, nothing)(b)
			b.effect(15, 150, "p4", 0, 0)
			b.effect(15, 150, "p4", 1, 0)
			b.effect(15, 150, "p4", history.Finished, 0)
			b.record(15, history.Task{Status: "succeeded", Key: "t"}, ok(150))
			b.lossy()
		}},
		{"a key is given again before its holder is retried", "", func(b *book) {
			givenAgain(history.Plan{Fail: 1}, nothing)(b)
			b.command(history.Retry, 15, history.Done)
			b.run(15, 151, "p4", 0, 2, history.Finished)
			b.record(15, history.Task{Status: "succeeded", Key: "t"}, history.Run{Run: 150, Status: "failed", Error: "fails"}, ok(151))
		}},
		{"a key is given again when an unresponsive holder was cancelled", "", func(b *book) {
			givenAgain(history.Plan{UnresponsiveMS: 1000}, func(b *book) { b.command(history.Cancel, 15, history.Done) })(b)
			b.effect(15, 150, "p4", 0, 0)
			b.record(15, history.Task{Status: "cancelled", Key: "t"}, history.Run{Run: 150, Status: "cancelled"})
		}},
		{"a task with a key is gone", "ended invented", func(b *book) { b.drop(5) }},
	}
}

func TestKeys_KnowWhenAHolderHasEnded(t *testing.T) {
	t.Parallel()
	check(t, keyWays())
}
