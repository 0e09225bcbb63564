package checker_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/checker"
	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// Each history here differs from a sound one in a single respect. It tells the checker from one in
// which a single condition is missing or reversed. Three kinds of such changes cannot be detected
// by any history, and are left out:
//   - "<" in place of "<=" between the numbers of events or runs, which are unique;
//   - a check for an empty list that is made with its first element, or with a history that has the
//     task;
//   - guards of a lookup that finds nothing for the excluded values anyway, as that of a run
//     without a process.

func hiddenOrders() []broken {
	return []broken{
		{"a run that follows one that crashed, and that one that handed over", "", func(b *book) {
			b.enqueue(history.Plan{Seq: 15, Steps: 3, Save: true, HandOver: true})
			b.start("p9")
			b.run(15, 150, "p4", 0, 1, history.HandedOver)
			b.run(15, 151, "p9", 1, 2, 0)
			b.kill(33, "p9")
			b.run(15, 152, "p4", 2, 3, history.Finished)
			b.record(15, history.Task{Status: "succeeded", Interruptions: 1, Crashes: 1}, history.Run{Run: 150, Status: "interrupted", Reason: "stop"}, died(151), ok(152))
		}},
		{"a run begins again in another process after a crash that may have lost its end", "order stale", func(b *book) {
			begunAgain(true)(b)
			i := slices.IndexFunc(b.Events, of(10, history.Finished))
			for k := i + 1; k < len(b.Events); k++ {
				if of(10, 99)(b.Events[k]) {
					other := *b.Events[k].Effect
					other.Process, other.PID = "p4", 4
					b.Events[k].Effect = &other
				}
			}
		}},
	}
}

// unrecorded adds a run of task 15 that did nothing and was taken from the process with that id.
func (b *book) unrecorded(number int, began, taken time.Time) {
	b.enqueue(history.Plan{Seq: 15, Steps: 1})
	b.run(15, 151, "p4", 0, 1, history.Finished)
	b.record(15, history.Task{Status: "succeeded", Interruptions: 1}, history.Run{Run: 150, Status: "interrupted", Reason: "lost", Reclaimed: true}, ok(151))
	r := &b.rec(15).Runs[0]
	r.PID, r.Started, r.Ended = number, began, taken
}

// ends starts p9, which ends by itself after the given events.
func (b *book) ends(between func()) {
	b.start("p9")
	b.process(history.Process{Name: "p9", PID: 9, What: history.Ready})
	between()
	b.ended("p9", "SIGABRT")
}

func hiddenProcesses() []broken {
	return []broken{
		{"a run was taken from a process that nobody knows", "alive crashes stale", func(b *book) { b.rec(2).Runs[0].PID = 99 }},
		{"a crash of a run of a process that never ended", "crashes", func(b *book) {
			b.start("p9")
			b.enqueue(history.Plan{Seq: 15, Steps: 1})
			b.run(15, 150, "p9", 0, 0, 0)
			b.again()
			b.rec(15).Runs[0].Reclaimed = false
		}},
		{"a process of which nobody saw the start ends in a fault that hits all", "grace", func(b *book) {
			b.process(history.Process{Name: "p9", PID: 9, What: history.Ready})
			b.event(history.Event{Fault: &history.Fault{ID: 21, Kind: "restart"}})
			b.ended("p9", "SIGABRT")
			b.event(history.Event{Fault: &history.Fault{ID: 21, Kind: "restart", Over: true}})
		}},
		{"a process ends while another one stands still that did not when it began", "grace", func(b *book) {
			b.ends(func() {
				b.now = b.now.Add(3 * margin)
				b.process(history.Process{Name: "p4", PID: 4, What: history.Stopped})
			})
			b.process(history.Process{Name: "p4", PID: 4, What: history.Continued})
		}},
		{"a process ends in the step of a program that ends itself", "grace", func(b *book) {
			b.enqueue(history.Plan{Seq: 15, Steps: 1, Exit: 1})
			b.plan(15, func(p *history.Plan) { p.Kind = history.KindProgram })
			b.start("p9")
			b.run(15, 150, "p9", 0, 1, 0)
			b.ended("p9", "SIGKILL")
			b.again()
			b.rec(15).Kind = history.KindProgram
		}},
	}
}

