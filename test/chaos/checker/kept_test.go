package checker_test

import (
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

const (
	retention  = 10 * time.Second
	pruneSlack = 20 * time.Second // what the rule allows
)

// keeps has a store that keeps ended tasks for a time. Task 1 was removed the given time after its
// end, which is the end of its run. The ends of the other tasks are unknown.
func (b *book) keeps(after time.Duration) {
	b.State.Retention, b.State.At = retention, b.now
	r := b.rec(1)
	r.Ended = r.Runs[0].Ended
	r.Pruned = r.Ended.Add(after)
	b.State.Counts[r.Status]--
}

// stays leaves task 1 in the store for the given time after its end.
func (b *book) stays(span time.Duration) {
	b.keeps(0)
	r := b.rec(1)
	b.State.Counts[r.Status]++
	r.Pruned, b.State.At = time.Time{}, r.Ended.Add(span)
}

// outage adds a fault between two times after the end of task 1. Without victims it hits all
// processes.
func (b *book) outage(from, to time.Duration, victims ...string) {
	end := b.rec(1).Ended
	b.Events = append(b.Events,
		history.Event{N: int64(len(b.Events) + 1), At: end.Add(from), Fault: &history.Fault{ID: 70 + len(b.Events), Kind: "away", Victims: victims}},
		history.Event{N: int64(len(b.Events) + 2), At: end.Add(to), Fault: &history.Fault{ID: 70 + len(b.Events), Kind: "away", Victims: victims, Over: true}})
}

func keptWays() []broken {
	const tick = 10 * time.Millisecond // what the rule allows for a clock
	most := retention + pruneSlack
	return []broken{
		{"it is removed in time", "", func(b *book) { b.keeps(retention) }},
		{"it is removed a little early by a coarse clock", "", func(b *book) { b.keeps(retention - tick) }},
		{"it is removed too early", "kept", func(b *book) { b.keeps(retention - tick - time.Microsecond) }},
		{"it is removed as late as may be", "", func(b *book) { b.keeps(most) }},
		{"it is removed too late", "kept", func(b *book) { b.keeps(most + time.Millisecond) }},
		{"it is still there as long as may be", "", func(b *book) { b.stays(most) }},
		{"it is never removed", "kept", func(b *book) { b.stays(most + time.Millisecond) }},
		{"it is young at the end", "", func(b *book) { b.stays(retention / 2) }},
		{"it is removed although all are kept", "kept", func(b *book) { b.keeps(most); b.State.Retention = 0 }},
		{"it is old and all are kept", "", func(b *book) { b.stays(time.Hour); b.State.Retention = 0 }},
		{"it is removed and had not ended", "kept", func(b *book) { b.keeps(retention); b.rec(1).Ended = time.Time{} }},
		{"it is removed and had not ended when clocks were moved", "kept", func(b *book) {
			b.keeps(retention)
			b.rec(1).Ended = time.Time{}
			b.event(history.Event{Fault: &history.Fault{ID: 9, Kind: "clock", Over: true, Clocks: true}})
		}},
		{"it is removed late because the store was away", "", func(b *book) {
			b.keeps(most + 5*time.Second)
			b.outage(retention+time.Second, retention+6*time.Second)
		}},
		{"it is removed too late for a store that was away", "kept", func(b *book) {
			b.keeps(most + 6*time.Second)
			b.outage(retention+time.Second, retention+6*time.Second)
		}},
		{"an outage that was over when its time came", "kept", func(b *book) {
			b.keeps(most + 5*time.Second)
			b.outage(time.Second, 6*time.Second)
		}},
		{"an outage after it was removed", "kept", func(b *book) {
			b.keeps(most + 5*time.Second)
			b.outage(most+5*time.Second, most+15*time.Second)
		}},
		{"an outage that begins before its time and ends after it", "kept", func(b *book) {
			b.keeps(most + 5*time.Second)
			b.outage(retention-4*time.Second, retention+4*time.Second)
		}},
		{"two outages of which one is in the other", "kept", func(b *book) {
			b.keeps(most + 8*time.Second)
			b.outage(retention+time.Second, retention+7*time.Second)
			b.outage(retention+2*time.Second, retention+4*time.Second)
		}},
		{"two outages of which one begins in the other", "", func(b *book) {
			b.keeps(most + 8*time.Second)
			b.outage(retention+5*time.Second, retention+9*time.Second)
			b.outage(retention+time.Second, retention+6*time.Second)
		}},
		{"an outage of one process", "kept", func(b *book) {
			b.keeps(most + 5*time.Second)
			b.outage(retention+time.Second, retention+6*time.Second, "p4")
		}},
		{"a clock that was moved", "", func(b *book) {
			b.keeps(0)
			b.event(history.Event{Fault: &history.Fault{ID: 9, Kind: "clock", Over: true, Clocks: true}})
		}},
		{"a count that has what was removed", "counters", func(b *book) { b.keeps(retention); b.State.Counts["succeeded"]++ }},
	}
}

// deletedWays are about deletes.
func deletedWays() []broken {
	return []broken{
		{"it is removed too early, and somebody asked for it", "", func(b *book) { b.keeps(0); b.command(history.Delete, 1, history.Done) }},
		{"it is removed too early, and somebody may have asked for it", "", func(b *book) { b.keeps(0); b.command(history.Delete, 1, "") }},
		{"it is removed too early, and a delete was refused", "kept", func(b *book) { b.keeps(0); b.command(history.Delete, 1, history.Refused) }},
		{"it is deleted, and nothing is ever removed", "", func(b *book) { b.keeps(0); b.State.Retention = 0; b.command(history.Delete, 1, history.Done) }},
		{"it is deleted, and is still there", "kept", func(b *book) { b.stays(retention / 2); b.command(history.Delete, 1, history.Done) }},
		{"it is still there after a delete of which nobody knows", "", func(b *book) { b.stays(retention / 2); b.command(history.Delete, 1, history.Unknown) }},
		{"it is deleted and had not ended", "kept", func(b *book) {
			b.keeps(0)
			b.rec(1).Ended = time.Time{}
			b.command(history.Delete, 1, history.Done)
		}},
	}
}
