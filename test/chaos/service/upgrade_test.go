//go:build linux

package main

import (
	"fmt"
	"log/slog"
	"syscall"
	"testing"

	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wiretest"
)

// Processes from before the upgrade continue, and others of the same version start after it.
func TestUpgrade_ProcessesOfAnOlderVersionWorkOnTheNewerSchema(t *testing.T) {
	onBothStores(t, func(t *testing.T, h *wiretest.Harness) {
		client := h.StartReady("c", "client")
		w := h.StartReady("w1", "worker", "CHAOS_RETENTION=3s")
		plan := func(seq int) history.Plan {
			return history.Plan{Seq: seq, Kind: history.KindSteps, Steps: 3, Save: true, Fail: 1, Result: 10, Log: 1, Progress: true, Key: fmt.Sprint(seq), HandOver: true}
		}
		do := func(seq int) {
			t.Helper()
			h.Enqueue(plan(seq))
			h.AwaitStep(seq, history.Finished, 1)
		}
		do(1)
		for n := range 2 {
			if err := upgrade(settings{store: h.Store, log: slog.New(slog.DiscardHandler)}); err != nil {
				t.Fatal(err)
			}
			do(2 + n)
		}
		h.Enqueue(history.Plan{Seq: 4, Kind: history.KindSteps, Steps: 200, PaceMS: 20, HandOver: true})
		h.AwaitStep(4, 1, 1)
		w.End(syscall.SIGTERM, 0)
		w = h.StartReady("w2", "worker", "CHAOS_RETENTION=3s")
		do(5)
		a := h.Ask(history.Call{Op: history.Enqueue, Plans: []history.Plan{{Seq: 6, Kind: history.KindSteps, Steps: 500, PaceMS: 20, DelayMS: 60_000}}})
		for _, op := range []history.Op{history.Cancel, history.Retry, history.Cancel} {
			if got := h.Ask(history.Call{Op: op, TaskID: a.IDs[0]}); got.Outcome != history.Done {
				t.Errorf("%s: %+v", op, got)
			}
		}
		w.End(syscall.SIGKILL, -1)
		w = h.StartReady("w3", "worker", "CHAOS_RETENTION=3s") // it takes over what w2 had
		h.AwaitStep(4, history.Finished, 1)
		_, tasks := allPruned(t, h.Store)
		w.End(syscall.SIGTERM, 0)
		client.CloseInput()
		client.End(0, 0)
		for seq, x := range tasks {
			if want := map[bool]string{true: "cancelled", false: "succeeded"}[seq == 6]; x.Status != want {
				t.Errorf("task %d: %+v", seq, x)
			}
		}
		if state, _ := inspected(t, h.Store); len(tasks) != 6 || len(state.Residue) > 0 || len(state.Left) > 0 {
			t.Errorf("%d tasks, residue %v, left %v", len(tasks), state.Residue, state.Left)
		}
	})
}
