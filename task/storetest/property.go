package storetest

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/lastcall-go/lastcall/task"
)

// Property makes random use of a store and compares it with a model after every step:
//
//   - A task becomes only what the table of moves allows.
//   - Its counters and runs are those that were written, and its run number grows.
//   - Stale changes are refused.
//   - The counts are right.
//
// The store must be empty; it is used for all the attempts. With -short there are a fifth of them,
// and half as long, unless -rapid.checks says otherwise.
func Property(t *testing.T, store task.Store, attempts int) {
	limit(t, attempts)
	ids := 0
	rapid.Check(t, func(rt *rapid.T) {
		ids++
		m := &model{TB: rt, t: t, store: store, nr: ids, tasks: make(map[string]*modelTask)}
		m.worker = fmt.Sprintf("worker-%d", ids)
		m.beat(1, task.WorkerRunning)
		rt.Repeat(map[string]func(*rapid.T){
			"add":        m.add,
			"claim":      m.claim,
			"end":        m.end,
			"save":       m.save,
			"step":       m.step,
			"stale end":  m.stale,
			"repeat":     m.repeat,
			"cancel":     func(rt *rapid.T) { m.command(rt, task.VerbCancel) },
			"retry":      func(rt *rapid.T) { m.command(rt, task.VerbRetry) },
			"begin anew": func(rt *rapid.T) { m.anew(rt) },
			"interrupt":  func(rt *rapid.T) { m.command(rt, task.VerbInterrupt) },
			"delete":     m.remove,
			"replace":    m.replace,
			"":           m.check,
		})
		m.close(rt)
	})
}

// limit sets the number of attempts, unless the user has set it. With -short rapid makes a fifth of
// them, which shall be at least three.
func limit(t *testing.T, attempts int) {
	t.Helper()
	checks := flag.Lookup("rapid.checks")
	before := checks.Value.String()
	if before != checks.DefValue {
		return
	}
	if testing.Short() {
		attempts = 5 * max(attempts/5, min(attempts, 3))
	}
	if err := checks.Value.Set(strconv.Itoa(attempts)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := checks.Value.Set(before); err != nil {
			t.Error(err)
		}
	})
}

// model is what the store should contain, of one kind and queue that only this attempt uses.
type model struct {
	rapid.TB
	t      *testing.T
	store  task.Store
	nr     int
	worker string
	seq    uint64
	tasks  map[string]*modelTask
	order  []string
	ended  []task.Change // that were accepted

	replaced int // how many times a task was
}

type modelTask struct {
	status   task.Status
	counters task.Counters
	run      int64
	runs     int
	asked    task.Verb
	check    string
	steps    map[string]string
	delayed  bool
	bounded  bool // until it has been claimed or has ended
}

func (m *model) kind() string { return fmt.Sprintf("kind-%d", m.nr) }

func (m *model) beat(seq uint64, state task.WorkerState) {
	m.seq = seq
	if _, err := m.store.Heartbeat(m.t.Context(), task.Beat{Worker: m.worker, Host: "h", Lease: time.Hour, Seq: seq, State: state}); err != nil {
		m.Fatalf("beat: %v", err)
	}
}

func (m *model) add(rt *rapid.T) {
	id := fmt.Sprintf("00000000-0000-7000-%04x-%012d", 0x8000+m.nr%0x3fff, len(m.order)+1)
	n := task.NewTask{ID: id, Kind: m.kind(), Queue: "default", Key: id, Priority: rapid.IntRange(-1, 1).Draw(rt, "priority")}
	if rapid.Bool().Draw(rt, "delayed") {
		n.Delay = time.Hour
	}
	if rapid.Bool().Draw(rt, "bounded") {
		n.StartBefore = 2 * time.Hour
	}
	if _, err := m.store.Add(m.t.Context(), []task.NewTask{n}); err != nil {
		rt.Fatalf("Add: %v", err)
	}
	m.tasks[id] = &modelTask{status: task.StatusQueued, delayed: n.Delay > 0, bounded: n.StartBefore > 0}
	m.order = append(m.order, id)
}

