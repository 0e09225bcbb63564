package storetest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// another returns a new task of kind k with a key, and a payload of its own.
func (t *T) another(key string, what task.OnConflict, change ...func(*task.NewTask)) task.NewTask {
	n := task.NewTask{ID: t.id(), Kind: "k", Queue: "default", Key: key, OnConflict: what}
	n.Payload = []byte(strconv.Quote(n.ID))
	for _, c := range change {
		c(&n)
	}
	return n
}

// brief is a time for which a key is held. On a machine that is not overloaded a task ends before
// it is over.
const brief = 150 * time.Millisecond

// answered adds a task and compares the outcome, and the id with that of the task that holds the
// key.
func (t *T) answered(n task.NewTask, id string, want task.Outcome) {
	t.Helper()
	t.addOne(fmt.Sprintf("%v of the key %q", n.OnConflict, n.Key), n, task.AddResult{ID: id, Outcome: want})
}

// waiting are the ways in which a task can wait. Each brings a new task, whose key is the name of
// the way, into that state.
var waiting = map[string]func(t *T, n task.NewTask) int{
	"queued":  func(*T, task.NewTask) int { return 0 },
	"delayed": func(*T, task.NewTask) int { return 0 },
	"interrupted": func(t *T, n task.NewTask) int {
		c := t.claimOnly(n.ID)
		c.Counters = task.Counters{Interruptions: 1, InterruptStreak: 1}
		t.left(c, task.StatusInterrupted, 0)
		return 1
	},
	"to be tried again": func(t *T, n task.NewTask) int {
		c := t.claimOnly(n.ID)
		c.Counters = task.Counters{Attempts: 2}
		t.left(c, task.StatusQueued, time.Hour)
		return 1
	},
	"a suspect": func(t *T, n task.NewTask) int {
		c := t.claimOnly(n.ID)
		c.Counters = task.Counters{Crashes: 2, CrashStreak: 2, Suspicion: 7}
		t.left(c, task.StatusInterrupted, time.Hour)
		return 1
	},
}

// claimOnly claims one task, which is the only one that can be claimed.
func (t *T) claimOnly(id string) task.Task {
	t.Helper()
	got := t.claim("w", 10)
	if !slices.Equal(ids(got), []string{id}) {
		t.Fatalf("claimed %v, want %s", ids(got), id)
	}
	return got[0]
}

// left ends a run so that its task can be claimed again, with a checkpoint, a progress and a step.
func (t *T) left(c task.Task, status task.Status, delay time.Duration) {
	t.Helper()
	t.record(c, done(1, "pull", "of the old payload"))
	ch := change(c, status)
	ch.Checkpoint, ch.Progress, ch.Delay, ch.Error = []byte("of the old payload"), &task.Progress{Fraction: 0.5, Message: "half"}, delay, "old"
	t.mustApply(ch)
}

