//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
	"github.com/lastcall-go/lastcall/test/chaos/wiretest"
)

func TestWorker_DoesWhatPlansSay(t *testing.T) {
	onBothStores(t, func(t *testing.T, h *wiretest.Harness) {
		client := h.StartReady("c", "client")
		plans := []history.Plan{
			{Steps: 2},
			{Steps: 3, Save: true, Result: 100, Log: 3, Progress: true},
			{Steps: 1, Result: 1},
			{Steps: 2, Save: true, Fail: 2},
			{Steps: 2, Save: true, Exit: 1},
			{Steps: 3, Save: true, Exit: 1, Fail: 1},
		}
		want := []string{
			"begun at 0: 0 1 finished",
			"begun at 0: 0 1 2 finished",
			"begun at 0: 0 finished",
			"begun at 0: 0 begun at 0: 0 begun at 0: 0 1 finished",
			"begun at 0: 0 begun at 0: 0 1 finished",
			"begun at 0: 0 begun at 0: 0 begun at 0: 0 1 2 finished",
		}
		for i := range plans {
			plans[i].Seq, plans[i].Kind = i+1, history.KindSteps
		}
		// One after the other, since a run that ends its process takes the other runs with it.
		for i, p := range plans {
			h.Enqueue(p)
			w := h.StartReady(fmt.Sprint("w", i), "worker")
			if p.Exit > 0 {
				w.End(0, map[bool]int{true: codePlanned, false: -1}[p.Seq%2 == 0])
				w = h.StartReady(fmt.Sprint("w", i, " again"), "worker")
			}
			h.AwaitStep(p.Seq, history.Finished, 1)
			w.End(syscall.SIGTERM, 0)
		}
		client.CloseInput()
		client.End(0, 0)
		state, tasks := inspected(t, h.Store)
		for i, p := range plans {
			if got := h.Did(p.Seq); got != want[i] {
				t.Errorf("plan %+v: %s, want %s", p, got, want[i])
			}
			got := tasks[p.Seq]
			if got.Status != "succeeded" || got.Result != p.Result || got.Attempts != p.Fail || got.Crashes != p.Exit || len(got.Runs) != 1+p.Fail+p.Exit {
				t.Errorf("plan %+v: %+v", p, got)
			}
		}
		if len(state.Tasks) != len(plans) || len(state.Residue) > 0 || len(state.Left) > 0 || state.Counts["succeeded"] != int64(len(plans)) || len(state.Counts) != 1 {
			t.Errorf("%d tasks, counts %v, residue %v, left %q", len(state.Tasks), state.Counts, state.Residue, state.Left)
		}
		if len(h.Left()) > 0 {
			t.Errorf("workers have left %q", h.Left())
		}
	})
}

func TestWorker_HandsOverAndGoesOnThere(t *testing.T) {
	onBothStores(t, func(t *testing.T, h *wiretest.Harness) {
		h.StartReady("c", "client")
		plan := history.Plan{Seq: 1, Kind: history.KindSteps, Steps: 12, PaceMS: 200, HandOver: true}
		h.Enqueue(plan)
		w := h.StartReady("w1", "worker")
		h.AwaitStep(1, 1, 1)
		w.End(syscall.SIGTERM, 0)
		w = h.StartReady("w2", "worker")
		h.AwaitStep(1, history.Finished, 1)
		w.End(syscall.SIGTERM, 0)
		h.WantHandedOver(1, 12, "")
		_, tasks := inspected(t, h.Store)
		if got := tasks[1]; got.Status != "succeeded" || got.Interruptions != 1 || len(got.Runs) != 2 ||
			got.Runs[0].Status != "interrupted" || got.Runs[0].Reason != "stop" || got.Runs[0].Reclaimed {
			t.Errorf("%+v", got)
		}
	})
}