func (m *model) claim(rt *rapid.T) {
	most, suspected := rapid.IntRange(1, 3).Draw(rt, "max"), rapid.IntRange(0, 2).Draw(rt, "suspects")
	group := task.Suspicion(rapid.IntRange(0, 2).Draw(rt, "group"))
	got, err := m.store.Claim(m.t.Context(), task.ClaimRequest{Worker: m.worker, Max: most, Suspects: suspected, Suspicion: group,
		Kinds: []task.KindClaim{{Kind: m.kind(), Max: most}}})
	if err != nil {
		rt.Fatalf("Claim: %v", err)
	}
	ready, suspects := 0, 0
	for _, mt := range m.tasks {
		if mt.status.Claimable() && !mt.delayed {
			switch {
			case mt.counters.Suspicion == 0:
				ready++
			case group == 0 || group == mt.counters.Suspicion:
				suspects++
			}
		}
	}
	if group == 0 {
		suspects = min(suspects, 1)
	}
	ready += min(suspects, suspected)
	if len(got) != min(most, ready) {
		rt.Fatalf("%d tasks claimed, want %d of %d", len(got), min(most, ready), ready)
	}
	for _, g := range got {
		mt := m.tasks[g.ID]
		m.move(rt, g.ID, task.StatusRunning)
		if g.Run <= mt.run || g.Runs != mt.runs+1 || string(g.Checkpoint) != mt.check {
			rt.Fatalf("claimed %+v after %+v", g, mt)
		}
		mt.run, mt.runs = g.Run, g.Runs
	}
}

// pick chooses a task that fulfils a condition.
func (m *model) pick(rt *rapid.T, ok func(*modelTask) bool) string {
	var some []string
	for _, id := range m.order {
		if mt := m.tasks[id]; mt != nil && ok(mt) {
			some = append(some, id)
		}
	}
	if len(some) == 0 {
		rt.Skip("none")
	}
	return rapid.SampledFrom(some).Draw(rt, "task")
}

func running(mt *modelTask) bool { return mt.status == task.StatusRunning }

func (m *model) apply(c task.Change) error { return m.store.Apply(m.t.Context(), []task.Change{c})[0] }

func (m *model) end(rt *rapid.T) {
	id := m.pick(rt, running)
	mt := m.tasks[id]
	c := task.Change{Fence: task.Fence{Task: id, Run: mt.run, Worker: m.worker}, Counters: mt.counters,
		Status: rapid.SampledFrom(moved(task.StatusRunning)).Draw(rt, "status")}
	switch c.Status {
	case task.StatusInterrupted:
		c.Reason = task.ReasonLost
		c.Counters.Crashes++
		if c.Counters.CrashStreak++; c.Counters.CrashStreak >= 2 {
			c.Counters.Suspicion = task.Suspicion(rapid.IntRange(1, 2).Draw(rt, "group"))
		}
	case task.StatusQueued:
		c.Counters.Attempts++
	}
	if rapid.Bool().Draw(rt, "delay") {
		c.Delay = time.Hour
	}
	if err := m.apply(c); err != nil {
		rt.Fatalf("end %s: %v", c.Status, err)
	}
	m.ended = append(m.ended, c)
	next := c.Status
	if mt.asked == task.VerbCancel && next.Claimable() {
		next = task.StatusCancelled
	}
	// A plain success leaves the counters alone, and they are the same.
	if next != task.StatusSucceeded {
		mt.counters = c.Counters
	}
	mt.delayed, mt.asked = c.Delay > 0, ""
	m.move(rt, id, next)
}

// moved lists what a status can become.
func moved(from task.Status) (all []task.Status) {
	for _, s := range task.Statuses() {
		if from.CanBecome(s) {
			all = append(all, s)
		}
	}
	return all
}

