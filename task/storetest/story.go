package storetest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// job is the payload of a story's tasks.
type job struct{ Do string }

// want is the end that a task must have.
type want struct {
	status             task.Status
	result, checkpoint string
	runs, attempts     int
	interruptions      int
	crashes            int  // or interruptions, where the store has no evidence
	reset              bool // Retry has set the attempts back
}

// wants has the sorts of tasks. Steps 1 to 6 are each done once.
var wants = map[string]want{
	"plain":   {status: task.StatusSucceeded, result: `"plain"`, runs: 1},
	"flaky":   {status: task.StatusSucceeded, runs: 3, attempts: 2},
	"doomed":  {status: task.StatusFailed, runs: 1, attempts: 1},
	"worn":    {status: task.StatusFailed, runs: 3, attempts: 3},
	"late":    {status: task.StatusSucceeded, runs: 2, attempts: 1},
	"snoozes": {status: task.StatusSucceeded, runs: 2},
	"waits":   {status: task.StatusCancelled},
	"cancel":  {status: task.StatusCancelled, runs: 1},
	"ask":     {status: task.StatusSucceeded, checkpoint: `"asked"`, runs: 2, interruptions: 1},
	"again":   {status: task.StatusSucceeded, runs: 2, reset: true},
	"steps":   {status: task.StatusSucceeded, checkpoint: "6", runs: 3, interruptions: 1, crashes: 1},
}

// teller tells one story.
type teller struct {
	testing.TB
	ctx    context.Context
	store  task.Store // without faults
	client *task.Client
	plan   *plan
	nr     int
	exact  bool // at most one fault, so that every number is known

	tasks map[string]string // the sort of each, by id
	procs []*proc

	mu      sync.Mutex
	running map[string]int // by id
	runs    map[string][]int64
	steps   map[string][]int
	workers map[string]string // the incarnation that had a run last, by name
}

// story tells it, with the planned faults, and checks the end. With kill the store learns that a
// worker's process is dead, if it can have such evidence.
func story(ctx context.Context, tb testing.TB, s task.Store, kill func(worker string), evidence bool, nr int, p *plan) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	t := &teller{TB: tb, ctx: ctx, store: s, client: task.NewClient(&FaultyStore{Store: s, Plan: p.next}), plan: p, nr: nr, exact: p.n == 0 || p.method != "",
		tasks: make(map[string]string), running: make(map[string]int), runs: make(map[string][]int64), steps: make(map[string][]int), workers: make(map[string]string)}
	defer t.stopAll()
	t.enqueue()
	a, b := t.start("a"), t.start("b")
	t.command()
	a.cancel()
	b.stop(t)
	a.stop(t)
	c := t.start("c")
	poll(ctx, t, "the third worker is in the middle of its runs", func() bool { return t.all("steps", func(id string) bool { return len(t.steps[id]) == 5 }) })
	c.store.die()
	c.cancel()
	<-c.done
	t.mu.Lock()
	died := t.workers["c"]
	t.mu.Unlock()
	kill(died)
	d := t.start("d")
	for id := range t.tasks {
		t.wait(id)
	}
	d.stop(t)
	t.sweep()
	t.check(evidence)
}

func (t *teller) queue(name string) string { return fmt.Sprintf("%s-%d", name, t.nr) }

// kind returns the kind of all tasks but those that are late.
func (t *teller) kind() task.Kind[job] {
	return task.Kind[job]{Name: t.queue("work"), Queue: t.queue("work"), MaxAttempts: 3, Backoff: func(int) time.Duration { return 10 * time.Millisecond }}
}

func (t *teller) lateKind() task.Kind[job] {
	k := t.kind()
	k.Name, k.Timeout = t.queue("late"), 50*time.Millisecond
	return k
}

// insist repeats a call while its error is a planned fault. After a fault some other errors mean
// that the call had done its work.
func (t *teller) insist(what string, ask func() error, done ...error) {
	t.Helper()
	for n := range 20 {
		err := ask()
		if errors.Is(err, errFault) {
			continue
		}
		for _, d := range done {
			if n > 0 && errors.Is(err, d) {
				return
			}
		}
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		return
	}
	t.Fatalf("%s: one fault after the other", what)
}

