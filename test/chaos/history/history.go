// Package history has the record of a chaos run: what was asked of the system, what it answered,
// what its handlers did, which faults were made, and what is left at the end. This is all that the
// checker knows. The package is independent of the store, so that a run of any library can be
// recorded with it.
//
// Tasks are identified by Plan.Seq, the number that the load gives each of them, since not every
// library lets its user choose the id.
package history

import "time"

// Event is one entry. The harness writes all events in one order. Exactly one of the pointers is
// set.
type Event struct {
	N       int64     // its position, from 1
	At      time.Time // by the harness's clock
	Process *Process  `json:",omitempty"`
	Fault   *Fault    `json:",omitempty"`
	Call    *Call     `json:",omitempty"`
	Answer  *Answer   `json:",omitempty"`
	Effect  *Effect   `json:",omitempty"`
	Sample  *Sample   `json:",omitempty"`
	// Schedule is a schedule that the workers have from now on.
	Schedule *Schedule `json:",omitempty"`
}

// Plan describes what a task does. It is the task's payload.
type Plan struct {
	Seq  int    // the task's number in this run, from 1
	Kind string // one of the kinds below
	// Steps is how many effects the task has, one after the other; PaceMS is how long each takes.
	Steps, PaceMS int
	// Save: the handler saves a checkpoint after each step. Otherwise only a hand-over keeps the
	// position.
	Save bool `json:",omitempty"`
	// HandOver: the handler checks for last call before each step, and hands over with a checkpoint.
	HandOver bool `json:",omitempty"`
	// InTx: the last effect and the end of the task are one transaction in the store's database.
	InTx bool `json:",omitempty"`
	// Recorded: the library records the result of each step, and calls a step only if it has no
	// result. The result is the fence of the run that did the step. Items: the steps are the items of
	// one iteration whose position the library records, at most EveryMS after the last time.
	Recorded bool `json:",omitempty"`
	Items    bool `json:",omitempty"`
	EveryMS  int  `json:",omitempty"`
	// Result is the size of the result, Log how many lines the handler logs. With Progress it reports
	// its progress after each step.
	Result, Log int  `json:",omitempty"`
	Progress    bool `json:",omitempty"`
	// Fail is how many runs return an error, Exit how many kill their own process. Both happen after
	// the first step.
	Fail, Exit int `json:",omitempty"`
	// UnresponsiveMS is how long the first run continues after the end of its context.
	UnresponsiveMS int `json:",omitempty"`
	// Children is how many processes the program of an exec kind leaves behind. Those of a hostile
	// program start others again and again, as another user.
	Children int  `json:",omitempty"`
	Hostile  bool `json:",omitempty"`

	// The options of the enqueue.
	ID       string `json:",omitempty"` // a UUID of any version; empty: the library chooses
	Queue    string `json:",omitempty"`
	Key      string `json:",omitempty"`
	Priority int    `json:",omitempty"`
	DelayMS  int    `json:",omitempty"`
	// StartBeforeMS is how long after its enqueue the task may begin; 0 means that there is no bound.
	StartBeforeMS int `json:",omitempty"`
}

// Schedule is a schedule that makes a task each time that Every has passed, on the full multiples
// of Every. No tick is left out, however late it is.
type Schedule struct {
	Number int    // from 1
	Name   string // as the driver's client names it
	Every  time.Duration
	Plan   Plan // of its tasks, with -Number as its Seq
}

// Seq returns the number of a tick's task.
func (s Schedule) Seq(tick time.Time) int { return -int(tick.UnixMilli()*maxNumber) - s.Number }

// maxNumber is more than the highest number of a schedule.
const maxNumber = 10

// The kinds of tasks.
const (
	KindSteps   = "steps"   // a handler in Go, whose tasks never fail by crashes
	KindPoison  = "poison"  // the same for plans with Exit, which fail after a few consecutive crashes
	KindProgram = "program" // a program, run by the real server
)

