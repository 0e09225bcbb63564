package task

import "slices"

// moves is the whole life of a task: what a status can become in one step. A claim makes a task
// running; the end of a run, or a command, makes it something else.
var moves = map[Status][]Status{
	StatusQueued: {StatusRunning, StatusCancelled},
	// Queued by a new task that replaces it.
	StatusInterrupted: {StatusRunning, StatusCancelled, StatusQueued},
	StatusRunning:     {StatusQueued, StatusInterrupted, StatusSucceeded, StatusFailed, StatusCancelled},
	StatusSucceeded:   {},
	StatusFailed:      {StatusQueued}, // by Retry
	StatusCancelled:   {StatusQueued}, // by Retry
}

// CanBecome reports whether a task with this status can have the other one after the next step.
func (s Status) CanBecome(next Status) bool { return slices.Contains(moves[s], next) }
