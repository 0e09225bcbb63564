package storetest

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// record records a step of a run.
func (t *T) record(c task.Task, p task.StepRecord, change ...func(*task.Change)) {
	t.Helper()
	t.mustApply(recording(c, p, change...))
}

// recording returns the change that records a step.
func recording(c task.Task, p task.StepRecord, more ...func(*task.Change)) task.Change {
	ch := change(c, task.StatusRunning)
	ch.Step = &p
	for _, m := range more {
		m(&ch)
	}
	return ch
}

// done returns a step that is done.
func done(place int, name, result string) task.StepRecord {
	return task.StepRecord{Name: name, State: task.StepDone, Place: place, Version: "v1", Body: []byte(result)}
}

// steps returns the steps of a task.
func (t *T) steps(id string) []task.StepRecord {
	t.Helper()
	all, err := t.Store.Steps(t.Context(), id)
	if err != nil {
		t.Fatalf("Steps of %s: %v", id, err)
	}
	return all
}

// wantSteps complains unless a task has these steps, each as name:state:body.
func (t *T) wantSteps(what, id string, want ...string) {
	t.Helper()
	var got []string
	for _, p := range t.steps(id) {
		got = append(got, fmt.Sprintf("%s:%s:%s", p.Name, p.State, p.Body))
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%s: steps %q, want %q", what, got, want)
	}
}

// retry retries a task as a command says.
func (t *T) retry(cmd task.Command) error {
	t.Helper()
	cmd.Verb = task.VerbRetry
	return t.Store.Control(t.Context(), cmd)
}

