package storetest

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// meetRules are cases in which all that can happen to one task or one worker happens at once.
var meetRules = []rule{
	{"9", "an end that is repeated while it is still being written is nil for everyone", func(t *T) {
		t.join("w")
		for round, status := range []task.Status{task.StatusSucceeded, task.StatusFailed, task.StatusInterrupted, task.StatusQueued, task.StatusSucceeded, task.StatusInterrupted} {
			t.add()
			c := t.claim("w", 1)[0]
			end := change(c, status)
			end.Counters.Interruptions = round
			end.Log = []byte("x")
			var writers sync.WaitGroup
			for range 4 {
				writers.Go(func() { t.wantErr("the "+string(status)+" end", t.apply(end), nil) })
			}
			writers.Wait()
			t.oneOutcome(end, status)
			if log, err := t.Store.Log(t.Context(), c.ID); err != nil || string(log) != "x" {
				t.Errorf("the log is %q, %v", log, err)
			}
			if status.Claimable() {
				t.mustAsk(task.VerbCancel, c.ID) // out of the way of the next round
			}
		}
		t.count("default k succeeded", 2, "default k failed", 1, "default k cancelled", 3)
	}},
	{"8", "of an end, a taking, a cancellation and saves that meet, one outcome is left", func(t *T) {
		for round := range 12 {
			c := t.run("w" + strconv.Itoa(round))
			m := &meeting{T: t, run: c}
			m.start(func() error { return t.apply(change(c, task.StatusSucceeded)) }, round)
			m.check(round + 1)
		}
	}},
	{"31", "a claim that was given up is answered, or found by a complete beat, or never made", func(t *T) {
		t.join("w")
		var known []task.Fence
		for round := range 24 {
			t.add()
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(round)*100*time.Microsecond)
			got, err := t.Store.Claim(ctx, request("w", 1))
			cancel()
			if err == nil {
				for _, c := range got {
					known = append(known, change(c, "").Fence)
				}
			}
			reply, err := t.Store.Heartbeat(t.Context(), task.Beat{Worker: "w", Lease: lease, Seq: uint64(round + 2),
				State: task.WorkerRunning, ListsAllRuns: true, Runs: known})
			if err != nil || len(reply.Lost) > 0 {
				t.Fatalf("a complete beat: %+v, %v", reply, err)
			}
			for _, c := range reply.Missing {
				known = append(known, change(c, "").Fence)
			}
			t.tick() // a claim that comes now comes too late
			running, err := t.Store.Find(t.Context(), task.Query{Status: task.StatusRunning})
			if err != nil || len(running) != len(known) {
				t.Fatalf("%d tasks run, %v, and their worker knows of %d", len(running), err, len(known))
			}
		}
	}},
	{"17", "a last beat that meets claims leaves no orphan", func(t *T) {
		for round := range 8 {
			w := "w" + strconv.Itoa(round)
			claimers := t.startClaimers(w, 10)
			time.Sleep(time.Duration(round) * 200 * time.Microsecond)
			if _, err := t.beat(w, 2, task.WorkerStopped); err != nil {
				t.Errorf("the last beat: %v", err)
			}
			claimers.Wait()
			t.reclaim(task.ReclaimRequest{Worker: w, Seq: 2, Max: 7})
			if running := t.found(task.Query{Status: task.StatusRunning}); len(running) != 0 {
				t.Fatalf("%d tasks run for a worker that has stopped and holds nothing", len(running))
			}
			for _, id := range t.found(task.Query{Status: task.StatusQueued}) {
				t.mustAsk(task.VerbCancel, id) // out of the way of the next round
			}
		}
	}},
	{"29", "a retry that meets a pruning saves the task, or comes too late", func(t *T) {
		const tasks = 20
		var all []string
		for range tasks {
			all = append(all, t.add())
			t.mustAsk(task.VerbCancel, all[len(all)-1])
		}
		t.tick()
		saved := make(map[string]bool)
		var both sync.WaitGroup
		both.Go(func() {
			for i := range all {
				id := all[i*7%tasks]
				err := t.ask(task.VerbRetry, id)
				if saved[id] = err == nil; err != nil {
					t.wantErr("retry of a task that is gone", err, task.ErrNotFound)
				}
			}
		})
		removed := 0
		both.Go(func() { removed = t.prune(0, 1) })
		both.Wait()
		removed += t.prune(0, 10)
		left := t.found(task.Query{})
		for _, id := range all {
			if saved[id] != slices.Contains(left, id) {
				t.Errorf("retried: %t, still there: %t", saved[id], !saved[id])
			}
		}
		if removed+len(left) != tasks {
			t.Errorf("%d tasks are said to have been removed, and %d of %d are left", removed, len(left), tasks)
		}
		t.join("w")
		if got := t.claim("w", tasks); len(got) != len(left) {
			t.Errorf("%d of %d can be claimed", len(got), len(left))
		}
		if len(left) > 0 {
			t.count("default k running", len(left))
		}
	}},
}