func TestWorker_DeafRunGoesOnAfterTheInterrupt(t *testing.T) {
	onBothStores(t, func(t *testing.T, h *wiretest.Harness) {
		h.StartReady("c", "client")
		plan := history.Plan{Seq: 1, Kind: history.KindSteps, Steps: 1000, PaceMS: 10, HandOver: true, UnresponsiveMS: 60_000}
		h.Enqueue(plan)
		w := h.StartReady("w1", "worker", "CHAOS_GRACE=30s")
		h.AwaitStep(1, 1, 1)
		if err := syscall.Kill(w.PID(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		w.AwaitLog("phase=drain")
		// The second signal is the interrupt. 3: the handler was given up, by name.
		w.End(syscall.SIGTERM, 3)
		_, tasks := inspected(t, h.Store)
		if got := tasks[1]; got.Status != "interrupted" || got.Reason != "deadline" || len(got.Runs) != 1 {
			t.Errorf("%+v", got)
		}
	})
}

func TestWorker_StaleVerdictEndsTheRun(t *testing.T) {
	onBothStores(t, func(t *testing.T, h *wiretest.Harness) {
		h.StartReady("c", "client")
		plan := history.Plan{Seq: 1, Kind: history.KindSteps, Steps: 1000, PaceMS: 10}
		h.Enqueue(plan)
		h.StartReady("w1", "worker")
		h.AwaitStep(1, 1, 1)
		h.Overtake(1)
		refused := 0
		for _, e := range h.Effects() {
			if e.Stale {
				refused++
			}
		}
		if refused != 1 {
			t.Errorf("%d effects were refused, want one: the run ends by it", refused)
		}
	})
}

func TestWorker_EndsWithTheHarness(t *testing.T) {
	onBothStores(t, func(t *testing.T, h *wiretest.Harness) {
		w := h.StartReady("w1", "worker")
		h.Drop("w1")
		w.End(0, codeFailed)
		if !strings.Contains(w.Log(), "the harness has gone") {
			t.Error(w.Log())
		}
	})
}

func TestWorker_DoesRecordedStepsAndItems(t *testing.T) {
	onBothStores(t, func(t *testing.T, h *wiretest.Harness) {
		h.StartReady("c", "client")
		w := h.StartReady("w", "worker")
		h.Enqueue(history.Plan{Seq: 1, Kind: history.KindSteps, Steps: 2, Recorded: true, Fail: 1}, history.Plan{Seq: 2, Kind: history.KindSteps, Steps: 3, Items: true, Fail: 1})
		h.AwaitStep(1, history.Finished, 1)
		h.AwaitStep(2, history.Finished, 1)
		w.End(syscall.SIGTERM, 0)
		var results []int64
		for _, e := range h.Effects() {
			if e.Step == history.Returned {
				results = append(results, e.Result-e.Fence)
			}
		}
		if !slices.Equal(results, []int64{0, 0}) { // each step was done by the run that got its result
			t.Errorf("results of runs before: %v", results)
		}
		for seq, want := range map[int]string{1: "begun at 0: 0 begun at 0: 0 returned 0 1 returned 1 finished", 2: "begun at 0: 0 begun at 0: 0 1 2 finished"} {
			if got := h.Did(seq); got != want {
				t.Errorf("task %d: %s, want %s", seq, got, want)
			}
		}
	})
}

func TestWorker_MakesTheTicksOfSchedules(t *testing.T) {
	s := history.Schedule{Number: 1, Name: "chaos/often", Every: time.Second, Plan: history.Plan{Seq: -1, Kind: history.KindSteps, Queue: "ticks", Steps: 1}}
	text, err := json.Marshal([]history.Schedule{s})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(wire.EnvSchedules, string(text))
	h := onSQLite(t)
	h.StartReady("c", "client")
	w := h.StartReady("w", "worker")
	seq := h.AwaitAny(history.Finished)
	if a := h.Ask(history.Call{Op: history.PauseSchedule, Schedule: s.Name}); a.Outcome != history.Done {
		t.Errorf("%+v", a)
	}
	w.End(syscall.SIGTERM, 0)
	state, _ := inspected(t, h.Store)
	if n := len(state.Tasks); n == 0 {
		t.Fatal("no tasks")
	}
	if got := state.Tasks[0]; got.Schedule != s.Name || s.Seq(got.Tick) != seq || !got.Tick.Equal(got.Tick.Truncate(time.Second)) {
		t.Errorf("task %d is %+v", seq, got)
	}
}
