package task

import (
	"fmt"
	"time"
)

// Task is the record of a piece of work, as a store keeps it. Stores return copies: a change to one
// changes nothing in the store. It is not meant to be encoded as JSON: package httpapi has a type
// for that, NewTask, which the program prints too.
type Task struct {
	// ID is a UUID, of version 7 unless the caller that enqueued the task has chosen another one.
	ID string
	// Kind names the handler.
	Kind string
	// Queue is where the task waits. Queues can be paused, and a worker may serve only some.
	Queue string
	// Key is unique among the unfinished tasks of the kind. Empty means none.
	Key string
	// Payload is the input of the handler: JSON when it came through a Kind or the program.
	Payload []byte
	// Meta came with the task in addition to its payload, nil for nothing: see EnqueueOptions.Meta.
	Meta map[string]string
	// Priority: the higher number is claimed first. Priority is strict: a steady stream of tasks with
	// a high priority starves those with a low one.
	Priority int

	// Status is the present status.
	Status Status
	// Reason is why the task was interrupted last. It stays until the task is interrupted again or has
	// ended. For a cancelled task it may be ReasonExpired.
	Reason Reason
	// Error is the text of the last run's error, empty if it had none.
	Error string

	// Created is when the store accepted the task. Since is when the task got its status. RunAt is the
	// time before which it is not claimed. Started is when the last run began, zero before the first
	// one. Finished is zero until the task has ended. All are by the store's clock.
	Created, Since, RunAt, Started, Finished time.Time
	// StartBefore is when a task that waits for its first claim is cancelled, by the store's clock. It
	// is zero if EnqueueOptions had none, and once the task has been claimed or has ended.
	StartBefore time.Time

	// Run is the number of the present or last run. It only grows, is never used twice, and is the
	// task's fencing token. It is not a count: Runs is.
	Run  int64
	Runs int
	// Worker is the incarnation that has the present run or had the last.
	Worker string

	Counters
	// Limits are those of the kind when the present run was claimed.
	Limits

	// Checkpoint is what the handler saved last, nil if nothing.
	Checkpoint []byte
	Progress   Progress
	// Result is the handler's result after it has succeeded, nil if there is none.
	Result []byte
}

// Suspect reports whether the task may be what kills its workers: it has had two crashes in a row
// without a new checkpoint in between, or three interruptions, the last two because the process
// ended after last call before it could record them.
func (t Task) Suspect() bool { return t.Suspicion != 0 }

// Counters count the ends of a task's runs that were no success.
type Counters struct {
	// Attempts counts the runs that ended in the handler's own error or panic, or with its kind's
	// Timeout.
	Attempts int
	// Interruptions counts the runs that were stopped on purpose.
	Interruptions int
	// Crashes counts the runs whose worker's process was seen to be dead without having announced a
	// stop, and those whose handler returned Crashed. A panic of the handler is not counted.
	Crashes int
	// CrashStreak counts the crashes since the last new checkpoint. MaxCrashes limits this counter: a
	// task that makes progress between two crashes is not the cause of them. It is at least two for a
	// suspect, even if no crash made it one.
	CrashStreak int
	// InterruptStreak counts the interruptions since the last new checkpoint. MaxInterruptions limits
	// it, and each one but the first makes the task wait longer.
	InterruptStreak int
	// Suspicion is the group in which a suspect runs, zero for a task that is not a suspect.
	Suspicion Suspicion
}

// Limits bound the counters. They are copied to the claimed run, because the worker that takes over
// the tasks of a dead one may not know their kind. A limit of zero or less means none.
type Limits struct {
	// MaxAttempts bounds Counters.Attempts, MaxCrashes Counters.CrashStreak, MaxInterruptions
	// Counters.InterruptStreak.
	MaxAttempts, MaxCrashes, MaxInterruptions int
}

// Progress is for people: how far a run is, and a short message.
type Progress struct {
	// Fraction is from 0 to 1.
	Fraction float64
	Message  string
}

// Status is the state of a task.
type Status string

const (
	// StatusQueued: the task waits to be claimed. With RunAt in the future it waits for that time or
	// for its next attempt.
	StatusQueued Status = "queued"
	// StatusRunning: a worker holds the task.
	StatusRunning Status = "running"
	// StatusSucceeded: the handler returned nil. An end.
	StatusSucceeded Status = "succeeded"
	// StatusFailed: the handler returned a permanent error, or the attempts, crashes or interruptions
	// are used up. An end.
	StatusFailed Status = "failed"
	// StatusCancelled: a person cancelled it, or its StartBefore passed. An end.
	StatusCancelled Status = "cancelled"
	// StatusInterrupted: a run was cut short, and the task is claimable, before the queued tasks of
	// its priority.
	StatusInterrupted Status = "interrupted"
)

// Statuses lists every status, in the order of a task's life.
func Statuses() []Status {
	return []Status{StatusQueued, StatusRunning, StatusInterrupted, StatusSucceeded, StatusFailed, StatusCancelled}
}

// ParseStatus returns the status of that name, or an error that lists the names.
func ParseStatus(name string) (Status, error) {
	for _, s := range Statuses() {
		if string(s) == name {
			return s, nil
		}
	}
	return "", fmt.Errorf("task: no status is called %q: use one of %v", name, Statuses())
}

// Ended reports whether a task of this status will never run again.
func (s Status) Ended() bool {
	return s == StatusSucceeded || s == StatusFailed || s == StatusCancelled
}

// Claimable reports whether a worker may claim a task of this status, once its RunAt has come.
func (s Status) Claimable() bool { return s == StatusQueued || s == StatusInterrupted }

// Reason is why a run was cut short.
type Reason string

const (
	// ReasonStop: the process was stopped, and the worker recorded the run itself.
	ReasonStop Reason = "stop"
	// ReasonDeadline: the process had announced its stop, and was gone, or gave up its handler, before
	// the run had ended.
	ReasonDeadline Reason = "deadline"
	// ReasonFrozen: the run was cut short because its process had stood still for too long.
	ReasonFrozen Reason = "frozen"
	// ReasonLost: the worker vanished. If its process is known to be dead this was counted as a crash;
	// if only its lease ran out, as an interruption. It is also the reason when the handler returned
	// Crashed, because the process that did its work vanished.
	ReasonLost Reason = "lost"
	// ReasonRequested: a person requested it, with [Client.Interrupt].
	ReasonRequested Reason = "requested"
	// ReasonReleased: the worker released the task, and no counter counts the run. Either no handler
	// was called, as when an interrupted task was prefetched, or claimed while the process was being
	// stopped; or the handler returned PauseKind, because this worker cannot run its kind now.
	ReasonReleased Reason = "released"
	// ReasonTurn: the run had had the MaxRunTime of its kind, and others waited for its slot. The
	// task, which is queued, comes after those.
	ReasonTurn Reason = "turn"
	// ReasonExpired: the task, which is cancelled, was not claimed before its StartBefore.
	ReasonExpired Reason = "expired"
)

// RunRecord is one run in a task's history.
type RunRecord struct {
	// Run is the run's number, Worker the incarnation that had it, Host and PID where it ran.
	Run    int64
	Worker string
	Host   string
	PID    int
	// Started and Ended are its begin and its end; Ended is zero while it goes on.
	Started, Ended time.Time
	// Status is the status that the run gave the task, StatusRunning while it goes on. Reason and
	// Error are as in Task.
	Status Status
	Reason Reason
	Error  string
	// Crashed: the run ended because its process died, the worker's or the handler's. Reclaimed:
	// another worker recorded the end.
	Crashed, Reclaimed bool
}