var keyRules = []rule{
	{"50", "one that waits takes over what the new task brings, and begins from the start", func(t *T) {
		t.join("w")
		for _, state := range slices.Sorted(maps.Keys(waiting)) {
			for _, delay := range []time.Duration{0, time.Hour} {
				t.replacedOne(state, delay)
			}
		}
	}},
	{"50", "one that runs or has ended is left, and stands for the new one", func(t *T) {
		t.join("w")
		n := t.another("key", task.Existing, func(n *task.NewTask) { n.KeyFor = time.Hour })
		t.addAll([]task.NewTask{n}, []task.AddResult{{ID: n.ID}})
		c := t.claimOnly(n.ID)
		t.answered(t.another("key", task.Replace), n.ID, task.OutcomeExisting)
		if got := t.get(n.ID); string(got.Payload) != string(n.Payload) || got.Status != task.StatusRunning {
			t.Errorf("it runs, and is now %+v", got)
		}
		t.mustApply(change(c, task.StatusSucceeded))
		t.answered(t.another("key", task.Replace), n.ID, task.OutcomeExisting)
		if got := t.get(n.ID); string(got.Payload) != string(n.Payload) || got.Status != task.StatusSucceeded {
			t.Errorf("it has succeeded, and is now %+v", got)
		}
		t.count("default k succeeded", 1)
	}},
	{"50", "what is discarded is not added, changes nothing, and is said to be discarded", func(t *T) {
		t.join("w")
		n := t.another("key", task.Discard)
		t.addAll([]task.NewTask{n}, []task.AddResult{{ID: n.ID}})
		t.answered(t.another("key", task.Discard, func(n *task.NewTask) { n.Priority = 7 }), n.ID, task.OutcomeDiscarded)
		t.answered(n, n.ID, task.OutcomeExisting)
		c := t.claimOnly(n.ID)
		t.answered(t.another("key", task.Discard), n.ID, task.OutcomeDiscarded)
		if c.Priority != 0 || string(c.Payload) != string(n.Payload) {
			t.Errorf("claimed %+v", c)
		}
		t.mustApply(change(c, task.StatusSucceeded))
		next := t.another("key", task.Discard)
		t.answered(next, next.ID, task.OutcomeAdded)
		t.count("default k queued", 1, "default k succeeded", 1)
	}},
	{"50", "a replacement that is sent again changes nothing, and ids stay those of their first payloads", func(t *T) {
		first := t.another("key", task.Replace, func(n *task.NewTask) { n.Delay = time.Hour })
		one, two := t.another("key", task.Replace), t.another("key", task.Replace, func(n *task.NewTask) { n.Delay = time.Hour })
		t.answered(first, first.ID, task.OutcomeAdded)
		t.answered(one, first.ID, task.OutcomeReplaced)
		was := t.get(first.ID)
		t.tick()
		t.answered(one, first.ID, task.OutcomeReplaced)
		if got := t.get(first.ID); !got.RunAt.Equal(was.RunAt) || string(got.Payload) != string(one.Payload) {
			t.Errorf("sent again it has made %+v of %+v", got, was)
		}
		t.answered(first, first.ID, task.OutcomeExisting)
		t.addOne("the present payload under the first id", task.NewTask{ID: first.ID, Kind: "k", Queue: "default", Payload: one.Payload},
			task.AddResult{ID: first.ID, Conflict: true})
		t.answered(two, first.ID, task.OutcomeReplaced)
		t.answered(first, first.ID, task.OutcomeExisting)
		if got := t.get(first.ID); string(got.Payload) != string(two.Payload) || !got.RunAt.After(time.Now()) {
			t.Errorf("after the second one it is %+v", got)
		}
		t.join("w")
		t.mustAsk(task.VerbRetry, first.ID)
		c := t.claimOnly(first.ID)
		t.answered(two, first.ID, task.OutcomeReplaced) // the run has its payload
		t.mustApply(change(c, task.StatusSucceeded))
		t.count("default k succeeded", 1)
	}},
	{"50", "tasks with one key in a call come one by one", func(t *T) {
		a, b, c := t.another("key", task.Existing), t.another("key", task.Replace), t.another("key", task.Discard)
		d := t.another("key", task.Replace, func(n *task.NewTask) { n.Delay = time.Hour })
		e, plain := t.another("key", task.Existing), t.add()
		t.addAll([]task.NewTask{a, b, c, d, e, {ID: plain, Kind: "k", Queue: "default", Payload: []byte("{}")}}, []task.AddResult{
			{ID: a.ID}, {ID: a.ID, Outcome: task.OutcomeReplaced}, {ID: a.ID, Outcome: task.OutcomeDiscarded},
			{ID: a.ID, Outcome: task.OutcomeReplaced}, {ID: a.ID, Outcome: task.OutcomeExisting}, {ID: plain, Outcome: task.OutcomeExisting},
		})
		if got := t.get(a.ID); string(got.Payload) != string(d.Payload) || !got.RunAt.After(time.Now()) {
			t.Errorf("the last one counts, and it is %+v", got)
		}
		t.addAll([]task.NewTask{b, t.another("other", task.Replace)}, []task.AddResult{{ID: a.ID, Outcome: task.OutcomeReplaced}, {ID: fmt.Sprintf("00000000-0000-7000-8000-%012d", t.ids)}})
		t.count("default k queued", 3)
	}},
	{"51", "a key is held for its time, whatever happens to the task", func(t *T) {
		t.join("w")
		n := t.another("key", task.Existing, func(n *task.NewTask) { n.KeyFor = time.Hour })
		t.answered(n, n.ID, task.OutcomeAdded)
		c := t.claimOnly(n.ID)
		held := func(when string) {
			t.Helper()
			for what, want := range map[task.OnConflict]task.Outcome{task.Existing: task.OutcomeExisting, task.Discard: task.OutcomeDiscarded} {
				t.addOne(fmt.Sprintf("%v, %s", what, when), t.another("key", what), task.AddResult{ID: n.ID, Outcome: want})
			}
		}
		held("while it runs")
		t.mustApply(change(c, task.StatusFailed))
		held("when it has failed")
		t.mustAsk(task.VerbRetry, n.ID)
		held("when it is retried")
		t.mustAsk(task.VerbCancel, n.ID)
		held("when it is cancelled")
		t.tick()
		t.prune(0, 10)
		held("when it has been pruned")
		other := t.keyed("other", "key")
		if other.Outcome != task.OutcomeAdded {
			t.Errorf("of another kind: %+v", other)
		}
	}},
	{"51", "a time that is over holds no key, and Delete gives it back before", func(t *T) {
		t.join("w")
		short, long := brief, time.Hour
		end := func(id string) {
			t.Helper()
			t.mustApply(change(t.claimOnly(id), task.StatusFailed))
		}
		one := t.another("key", task.Existing, func(n *task.NewTask) { n.KeyFor = short })
		t.answered(one, one.ID, task.OutcomeAdded)
		time.Sleep(short)
		t.answered(t.another("key", task.Discard), one.ID, task.OutcomeDiscarded) // it has not ended
		end(one.ID)
		two := t.another("key", task.Existing, func(n *task.NewTask) { n.KeyFor = short })
		t.answered(two, two.ID, task.OutcomeAdded)
		end(two.ID)
		time.Sleep(short)
		three := t.another("key", task.Replace, func(n *task.NewTask) { n.KeyFor = long })
		t.answered(three, three.ID, task.OutcomeAdded)
		t.wantErr("retry of one whose key is another's", t.ask(task.VerbRetry, one.ID), task.ErrKeyBusy)
		end(three.ID)
		t.wantErr("retry of one whose key is held by an ended one", t.ask(task.VerbRetry, two.ID), task.ErrKeyBusy)
		t.mustAsk(task.VerbDelete, three.ID)
		four := t.another("key", task.Existing, func(n *task.NewTask) { n.KeyFor = short })
		t.answered(four, four.ID, task.OutcomeAdded)
		end(four.ID)
		time.Sleep(short)
		t.prune(long, 10) // removes what is over, and no task
		t.mustAsk(task.VerbRetry, one.ID)
		if got := t.keyed("k", "key"); got.ID != one.ID || got.Outcome != task.OutcomeExisting {
			t.Errorf("the key of the one that was retried is %+v", got)
		}
	}},
	{"51", "one that is replaced keeps its time", func(t *T) {
		t.join("w")
		n := t.another("key", task.Replace, func(n *task.NewTask) { n.KeyFor = time.Hour })
		t.answered(n, n.ID, task.OutcomeAdded)
		t.answered(t.another("key", task.Replace, func(n *task.NewTask) { n.KeyFor = time.Millisecond }), n.ID, task.OutcomeReplaced)
		t.answered(t.another("key", task.Replace), n.ID, task.OutcomeReplaced)
		t.mustApply(change(t.claimOnly(n.ID), task.StatusSucceeded))
		t.tick()
		t.answered(t.another("key", task.Discard), n.ID, task.OutcomeDiscarded)
	}},
}