// prepare makes a task of a sort.
func (t *teller) prepare(do string, opt task.EnqueueOptions) task.NewTask {
	k := t.kind()
	if do == "late" {
		k = t.lateKind()
	}
	n, err := k.Prepare(job{Do: do}, &opt)
	if err != nil {
		t.Fatal(err)
	}
	t.tasks[n.ID] = do
	return n
}

// enqueue adds the tasks, while one of their queues is paused and one of them is cancelled.
func (t *teller) enqueue() {
	aside := t.queue("aside")
	t.insist("Pause", func() error { return t.client.Pause(t.ctx, aside, nil) })
	var many []task.NewTask
	for _, do := range []string{"plain", "plain", "flaky", "doomed", "worn", "late", "snoozes", "cancel", "ask", "again", "steps", "steps"} {
		many = append(many, t.prepare(do, task.EnqueueOptions{}))
	}
	many = append(many, t.prepare("plain", task.EnqueueOptions{Key: "key", Queue: aside}), t.prepare("waits", task.EnqueueOptions{Queue: aside}))
	add := func(all []task.NewTask) (done []task.EnqueueResult) {
		t.insist("EnqueueMany", func() (err error) { done, err = t.client.EnqueueMany(t.ctx, all); return err })
		return done
	}
	add(many[:5])
	add(many[5:])
	for i, e := range add(many) {
		if e.Outcome != task.OutcomeExisting || e.ID != many[i].ID {
			t.Errorf("the %s task again: %+v, want %s", t.tasks[many[i].ID], e, many[i].ID)
		}
	}
	second := t.prepare("plain", task.EnqueueOptions{Key: "key"})
	delete(t.tasks, second.ID)
	if got := add([]task.NewTask{second})[0]; got.Outcome != task.OutcomeExisting || t.tasks[got.ID] != "plain" {
		t.Errorf("a second task with the key: %+v", got)
	}
	t.insist("Cancel", func() error { return t.client.Cancel(t.ctx, t.one("waits")) })
	t.insist("Resume", func() error { return t.client.Resume(t.ctx, aside) })
}

// one returns the id of the only task of a sort.
func (t *teller) one(do string) string {
	for id, d := range t.tasks {
		if d == do {
			return id
		}
	}
	t.Fatalf("no task %s", do)
	return ""
}

// all reports whether a condition is true for all tasks of a sort.
func (t *teller) all(do string, ok func(id string) bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, d := range t.tasks {
		if d == do && !ok(id) {
			return false
		}
	}
	return true
}

// wait waits for a task's end.
func (t *teller) wait(id string) (got task.Task) {
	t.Helper()
	t.insist("Wait for the "+t.tasks[id]+" task", func() (err error) { got, err = t.client.Wait(t.ctx, id); return err })
	return got
}

// command gives commands for running tasks, and for failed ones.
func (t *teller) command() {
	started := func(id string) bool { return len(t.runs[id]) > 0 }
	poll(t.ctx, t, "the handlers run", func() bool { return t.all("cancel", started) && t.all("ask", started) })
	t.insist("Cancel", func() error { return t.client.Cancel(t.ctx, t.one("cancel")) })
	t.insist("Interrupt", func() error { return t.client.Interrupt(t.ctx, t.one("ask")) }, task.ErrNotRunning)
	again := t.one("again")
	if got := t.wait(again); got.Status != task.StatusFailed || got.Attempts != 1 {
		t.Errorf("before its retry a task is %s with %+v", got.Status, got.Counters)
	}
	t.insist("Retry", func() error { return t.client.Retry(t.ctx, again, nil) }, task.ErrRunning, task.ErrAlreadyFinished)
	for id, do := range t.tasks {
		if do != "steps" {
			t.wait(id)
		}
	}
	poll(t.ctx, t, "the steps begin", func() bool { return t.all("steps", func(id string) bool { return len(t.steps[id]) == 3 }) })
}

