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

func TestSummary_CountsWhatHappened(t *testing.T) {
	t.Parallel()
	b := sound()
	b.event(history.Event{Fault: &history.Fault{ID: 7, Kind: "disk-full", Skipped: "no mounts here"}})
	b.rec(1).Pruned = b.now
	s := checker.Summary(b.History)
	if s.Pruned != 1 || len(s.Skipped) != 1 {
		t.Errorf("%d pruned, skipped %v", s.Pruned, s.Skipped)
	}
	if s.Tasks != 11 || s.Runs != 18 || !maps.Equal(s.RunsPerTask, map[int]int{1: 5, 2: 5, 3: 1}) {
		t.Errorf("%d tasks, %d runs, %v", s.Tasks, s.Runs, s.RunsPerTask)
	}
	if !maps.Equal(s.Faults, map[string]int{"kill": 1, "freeze": 1}) || s.Skipped["disk-full"] != "no mounts here" {
		t.Errorf("faults %v, skipped %v", s.Faults, s.Skipped)
	}
	// Repeated are step 0 of task 9, step 0 of task 10 twice, and step 0 of task 11.
	if s.Repeated != 4 || s.Refused != 1 || s.Lost != 0 {
		t.Errorf("%d repeated, %d refused, %d lost", s.Repeated, s.Refused, s.Lost)
	}
	if want := float64(11) / s.Took.Seconds(); s.Throughput != want || s.Took <= 0 {
		t.Errorf("%v a second in %v", s.Throughput, s.Took)
	}
	for _, part := range []string{"11 tasks in", "18 runs, 5 tasks with 1, 5 tasks with 2, 1 tasks with 3", "4 steps were done again, 1 effects", "kill ", "no mounts here"} {
		if !strings.Contains(s.String(), part) {
			t.Errorf("no %q in\n%s", part, s)
		}
	}
}

func TestSummary_LostTasksAreCountedWhereTheyMayBe(t *testing.T) {
	t.Parallel()
	b := sound()
	b.drop(1)
	b.lossy()
	if s := checker.Summary(b.History); s.Lost != 1 {
		t.Errorf("%d lost", s.Lost)
	}
}