// replacedOne replaces a task that waits in one of the ways, by one that may be claimed at once or
// is delayed.
func (t *T) replacedOne(state string, delay time.Duration) {
	t.Helper()
	n := t.another(state, task.Existing, func(n *task.NewTask) {
		n.Priority, n.Meta = 3, map[string]string{"of": "old"}
		if state == "delayed" {
			n.Delay = time.Hour
		}
	})
	t.addAll([]task.NewTask{n}, []task.AddResult{{ID: n.ID}})
	runs := waiting[state](t, n)
	was := t.get(n.ID)
	by := t.another(state, task.Replace, func(n *task.NewTask) {
		n.Queue, n.Priority, n.Meta, n.Delay = "another", -2, map[string]string{"of": "new"}, delay
		// Longer than what a store may keep next to a waiting task.
		n.Payload = append(n.Payload, make([]byte, 300*runs)...)
	})
	t.answered(by, n.ID, task.OutcomeReplaced)
	got := t.get(n.ID)
	if string(got.Payload) != string(by.Payload) || got.Priority != -2 || got.Meta["of"] != "new" || got.Queue != "default" || got.Key != state ||
		got.RunAt.After(time.Now()) != (delay > 0) || !got.Created.Equal(was.Created) {
		t.Errorf("one that was %s is %+v", state, got)
	}
	if got.Status != task.StatusQueued || got.Reason != "" || got.Checkpoint != nil || got.Progress != (task.Progress{}) || got.Runs != runs || got.Run != was.Run ||
		got.Counters != (task.Counters{Interruptions: was.Interruptions, Crashes: was.Crashes}) {
		t.Errorf("one that was %s goes on as %+v", state, got)
	}
	t.wantSteps("one that was "+state+" and is replaced", n.ID)
	t.count("default k queued", 1)
	if t.answered(t.another(state, task.Existing), n.ID, task.OutcomeExisting); delay > 0 {
		if got := t.claim("w", 10); len(got) != 0 {
			t.Errorf("one that was %s and is put off was claimed: %+v", state, got)
		}
		t.mustAsk(task.VerbRetry, n.ID)
	}
	c := t.claimOnly(n.ID)
	if string(c.Payload) != string(by.Payload) || c.Meta["of"] != "new" || c.Checkpoint != nil || c.Priority != -2 || c.Runs != runs+1 {
		t.Errorf("one that was %s was claimed as %+v", state, c)
	}
	t.mustApply(change(c, task.StatusSucceeded))
	t.mustAsk(task.VerbDelete, n.ID)
	t.count()
}

