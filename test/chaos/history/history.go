// Package history has the record of a chaos run: what was asked of the system, what it answered,
// what its handlers did, what was done to it, and what is left at the end. It is all that the
// checker knows. The package knows no store, so that a run of any library can be recorded with it.
//
// Tasks are known by Plan.Seq, the number that the load gives each of them, since not every library
// lets its user choose the id.
package history

import "time"

// Event is one entry. The harness writes all of them in one order; exactly one of the pointers is
// set.
type Event struct {
	N       int64     // its place, from 1
	At      time.Time // by the harness's clock
	Process *Process  `json:",omitempty"`
	Fault   *Fault    `json:",omitempty"`
	Call    *Call     `json:",omitempty"`
	Answer  *Answer   `json:",omitempty"`
	Effect  *Effect   `json:",omitempty"`
	Sample  *Sample   `json:",omitempty"`
}

// Plan says what a task does. It is the task's payload.
type Plan struct {
	Seq  int    // the task's number in this run, from 1
	Kind string // one of the kinds below
	// Steps is how many effects the task has, one after the other; PaceMS is how long each takes.
	Steps, PaceMS int
	// Save: a checkpoint after each step. Without it only a hand-over keeps how far the task is.
	Save bool `json:",omitempty"`
	// HandOver: the handler looks for last call before each step, and hands over with a checkpoint.
	HandOver bool `json:",omitempty"`
	// InTx: the last effect and the end of the task are one transaction in the store's database.
	InTx bool `json:",omitempty"`
	// Result is the size of what it returns, Log how many lines it logs, Progress whether it reports
	// its progress after each step.
	Result, Log int  `json:",omitempty"`
	Progress    bool `json:",omitempty"`
	// Fail is how many runs return an error, Exit how many kill their own process, in both cases
	// after the first step.
	Fail, Exit int `json:",omitempty"`
	// UnresponsiveMS is for how long the first run goes on after the end of its context.
	UnresponsiveMS int `json:",omitempty"`
	// Children is how many processes the program of an exec kind leaves behind. Those of a hostile one
	// start others again and again, as another user.
	Children int  `json:",omitempty"`
	Hostile  bool `json:",omitempty"`

	// What it is enqueued with.
	ID       string `json:",omitempty"` // a UUID of any version; empty: the library chooses
	Queue    string `json:",omitempty"`
	Key      string `json:",omitempty"`
	Priority int    `json:",omitempty"`
	DelayMS  int    `json:",omitempty"`
}

// The kinds of tasks.
const (
	KindSteps   = "steps"   // a handler in Go, whose tasks no crash fails
	KindPoison  = "poison"  // the same for plans with Exit, which fail for a few crashes in a row
	KindProgram = "program" // a program, run by the real server
)

// Process is something that happened to a process of the system.
type Process struct {
	Name string // of this incarnation: unique in the run
	PID  int
	What ProcessEvent
	// Signal and Grace are set for Signalled: within Grace the process is to end by itself.
	Signal string        `json:",omitempty"`
	Grace  time.Duration `json:",omitempty"`
	// Code and By are set for Ended: the exit code, or the signal's name.
	Code int    `json:",omitempty"`
	By   string `json:",omitempty"`
	// Left is what a process found of its own when it ended, such as goroutines. For Outlived it names
	// what was still there of a run whose program had ended, and Lasted is for how long it was.
	Left   string        `json:",omitempty"`
	Lasted time.Duration `json:",omitempty"`
}

// ProcessEvent names what happened to a process.
type ProcessEvent string

// The events of a process. Stopped is SIGSTOP, Continued SIGCONT.
const (
	Started   ProcessEvent = "started"
	Ready     ProcessEvent = "ready"
	Signalled ProcessEvent = "signalled"
	Stopped   ProcessEvent = "stopped"
	Continued ProcessEvent = "continued"
	Ended     ProcessEvent = "ended"
	Outlived  ProcessEvent = "outlived" // of a worker: its run's program has ended, and a child of that has not
)

// Fault is the begin or the end of a fault.
type Fault struct {
	ID   int    // its number in the schedule
	Kind string // as in the schedule
	// Over is false at the begin. A fault that is over in an instant has both.
	Over bool `json:",omitempty"`
	// Victims are the names of the processes that it hits; empty: all of them.
	Victims []string `json:",omitempty"`
	// Cut: while it lasts, the victims may be unable to reach the store, as when their connections
	// are black-holed. A delay of milliseconds is no cut.
	Cut bool `json:",omitempty"`
	// Lossy: what the store answered while it lasted may be gone, as after a crash with
	// unsynchronised commits. Clocks: it moves the clock of the store.
	Lossy, Clocks bool `json:",omitempty"`
	// Detail is for the reader. Skipped says why it could not be made.
	Detail, Skipped string `json:",omitempty"`
}

