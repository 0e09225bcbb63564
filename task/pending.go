package task

import (
	"fmt"
	"slices"
	"time"
)

// PendingReason returns why a claimable task is not claimed: no live worker knows its kind, its
// queue is paused, or its time has not come. It is empty when the task is not claimable, and when
// it waits only for a free slot. workers and paused are what [Client.Workers] and [Client.Count]
// have returned; now is compared with the task's RunAt, which is the store's clock.
func PendingReason(t Task, workers []WorkerInfo, paused []string, now time.Time) string {
	switch {
	case !t.Status.Claimable():
		return ""
	case !slices.ContainsFunc(workers, func(w WorkerInfo) bool { return w.serves(t.Kind) }):
		return fmt.Sprintf("no running worker knows the kind %q", t.Kind)
	case slices.Contains(paused, t.Queue):
		return fmt.Sprintf("the queue %s is paused", t.Queue)
	case t.RunAt.After(now):
		return "its time, " + t.RunAt.UTC().Format(time.RFC3339)
	}
	return ""
}

// serves reports whether a worker is alive, as far as is known, and claims tasks of a kind.
func (w *WorkerInfo) serves(kind string) bool {
	return !w.Dead && w.Liveness != LivenessDead && slices.Contains(w.Kinds, kind)
}
