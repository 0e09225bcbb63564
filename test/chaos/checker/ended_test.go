package checker_test

import (
	"testing"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

func TestEnded_KnowsWhatCommandsMayDo(t *testing.T) {
	t.Parallel()
	check(t, commandWays())
}

// command adds a command that is executed, or, without an outcome, one of which nobody knows
// whether it was.
func (b *book) command(op history.Op, seq int, outcome history.Outcome) {
	if outcome == "" {
		b.event(history.Event{Call: &history.Call{ID: 900, Op: op, Seq: seq}})
		return
	}
	b.call(history.Call{Op: op, Seq: seq}, history.Answer{Outcome: outcome})
}

// early moves the events that a function adds before all others.
func (b *book) early(add func()) {
	n := len(b.Events)
	add()
	added := append([]history.Event(nil), b.Events[n:]...)
	for i := range added {
		added[i].N = 0
	}
	b.Events = append(added, b.Events[:n]...)
}

// waits keeps only the failed run of task 9, and sets the statuses that the run and the task then
// had.
func (b *book) waits(run, task string) {
	b.cut(of(91, 99))
	b.becomes(9, task)
	r := b.rec(9)
	r.Runs = r.Runs[:1]
	r.Runs[0].Status = run
}

// goesOn makes two runs of task 8 begin after its cancel.
func goesOn(b *book) {
	b.run(8, 81, "p4", 0, 1, 0)
	b.run(8, 82, "p4", 0, 1, 0)
	b.rec(8).Runs = []history.Run{{Run: 80, PID: 4, Status: "queued"}, {Run: 81, PID: 4, Status: "queued"}, {Run: 82, PID: 4, Status: "cancelled"}}
}

func commandWays() []broken {
	return []broken{
		{"it waited after a retry and was cancelled", "", func(b *book) {
			b.waits("failed", "cancelled")
			b.command(history.Retry, 9, history.Done)
			b.command(history.Cancel, 9, history.Done)
		}},
		{"it had failed and was cancelled", "ended", func(b *book) {
			b.waits("failed", "cancelled")
			b.command(history.Cancel, 9, history.Done)
		}},
		{"it waited after an attempt and was cancelled", "", func(b *book) {
			b.waits("queued", "cancelled")
			b.command(history.Cancel, 9, history.Done)
		}},
		{"it failed while it waited", "ended", func(b *book) { b.waits("queued", "failed") }},
		{"it failed while it was interrupted", "ended", func(b *book) {
			b.waits("interrupted", "failed")
			b.rec(9).Attempts, b.rec(9).Interruptions = 0, 1
		}},
		{"it has failed by a run that was cancelled", "ended", func(b *book) {
			b.waits("cancelled", "failed")
			b.command(history.Retry, 9, history.Done)
			b.command(history.Cancel, 9, history.Done)
		}},
		{"it was retried after it had failed", "", func(b *book) {
			b.rec(9).Runs[0].Status = "failed"
			b.command(history.Retry, 9, history.Done)
		}},
		{"it was retried after it had succeeded", "ended", func(b *book) {
			b.rec(9).Runs[0].Status, b.rec(9).Attempts = "succeeded", 0
			b.command(history.Retry, 9, history.Done)
		}},
		{"it stays cancelled after a retry", "ended", func(b *book) { b.command(history.Retry, 8, history.Done) }},
		{"it stays cancelled after a retry that nobody knows of", "", func(b *book) { b.command(history.Retry, 8, history.Unknown) }},
		{"it stays cancelled after a retry without an answer", "", func(b *book) { b.command(history.Retry, 8, "") }},
		{"it stays cancelled after a retry that was refused", "", func(b *book) { b.command(history.Retry, 8, history.Refused) }},
		{"it stays cancelled after a retry and a cancel without an answer", "", func(b *book) {
			b.command(history.Retry, 8, history.Done)
			b.command(history.Cancel, 8, "")
		}},
		{"it was retried before its cancel", "", func(b *book) { b.early(func() { b.command(history.Retry, 8, history.Done) }) }},
		{"it goes on after its cancel by a retry without an answer", "", func(b *book) { goesOn(b); b.command(history.Retry, 8, "") }},
		{"it goes on after its cancel by an earlier retry", "ended", func(b *book) {
			goesOn(b)
			b.early(func() { b.command(history.Retry, 8, history.Done) })
		}},
		{"an answer without ids", "", func(b *book) { b.answer(14).Answer.IDs, b.answer(14).Answer.Existed = nil, nil }},
	}
}
