//go:build linux

package main

import (
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wiretest"
)

// allPruned inspects a store until only copies are left.
func allPruned(t *testing.T, store string) (history.State, map[int]history.Task) {
	t.Helper()
	for began := time.Now(); ; {
		state, tasks := inspected(t, store)
		left := 0
		for _, x := range state.Tasks {
			if x.Pruned.IsZero() {
				left++
			}
		}
		if left == 0 {
			return state, tasks
		}
		if time.Since(began) > 30*time.Second {
			t.Fatalf("%d tasks have not been pruned: %+v", left, state.Tasks)
		}
	}
}

func TestInspect_HasTheWholeLifeOfATaskThatWasPruned(t *testing.T) {
	onBothStores(t, func(t *testing.T, h *wiretest.Harness) {
		client := h.StartReady("c", "client")
		h.Enqueue(history.Plan{Seq: 1, Kind: history.KindSteps, Steps: 2, Save: true, Fail: 1, Result: 100, Log: 3, Key: "k"})
		a := h.Ask(history.Call{Op: history.Enqueue, Plans: []history.Plan{{Seq: 2, Kind: history.KindSteps, DelayMS: 60_000}}})
		h.Ask(history.Call{Op: history.Cancel, TaskID: a.IDs[0]})
		h.Ask(history.Call{Op: history.Retry, TaskID: a.IDs[0]}) // its end is undone
		h.Ask(history.Call{Op: history.Cancel, TaskID: a.IDs[0]})
		h.StartReady("w", "worker", "CHAOS_RETENTION=2s")
		h.AwaitStep(1, history.Finished, 1)
		state, tasks := allPruned(t, h.Store)
		one, two := tasks[1], tasks[2]
		if one.Status != "succeeded" || one.Attempts != 1 || one.Result != 100 || one.Key != "k" || len(one.Runs) != 2 ||
			one.Runs[0].Status != "queued" || one.Runs[0].Error == "" || one.Runs[1].Status != "succeeded" || !one.Runs[1].Ended.Equal(one.Ended) || one.Runs[0].PID != one.Runs[1].PID || one.Runs[0].PID == 0 {
			t.Errorf("%+v", one)
		}
		if two.ID != a.IDs[0] || two.Status != "cancelled" || len(two.Runs) != 0 {
			t.Errorf("%+v", two)
		}
		for _, x := range tasks {
			if kept := x.Pruned.Sub(x.Ended); kept < 2*time.Second-10*time.Millisecond || kept > 20*time.Second {
				t.Errorf("task %d was removed %v after its end", x.Seq, kept)
			}
		}
		// The worker is alive.
		if len(state.Tasks) != 2 || len(state.Counts) > 0 || len(state.Residue) != 1 {
			t.Errorf("%d tasks, counts %v, residue %v", len(state.Tasks), state.Counts, state.Residue)
		}
		client.CloseInput()
		client.End(0, 0)
	})
}