var keyRaceRules = []rule{
	{"50", "replacements and claims that meet leave whole tasks, and none is lost", func(t *T) {
		t.join("w")
		var (
			replacers sync.WaitGroup
			mu        sync.Mutex
			outcomes  = make(map[string]task.Outcome) // by the payload
			added     int
		)
		for p := range 4 {
			var news []task.NewTask
			for range 20 {
				news = append(news, t.another("key", task.Replace, func(n *task.NewTask) {
					n.Meta, n.Delay = map[string]string{"of": string(n.Payload)}, time.Duration(p%2)*time.Microsecond
				}))
			}
			replacers.Go(func() {
				for i := 0; i < len(news); {
					got, err := t.Store.Add(t.Context(), news[i:i+1])
					if err != nil {
						t.Errorf("Add: %v", err)
						return
					}
					if got[0].Busy {
						continue
					}
					mu.Lock()
					if outcomes[string(news[i].Payload)] = got[0].Outcome; got[0].Outcome == task.OutcomeAdded {
						added++
					}
					mu.Unlock()
					i++
				}
			})
		}
		over := make(chan struct{})
		var claimer sync.WaitGroup
		var run []string
		claimer.Go(func() { run = t.claimWhole(over) })
		replacers.Wait()
		close(over)
		claimer.Wait()
		if len(run) != added {
			t.Errorf("%d tasks were added, and %d run", added, len(run))
		}
		for _, payload := range run {
			if got := outcomes[payload]; got == task.OutcomeExisting {
				t.Errorf("%s was run, and its outcome was %v", payload, got)
			}
		}
		last := t.another("key", task.Replace)
		t.addAll([]task.NewTask{last}, []task.AddResult{{ID: last.ID}}) // nothing is left of the others
	}},
	{"51", "of many callers that add a key whose time is over one succeeds", func(t *T) {
		t.join("w")
		for round := range 3 {
			n := t.another("key", task.Existing, func(n *task.NewTask) { n.KeyFor = brief })
			t.answered(n, n.ID, task.OutcomeAdded)
			t.mustApply(change(t.claimOnly(n.ID), task.StatusSucceeded))
			time.Sleep(brief)
			var adders sync.WaitGroup
			outcomes := make(chan task.AddResult, 10)
			for range cap(outcomes) {
				n := t.another("key", task.Discard)
				adders.Go(func() {
					for {
						got, err := t.Store.Add(t.Context(), []task.NewTask{n})
						if err != nil {
							t.Errorf("Add: %v", err)
							return
						}
						if !got[0].Busy {
							outcomes <- got[0]
							return
						}
					}
				})
			}
			adders.Wait()
			close(outcomes)
			added := 0
			for got := range outcomes {
				if got.Outcome == task.OutcomeAdded {
					added++
				}
			}
			if added != 1 {
				t.Errorf("round %d: %d were added", round, added)
			}
			got := t.claim("w", 10)
			if len(got) != 1 {
				t.Fatalf("round %d: claimed %v", round, ids(got))
			}
			t.mustApply(change(got[0], task.StatusSucceeded))
		}
	}},
}

// claimWhole claims and ends tasks until no more are added and none is left. It checks that each
// claim gets all parts of the same new task, and returns the payloads.
func (t *T) claimWhole(over <-chan struct{}) (payloads []string) {
	t.Helper()
	for idle := false; ; {
		last := false
		select {
		case <-over:
			last = true
		default:
		}
		got, err := t.Store.Claim(t.Context(), request("w", 10))
		if err != nil {
			t.Errorf("Claim: %v", err)
			return payloads
		}
		for _, c := range got {
			payloads = append(payloads, string(c.Payload))
			if c.Meta["of"] != string(c.Payload) || c.Runs != 1 {
				t.Errorf("claimed the payload %s with the meta %v, run %d", c.Payload, c.Meta, c.Runs)
			}
			t.wantErr("its end", t.apply(change(c, task.StatusSucceeded)), nil)
		}
		if len(got) > 0 {
			idle = false
			continue
		}
		if last && idle {
			return payloads
		}
		idle = last
		t.tick()
	}
}
