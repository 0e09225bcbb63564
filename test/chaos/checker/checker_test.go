package checker_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/checker"
	"github.com/lastcall-go/lastcall/test/chaos/history"
)

func TestCheck_FindsNothingInASoundHistory(t *testing.T) {
	t.Parallel()
	for _, b := range checker.Check(sound().History) {
		t.Error(b)
	}
	for _, b := range checker.Check(history.History{}) {
		t.Errorf("of an empty history: %v", b)
	}
}

// broken is one way to break a rule.
type broken struct {
	name  string
	rules string // the rules that must be reported, and no others
	do    func(*book)
}

// check breaks a sound history in each of these ways.
func check(t *testing.T, ways []broken) {
	t.Helper()
	checkFrom(t, sound, ways)
}

// checkFrom does the same with another sound history.
func checkFrom(t *testing.T, sound func() *book, ways []broken) {
	t.Helper()
	for _, w := range ways {
		t.Run(strings.ReplaceAll(w.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			b := sound()
			w.do(b)
			named := make(map[string]bool)
			found := checker.Check(b.History)
			for _, x := range found {
				named[x.Rule] = true
			}
			if got := strings.Join(slices.Sorted(maps.Keys(named)), " "); got != w.rules {
				t.Errorf("%s: it names %q, want %q: %v", w.name, got, w.rules, found)
			}
		})
	}
}

// rec is the record of a task.
func (b *book) rec(seq int) *history.Task {
	i := slices.IndexFunc(b.State.Tasks, func(t history.Task) bool { return t.Seq == seq })
	return &b.State.Tasks[i]
}

// drop removes a task from the store.
func (b *book) drop(seq int) {
	b.State.Counts[b.rec(seq).Status]--
	b.State.Tasks = slices.DeleteFunc(b.State.Tasks, func(t history.Task) bool { return t.Seq == seq })
}

// becomes changes the status of a task.
func (b *book) becomes(seq int, status string) {
	b.State.Counts[b.rec(seq).Status]--
	b.State.Counts[status]++
	b.rec(seq).Status = status
}

// cut removes the events for which is returns true.
func (b *book) cut(is func(history.Event) bool) { b.Events = slices.DeleteFunc(b.Events, is) }

// each calls a function for each effect of a run.
func (b *book) each(fence int64, do func(*history.Event)) {
	for i := range b.Events {
		if x := b.Events[i].Effect; x != nil && x.Fence == fence {
			do(&b.Events[i])
		}
	}
}

// of returns a function that reports whether an event is an effect of a run: of that step, or of
// any step for 99.
func of(fence int64, step int) func(history.Event) bool {
	return func(e history.Event) bool {
		return e.Effect != nil && e.Effect.Fence == fence && (step == 99 || e.Effect.Step == step)
	}
}

// what returns a function that reports whether an event is that one of a process.
func what(name string, is history.ProcessEvent) func(history.Event) bool {
	return func(e history.Event) bool {
		return e.Process != nil && e.Process.Name == name && e.Process.What == is
	}
}

// answer returns the answer to the enqueue of a task.
func (b *book) answer(seq int) *history.Event {
	for i, e := range b.Events {
		if e.Call != nil && slices.ContainsFunc(e.Call.Plans, func(p history.Plan) bool { return p.Seq == seq }) {
			return &b.Events[i+1]
		}
	}
	return nil
}

// plan changes the plan of a task.
func (b *book) plan(seq int, change func(*history.Plan)) {
	for _, e := range b.Events {
		for i := 0; e.Call != nil && i < len(e.Call.Plans); i++ {
			if e.Call.Plans[i].Seq == seq {
				change(&e.Call.Plans[i])
			}
		}
	}
}

// outlives makes a run of a healthy task fail because its effects are refused.
func (b *book) outlives() {
	b.plan(9, func(p *history.Plan) { p.Fail = 0 })
	i := slices.IndexFunc(b.Events, of(91, history.Begun))
	late := b.Events[i]
	late.Effect = &history.Effect{Seq: 9, TaskID: id(9), Step: 1, Fence: 90, Process: "p4", PID: 4, Stale: true}
	b.Events = slices.Insert(b.Events, i+1, late)
}

// lossy adds a fault that loses commits during the whole history.
func (b *book) lossy() {
	at := b.Events[0]
	b.Events = slices.Insert(b.Events, 0, history.Event{At: at.At, Fault: &history.Fault{ID: 99, Kind: "crash", Lossy: true}})
}