func hiddenJudgements() []broken {
	two := []history.Plan{{Seq: 15, Kind: history.KindSteps, Steps: 1, Key: "k"}, {Seq: 16, Kind: history.KindSteps, Steps: 1, Key: "k"}}
	answered := func(a history.Answer) func(*book) {
		return func(b *book) { b.call(history.Call{Op: history.Enqueue, Plans: slices.Clone(two)}, a) }
	}
	return []broken{
		{"a refused task is answered with the id of one that nobody has", "", answered(history.Answer{Outcome: history.Refused, IDs: []string{id(98), id(99)}, Existed: []bool{true, true}})},
		{"an answer that does not say of each task whether it existed", "ended invented", answered(history.Answer{Outcome: history.Done, IDs: []string{id(5)}, Existed: []bool{true}})},
		{"an answer that has not the id of each task", "ended invented", answered(history.Answer{Outcome: history.Done, IDs: []string{id(5)}, Existed: []bool{true, true}})},
		{"a run that another process did than the one that has it", "alive crashes stale", func(b *book) { b.rec(2).Runs[0].PID = 4 }},
		{"a run was taken from a process that has the number of an earlier one", "alive", func(b *book) {
			b.enqueue(history.Plan{Seq: 15, Steps: 1, Save: true})
			b.run(15, 150, "p2", 0, 0, 0)
			b.process(history.Process{Name: "p16", PID: 2, What: history.Started})
			b.event(history.Event{Effect: &history.Effect{Seq: 15, TaskID: id(15), Step: history.Begun, Fence: 151, Process: "p16", PID: 2}})
			at := b.now
			b.run(15, 152, "p4", 0, 1, history.Finished)
			taken := history.Run{Run: 151, Status: "interrupted", Reason: "lost", Reclaimed: true}
			b.record(15, history.Task{Status: "succeeded", Interruptions: 2}, history.Run{Run: 150, Status: "interrupted", Reason: "stop"}, taken, ok(152))
			b.rec(15).Runs[1].Ended = at
		}},
	}
}

func hiddenTakings() []broken {
	return []broken{
		{"a run without a step was taken from a process whose number another one has later", "", func(b *book) {
			begun := b.Events[slices.IndexFunc(b.Events, of(20, history.Begun))].At
			b.process(history.Process{Name: "p16", PID: 2, What: history.Started})
			b.unrecorded(2, begun, b.end(2))
		}},
		{"a run without a step was taken from the only process of that number, which seems to have begun later", "", func(b *book) {
			b.start("p9")
			began := b.now.Add(-3 * margin)
			b.kill(34, "p9")
			b.unrecorded(9, began, b.end(9))
		}},
		{"a run without a step was taken from a process of which nobody saw the start", "alive", func(b *book) {
			begun := b.Events[slices.IndexFunc(b.Events, of(20, history.Begun))].At
			b.process(history.Process{Name: "p16", PID: 2, What: history.Ready})
			b.unrecorded(2, begun, b.end(2))
		}},
		{"a run was taken long before the end of its process, by clocks that were moved", "", func(b *book) {
			b.clocksMove()
			b.rec(2).Runs[0].Ended = b.end(2).Add(-10 * margin)
		}},
		{"a run without a step crashed, by clocks that were moved, in a process whose number an earlier one had", "", func(b *book) {
			b.clocksMove()
			b.start("p9")
			began := b.now
			b.told("p9", time.Minute)
			b.ended("p9", "")
			b.process(history.Process{Name: "p16", PID: 9, What: history.Started})
			b.event(history.Event{Fault: &history.Fault{ID: 36, Kind: "kill", Victims: []string{"p16"}}})
			b.process(history.Process{Name: "p16", PID: 9, What: history.Signalled, Signal: "SIGKILL"})
			b.process(history.Process{Name: "p16", PID: 9, What: history.Ended, By: "SIGKILL"})
			b.unrecorded(9, began, b.now)
			b.rec(15).Runs[0].Crashed, b.rec(15).Crashes, b.rec(15).Interruptions = true, 1, 0
		}},
		{"nobody knows when a run was taken", "", func(b *book) { b.rec(2).Runs[0].Ended = time.Time{} }},
		{"a run was taken when all processes were cut off for a lease", "", func(b *book) {
			b.enqueue(history.Plan{Seq: 15, Steps: 1})
			b.start("p9")
			b.run(15, 150, "p9", 0, 0, 0)
			b.event(history.Event{Fault: &history.Fault{ID: 22, Kind: "restart", Cut: true}})
			b.now = b.now.Add(lease)
			b.event(history.Event{Fault: &history.Fault{ID: 22, Kind: "restart", Cut: true, Over: true}})
			taken := b.now
			b.told("p9", time.Minute)
			b.ended("p9", "")
			b.run(15, 151, "p4", 0, 1, history.Finished)
			b.record(15, history.Task{Status: "succeeded", Interruptions: 1}, history.Run{Run: 150, Status: "interrupted", Reason: "lost", Reclaimed: true}, ok(151))
			b.rec(15).Runs[0].Ended = taken
		}},
	}
}