// Call is something that a client is asked to do.
type Call struct {
	// ID is its number, from 1.
	ID      int64
	Process string // the client
	Op      Op
	Plans   []Plan `json:",omitempty"` // of Enqueue and EnqueueTx
	// Commit says whether the transaction of EnqueueTx is to be committed.
	Commit bool `json:",omitempty"`
	// Seq and TaskID name the task of Cancel, Retry, Interrupt and Delete; Queue the queue of Pause
	// and Resume.
	Seq    int    `json:",omitempty"`
	TaskID string `json:",omitempty"`
	Queue  string `json:",omitempty"`
}

// Op names what a client is asked to do.
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
)

// Answer is what came of a call. A call without an answer, and one whose answer is Unknown, may
// have been done or not.
type Answer struct {
	// Call is the call's ID.
	Call    int64
	Outcome Outcome
	Error   string `json:",omitempty"`
	// IDs are the ids of the tasks of an enqueue, in the order of its plans. Existed says which of
	// them were there before: the id is then that of another task, which holds the key.
	IDs     []string `json:",omitempty"`
	Existed []bool   `json:",omitempty"`
}

// Outcome says what is known of a call.
type Outcome string

// The outcomes. Done: it was done. Refused: it was certainly not. Unknown: it may have been.
const (
	Done    Outcome = "done"
	Refused Outcome = "refused"
	Unknown Outcome = "unknown"
)

// Effect is something that a run has done outside of the store: in the harness, which is always
// there and refuses what a stale run writes.
type Effect struct {
	// Seq and TaskID name the task.
	Seq     int
	TaskID  string
	Step    int    // or Begun, Finished, HandedOver
	Fence   int64  // higher in every later run of the task
	Process string // of the worker
	PID     int
	// Resumed is, for Begun, the step at which the checkpoint says that the run goes on, and for
	// HandedOver the one that it leaves in the checkpoint.
	Resumed int `json:",omitempty"`
	// Stale: it was refused, since a newer run has written.
	Stale bool `json:",omitempty"`
}

// The effects that are no step: the first of every run, the last of a run that is about to return
// without an error, and the last of one that is about to hand over.
const (
	Begun      = -1
	Finished   = -2
	HandedOver = -3
)

// Sample is what a process, or a table, takes at that moment.
type Sample struct {
	// Process is set for a process, Tables for the store.
	Process string           `json:",omitempty"`
	RSS     int64            `json:",omitempty"` // bytes
	Files   int              `json:",omitempty"` // open descriptors
	Tables  map[string]int64 `json:",omitempty"` // bytes
}

// State is what the store has when everything has ended. It is read with statements of its own, not
// by the code of the store.
type State struct {
	// Tasks are all that there are, TxSteps the effects that were written in the store's database.
	Tasks   []Task
	TxSteps []TxStep
	// Counts are the numbers of tasks by status as the store tells them.
	Counts map[string]int64
	// Residue is how many rows of each table belong to nothing: a key without an unfinished task, a
	// run of a task that is gone, a worker that has left. Tables without any are missing.
	Residue map[string]int64
	// Left are files, connections and processes that nobody needs any more.
	Left []string
	// Retention is for how long a task that has ended is kept, 0 for ever. At is when this was read.
	Retention time.Duration `json:",omitempty"`
	At        time.Time     `json:",omitzero"`
}

// Task is a task as the store has it.
type Task struct {
	// ID is what the store calls it. Status and Reason are as the task has them now.
	ID, Kind, Queue, Key, Status, Reason, Error string
	Seq                                         int
	Attempts, Interruptions, Crashes            int
	Result                                      int // bytes
	Runs                                        []Run
	// Ended is when it has ended, by the store's clock. Pruned is when it was removed: then the rest
	// is what the store had of it at that moment. Drivers that remove nothing leave both out.
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
	Reclaimed      bool // another worker than its own recorded the end
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
	// Lease is after how long without a sign of life a worker counts as dead, Margin what is allowed
	// for a slow machine wherever a time is compared.
	Lease, Margin time.Duration
}
