package checker_test

import (
	"slices"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// ask is a call about the queue of task 1, the given time before the task's run begins, and its
// answer. An empty outcome means no answer.
type ask struct {
	op      history.Op
	before  time.Duration
	outcome history.Outcome
}

// asked adds calls at their times. Each is answered a millisecond later.
func asked(calls ...ask) func(*book) {
	return func(b *book) {
		b.plan(1, func(p *history.Plan) { p.Queue = "q" })
		b.rec(1).Queue = "q"
		begun := b.Events[slices.IndexFunc(b.Events, of(10, history.Begun))].At
		for i, c := range calls {
			call := int64(900 + i)
			b.Events = append(b.Events, history.Event{At: begun.Add(-c.before), Call: &history.Call{ID: call, Op: c.op, Queue: "q"}})
			if c.outcome != "" {
				b.Events = append(b.Events, history.Event{At: begun.Add(-c.before + time.Millisecond), Answer: &history.Answer{Call: call, Outcome: c.outcome}})
			}
		}
		slices.SortStableFunc(b.Events, func(a, b history.Event) int { return a.At.Compare(b.At) })
		for i := range b.Events {
			b.Events[i].N = int64(i + 1)
		}
	}
}

func pauseWays() []broken {
	const ms = time.Millisecond
	pause := ask{history.Pause, 100 * ms, history.Done}
	resume := func(before time.Duration, o history.Outcome) ask { return ask{history.Resume, before, o} }
	return []broken{
		{"it was paused", "paused", asked(pause)},
		{"it was paused where the answer may be lost", "", func(b *book) { asked(pause)(b); b.lossy() }},
		{"the pause was refused", "", asked(ask{history.Pause, 100 * ms, history.Refused})},
		{"the pause has no answer", "", asked(ask{history.Pause, 100 * ms, ""})},
		{"it was resumed before the pause", "paused", asked(resume(300*ms, history.Done), pause)},
		{"it was resumed after the pause", "", asked(pause, resume(50*ms, history.Done))},
		{"a resume after the pause has no answer", "", asked(pause, resume(50*ms, ""))},
		{"a resume after the pause was refused", "paused", asked(pause, resume(50*ms, history.Refused))},
		{"a resume before the pause may be done later", "", asked(resume(10*time.Second, history.Unknown), pause)},
		{"a resume before the pause has no answer and may be done later", "", asked(resume(10*time.Second, ""), pause)},
		{"a resume long before the pause can be done no more", "paused", asked(resume(2*time.Minute, history.Unknown), pause)},
		{"a resume long before the pause has no answer and can be done no more", "paused", asked(resume(2*time.Minute, ""), pause)},
		{"the clocks were moved", "", func(b *book) {
			asked(pause)(b)
			b.event(history.Event{Fault: &history.Fault{ID: 9, Kind: "clock", Over: true, Clocks: true}})
		}},
	}
}

func TestPaused_KnowsWhenAQueueMayHaveBeenResumed(t *testing.T) {
	t.Parallel()
	check(t, pauseWays())
}