func (m *model) save(rt *rapid.T) {
	id := m.pick(rt, running)
	mt := m.tasks[id]
	c := task.Change{Fence: task.Fence{Task: id, Run: mt.run, Worker: m.worker}, Status: task.StatusRunning, Counters: mt.counters,
		Checkpoint: []byte(rapid.StringN(1, 5, -1).Draw(rt, "checkpoint"))}
	c.Counters.CrashStreak, c.Counters.Suspicion = 0, 0
	if err := m.apply(c); err != nil {
		rt.Fatalf("save: %v", err)
	}
	mt.counters, mt.check = c.Counters, string(c.Checkpoint)
}

func (m *model) step(rt *rapid.T) {
	id := m.pick(rt, running)
	mt := m.tasks[id]
	p := task.StepRecord{Name: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "step"), State: task.StepDone,
		Body: []byte(rapid.StringN(1, 5, -1).Draw(rt, "result"))}
	c := task.Change{Fence: task.Fence{Task: id, Run: mt.run, Worker: m.worker}, Status: task.StatusRunning, Counters: mt.counters, Step: &p}
	c.Counters.CrashStreak, c.Counters.Suspicion = 0, 0
	if err := m.apply(c); err != nil {
		rt.Fatalf("step: %v", err)
	}
	if mt.counters = c.Counters; mt.steps == nil {
		mt.steps = make(map[string]string)
	}
	mt.steps[p.Name] = string(p.Body)
}

// It retries a task from its beginning.
func (m *model) anew(rt *rapid.T) {
	id := m.pick(rt, func(mt *modelTask) bool { return mt.status != task.StatusRunning && mt.status != task.StatusSucceeded })
	mt := m.tasks[id]
	if err := m.store.Control(m.t.Context(), task.Command{Verb: task.VerbRetry, Task: id, FromStart: true}); err != nil {
		rt.Fatalf("retry from the start: %v", err)
	}
	if mt.status.Ended() {
		m.move(rt, id, task.StatusQueued)
	}
	mt.counters.Attempts, mt.counters.CrashStreak, mt.counters.InterruptStreak, mt.counters.Suspicion, mt.delayed = 0, 0, 0, 0, false
	mt.check, mt.steps = "", nil
}

func (m *model) stale(rt *rapid.T) {
	id := m.pick(rt, func(mt *modelTask) bool { return mt.runs > 0 })
	c := task.Change{Fence: task.Fence{Task: id, Run: m.tasks[id].run - 1, Worker: m.worker}, Status: task.StatusFailed, Checkpoint: []byte("stale")}
	for _, e := range m.ended {
		if e.Fence == c.Fence {
			rt.Skip("no stale run, but an earlier one")
		}
	}
	if err := m.apply(c); !errors.Is(err, task.ErrLeaseLost) {
		rt.Fatalf("a stale end: %v", err)
	}
}

func (m *model) repeat(rt *rapid.T) {
	if len(m.ended) == 0 {
		rt.Skip("none")
	}
	if c := rapid.SampledFrom(m.ended).Draw(rt, "end"); m.apply(c) != nil {
		rt.Fatalf("repeated end %s: %v", c.Status, m.apply(c))
	}
}

func (m *model) command(rt *rapid.T, verb task.Verb) {
	id := m.pick(rt, func(*modelTask) bool { return true })
	mt := m.tasks[id]
	err := m.store.Control(m.t.Context(), task.Command{Verb: verb, Task: id})
	var want error
	switch was := mt.status; {
	case was == task.StatusRunning && verb == task.VerbRetry:
		want = task.ErrRunning
	case was == task.StatusRunning:
		if mt.asked != task.VerbCancel {
			mt.asked = verb
		}
	case verb == task.VerbInterrupt:
		want = task.ErrNotRunning
	case was == task.StatusSucceeded, was == task.StatusFailed && verb == task.VerbCancel:
		want = task.ErrAlreadyFinished
	case verb == task.VerbCancel:
		if was != task.StatusCancelled {
			m.move(rt, id, task.StatusCancelled)
		}
	default:
		if was.Ended() {
			m.move(rt, id, task.StatusQueued)
		}
		mt.counters.Attempts, mt.counters.CrashStreak, mt.counters.InterruptStreak, mt.counters.Suspicion, mt.delayed = 0, 0, 0, 0, false
	}
	if !errors.Is(err, want) {
		rt.Fatalf("%s: %v, want %v", verb, err, want)
	}
}