// oneOutcome checks that a run has one record, and that the task has the counters of the end that
// was accepted.
func (t *T) oneOutcome(end task.Change, want task.Status) {
	t.Helper()
	got := t.get(end.Task)
	if got.Status != want || got.Counters != end.Counters {
		t.Errorf("the task is %s with %+v, want %s with %+v", got.Status, got.Counters, want, end.Counters)
	}
	runs, err := t.Store.History(t.Context(), end.Task)
	if err != nil || len(runs) != 1 || runs[0].Ended.IsZero() || runs[0].Reclaimed != end.Reclaimed {
		t.Errorf("history %+v, %v; taken %t", runs, err, end.Reclaimed)
	}
}

// meeting is everything at once that can happen to a run: its own end, a neighbour that takes it
// over, a cancellation, and saves.
type meeting struct {
	*T
	run        task.Task
	own, taken error
	cancelled  error
	saved      string // the last checkpoint that was accepted
	late       bool   // some save was refused
}

// taking returns the change by which a neighbour takes over the run.
func (m *meeting) taking() task.Change {
	c := change(m.run, task.StatusInterrupted)
	c.Reclaimed, c.Reason, c.Counters.Interruptions = true, task.ReasonLost, 1
	return c
}

// patiently repeats a call, as a worker does, while an open transaction holds it up.
func patiently(call func() error) (err error) {
	for err = call(); errors.Is(err, task.ErrHeldUp); {
		err = call()
	}
	return err
}

// start makes the calls, and returns when all are answered. The scheduler and the round decide
// which of them begins first.
func (m *meeting) start(own func() error, round int) {
	m.Helper()
	calls := []func(){
		func() { m.own = own() },
		func() { m.taken = patiently(func() error { return m.apply(m.taking()) }) },
		func() { m.cancelled = m.ask(task.VerbCancel, m.run.ID) },
		func() {
			for n := range 5 {
				save := change(m.run, task.StatusRunning)
				save.Checkpoint = []byte(strconv.Itoa(n))
				if err := patiently(func() error { return m.apply(save) }); err != nil {
					m.wantErr("a save that comes too late", err, task.ErrLeaseLost)
					m.late = true
				} else if m.saved = string(save.Checkpoint); m.late {
					m.Errorf("a save was accepted after one that was refused")
				}
			}
		},
	}
	var all sync.WaitGroup
	for i := range calls {
		call := calls[(i+round)%len(calls)]
		all.Go(call)
		if round%3 == 2 {
			runtime.Gosched()
		}
	}
	all.Wait()
}

// check compares the state of the store with the answers. It is the nth task of a store that has
// only tasks of such meetings.
func (m *meeting) check(nth int) {
	m.Helper()
	if (m.own == nil) == (m.taken == nil) {
		m.Fatalf("its own end was answered %v, the taking %v: one must be accepted", m.own, m.taken)
	}
	for _, err := range []error{m.own, m.taken} {
		if err != nil && !errors.Is(err, task.ErrLeaseLost) && !errors.Is(err, task.ErrAlreadyFinished) {
			m.Errorf("the one that came too late: %v", err)
		}
	}
	end, want := m.taking(), task.StatusCancelled
	if m.own == nil {
		end, want = change(m.run, task.StatusSucceeded), task.StatusSucceeded
	} else {
		m.wantErr("Cancel", m.cancelled, nil)
	}
	if m.cancelled != nil {
		m.wantErr("Cancel", m.cancelled, task.ErrAlreadyFinished)
	}
	m.oneOutcome(end, want)
	if got := m.get(m.run.ID); string(got.Checkpoint) != m.saved {
		m.Errorf("the checkpoint is %q; the last one that was accepted is %q", got.Checkpoint, m.saved)
	}
	counts, err := m.Store.Count(m.Context(), task.CountQuery{})
	total := 0
	for _, c := range counts.Tasks {
		if total += c.N; !c.Status.Ended() {
			m.Errorf("counted as %s: %d", c.Status, c.N)
		}
	}
	if err != nil || total != nth {
		m.Errorf("%d tasks are counted, %v, want %d", total, err, nth)
	}
	if got := m.found(task.Query{Status: want}); !slices.Contains(got, m.run.ID) {
		m.Errorf("it is not found among those that are %s", want)
	}
}
