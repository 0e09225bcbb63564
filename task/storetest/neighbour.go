package storetest

import (
	"context"
	"errors"
	"fmt"

	"github.com/lastcall-go/lastcall/task"
)

// neighbour is a store with tasks in every state, one of which belongs to a caller whose
// transaction is open.
type neighbour struct {
	*txT
	mine          task.Task   // in the open transaction
	runs          []task.Task // of the same claim
	left          []task.Task // of a worker that has stopped
	waits, failed string
}

// settle creates the tasks.
func (t *txT) settle() *neighbour {
	t.Helper()
	n := &neighbour{txT: t}
	t.join("w")
	t.join("gone")
	for range 10 {
		t.add()
	}
	n.runs = t.claim("w", 8)
	n.left = t.claim("gone", 2)
	n.mine, n.runs = n.runs[0], n.runs[1:]
	if _, err := t.beat("gone", 2, task.WorkerStopped); err != nil {
		t.Fatal(err)
	}
	failed := change(n.runs[0], task.StatusFailed)
	n.failed, n.runs = failed.Task, n.runs[1:]
	t.mustApply(failed)
	for range 3 {
		t.mustAsk(task.VerbCancel, t.add())
	}
	n.waits = t.add()
	t.add()
	t.tick()
	return n
}

// goOn does everything that can be done with the other tasks.
func (n *neighbour) goOn() {
	n.Helper()
	n.write()
	n.steer()
	n.within("Claim", func(ctx context.Context) error {
		got, err := n.Store.Claim(ctx, request("w", 10))
		if err == nil && len(got) == 0 {
			return errors.New("it gave nothing")
		}
		n.runs = append(n.runs, got...)
		return err
	})
	n.within("Reclaim of a worker that has stopped", func(ctx context.Context) error {
		left, err := n.Store.Reclaim(ctx, task.ReclaimRequest{Worker: "gone", Seq: 2, Max: 10})
		if err == nil && len(left.Tasks) != len(n.left) {
			return fmt.Errorf("it gave %v, want %v", ids(left.Tasks), ids(n.left))
		}
		return err
	})
	n.within("the taking of its runs", func(ctx context.Context) error { return n.take(ctx, n.left) })
	n.within("the end of the reclaim", func(ctx context.Context) error {
		left, err := n.Store.Reclaim(ctx, task.ReclaimRequest{Worker: "gone", Seq: 2, Max: 10})
		if err == nil && !left.Done {
			return fmt.Errorf("it is not done: %+v", left)
		}
		return err
	})
	n.within("Prune", func(ctx context.Context) error {
		done, err := n.Store.Prune(ctx, task.PruneRequest{Max: 2})
		if err == nil && done.Tasks == 0 {
			return errors.New("it removed nothing")
		}
		return err
	})
}

// write saves and ends runs, alone, together, and in another transaction.
func (n *neighbour) write() {
	n.Helper()
	save := change(n.runs[0], task.StatusRunning)
	save.Checkpoint = []byte("saved")
	n.within("a save", func(ctx context.Context) error { return n.Store.Apply(ctx, []task.Change{save})[0] })
	ends := []task.Change{change(n.runs[0], task.StatusInterrupted), change(n.runs[1], task.StatusSucceeded), change(n.runs[2], task.StatusQueued)}
	ends[1].Result = []byte("result")
	n.within("ends", func(ctx context.Context) error {
		for _, err := range n.Store.Apply(ctx, ends) {
			if err != nil {
				return err
			}
		}
		return nil
	})
	tx := n.begin()
	n.within("an end in another transaction", func(ctx context.Context) error {
		return n.store.FinishTx(ctx, tx.Tx, change(n.runs[3], task.StatusSucceeded))
	})
	n.commit(tx)
	n.runs = n.runs[4:]
	n.within("Add", func(ctx context.Context) error {
		added, err := n.Store.Add(ctx, n.news("", "a key of its own"))
		if err == nil && (added[0].Busy || added[1].Busy) {
			return fmt.Errorf("it answered %+v", added)
		}
		return err
	})
	tx = n.begin()
	n.within("AddTx", func(ctx context.Context) error {
		added, err := n.store.AddTx(ctx, tx.Tx, n.news("", "another key"))
		if err == nil && (added[0].Busy || added[1].Busy) {
			return fmt.Errorf("it answered %+v", added)
		}
		return err
	})
	n.commit(tx)
}

// steer gives every command, and reads everything that can be read.
func (n *neighbour) steer() {
	n.Helper()
	for _, cmd := range []task.Command{
		{Verb: task.VerbCancel, Task: n.waits}, {Verb: task.VerbCancel, Task: n.runs[0].ID}, {Verb: task.VerbInterrupt, Task: n.runs[1].ID},
		{Verb: task.VerbRetry, Task: n.failed}, {Verb: task.VerbPause, Queue: "default"}, {Verb: task.VerbResume, Queue: "default"},
	} {
		n.within(string(cmd.Verb), func(ctx context.Context) error { return n.Store.Control(ctx, cmd) })
	}
	n.within("a complete beat", func(ctx context.Context) error {
		reply, err := n.Store.Heartbeat(ctx, task.Beat{Worker: "w", Lease: lease, Seq: 2, State: task.WorkerRunning, ListsAllRuns: true,
			Runs: []task.Fence{change(n.runs[0], "").Fence}})
		if err == nil && (len(reply.Commands) != 2 || len(reply.Missing) < 1) {
			return fmt.Errorf("it was answered %+v", reply)
		}
		return err
	})
	n.within("Find", func(ctx context.Context) error { _, err := n.Store.Find(ctx, task.Query{}); return err })
	n.within("Count", func(ctx context.Context) error { _, err := n.Store.Count(ctx, task.CountQuery{}); return err })
	n.within("Workers", func(ctx context.Context) error { _, err := n.Store.Workers(ctx); return err })
	n.within("History", func(ctx context.Context) error { _, err := n.Store.History(ctx, n.failed); return err })
}

// takeAll takes over all runs of the worker whose task is in the open transaction, except that
// task.
func (n *neighbour) takeAll() {
	n.Helper()
	n.within("Reclaim of the worker that runs the task", func(ctx context.Context) error {
		left, err := n.Store.Reclaim(ctx, task.ReclaimRequest{Worker: "w", Seq: 2, Max: 100})
		if err == nil && len(left.Tasks) < len(n.runs) {
			return fmt.Errorf("it gave %v, want %v", ids(left.Tasks), ids(n.runs))
		}
		return err
	})
	n.within("the taking of its other runs", func(ctx context.Context) error { return n.take(ctx, n.runs) })
}

// take ends runs in place of their worker.
func (n *neighbour) take(ctx context.Context, runs []task.Task) error {
	return errors.Join(n.Store.Apply(ctx, taken(runs))...)
}

// taken returns the changes by which a neighbour takes over runs.
func taken(runs []task.Task) []task.Change {
	changes := make([]task.Change, len(runs))
	for i, c := range runs {
		changes[i] = change(c, task.StatusInterrupted)
		changes[i].Reclaimed, changes[i].Reason = true, task.ReasonLost
	}
	return changes
}