func (m *model) remove(rt *rapid.T) {
	id := m.pick(rt, func(*modelTask) bool { return true })
	ended := m.tasks[id].status.Ended()
	for _, want := range []error{nil, task.ErrNotFound} {
		if !ended {
			want = task.ErrNotEnded
		}
		if err := m.store.Control(m.t.Context(), task.Command{Verb: task.VerbDelete, Task: id}); !errors.Is(err, want) {
			rt.Fatalf("delete: %v, want %v", err, want)
		}
	}
	if ended {
		delete(m.tasks, id)
		m.ended = slices.DeleteFunc(m.ended, func(c task.Change) bool { return c.Task == id })
	}
}

func (m *model) move(rt *rapid.T, id string, next task.Status) {
	mt := m.tasks[id]
	if !mt.status.CanBecome(next) {
		rt.Fatalf("%s became %s", mt.status, next)
	}
	mt.status = next
	if next.Ended() {
		mt.counters.Suspicion, mt.bounded = 0, false
	}
}

// check compares the store with the model.
func (m *model) check(rt *rapid.T) {
	found, err := m.store.Find(m.t.Context(), task.Query{Kind: m.kind(), Limit: 1000})
	if err != nil || len(found) != len(m.tasks) {
		rt.Fatalf("%d tasks found, %v, want %d", len(found), err, len(m.tasks))
	}
	numbers := make(map[task.Status]int)
	for _, g := range found {
		mt := m.tasks[g.ID]
		numbers[mt.status]++
		if g.Status != mt.status || g.Counters != mt.counters || g.Run != mt.run || g.Runs != mt.runs || string(g.Checkpoint) != mt.check || g.Finished.IsZero() == mt.status.Ended() ||
			g.StartBefore.IsZero() == (mt.bounded && mt.runs == 0 && !mt.status.Ended()) {
			rt.Fatalf("found %+v, want %+v", g, mt)
		}
	}
	counts, err := m.store.Count(m.t.Context(), task.CountQuery{})
	if err != nil {
		rt.Fatalf("Count: %v", err)
	}
	for _, c := range counts.Tasks {
		if c.Kind == m.kind() {
			if c.N != numbers[c.Status] {
				rt.Fatalf("%d tasks are %s, want %d", c.N, c.Status, numbers[c.Status])
			}
			delete(numbers, c.Status)
		}
	}
	if len(numbers) > 0 {
		rt.Fatalf("not counted: %v", numbers)
	}
}

// close checks the steps and the histories.
func (m *model) close(rt *rapid.T) {
	for id, mt := range m.tasks {
		steps, err := m.store.Steps(m.t.Context(), id)
		if err != nil || len(steps) != len(mt.steps) {
			rt.Fatalf("steps %+v, %v, want %v", steps, err, mt.steps)
		}
		for _, p := range steps {
			if mt.steps[p.Name] != string(p.Body) {
				rt.Fatalf("step %+v, want %q", p, mt.steps[p.Name])
			}
		}
		runs, err := m.store.History(m.t.Context(), id)
		if err != nil || len(runs) != min(mt.runs, task.MaxHistory) {
			rt.Fatalf("history of %d runs, %v, want %d", len(runs), err, mt.runs)
		}
		for i, r := range runs {
			if i > 0 && r.Run <= runs[i-1].Run || (r.Status == task.StatusRunning) != (i == len(runs)-1 && mt.status == task.StatusRunning) {
				rt.Fatalf("history %+v of %+v", runs, mt)
			}
		}
	}
}
