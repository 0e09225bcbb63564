package main

import (
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wiretest"
)

func TestMain(m *testing.M) {
	if wiretest.Driver() {
		main()
		os.Exit(0)
	}
	os.Exit(pgtest.Main(m))
}

// newHarness returns a harness with River's tables in a new database, and a client.
func newHarness(t *testing.T) *wiretest.Harness {
	t.Helper()
	h := wiretest.New(t, pgtest.DSN(t))
	h.Start("setup", "setup").End(0, 0)
	h.StartReady("c", "client")
	return h
}

// inspected returns the content of the store, and its tasks by number. The client is still running.
func inspected(t *testing.T, h *wiretest.Harness) (state history.State, tasks map[int]history.Task) {
	t.Helper()
	p := h.Start("inspect", "inspect")
	p.End(0, 0)
	if err := json.Unmarshal([]byte(p.Output()), &state); err != nil {
		t.Fatalf("%v in %s", err, p.Output())
	}
	tasks = make(map[int]history.Task)
	for _, j := range state.Tasks {
		tasks[j.Seq] = j
	}
	return state, tasks
}

func TestRiver_DoesWhatPlansSay(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	plans := []history.Plan{
		{Seq: 1, Steps: 2, Result: 10},
		{Seq: 2, Steps: 3, Save: true, Fail: 1},
		{Seq: 3, Steps: 2, Save: true, InTx: true},
		{Seq: 4, Steps: 1, Key: "k"},
	}
	want := []string{"begun at 0: 0 1 finished", "begun at 0: 0 begun at 0: 0 1 2 finished", "begun at 0: 0 1 finished",
		"begun at 0: 0 finished"}
	h.Enqueue(plans...)
	w := h.StartReady("w", "worker")
	for i, p := range plans {
		h.AwaitStep(p.Seq, history.Finished, 1)
		if got := h.Did(p.Seq); got != want[i] {
			t.Errorf("task %d: %s, want %s", p.Seq, got, want[i])
		}
	}
	w.End(syscall.SIGTERM, 0)
	state, tasks := inspected(t, h)
	for _, p := range plans {
		j := tasks[p.Seq]
		if j.Status != "succeeded" || j.Attempts != p.Fail || len(j.Runs) != 1+p.Fail || j.Runs[0].PID != w.PID() {
			t.Errorf("%+v", j)
		}
	}
	if tx := state.TxSteps; len(tx) != 1 || tx[0].Seq != 3 || tx[0].Fence != tasks[3].Runs[0].Run {
		t.Errorf("%+v", tx)
	}
}

func TestRiver_HandsOverAndGoesOnThere(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.Enqueue(history.Plan{Seq: 1, Steps: 12, PaceMS: 300, HandOver: true},
		history.Plan{Seq: 2, Steps: 600, PaceMS: 100, Save: true})
	w := h.StartReady("w1", "worker", "CHAOS_GRACE=6s") // five of them are River's soft stop
	h.AwaitStep(1, 1, 1)
	w.End(syscall.SIGTERM, 0)
	w = h.StartReady("w2", "worker", "CHAOS_GRACE=6s")
	h.AwaitStep(1, history.Finished, 1)
	h.AwaitStep(2, history.Begun, 2)
	h.WantHandedOver(1, 12, "")
	if got := h.Did(2); strings.Count(got, "begun at 0") != 1 {
		t.Errorf("%s: the checkpoint was lost", got)
	}
	w.End(syscall.SIGTERM, 0)
	if _, tasks := inspected(t, h); tasks[1].Attempts != 0 || tasks[1].Interruptions != 1 {
		t.Errorf("%+v", tasks[1])
	}
}

func TestRiver_AnswersEveryCall(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	const later = 60_000
	ask := func(c history.Call, outcome history.Outcome) history.Answer {
		t.Helper()
		a := h.Ask(c)
		if a.Outcome != outcome {
			t.Errorf("%+v: %+v, want %s", c, a, outcome)
		}
		return a
	}
	enqueue := func(plans ...history.Plan) history.Call { return history.Call{Op: history.Enqueue, Plans: plans} }
	a := ask(enqueue(history.Plan{Seq: 1, Key: "k", DelayMS: later}, history.Plan{Seq: 2, DelayMS: later},
		history.Plan{Seq: 3, Key: "k"}), history.Done)
	if a.IDs[2] != a.IDs[0] || a.Existed[0] || a.Existed[1] || !a.Existed[2] {
		t.Errorf("%+v", a)
	}
	if again := ask(enqueue(history.Plan{Seq: 2}), history.Done); again.IDs[0] != a.IDs[1] || again.Existed[0] {
		t.Errorf("%+v, want the same job", again)
	}
	ask(history.Call{Op: history.Interrupt, Seq: 1}, history.Refused)
	ask(history.Call{Op: history.Cancel, Seq: 1}, history.Done)
	ask(history.Call{Op: history.Retry, Seq: 1}, history.Done)
	ask(history.Call{Op: history.Cancel, Seq: 99}, history.Refused)
	ask(history.Call{Op: history.EnqueueTx, Plans: []history.Plan{{Seq: 4}}}, history.Done)
	ask(history.Call{Op: history.EnqueueTx, Commit: true, Plans: []history.Plan{{Seq: 5}}}, history.Done)
	state, tasks := inspected(t, h)
	if _, there := tasks[4]; there || len(tasks) != 3 || state.Counts["queued"] != 3 || len(state.Residue) > 0 {
		t.Errorf("%+v, counts %v, residue %v", tasks, state.Counts, state.Residue)
	}
}
