package storetest

import (
	"errors"
	"slices"

	"github.com/lastcall-go/lastcall/task"
)

var workerRules = []rule{
	{"12", "the first beat registers, and nobody comes back to life", func(t *T) {
		if _, err := t.beat("w", 2, task.WorkerRunning); !errors.Is(err, task.ErrWorkerGone) {
			t.Errorf("second beat without a first: %v", err)
		}
		t.run("w")
		if _, err := t.beat("w", 1, task.WorkerRunning); err != nil {
			t.Errorf("the first beat again: %v", err)
		}
		if _, err := t.Store.Reclaim(t.Context(), task.ReclaimRequest{Worker: "w", Seq: 1, Max: 1}); err != nil {
			t.Fatal(err)
		}
		if _, err := t.beat("w", 2, task.WorkerRunning); !errors.Is(err, task.ErrWorkerGone) {
			t.Errorf("a beat of a dead worker: %v", err)
		}
	}},
	{"33", "Workers tells what a worker said of itself", func(t *T) {
		id := t.add()
		b := task.Beat{Worker: "w", Name: "n", Host: "h", PID: 7, Kinds: []string{"k", "l"}, Queues: []string{"q"}, Slots: 12, Lease: lease, Seq: 1,
			State: task.WorkerRunning}
		for _, unresponsive := range [][]string{nil, {id}, nil, {id, id}} {
			b.Unresponsive, b.Paused = unresponsive, nil
			for _, what := range unresponsive {
				b.Paused = append(b.Paused, task.PausedKind{Kind: "k", Reason: "r", Error: "Größe \"zu\" groß: " + what})
			}
			if _, err := t.Store.Heartbeat(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			w, _ := t.worker(b.Worker)
			if w.Name != "n" || w.Host != "h" || w.PID != 7 || !slices.Equal(w.Kinds, b.Kinds) || !slices.Equal(w.Queues, []string{"q"}) || w.Slots != 12 ||
				w.Lease != lease || w.Seq != b.Seq || w.State != task.WorkerRunning || !slices.Equal(w.Unresponsive, unresponsive) ||
				!slices.Equal(w.Paused, b.Paused) {
				t.Errorf("after beat %+v: %+v", b, w)
			}
			b.Seq, b.Queues, b.Slots = b.Seq+1, nil, 0 // what the first beat said is kept
		}
	}},
	{"13", "the highest beat counts, whatever the order", func(t *T) {
		t.join("w")
		for _, b := range []struct {
			seq   uint64
			state task.WorkerState
		}{{3, task.WorkerStopping}, {2, task.WorkerRunning}} {
			if _, err := t.beat("w", b.seq, b.state); err != nil {
				t.Fatal(err)
			}
		}
		if w, _ := t.worker("w"); w.Seq != 3 || w.State != task.WorkerStopping || w.Lease != lease || w.Name != "n" {
			t.Errorf("%+v", w)
		}
	}},
	{"14", "a beat learns which runs are lost", func(t *T) {
		a := t.run("w")
		t.add()
		b := t.claim("w", 1)[0]
		t.mustApply(change(a, task.StatusInterrupted))
		reply, err := t.beat("w", 2, task.WorkerRunning, change(a, "").Fence, change(b, "").Fence)
		if err != nil || len(reply.Lost) != 1 || reply.Lost[0] != change(a, "").Fence {
			t.Errorf("%+v, %v", reply, err)
		}
	}},
	{"15", "without evidence, a beat that has moved is a life", func(t *T) {
		t.run("w")
		if _, err := t.beat("w", 2, task.WorkerRunning); err != nil {
			t.Fatal(err)
		}
		if _, err := t.Store.Reclaim(t.Context(), task.ReclaimRequest{Worker: "w", Seq: 1, Max: 1}); !errors.Is(err, task.ErrWorkerAlive) {
			t.Errorf("%v", err)
		}
		if w, ok := t.worker("w"); !ok || w.Dead {
			t.Errorf("%+v, %v", w, ok)
		}
	}},
	{"15", "evidence is verified by the store", func(t *T) {
		t.run("w")
		req := task.ReclaimRequest{Worker: "w", Evidence: true, Seq: 1, Max: 10}
		if _, err := t.Store.Reclaim(t.Context(), req); !errors.Is(err, task.ErrWorkerAlive) {
			t.Errorf("of a living worker: %v", err)
		}
		if t.engine.Kill == nil {
			t.Log("the engine has no evidence, and says so")
			return
		}
		t.engine.Kill(t.real, t.bare, "w")
		if w, _ := t.worker("w"); w.Liveness != task.LivenessDead {
			t.Errorf("life is %s", w.Liveness)
		}
		left, err := t.Store.Reclaim(t.Context(), req)
		if err != nil || !left.Evidence || left.State != task.WorkerRunning || len(left.Tasks) != 1 || left.Done {
			t.Errorf("%+v, %v", left, err)
		}
	}},
	{"16", "reclaiming can be continued by anyone until it is done, on the first ground", func(t *T) {
		t.run("w")
		t.add()
		t.claim("w", 1)
		if _, err := t.beat("w", 2, task.WorkerStopping); err != nil {
			t.Fatal(err)
		}
		req := task.ReclaimRequest{Worker: "w", Seq: 2, Max: 1}
		for n := 2; ; n-- {
			left, err := t.Store.Reclaim(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			if left.Done {
				if n != 0 {
					t.Errorf("done with %d tasks left", n)
				}
				break
			}
			if len(left.Tasks) != 1 || left.Evidence || left.State != task.WorkerStopping {
				t.Fatalf("%+v", left)
			}
			c := change(left.Tasks[0], task.StatusInterrupted)
			c.Reclaimed = true
			t.mustApply(c)
			req.Seq = 77 // it is marked dead, whatever Seq the caller has
		}
		if _, ok := t.worker("w"); ok {
			t.Error("the worker is still listed")
		}
		if left, err := t.Store.Reclaim(t.Context(), req); err != nil || !left.Done {
			t.Errorf("once more: %+v, %v", left, err)
		}
	}},
	{"17", "a worker that leaves is gone, unless it holds a run", func(t *T) {
		c := t.run("w")
		if _, err := t.beat("w", 2, task.WorkerStopped); err != nil {
			t.Fatal(err)
		}
		w, ok := t.worker("w")
		if !ok || w.State != task.WorkerStopped || t.engine.Kill != nil && w.Liveness != task.LivenessDead {
			t.Errorf("with a run: %+v, %v", w, ok)
		}
		t.mustApply(change(c, task.StatusSucceeded))
		t.join("v")
		if _, err := t.beat("v", 2, task.WorkerStopped); err != nil {
			t.Fatal(err)
		}
		if w, ok := t.worker("v"); ok {
			t.Errorf("without a run: %+v", w)
		}
	}},
}