func TestCheck_NeedsEachOfItsConditions(t *testing.T) {
	t.Parallel()
	check(t, slices.Concat(hiddenOrders(), hiddenProcesses(), hiddenJudgements(), hiddenTakings()))
}

func TestGrace_IsAboutAProcessAndNoTask(t *testing.T) {
	t.Parallel()
	b := sound()
	b.ends(func() {})
	b.start("p10")
	b.told("p10", time.Second)
	b.now = b.now.Add(time.Minute)
	b.ended("p10", "")
	found := checker.Check(b.History)
	if len(found) != 2 {
		t.Errorf("%v", found)
	}
	for _, x := range found {
		if x.Rule != "grace" || x.Seq != 0 || !strings.Contains(x.Text, "p9 ended by itself") && !strings.Contains(x.Text, "p10 was sent SIGTERM with a grace of 1s and ended after") {
			t.Errorf("%v of task %d", x, x.Seq)
		}
	}
}

func TestAlive_NamesTheProcessOrSaysThatNobodyKnowsIt(t *testing.T) {
	t.Parallel()
	for number, says := range map[int]string{99: "taken from a process that the harness does not know,", 4: "taken from p4,"} {
		b := sound()
		b.rec(2).Runs[0].PID = number
		found := checker.Check(b.History)
		if !slices.ContainsFunc(found, func(x checker.Breach) bool { return x.Rule == "alive" && strings.Contains(x.Text, says) }) {
			t.Errorf("%q is not in %v", says, found)
		}
	}
}

func TestSummary_OfPartsOfAHistoryHasNoPace(t *testing.T) {
	t.Parallel()
	for _, only := range []func(history.Event) bool{
		func(e history.Event) bool { return e.Call != nil },
		func(e history.Event) bool { return e.Effect != nil },
	} {
		b := sound()
		b.cut(func(e history.Event) bool { return !only(e) })
		if s := checker.Summary(b.History); s.Took != 0 || s.Throughput != 0 {
			t.Errorf("of %d events: %v, %v a second", len(b.Events), s.Took, s.Throughput)
		}
	}
}

func TestSummary_TheP99IsNotTheWorstOfTwoHundredTimes(t *testing.T) {
	t.Parallel()
	b := newBook()
	b.start("p1", "p2")
	b.enqueue(history.Plan{Seq: 1, Steps: 999})
	b.effect(1, 10, "p2", history.Begun, 0)
	for n := range 200 {
		for over := range 2 {
			b.event(history.Event{Fault: &history.Fault{ID: n + 1, Kind: "restart", Over: over == 1}})
		}
		b.now = b.now.Add(time.Duration(n) * time.Second)
		b.effect(1, 10, "p2", n, 0)
	}
	s := checker.Summary(b.History)
	if want := (checker.Spread{N: 200, Median: 100 * time.Second, P99: 198 * time.Second, Worst: 200 * time.Second}); s.Recovery["restart"] != want {
		t.Errorf("%+v, want %+v", s.Recovery, want)
	}
	if !strings.Contains(s.String(), "recoveries     median        p99      worst\n") {
		t.Errorf("no head of the table in\n%s", s)
	}
}