// proc is a process with a worker.
type proc struct {
	store  *mortal
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

// start starts a worker, and starts it again when it cannot register, as a platform would.
func (t *teller) start(name string) *proc {
	p := &proc{store: newMortal(t.store, t.plan), done: make(chan struct{})}
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(t.ctx)
	t.procs = append(t.procs, p)
	mux := &task.Mux{}
	work := func(ctx context.Context, r *task.Run, j job) error { return t.work(ctx, r, j.Do, name) }
	task.Handle(mux, t.kind(), work)
	task.Handle(mux, t.lateKind(), work)
	go func() {
		defer close(p.done)
		for {
			w, err := task.NewWorker(task.WorkerConfig{Store: p.store, Mux: mux, Name: name, Lease: time.Second, Poll: 20 * time.Millisecond,
				Retention: -1, Logger: slog.New(slog.DiscardHandler)})
			if err == nil {
				err = w.Serve(ctx)
			}
			if p.err = err; err == nil || !errors.Is(err, errFault) || ctx.Err() != nil {
				return
			}
		}
	}()
	return p
}

// stop stops a process gracefully.
func (p *proc) stop(t *teller) {
	t.Helper()
	p.cancel()
	<-p.done
	// A worker that had not registered yet returns the end of its context.
	if p.err != nil && !errors.Is(p.err, context.Canceled) {
		t.Errorf("a worker that was stopped: %v", p.err)
	}
}

func (t *teller) stopAll() {
	for _, p := range t.procs {
		p.cancel()
		<-p.done
	}
}

// work is the handler. It writes down what it does.
func (t *teller) work(ctx context.Context, r *task.Run, do, name string) error {
	id := r.ID()
	t.mu.Lock()
	if t.running[id]++; t.running[id] > 1 {
		t.Errorf("a %s task runs twice at a time", do)
	}
	nth := len(t.runs[id])
	t.runs[id] = append(t.runs[id], r.FencingToken())
	t.workers[name] = r.Task().Worker
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		t.running[id]--
		t.mu.Unlock()
	}()
	r.Log(do)
	r.SetProgress(0.5, do)
	switch {
	case do == "plain":
		return r.SetResult(do)
	case do == "flaky" && nth < 2, do == "worn":
		return errors.New("no luck")
	case do == "doomed", do == "again" && nth == 0:
		return task.Permanent(errors.New("no use"))
	case do == "late" && nth == 0:
		<-ctx.Done()
		return context.Cause(ctx)
	case do == "snoozes" && nth == 0:
		return task.Snooze(10 * time.Millisecond)
	case do == "cancel":
		<-ctx.Done()
		return context.Cause(ctx)
	case do == "ask" && nth == 0:
		<-ctx.Done()
		return r.HandOver("asked")
	case do == "steps":
		return t.walk(ctx, r, name)
	}
	return nil
}

// walk begins with a recorded step, and goes on with six that are in the checkpoint. The first
// workers do two of these, and the third two more.
func (t *teller) walk(ctx context.Context, r *task.Run, name string) error {
	did := func(n int) {
		t.mu.Lock()
		t.steps[r.ID()] = append(t.steps[r.ID()], n)
		t.mu.Unlock()
	}
	first, err := task.Step(ctx, r, "first", func(context.Context) (string, error) { did(0); return "done", nil })
	if err != nil || first != "done" {
		return fmt.Errorf("the first step, which is %q: %w", first, err)
	}
	at := 0
	if _, err := r.Load(&at); err != nil {
		return err
	}
	limit := 6
	switch {
	case strings.Contains("ab", name):
		limit = 2
	case name == "c":
		limit = 4
	}
	for ; at < limit; at++ {
		if err := r.Save(ctx, at+1); err != nil {
			return err
		}
		did(at + 1) // an effect that comes after the checkpoint
	}
	if at == 6 {
		return nil
	}
	<-ctx.Done()
	return r.HandOver(at)
}
