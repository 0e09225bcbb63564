package task

import "time"

// Event is a step in a run's life, for metrics and traces.
type Event struct {
	// Task is the task as it was claimed, with what the run has saved.
	Task Task
	// Status is Running when the run begins, and otherwise what the task became by it; Reason is
	// then why it was interrupted, and Err the text of its error.
	Status Status
	Reason Reason
	Err    string
	// Waited is for how long the task had been claimable when the run began; Took is how long the
	// run went on, 0 at its begin.
	Waited, Took time.Duration
	// Stale: the end was refused, because the run was no longer this worker's. That is also told of a
	// handler that returns after it was recorded as deaf.
	Stale bool
}

// waited is for how long a claimed task had been claimable.
func waited(t *Task) time.Duration { return max(0, t.Started.Sub(t.RunAt)) }
