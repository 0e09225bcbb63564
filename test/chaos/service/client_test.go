//go:build linux

package main

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wiretest"
)

func TestClient_AnswersEveryCall(t *testing.T) {
	onBothStores(t, func(t *testing.T, h *wiretest.Harness) {
		client := h.StartReady("c", "client")
		const one, two, absent = "11111111-1111-4111-8111-111111111111", "22222222-2222-1222-8222-222222222222", "33333333-3333-5333-8333-333333333333"
		plan := func(seq int, p history.Plan) history.Plan {
			p.Seq, p.Kind, p.Steps = seq, history.KindSteps, 1
			return p
		}
		calls := []struct {
			history.Call
			outcome history.Outcome
			ids     []string
			existed []bool
		}{
			{history.Call{Op: history.Enqueue, Plans: []history.Plan{plan(1, history.Plan{ID: one, Key: "k", Queue: "q", Priority: 3, DelayMS: 60_000}), plan(2, history.Plan{ID: two})}},
				history.Done, []string{one, two}, []bool{false, false}},
			{history.Call{Op: history.Enqueue, Plans: []history.Plan{plan(3, history.Plan{Key: "k"})}}, history.Done, []string{one}, []bool{true}},
			{history.Call{Op: history.Enqueue, Plans: []history.Plan{plan(1, history.Plan{ID: one, Key: "k", Queue: "q", Priority: 3, DelayMS: 60_000})}},
				history.Done, []string{one}, []bool{false}}, // the same call again
			{history.Call{Op: history.Enqueue, Plans: []history.Plan{plan(5, history.Plan{ID: one})}}, history.Refused, nil, nil},
			{history.Call{Op: history.Enqueue, Plans: []history.Plan{plan(4, history.Plan{ID: "no id"})}}, history.Refused, nil, nil},
			{history.Call{Op: history.Interrupt, TaskID: one}, history.Refused, nil, nil},
			{history.Call{Op: history.Cancel, TaskID: one}, history.Done, nil, nil},
			{history.Call{Op: history.Retry, TaskID: one}, history.Done, nil, nil},
			{history.Call{Op: history.Cancel, TaskID: absent}, history.Refused, nil, nil},
			{history.Call{Op: history.Delete, TaskID: one}, history.Refused, nil, nil}, // it is still queued
			{history.Call{Op: history.Delete, TaskID: absent}, history.Refused, nil, nil},
			{history.Call{Op: history.Pause, Queue: "q"}, history.Done, nil, nil},
			{history.Call{Op: history.Resume, Queue: "q"}, history.Done, nil, nil},
			{history.Call{Op: "dance"}, history.Refused, nil, nil},
		}
		for _, c := range calls {
			a := h.Ask(c.Call)
			if a.Outcome != c.outcome || !slices.Equal(a.IDs, c.ids) || !slices.Equal(a.Existed, c.existed) || (a.Error == "") != (c.outcome == history.Done) {
				t.Errorf("%s: %+v, want %+v", c.Op, a, c)
			}
		}
		client.CloseInput()
		client.End(0, 0)
		_, tasks := inspected(t, h.Store)
		if got := tasks[1]; len(tasks) != 2 || got.ID != one || got.Status != "queued" || got.Queue != "q" || got.Key != "k" {
			t.Errorf("%+v", tasks)
		}
	})
}

func TestClient_EnqueuesInATransaction(t *testing.T) {
	onBothStores(t, func(t *testing.T, h *wiretest.Harness) {
		client := h.StartReady("c", "client")
		call := func(seq int, commit bool) history.Answer {
			return h.Ask(history.Call{Op: history.EnqueueTx, Commit: commit, Plans: []history.Plan{{Seq: seq, Kind: history.KindSteps, Key: "k"}}})
		}
		want := history.Done
		if strings.HasPrefix(h.Store, "sqlite:") {
			want = history.Refused
		}
		for seq, commit := range []bool{1: false, 2: true, 3: true} {
			if a := call(seq, commit); seq > 0 && a.Outcome != want || want == history.Done && a.Existed[0] != (seq == 3) {
				t.Errorf("task %d: %+v, want %s", seq, a, want)
			}
		}
		client.CloseInput()
		client.End(0, 0)
		state, tasks := inspected(t, h.Store)
		if _, there := tasks[2]; there != (want == history.Done) || len(tasks) > 1 || len(state.Residue) > 0 {
			t.Errorf("%+v, residue %v", tasks, state.Residue)
		}
	})
}