// Process is an event of a process of the system.
type Process struct {
	Name string // of this incarnation: unique in the run
	PID  int
	What ProcessEvent
	// Signal and Grace are set for Signalled: the process must end by itself within Grace.
	Signal string        `json:",omitempty"`
	Grace  time.Duration `json:",omitempty"`
	// Code and By are set for Ended: the exit code, or the name of the signal.
	Code int    `json:",omitempty"`
	By   string `json:",omitempty"`
	// Left is what a process had not released when it ended, such as goroutines. For Outlived it names
	// what still existed of a run whose program had ended, and Lasted is how long it existed.
	Left   string        `json:",omitempty"`
	Lasted time.Duration `json:",omitempty"`
}

// ProcessEvent is a kind of event of a process.
type ProcessEvent string

// The events of a process. Stopped is SIGSTOP, Continued SIGCONT.
const (
	Started   ProcessEvent = "started"
	Ready     ProcessEvent = "ready"
	Signalled ProcessEvent = "signalled"
	Stopped   ProcessEvent = "stopped"
	Continued ProcessEvent = "continued"
	Ended     ProcessEvent = "ended"
	// Of a worker: a run's program has ended, but a child of it has not.
	Outlived ProcessEvent = "outlived"
)

// Fault is the beginning or the end of a fault, as an event of the history.
type Fault struct {
	ID   int    // its number in the schedule
	Kind string // as in the schedule
	// Over is true at the end. A fault without a duration, such as a kill, has only that event.
	Over bool `json:",omitempty"`
	// Victims are the names of the processes that the fault hits. Empty means all of them.
	Victims []string `json:",omitempty"`
	// Cut: during the fault the victims may be unable to reach the store, as when their connections
	// are black-holed. A delay of milliseconds is not a cut.
	Cut bool `json:",omitempty"`
	// Lossy: what the store answered during the fault may be lost, as after a crash with
	// unsynchronised commits. Clocks: the fault moves the clock of the store.
	Lossy, Clocks bool `json:",omitempty"`
	// Detail is for the reader. Skipped is the reason why the fault could not be made.
	Detail, Skipped string `json:",omitempty"`
}

// Call is a request to a client.
type Call struct {
	// ID is the number of the call, from 1.
	ID      int64
	Process string // the client
	Op      Op
	Plans   []Plan `json:",omitempty"` // of Enqueue and EnqueueTx
	// Commit is true if the transaction of EnqueueTx is to be committed, false if rolled back.
	Commit bool `json:",omitempty"`
	// Seq and TaskID name the task of Cancel, Retry, Interrupt and Delete. Queue is the queue of Pause
	// and Resume, and of the commands for all tasks of a queue. Schedule is the name of a schedule.
	Seq      int    `json:",omitempty"`
	TaskID   string `json:",omitempty"`
	Queue    string `json:",omitempty"`
	Schedule string `json:",omitempty"`
}

// Op is the operation of a call.
type Op string

// The operations.
const (
	Enqueue   Op = "enqueue"
	EnqueueTx Op = "enqueueTx" // in a transaction of the caller's
	Cancel    Op = "cancel"
	Retry     Op = "retry"
	Interrupt Op = "interrupt"
	Delete    Op = "delete" // of a task that has ended
	Pause     Op = "pause"
	Resume    Op = "resume"

	// The commands for all tasks of a queue: CancelAll for those that have not ended, RetryAll for
	// those that have failed or were cancelled, DeleteAll for those that have ended.
	CancelAll Op = "cancelAll"
	RetryAll  Op = "retryAll"
	DeleteAll Op = "deleteAll"

	PauseSchedule Op = "pauseSchedule" // its ticks make nothing from then on
)

// Answer is the result of a call. A call without an answer, and one whose answer is Unknown, may
// have been executed or not.
type Answer struct {
	// Call is the call's ID.
	Call    int64
	Outcome Outcome
	Error   string `json:",omitempty"`
	// IDs are the ids of the tasks of an enqueue, in the order of its plans. Existed reports which of
	// them existed before: the id is then that of another task, which holds the key.
	IDs     []string `json:",omitempty"`
	Existed []bool   `json:",omitempty"`
	// Spared are the ids of tasks that a command for all tasks of a queue has found and not reached,
	// since they changed at that moment.
	Spared []string `json:",omitempty"`
}

