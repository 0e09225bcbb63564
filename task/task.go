package task

import (
	"fmt"
	"time"
)

// Task is the record of a piece of work, as a store keeps it. Stores hand out copies: changing one
// changes nothing. It is not made to be encoded as JSON: for that, package httpapi has a view of
// it, NewTask, which is also what the program prints.
type Task struct {
	// ID is a UUID: of version 7, unless who enqueued the task has chosen another one.
	ID string
	// Kind names the handler.
	Kind string
	// Queue is where the task waits. Queues can be paused, and a worker may serve only some.
	Queue string
	// Key is unique among the unfinished tasks of the kind. Empty means none.
	Key string
	// Payload is what the handler is given: JSON when it came through a Kind or the program.
	Payload []byte
	// Meta is what came with the task beside its payload, nil for nothing: see EnqueueOptions.Meta.
	Meta map[string]string
	// Priority: the higher number is claimed first. Priority is strict, so that a
	// steady stream of high ones starves the low ones.
	Priority int

	// Status is where the task is in its life.
	Status Status
	// Reason says why the task was interrupted last. It stays until the task is interrupted again
	// or has ended. Of a cancelled one it may be ReasonExpired.
	Reason Reason
	// Error is the text of the last run's error, empty if it had none.
	Error string

	// Created is when the store accepted the task, Since when it took on its status, RunAt the time
	// before which it is not claimed. Started is the begin of the last run, and zero before the
	// first. Finished is zero until the task has ended. All are the store's clock.
	Created, Since, RunAt, Started, Finished time.Time
	// StartBefore is when a task that waits for its first claim is cancelled, by the store's clock.
	// It is zero where EnqueueOptions had none, and once the task has been claimed or has ended.
	StartBefore time.Time

	// Run is the number of the present run, or the last. It only grows, never repeats, and is the
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
	// Result is what the handler left when it had succeeded, nil if nothing.
	Result []byte
}

// Suspect says that the task may be what kills its workers: two crashes in a row, without a new
// checkpoint in between, or three interruptions, the last two because the process ended after last
// call before it could record them.
func (t Task) Suspect() bool { return t.Suspicion != 0 }

// Counters say how a task's runs ended when it was not in success.
type Counters struct {
	// Attempts counts the runs that ended in the handler's own error or panic, or with its kind's
	// Timeout.
	Attempts int
	// Interruptions counts the runs that were stopped on purpose.
	Interruptions int
	// Crashes counts the runs whose worker's process was seen to be dead without having announced a
	// stop, and those that their handler called Crashed. A panic of the handler is none.
	Crashes int
	// CrashStreak counts the crashes since the last new checkpoint. It is the one that MaxCrashes
	// limits: a task that gets on between two crashes is not the cause of them. A suspect has two at
	// least, also where no crash made it one.
	CrashStreak int
	// InterruptStreak counts the interruptions since the last new checkpoint. MaxInterruptions
	// limits it, and each one but the first makes the task wait longer.
	InterruptStreak int
	// Suspicion is the group in which a suspect runs, zero for a task that is none.
	Suspicion Suspicion
}

// Limits bound the counters. They travel with the claimed run, because the worker that takes
// over the tasks of a dead one may not know their kind. A limit of zero or less means none.
type Limits struct {
	// MaxAttempts bounds Counters.Attempts, MaxCrashes Counters.CrashStreak, MaxInterruptions
	// Counters.InterruptStreak.
	MaxAttempts, MaxCrashes, MaxInterruptions int
}

// Progress is for people: how far a run is, and a word about it.
type Progress struct {
	// Fraction is from 0 to 1.
	Fraction float64
	Message  string
}

// Status is where a task is in its life.
type Status string

const (
	// StatusQueued: waiting to be claimed; with RunAt in the future, waiting for its time or for its
	// next attempt.
	StatusQueued Status = "queued"
	// StatusRunning: a worker has it.
	StatusRunning Status = "running"
	// StatusSucceeded: the handler returned nil. An end.
	StatusSucceeded Status = "succeeded"
	// StatusFailed: a permanent error, or attempts or crashes used up. An end.
	StatusFailed Status = "failed"
	// StatusCancelled: somebody asked for it. An end.
	StatusCancelled Status = "cancelled"
	// StatusInterrupted: a run was cut short, and the task is claimable, before the queued ones of
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

// Claimable reports whether a worker may take a task of this status, once its RunAt has come.
func (s Status) Claimable() bool { return s == StatusQueued || s == StatusInterrupted }

// Reason says why a run was cut short.
type Reason string

const (
	// ReasonStop: the process was stopped, and the worker recorded the run itself.
	ReasonStop Reason = "stop"
	// ReasonDeadline: the process had announced its stop, and was gone, or gave up its handler,
	// before the run had ended.
	ReasonDeadline Reason = "deadline"
	// ReasonFrozen: the run was cut short because its process had stood still for too long.
	ReasonFrozen Reason = "frozen"
	// ReasonLost: the worker vanished. When its process is known to be dead this was counted as a
	// crash; when only its lease ran out, as an interruption. Also when the handler said with Crashed
	// that the process vanished in which it did its work.
	ReasonLost Reason = "lost"
	// ReasonRequested: somebody has asked for it, with [Client.Interrupt].
	ReasonRequested Reason = "requested"
	// ReasonReleased: the worker gave the task back, and counters do not count the run. Either no
	// handler was called, as when an interrupted task was claimed ahead of a slot or while the process
	// was told to end; or the handler said with PauseKind that this worker cannot run its kind now.
	ReasonReleased Reason = "released"
	// ReasonTurn: the run had had the MaxRunTime of its kind, and others waited for its slot. The
	// task, which is queued, comes after those.
	ReasonTurn Reason = "turn"
	// ReasonExpired: the task, which is cancelled, was not claimed before its StartBefore.
	ReasonExpired Reason = "expired"
)

// RunRecord is one run in a task's history.
type RunRecord struct {
	// Run is the run's number, Worker the incarnation that had it, Host and PID where that was.
	Run    int64
	Worker string
	Host   string
	PID    int
	// Started and Ended bound it; Ended is zero while it goes on.
	Started, Ended time.Time
	// Status is what the task became by it, StatusRunning while it goes on; Reason and Error as in
	// Task.
	Status Status
	Reason Reason
	Error  string
	// Crashed says that it ended because its process died, the worker's or the handler's; Reclaimed,
	// that another worker than its own recorded the end.
	Crashed, Reclaimed bool
}