func TestSummary_TheTimeToRecoverEndsWithTheNextRunOfEachTaskThatWasHit(t *testing.T) {
	t.Parallel()
	b := newBook()
	b.start("p1", "p2", "p3")
	b.enqueue(history.Plan{Seq: 1, Steps: 9}, history.Plan{Seq: 2, Steps: 9}, history.Plan{Seq: 3, Steps: 1},
		history.Plan{Seq: 4, Steps: 9}, history.Plan{Seq: 5, Steps: 9, Fail: 1}, history.Plan{Seq: 6, Steps: 9, Exit: 1},
		history.Plan{Seq: 7, Steps: 9, Queue: "paused"}, history.Plan{Seq: 8, Steps: 9})
	b.call(history.Call{Op: history.Pause, Queue: "paused"}, history.Answer{Outcome: history.Done})
	b.call(history.Call{Op: history.Retry, Seq: 8}, history.Answer{Outcome: history.Done})
	for seq := 5; seq <= 8; seq++ { // these are held back by something else
		b.run(seq, 1, "p2", 0, 1, 0)
	}
	b.run(1, 10, "p2", 0, 1, 0)
	b.run(2, 20, "p2", 0, 1, 0)
	b.run(3, 30, "p2", 0, 1, history.Finished) // it has ended before
	b.run(4, 40, "p3", 0, 1, 0)                // it is in another process
	b.kill(1, "p2")                            // four events: the next run begins in the fourth second
	b.run(1, 11, "p3", 0, 1, 0)
	b.run(4, 41, "p3", 0, 1, 0)
	b.run(2, 21, "p3", 0, 1, 0)
	for seq := 5; seq <= 8; seq++ {
		b.run(seq, 2, "p3", 0, 1, 0)
	}
	for over := range 2 {
		b.event(history.Event{Fault: &history.Fault{ID: 2, Kind: "restart", Over: over == 1}})
	}
	b.run(1, 12, "p3", 0, 1, 0)
	// A run survives a short stop, so there is nothing to recover from.
	b.event(history.Event{Fault: &history.Fault{ID: 3, Kind: "pause", Victims: []string{"p3"}}})
	b.event(history.Event{Fault: &history.Fault{ID: 3, Kind: "pause", Over: true, Victims: []string{"p3"}}})
	b.now = b.now.Add(time.Minute)
	for _, seq := range []int{1, 2, 4} {
		b.effect(seq, map[int]int64{1: 12, 2: 21, 4: 41}[seq], "p3", 1, 0)
	}
	b.run(1, 13, "p3", 0, 1, 0)
	got := checker.Summary(b.History).Recovery
	want := map[string]checker.Spread{
		"kill":    {N: 2, Median: 4 * time.Second, P99: 8 * time.Second, Worst: 8 * time.Second},
		"restart": {N: 1, Median: time.Second, P99: time.Second, Worst: time.Second},
	}
	if !maps.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestSummary_TheTimeIsThatFromTheFirstCallToTheLastEffect(t *testing.T) {
	t.Parallel()
	if s := checker.Summary(history.History{}); s.Took != 0 || s.Throughput != 0 {
		t.Errorf("of an empty history: %v, %v", s.Took, s.Throughput)
	}
	b := sound()
	called := slices.IndexFunc(b.Events, func(e history.Event) bool { return e.Call != nil })
	did := len(b.Events) - 1
	for b.Events[did].Effect == nil {
		did--
	}
	if s, want := checker.Summary(b.History), b.Events[did].At.Sub(b.Events[called].At); s.Took != want {
		t.Errorf("%v, want %v", s.Took, want)
	}
	b.drop(1)
	if s := checker.Summary(b.History); s.Lost != 0 {
		t.Errorf("%d lost where no commit may be", s.Lost)
	}
}

func TestSummary_ATaskThatAFaultDidNotHitHasNoTimeToRecover(t *testing.T) {
	t.Parallel()
	b := newBook()
	b.start("p1", "p2", "p3", "p4")
	for seq := 1; seq <= 4; seq++ {
		b.enqueue(history.Plan{Seq: seq, Steps: 9})
	}
	b.run(1, 10, "p2", 0, 1, history.Finished)
	b.run(2, 20, "p2", 0, 1, history.HandedOver)
	b.run(3, 30, "p2", 0, 1, 0)
	b.run(3, 31, "p4", 0, 1, 0) // it is elsewhere by now
	b.run(4, 40, "p3", 0, 1, 0)
	b.kill(1, "p2")
	for seq := 1; seq <= 3; seq++ {
		b.run(seq, int64(10*seq+2), "p4", 0, 1, 0)
	}
	for over := range 2 { // the run continues, returns, and another one follows
		b.event(history.Event{Fault: &history.Fault{ID: 2, Kind: "pause", Over: over == 1, Victims: []string{"p3"}}})
	}
	b.effect(4, 40, "p3", history.Finished, 0)
	b.run(4, 41, "p4", 0, 1, 0)
	for over := range 2 {
		b.event(history.Event{Fault: &history.Fault{ID: 3, Kind: "restart", Over: over == 1}})
	}
	b.event(history.Event{Effect: &history.Effect{Seq: 4, TaskID: id(4), Step: 1, Fence: 40, Process: "p3", PID: 3, Stale: true}})
	b.run(4, 42, "p4", 0, 1, 0)
	got := checker.Summary(b.History).Recovery
	if want := (checker.Spread{N: 1, Median: 2 * time.Second, P99: 2 * time.Second, Worst: 2 * time.Second}); len(got) != 1 || got["restart"] != want {
		t.Errorf("%+v, want only %+v of the restart", got, want)
	}
}

func TestStory_HasTheFaultsAndProcessesOfTheTasksTimeAlone(t *testing.T) {
	t.Parallel()
	b := sound()
	i := slices.IndexFunc(b.Events, of(20, 1))
	for _, f := range []history.Fault{{ID: 30, Kind: "restart"}, {ID: 31, Kind: "oom", Victims: []string{"p3"}}} {
		b.Events = slices.Insert(b.Events, i, history.Event{N: b.Events[i].N, At: b.Events[i].At, Fault: &f})
	}
	b.event(history.Event{Fault: &history.Fault{ID: 32, Kind: "afterwards"}})
	story := checker.Story(b.History, 2)
	for part, want := range map[string]bool{
		" 8.000s  call 1 by p1": true, "restart": true, "oom": false, "afterwards": false,
		"p2 (process 2) started": false, "p4 (process 4) ended": false, "p2 (process 2) ended": true,
	} {
		if strings.Contains(story, part) != want {
			t.Errorf("%q is there: %v, in\n%s", part, !want, story)
		}
	}
	if story := checker.Story(b.History, 8); !strings.Contains(story, ": cancel") {
		t.Errorf("no cancel in\n%s", story)
	}
}

func TestSummary_TheTimesToRecoverAreSortedAndEndWithAnEffect(t *testing.T) {
	t.Parallel()
	b := newBook()
	b.start("p1", "p2", "p3", "p4")
	b.enqueue(history.Plan{Seq: 1, Steps: 9}, history.Plan{Seq: 2, Steps: 9})
	b.run(1, 10, "p2", 0, 1, 0)
	b.run(2, 20, "p3", 0, 1, 0)
	b.kill(1, "p2")
	b.now = b.now.Add(time.Minute)
	b.run(1, 11, "p4", 0, 1, 0)
	b.kill(2, "p3")
	b.run(2, 21, "p4", 0, 1, 0)
	for over := range 2 { // nothing happens after it
		b.event(history.Event{Fault: &history.Fault{ID: 3, Kind: "restart", Over: over == 1}})
	}
	got := checker.Summary(b.History).Recovery
	if want := (checker.Spread{N: 2, Median: 4 * time.Second, P99: 64 * time.Second, Worst: 64 * time.Second}); len(got) != 1 || got["kill"] != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestStory_TellsEverythingAboutATaskInOrder(t *testing.T) {
	t.Parallel()
	story := checker.Story(sound().History, 2)
	at := 0
	for _, part := range []string{
		"task 2:", "call 1 by p1: enqueue", "call 1 is answered: done [id-1 id-2 id-3]",
		"run 20 by p2 (process 2): begins at step 0", "run 20 by p2 (process 2): step 1",
		"fault 1, kill, begins [p2]", "p2 (process 2) signalled SIGKILL", "p2 (process 2) ended", "fault 1, kill, is over",
		"run 21 by p4 (process 4): begins at step 2", "run 21 by p4 (process 4): returns",
		"the store has id-2, of kind steps", "run 20 of process 2", "interrupted lost crashed=true reclaimed=true", "run 21 of process 4",
	} {
		i := strings.Index(story[at:], part)
		if i < 0 {
			t.Fatalf("%q is not there, or out of order, in\n%s", part, story)
		}
		at += i + len(part)
	}
	for _, other := range []string{"p3 ", "p5 ", "run 10 ", "by p8"} {
		if strings.Contains(story, other) {
			t.Errorf("%q is of other tasks, in\n%s", other, story)
		}
	}
	for seq, part := range map[int]string{4: "in the transaction: step 1 by run 40", 7: "to be committed: false", 12: "step 1, refused", 3: "hands over at step 1", 99: "is not in the history"} {
		if story := checker.Story(sound().History, seq); !strings.Contains(story, part) {
			t.Errorf("of %d: no %q in\n%s", seq, part, story)
		}
	}
	if story := checker.Story(sound().History, 13); !strings.Contains(story, "the store does not have it") || !strings.Contains(story, "too large") {
		t.Error(story)
	}
}