var stepRules = []rule{
	{"40", "a step is kept byte for byte, in its place, with the others and the checkpoint", func(t *T) {
		c := t.run("w")
		t.wantSteps("before the first", c.ID)
		odd := []byte("\x00\xff'\"")
		began := t.get(c.ID).Started
		t.record(c, task.StepRecord{Name: "b", State: task.StepDone, Place: 1, Version: "v1.2", Body: odd})
		save := change(c, task.StatusRunning)
		save.Checkpoint = []byte("checkpoint")
		t.mustApply(save)
		t.record(c, task.StepRecord{Name: "a", State: task.StepDone, Place: 2}, func(ch *task.Change) { ch.Log = []byte("line\n") })
		t.record(c, task.StepRecord{Name: "c/1", State: task.StepOpen, Place: 10, Body: []byte("1")})
		t.record(c, task.StepRecord{Name: "c/1", State: task.StepOpen, Place: 10, Body: []byte("2")})
		all := t.steps(c.ID)
		if len(all) != 3 || all[0].Name != "b" || all[1].Name != "a" || all[2].Name != "c/1" {
			t.Fatalf("%+v", all)
		}
		if b := all[0]; !bytes.Equal(b.Body, odd) || b.Version != "v1.2" || b.Place != 1 || b.State != task.StepDone || b.Run != c.Run || b.Saved.Before(began) {
			t.Errorf("%+v", b)
		}
		if a, last := all[1], all[2]; a.Body != nil || a.Version != "" || last.State != task.StepOpen || string(last.Body) != "2" || last.Place != 10 {
			t.Errorf("%+v, %+v", a, last)
		}
		if got := t.get(c.ID); string(got.Checkpoint) != "checkpoint" {
			t.Errorf("checkpoint %q", got.Checkpoint)
		}
		save.Checkpoint = []byte("another")
		t.mustApply(save)
		t.mustApply(change(c, task.StatusInterrupted))
		again := t.claim("w", 1)[0]
		t.wantSteps("in the next run", c.ID, "b:done:"+string(odd), "a:done:", "c/1:open:2")
		t.record(again, task.StepRecord{Name: "c/1", State: task.StepDone, Place: 10})
		if all := t.steps(c.ID); all[0].Run != c.Run || all[2].Run != again.Run || all[2].Body != nil || all[2].State != task.StepDone {
			t.Errorf("%+v", all)
		}
		if got := t.get(c.ID); string(got.Checkpoint) != "another" {
			t.Errorf("checkpoint %q", got.Checkpoint)
		}
		t.mustApply(change(again, task.StatusSucceeded))
		t.wantSteps("after the end", c.ID, "b:done:"+string(odd), "a:done:", "c/1:done:")
		_, err := t.Store.Steps(t.Context(), t.id())
		t.wantErr("steps of nothing", err, task.ErrNotFound)
	}},
	{"40", "a step brings counters and progress along as a checkpoint does, and a stale one nothing", func(t *T) {
		c := t.run("w")
		crashed := change(c, task.StatusInterrupted)
		crashed.Counters = task.Counters{Crashes: 2, CrashStreak: 2, Interruptions: 1, InterruptStreak: 1}
		t.mustApply(crashed)
		again := t.claim("w", 1)[0]
		progress := task.Progress{Fraction: 0.5, Message: "half"}
		t.record(again, done(1, "a", "1"), func(ch *task.Change) {
			ch.Counters.CrashStreak, ch.Counters.InterruptStreak, ch.Progress = 0, 0, &progress
		})
		after := task.Counters{Crashes: 2, Interruptions: 1}
		if got := t.get(c.ID); got.Counters != after || got.Progress != progress {
			t.Errorf("%+v, %+v", got.Counters, got.Progress)
		}
		t.record(again, done(2, "b", "2"), func(ch *task.Change) { ch.Counters = after })
		if got := t.get(c.ID); got.Counters != after || got.Progress != progress {
			t.Errorf("after another one: %+v, %+v", got.Counters, got.Progress)
		}
		t.wantErr("a stale step", t.apply(recording(c, done(1, "a", "stale"))), task.ErrLeaseLost)
		t.wantErr("another stale step", t.apply(recording(c, done(3, "c", "stale"))), task.ErrLeaseLost)
		t.wantSteps("after a stale one", c.ID, "a:done:1", "b:done:2")
	}},
	{"40", "steps, checkpoints and ends of many tasks share a call", func(t *T) {
		t.join("w")
		const n = 9
		for range n {
			t.add()
		}
		var changes []task.Change
		claimed := t.claim("w", n)
		for i, c := range claimed {
			ch := change(c, task.StatusRunning)
			switch i % 3 {
			case 0:
				ch.Step = &task.StepRecord{Name: fmt.Sprint("s", i), State: task.StepDone, Place: i + 1, Version: fmt.Sprint("v", i), Body: fmt.Append(nil, i)}
			case 1:
				ch.Checkpoint = fmt.Append(nil, i)
			default:
				ch.Status = task.StatusSucceeded
			}
			changes = append(changes, ch)
			if i%3 == 0 { // of one task, one after the other
				changes = append(changes, recording(c, done(i+2, "next", "2")))
			}
		}
		for i, err := range t.Store.Apply(t.Context(), changes) {
			if err != nil {
				t.Errorf("change %d: %v", i, err)
			}
		}
		for i, c := range claimed {
			var want []string
			if i%3 == 0 {
				want = []string{fmt.Sprintf("s%d:done:%d", i, i), "next:done:2"}
			}
			t.wantSteps(fmt.Sprint("task ", i), c.ID, want...)
			if got := t.get(c.ID); (got.Status == task.StatusSucceeded) != (i%3 == 2) || i%3 == 1 && string(got.Checkpoint) != fmt.Sprint(i) {
				t.Errorf("task %d is %s, checkpoint %q", i, got.Status, got.Checkpoint)
			}
		}
	}},
	{"40", "steps go where their task goes", func(t *T) {
		c := t.run("w")
		beside := t.run("v")
		t.record(beside, done(1, "beside", "1"))
		for _, remove := range []func(){
			func() { t.mustAsk(task.VerbDelete, c.ID) },
			func() {
				t.tick()
				if n := t.prune(time.Microsecond, 10); n != 1 {
					t.Errorf("%d pruned", n)
				}
			},
		} {
			t.record(c, done(1, "a", "1"))
			t.mustApply(change(c, task.StatusFailed))
			remove()
			_, err := t.Store.Steps(t.Context(), c.ID)
			t.wantErr("steps of what is gone", err, task.ErrNotFound)
			t.addAll([]task.NewTask{{ID: c.ID, Kind: "k", Queue: "default", Payload: []byte("{}")}}, []task.AddResult{{ID: c.ID}})
			t.wantSteps("of a new task with the old id", c.ID)
			c = t.claim("w", 1)[0]
			t.wantSteps("of its first run", c.ID)
		}
		t.wantSteps("of the task beside", beside.ID, "beside:done:1")
	}},
	{"41", "a retry from the start leaves nothing of what the runs have done", func(t *T) {
		c := t.run("w")
		for _, status := range []task.Status{task.StatusFailed, task.StatusInterrupted, task.StatusQueued, task.StatusCancelled} {
			t.record(c, done(1, "a", "1"), func(ch *task.Change) { ch.Progress = &task.Progress{Fraction: 0.5, Message: "half"} })
			end := change(c, status)
			end.Checkpoint, end.Progress, end.Error = []byte("checkpoint"), &task.Progress{Fraction: 0.7}, "error"
			end.Delay = time.Hour
			t.mustApply(end)
			if err := t.retry(task.Command{Task: c.ID}); err != nil {
				t.Fatal(err)
			}
			t.wantSteps("after a plain retry", c.ID, "a:done:1")
			if got := t.get(c.ID); string(got.Checkpoint) != "checkpoint" {
				t.Errorf("checkpoint %q after a plain retry of one that was %s", got.Checkpoint, status)
			}
			if err := t.retry(task.Command{Task: c.ID, FromStart: true}); err != nil {
				t.Fatal(err)
			}
			t.wantSteps("after one from the start", c.ID)
			again := t.claim("w", 1)
			if len(again) != 1 || again[0].Checkpoint != nil || again[0].Progress != (task.Progress{}) || again[0].Runs != c.Runs+1 {
				t.Fatalf("claimed %+v of one that was %s", again, status)
			}
			c = again[0]
			end = change(c, status) // and at once, without a plain one
			end.Progress = &task.Progress{Fraction: 0.7}
			t.record(c, done(1, "a", "1"))
			t.mustApply(end)
			if err := t.retry(task.Command{Task: c.ID, FromStart: true}); err != nil {
				t.Fatal(err)
			}
			t.wantSteps("at once", c.ID)
			if got := t.get(c.ID); got.Checkpoint != nil || got.Progress != (task.Progress{}) {
				t.Errorf("checkpoint %q, progress %+v of one that was %s", got.Checkpoint, got.Progress, status)
			}
			c = t.claim("w", 1)[0]
		}
	}},
	{"41", "a step is skipped unless it is done, and stands behind the others", func(t *T) {
		c := t.run("w")
		t.record(c, done(1, "done", "1"))
		t.record(c, task.StepRecord{Name: "open", State: task.StepOpen, Place: 2, Version: "v1", Body: []byte("5")})
		t.mustApply(change(c, task.StatusInterrupted))
		skip := task.Command{Task: c.ID, SkipSteps: []string{"open", "new", "done", "new"}}
		if err := t.retry(skip); err != nil {
			t.Fatal(err)
		}
		t.wantSteps("of one that waits", c.ID, "done:done:1", "new:skipped:", "open:skipped:")
		for _, p := range t.steps(c.ID)[1:] {
			if p.Place != 0 || p.Run != 0 || p.Version != "" || p.Body != nil || p.Saved.Before(t.get(c.ID).Created) {
				t.Errorf("%+v", p)
			}
		}
		c = t.claim("w", 1)[0]
		t.record(c, done(2, "more", "2"))
		t.mustApply(change(c, task.StatusFailed))
		skip.FromStart, skip.SkipSteps = true, []string{"done"}
		if err := t.retry(skip); err != nil {
			t.Fatal(err)
		}
		t.wantSteps("from the start", c.ID, "done:skipped:")
	}},
	{"41", "a retry that is refused leaves everything", func(t *T) {
		t.join("w")
		id := t.add(func(n *task.NewTask) { n.Key = "key" })
		c := t.claim("w", 1)[0]
		save := change(c, task.StatusRunning)
		save.Checkpoint = []byte("checkpoint")
		t.mustApply(save)
		t.record(c, done(1, "a", "1"))
		refused := func(what string, want error) {
			t.Helper()
			t.wantErr(what, t.retry(task.Command{Task: id, FromStart: true, SkipSteps: []string{"a", "b"}}), want)
			t.wantSteps(what, id, "a:done:1")
			if got := t.get(id); string(got.Checkpoint) != "checkpoint" {
				t.Errorf("%s: checkpoint %q", what, got.Checkpoint)
			}
		}
		refused("a running task", task.ErrRunning)
		t.mustApply(change(c, task.StatusFailed))
		holder := t.keyed("k", "key")
		refused("a task whose key is another one's", task.ErrKeyBusy)
		t.mustAsk(task.VerbCancel, holder.ID)
		t.mustAsk(task.VerbRetry, id)
		t.mustApply(change(t.claim("w", 1)[0], task.StatusSucceeded))
		refused("a task that has succeeded", task.ErrAlreadyFinished)
	}},
}

var stepTxRules = []txRule{
	{"a step is recorded when the transaction commits, and never if it does not", "what a step has done in the database and its record are one", func(t *txT) {
		c := t.run("w")
		for n, commit := range []bool{false, true} {
			tx := t.begin()
			if err := t.store.SaveTx(t.Context(), tx.Tx, recording(c, done(1, "a", fmt.Sprint(n)))); err != nil {
				t.Fatalf("SaveTx: %v", err)
			}
			end := tx.Rollback
			if commit {
				end = tx.Commit
			}
			if err := end(); err != nil {
				t.Fatal(err)
			}
			var want []string
			if commit {
				want = []string{"a:done:1"}
			}
			t.wantSteps(fmt.Sprint("committed: ", commit), c.ID, want...)
		}
	}},
}