// Outcome is what is known of a call.
type Outcome string

// The outcomes. Done: it was executed. Refused: it was certainly not. Unknown: it may have been.
const (
	Done    Outcome = "done"
	Refused Outcome = "refused"
	Unknown Outcome = "unknown"
)

// Effect is something that a run has done outside of the store: in the harness, which is always
// available and refuses what a stale run writes.
type Effect struct {
	// Seq and TaskID name the task.
	Seq     int
	TaskID  string
	Step    int    // or Begun, Finished, HandedOver, Returned
	Fence   int64  // higher in every later run of the task
	Process string // of the worker
	PID     int
	// Resumed is, for Begun, the step in the checkpoint at which the run resumes, and for HandedOver
	// the step that the run leaves in the checkpoint. For Returned it is the step.
	Resumed int `json:",omitempty"`
	// Result is, for Returned, the result of the step: the fence of the run that did it.
	Result int64 `json:",omitempty"`
	// Stale: the effect was refused, since a newer run has already written.
	Stale bool `json:",omitempty"`
}

// The effects that are not steps: the first one of every run, the last one of a run that is about
// to return without an error, and the last one of a run that is about to hand over. A run with a
// recorded plan reports Returned when the library has given it the result of a step.
const (
	Begun      = -1
	Finished   = -2
	HandedOver = -3
	Returned   = -4
)

// Sample is the size of a process, or of the store's tables, at a moment.
type Sample struct {
	// Process is set for a process, Tables for the store.
	Process string           `json:",omitempty"`
	RSS     int64            `json:",omitempty"` // bytes
	Files   int              `json:",omitempty"` // open descriptors
	Tables  map[string]int64 `json:",omitempty"` // bytes
}

// State is the content of the store when everything has ended. Separate SQL statements read it, not
// the code of the store.
type State struct {
	// Tasks are all tasks in the store, TxSteps the effects that were written in the store's database.
	Tasks   []Task
	TxSteps []TxStep
	// Counts are the numbers of tasks by status as the store reports them.
	Counts map[string]int64
	// Residue is how many orphaned rows each table has: a key without an unfinished task, a run of a
	// task that is gone, a worker that has left. Tables without such rows are left out.
	Residue map[string]int64
	// Left lists files, connections and processes that nobody needs any more.
	Left []string
	// Retention is how long an ended task is kept, 0 for ever. At is when the state was read.
	Retention time.Duration `json:",omitempty"`
	At        time.Time     `json:",omitzero"`
}

// Task is a task as the store has it.
type Task struct {
	// ID is the store's id of the task. Status and Reason are the current ones.
	ID, Kind, Queue, Key, Status, Reason, Error string
	Seq                                         int
	Attempts, Interruptions, Crashes            int
	Result                                      int // bytes
	Runs                                        []Run
	// Schedule and Tick are those that made the task, empty for the tasks of clients.
	Schedule string    `json:",omitempty"`
	Tick     time.Time `json:",omitzero"`
	// Created is when the task was accepted, by the store's clock.
	Created time.Time `json:",omitzero"`
	// Ended is when the task ended, by the store's clock. Pruned is when it was removed: then the
	// other fields are those at that moment. Drivers that remove nothing leave both out.
	Ended  time.Time `json:",omitzero"`
	Pruned time.Time `json:",omitzero"`
}

// Run is a run in a task's history, the oldest first.
type Run struct {
	Run            int64 // the fence
	PID            int
	Started, Ended time.Time
	Status, Reason string
	Error          string
	Crashed        bool // it ended because its process died, as far as the store knows
	Reclaimed      bool // a worker other than its own recorded the end
}

// TxStep is an effect in the store's own database, written in the transaction that ended the task.
type TxStep struct {
	// Seq names the task, Fence the run.
	Seq   int
	Step  int
	Fence int64
}

// History is a whole run.
type History struct {
	// Events are in the order in which they were recorded.
	Events []Event
	State  State
	// Lease is the time without a sign of life after which a worker counts as dead. Margin is the
	// tolerance for a slow machine wherever times are compared.
	Lease, Margin time.Duration
}