func TestSummary_ATaskRecoversOnceByAnEffectThatCountsFromAFaultThatIsOver(t *testing.T) {
	t.Parallel()
	b := newBook()
	b.start("p1", "p2", "p3")
	b.enqueue(history.Plan{Seq: 1, Steps: 9})
	b.run(1, 10, "p2", 0, 1, 0)
	b.kill(1, "p2")
	b.now = b.now.Add(-time.Second / 2)
	b.event(history.Event{Effect: &history.Effect{Seq: 1, TaskID: id(1), Step: 1, Fence: 11, Process: "p3", PID: 3, Stale: true}})
	b.now = b.now.Add(-time.Second / 2)
	b.effect(1, 12, "p3", history.Begun, 0)
	b.now = b.now.Add(-time.Second)
	b.effect(1, 13, "p3", history.Begun, 0)
	b.event(history.Event{Fault: &history.Fault{ID: 2, Kind: "restart"}})
	b.now = b.now.Add(-time.Second)
	b.effect(1, 13, "p3", 0, 0) // with the end of the history, while the restart is in progress
	got := checker.Summary(b.History).Recovery
	if want := (checker.Spread{N: 1, Median: 4 * time.Second, P99: 4 * time.Second, Worst: 4 * time.Second}); len(got) != 1 || got["kill"] != want {
		t.Errorf("%+v, want only %+v of the kill", got, want)
	}
}

func TestStory_HasCommandsAnswersAndProcessesThatDidNothing(t *testing.T) {
	t.Parallel()
	b := sound()
	story := checker.Story(b.History, 8)
	asked := slices.IndexFunc(b.Events, func(e history.Event) bool { return e.Call != nil && e.Call.Op == history.Cancel && e.Call.Seq == 8 })
	for _, part := range []string{fmt.Sprintf("call %d by p1: cancel", b.Events[asked].Call.ID), fmt.Sprintf("call %d is answered: done", b.Events[asked].Call.ID)} {
		if !strings.Contains(story, part) {
			t.Errorf("no %q in\n%s", part, story)
		}
	}
	story = checker.Story(b.History, 12)
	if !strings.Contains(story, "run 120 by p8 (process 8): step 1, refused") || strings.Count(story, "refused") != 1 {
		t.Errorf("which step was refused? In\n%s", story)
	}

	b = sound()
	b.event(history.Event{Call: &history.Call{ID: 99, Op: history.Enqueue, Process: "p1", Plans: []history.Plan{{Seq: 15, Kind: history.KindSteps, Steps: 1}}}})
	b.start("p9")
	b.kill(35, "p9")
	b.run(15, 151, "p4", 0, 1, history.Finished)
	b.record(15, history.Task{Status: "succeeded", Crashes: 1}, died(150), ok(151))
	b.rec(15).Runs[0].PID = 9
	for range 20 { // the first element of a set is another one each time
		story = checker.Story(b.History, 15) // a call without an answer
		for _, part := range []string{"call 99 by p1: enqueue", "p9 (process 9) started", "p9 (process 9) ended"} {
			if !strings.Contains(story, part) {
				t.Errorf("no %q in\n%s", part, story)
			}
		}
	}

	b = sound()
	i, k := slices.IndexFunc(b.Events, of(21, 2)), slices.IndexFunc(b.Events, of(21, 3))
	b.Events[i], b.Events[k] = b.Events[k], b.Events[i]
	if want := checker.Story(sound().History, 2); checker.Story(b.History, 2) != want {
		t.Errorf("it is not told in the order of the events' numbers:\n%s", checker.Story(b.History, 2))
	}

	b.History = history.History{Events: []history.Event{{N: 1, At: b.now, Call: &history.Call{ID: 1, Op: history.Enqueue, Process: "p1", Plans: []history.Plan{{Seq: 1}}}}}}
	if story := checker.Story(b.History, 1); !strings.Contains(story, "     0.000s  call 1 by p1: enqueue") {
		t.Error(story)
	}
}