func TestClient_FinishesTogetherOnce(t *testing.T) {
	onBothStores(t, func(t *testing.T, h *wiretest.Harness) {
		h.StartReady("c", "client")
		plan := history.Plan{Seq: 1, Kind: history.KindSteps, Steps: 2, Save: true, InTx: true}
		h.Enqueue(plan)
		w := h.StartReady("w", "worker")
		if strings.HasPrefix(h.Store, "sqlite:") {
			w.AwaitLog("task failed")
			w.End(syscall.SIGTERM, 0)
			if _, tasks := inspected(t, h.Store); tasks[1].Status != "failed" || !strings.Contains(tasks[1].Error, errNoTx.Error()) {
				t.Errorf("%+v", tasks[1])
			}
			return
		}
		h.AwaitStep(1, history.Finished, 1)
		w.End(syscall.SIGTERM, 0)
		state, tasks := inspected(t, h.Store)
		want := fmt.Sprint([]history.TxStep{{Seq: 1, Step: 1, Fence: tasks[1].Runs[0].Run}})
		if got := fmt.Sprint(state.TxSteps); got != want || tasks[1].Status != "succeeded" || h.Did(1) != "begun at 0: 0 1 finished" {
			t.Errorf("%s, want %s; %+v; %s", got, want, tasks[1], h.Did(1))
		}
	})
}

func TestOutcome_IsUnknownUnlessItIsCertain(t *testing.T) {
	for _, c := range []struct {
		err  error
		want history.Outcome
	}{
		{nil, history.Done},
		{fmt.Errorf("x: %w", task.ErrNotFound), history.Refused},
		{fmt.Errorf("x: %w", task.ErrInvalid), history.Refused},
		{refused{errors.New("x")}, history.Refused},
		{errors.New("connection reset by peer"), history.Unknown},
		{sql.ErrTxDone, history.Unknown},
	} {
		if got := outcomeOf(c.err); got != c.want {
			t.Errorf("%v: %s, want %s", c.err, got, c.want)
		}
	}
}

func TestClient_CommandsAllTasksOfAQueue(t *testing.T) {
	onBothStores(t, func(t *testing.T, h *wiretest.Harness) {
		h.StartReady("c", "client")
		var plans []history.Plan
		for seq, queue := range []string{"", "q", "q", "r"} {
			plans = append(plans, history.Plan{Seq: seq + 1, Kind: history.KindSteps, Steps: 1, Queue: queue, StartBeforeMS: 60_000})
		}
		h.Enqueue(plans...)
		for _, step := range []struct {
			op   history.Op
			want string
		}{{history.CancelAll, "queued cancelled cancelled queued"}, {history.RetryAll, "queued queued queued queued"}, {history.CancelAll, "queued cancelled cancelled queued"}} {
			if a := h.Ask(history.Call{Op: step.op, Queue: "q"}); a.Outcome != history.Done || len(a.Spared) > 0 {
				t.Errorf("%s: %+v", step.op, a)
			}
			_, tasks := inspected(t, h.Store)
			if got := fmt.Sprint(tasks[1].Status, " ", tasks[2].Status, " ", tasks[3].Status, " ", tasks[4].Status); got != step.want {
				t.Errorf("after %s: %s, want %s", step.op, got, step.want)
			}
		}
		h.Ask(history.Call{Op: history.DeleteAll, Queue: "q"})
		if _, tasks := inspected(t, h.Store); tasks[1].Pruned.IsZero() == tasks[2].Pruned.IsZero() || tasks[3].Pruned.IsZero() || tasks[2].Created.IsZero() {
			t.Errorf("%+v", tasks)
		}
	})
}
