package task

import (
	"context"
	"log/slog"
	"time"
)

// Event is a step in a run's life, for metrics and traces.
type Event struct {
	// Task is the task as it was claimed, with what the run has saved.
	Task Task
	// Status is StatusRunning when the run begins. At its end it is the task's new status, or the
	// status that a Stale end would have given it. Reason is then why it was interrupted, and Err the
	// text of its error.
	Status Status
	Reason Reason
	Err    string
	// Waited is how long the task had been claimable when the run began. Took is how long the run went
	// on, 0 at its start.
	Waited, Took time.Duration
	// Unresponsive: the run's context ended 10 s ago, and its handler has not returned. Status is
	// StatusRunning. There is one such event between the start of a run and its end.
	Unresponsive bool
	// Stale: the end was refused, because the run no longer belonged to this worker. There is also
	// such an event for a handler that returns after it was recorded as unresponsive.
	Stale bool
	// Reclaimed: the run belonged to another worker, which is dead, and this worker has recorded its
	// end. Took is then 0, since it is not known when the run ended, and this worker saw no event of
	// its start.
	Reclaimed bool
}

// observer passes events on to WorkerConfig.Observe, which is the user's code: a mistake in it ends
// no run.
type observer struct {
	observe func(context.Context, Event) // nil: nothing is observed
	log     *slog.Logger
	ctx     context.Context
}

// tell passes an event on.
func (o *observer) tell(e Event) {
	if o.observe == nil {
		return
	}
	if bad := o.call(e); bad != nil {
		o.log.Error("WorkerConfig.Observe panicked", "task", e.Task.ID, "kind", e.Task.Kind, "status", e.Status, "error", bad)
	}
}

func (o *observer) call(e Event) (bad *PanicError) {
	defer recovered(&bad)
	o.observe(o.ctx, e)
	return nil
}

// tellEnd passes on the end of a run that has begun.
func (o *observer) tellEnd(r *Run, e Event) {
	if o.observe != nil && !r.started.IsZero() {
		e.Task, e.Took = r.Task(), time.Since(r.started)
		o.tell(e)
	}
}

// tellUnresponsive passes on that a handler does not return.
func (o *observer) tellUnresponsive(r *Run) {
	if o.observe != nil {
		o.tell(Event{Task: r.Task(), Status: StatusRunning, Took: time.Since(r.started), Unresponsive: true})
	}
}

// waited returns how long a claimed task had been claimable.
func waited(t *Task) time.Duration { return max(0, t.Started.Sub(t.RunAt)) }