func TestRules_EachHasAPromise(t *testing.T) {
	t.Parallel()
	names := make(map[string]bool)
	for _, r := range checker.Rules() {
		if names[r.Name] || r.Name == "" || !strings.HasSuffix(r.Promise, ".") || strings.Count(r.Promise, ".") != 1 {
			t.Errorf("%q: %q is not one sentence with a name of its own", r.Name, r.Promise)
		}
		names[r.Name] = true
	}
	ways := slices.Concat(endedWays(), keptWays(), deletedWays(), inventedWays(), keysWays(), pausedWays(), staleWays(), overlapWays(), onceWays(), orderWays(),
		handoverWays(), crashesWays(), aliveWays(), countersWays(), residueWays(), graceWays(), beginWays(), growthWays(), stepsWays(), eachWays(), ticksWays(), expiredWays(), allWays())
	for _, w := range ways {
		for rule := range strings.SplitSeq(w.rules, " ") {
			delete(names, rule)
		}
	}
	for name := range names {
		t.Errorf("nothing breaks %s", name)
	}
}

func TestEnded_IsBroken(t *testing.T) { t.Parallel(); check(t, endedWays()) }

func TestKept_IsBroken(t *testing.T) {
	t.Parallel()
	check(t, slices.Concat(keptWays(), deletedWays()))
}

func TestInvented_IsBroken(t *testing.T) { t.Parallel(); check(t, inventedWays()) }

func TestKeys_AreBroken(t *testing.T) { t.Parallel(); check(t, keysWays()) }

func TestPaused_IsBroken(t *testing.T) { t.Parallel(); check(t, pausedWays()) }

func TestStale_IsBroken(t *testing.T) { t.Parallel(); check(t, staleWays()) }

func TestOverlap_IsBroken(t *testing.T) { t.Parallel(); check(t, overlapWays()) }

func TestOnce_IsBroken(t *testing.T) { t.Parallel(); check(t, onceWays()) }

func TestOrder_IsBroken(t *testing.T) { t.Parallel(); check(t, orderWays()) }

func TestHandOver_IsBroken(t *testing.T) { t.Parallel(); check(t, handoverWays()) }

func TestCrashes_AreBroken(t *testing.T) { t.Parallel(); check(t, crashesWays()) }

func TestAlive_IsBroken(t *testing.T) { t.Parallel(); check(t, aliveWays()) }

func TestCounters_AreBroken(t *testing.T) { t.Parallel(); check(t, countersWays()) }

func TestResidue_IsBroken(t *testing.T) { t.Parallel(); check(t, residueWays()) }

func TestGrace_IsBroken(t *testing.T) {
	t.Parallel()
	check(t, slices.Concat(graceWays(), beginWays()))
}

func TestGrowth_IsBroken(t *testing.T) { t.Parallel(); check(t, growthWays()) }

// This covers what a fault excuses.
func TestCheck_HoldsTasksToLessWhereCommitsMayBeLost(t *testing.T) {
	t.Parallel()
	check(t, []broken{
		{"an accepted task is lost", "", func(b *book) { b.drop(1); b.lossy() }},
		{"a checkpoint is lost", "", func(b *book) { b.cut(of(21, 99)); b.run(2, 21, "p4", 0, 4, history.Finished); b.lossy() }},
		{"a run is lost", "", func(b *book) {
			r := b.rec(2)
			r.Runs, r.Crashes = r.Runs[1:], 0
			b.lossy()
		}},
		{"a run outlives a newer one that is lost", "", func(b *book) { b.outlives(); b.lossy() }},
		{"and nothing is invented", "invented", func(b *book) { b.record(15, history.Task{Status: "succeeded"}, ok(150)); b.lossy() }},
	})
}

func TestCheck_ComparesNoTimesOfTheStoreWhenItsClockIsMoved(t *testing.T) {
	t.Parallel()
	b := sound()
	for i := range b.State.Tasks {
		for k := range b.State.Tasks[i].Runs {
			if r := &b.State.Tasks[i].Runs[k]; k%2 == 0 {
				r.Started, r.Ended = r.Started.Add(time.Hour), r.Ended.Add(time.Hour)
			}
		}
	}
	if len(checker.Check(b.History)) == 0 {
		t.Error("an hour is not seen")
	}
	b.event(history.Event{Fault: &history.Fault{ID: 9, Kind: "clock", Over: true, Clocks: true}})
	for _, x := range checker.Check(b.History) {
		t.Error(x)
	}
}

// count returns how many breaches of a rule there are for a task.
func count(b *book, rule string, seq int) (n int) {
	for _, x := range checker.Check(b.History) {
		if x.Rule == rule && x.Seq == seq {
			n++
		}
	}
	return n
}
