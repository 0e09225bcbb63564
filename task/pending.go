package task

import (
	"fmt"
	"slices"
	"time"
)

// PendingReason returns why a claimable task is not claimed:
//
//   - No live worker knows its kind, or serves its queue.
//   - Its queue is paused, or all those workers have paused its kind, with [PauseKind].
//   - Its time has not come.
//   - Unresponsive handlers take the slots of all workers that could run it.
//   - It is a suspect, which waits for those of another group.
//
// The reason is empty when the task waits only for a free slot, and when it is not claimable; but
// for a running task PendingReason reports whether its handler is unresponsive. workers and paused
// are what [Client.Workers] and [Client.Count] have returned; now is compared with the task's
// RunAt, which is the store's clock.
func PendingReason(t Task, workers []WorkerInfo, paused []string, now time.Time) string {
	if !t.Status.Claimable() {
		for _, w := range workers {
			if t.Status == StatusRunning && w.Worker == t.Worker && slices.Contains(w.Unresponsive, t.ID) {
				return "its handler, which does not return though its context has ended"
			}
		}
		return ""
	}
	knows := slices.DeleteFunc(slices.Clone(workers), func(w WorkerInfo) bool { return !w.knows(t.Kind) })
	serves := slices.DeleteFunc(slices.Clone(knows), func(w WorkerInfo) bool { return !w.serves(t.Queue) })
	switch {
	case len(knows) == 0:
		return fmt.Sprintf("no running worker knows the kind %q", t.Kind)
	case len(serves) == 0 && t.Queue != "":
		return fmt.Sprintf("no running worker that knows the kind %q serves the queue %s", t.Kind, t.Queue)
	case slices.Contains(paused, t.Queue):
		return fmt.Sprintf("the queue %s is paused", t.Queue)
	case pausedBy(serves, t.Kind) != "" && t.RunAt.Sub(now) <= maxReleaseDelay:
		return pausedBy(serves, t.Kind)
	case t.RunAt.After(now):
		return "its time, " + t.RunAt.UTC().Format(time.RFC3339)
	case len(serves) > 0 && !slices.ContainsFunc(serves, WorkerInfo.free):
		return "unresponsive handlers, which have all slots"
	case t.Suspect():
		return fmt.Sprintf("the turn of its group of suspects, %s: it was in two crashes in a row, or cut off by three stops, and a worker runs one such group at a time", t.Suspicion)
	}
	return ""
}

// pausedBy returns why all of the workers that know a kind have paused it. It is empty unless there
// are some and all have.
func pausedBy(workers []WorkerInfo, kind string) (why string) {
	for _, w := range workers {
		i := slices.IndexFunc(w.Paused, func(p PausedKind) bool { return p.Kind == kind })
		if i < 0 {
			return ""
		}
		why = fmt.Sprintf("a worker that can run the kind %q: %s has paused it, as all others, since it lacks something: %s", kind, w.Host, w.Paused[i].Error)
	}
	return why
}

// knows reports whether a worker is alive, as far as is known, and claims tasks of a kind.
func (w *WorkerInfo) knows(kind string) bool {
	return !w.Dead && w.Liveness != LivenessDead && slices.Contains(w.Kinds, kind)
}

// serves reports whether a worker claims tasks of a queue.
func (w *WorkerInfo) serves(queue string) bool {
	return len(w.Queues) == 0 || slices.Contains(w.Queues, queue)
}

// free reports whether a worker has a slot that no unresponsive handler takes.
func (w WorkerInfo) free() bool { return w.Slots == 0 || len(w.Unresponsive) < w.Slots }
