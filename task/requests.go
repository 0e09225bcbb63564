package task

import (
	"cmp"
	"slices"
	"time"
)

// NewTask is a task to be added.
type NewTask struct {
	// ID, Kind and Queue are the task's, as the client checked them. Key is empty for none.
	ID, Kind, Queue, Key string
	// Payload is kept byte for byte.
	Payload []byte
	// Meta is kept as it is (rule 35). Use SetMeta to change it: the map may be shared with another
	// task.
	Meta map[string]string
	// Priority: the higher number is claimed first. It is a signed 32-bit number, so a store with 64
	// bits may negate it.
	Priority int
	// Delay is added to the store's clock to make RunAt.
	Delay time.Duration
	// StartBefore, unless it is zero, is added to the store's clock to make the task's StartBefore
	// (rule 43).
	StartBefore time.Duration
	// OnConflict and KeyFor belong to the Key (rules 50, 51).
	OnConflict OnConflict
	KeyFor     time.Duration
}

// AddResult is the result of adding one task.
type AddResult struct {
	// ID is the id of the task, or of the task that holds its key.
	ID string
	// Outcome is what the store did with the task. It is OutcomeAdded where Busy or Conflict is set,
	// which means that nothing was done.
	Outcome Outcome
	// Busy: nothing was added, because an open transaction holds the key or the id: try again. ID is
	// then the new task's own.
	Busy bool
	// Conflict: nothing was added, because a task of another kind or with another payload has the id
	// (rule 32). ID is the new task's own.
	Conflict bool
}

// ClaimRequest names the claiming worker and the tasks that it wants.
type ClaimRequest struct {
	// Worker is the incarnation that claims.
	Worker string
	// Max bounds the claim over all kinds.
	Max   int
	Kinds []KindClaim
	// Queues are the queues to claim from; none means every queue.
	Queues []string
	// Suspects bounds how many suspects of the group Suspicion the claim may get. If Suspicion is zero
	// and Suspects is not, the claim may get one suspect of any group (rule 26).
	Suspects  int
	Suspicion Suspicion
	// Interrupted: only interrupted tasks are wanted, and no suspects (rule 38).
	Interrupted bool
	// MinPriority, unless nil, is the lowest priority of a wanted task (rule 44). It is not set
	// together with Interrupted.
	MinPriority *int
	// Except has the ids of a few tasks that are not wanted now.
	Except []string
	// Into is memory that the answer may use, as in append(Into[:0], ...). It may be nil.
	Into []Task
}

// KindClaim is one kind in a claim.
type KindClaim struct {
	// Kind is its name.
	Kind string
	// Max bounds the claim for this kind.
	Max int
	// Limits and Retention are copied to the runs.
	Limits    Limits
	Retention Retention
}

// Fence names a run that a worker believes to hold.
type Fence struct {
	// Task is the task's id, Worker the incarnation that holds the run.
	Task, Worker string
	// Run is the run's number.
	Run int64
}

// Change is a change or the end of a run, as this package has decided it.
type Change struct {
	Fence
	// Status is StatusRunning for a change within the run (checkpoint, progress). Any other status
	// ends the run.
	Status Status
	// Reason is recorded with StatusInterrupted, and with StatusQueued where it is ReasonTurn.
	Reason Reason
	// Counters replace the task's.
	Counters Counters
	// Delay, added to the store's clock, makes the RunAt of a task that is claimable again. A negative
	// Delay places the task before those that came meanwhile.
	Delay time.Duration
	// RunAt replaces Delay when it is not zero. It is then the RunAt with which the task was claimed
	// (rule 42).
	RunAt time.Time
	// Checkpoint and Progress replace the task's when they are not nil.
	Checkpoint []byte
	Progress   *Progress
	// Step, if it is not nil, replaces the task's step of that name (rule 40). Only a change within
	// the run has one.
	Step *StepRecord
	// Error replaces the task's when the run ends.
	Error string
	// Result becomes the task's when it has succeeded.
	Result []byte
	// Log is added to the task's.
	Log []byte
	// Crashed and Reclaimed are stored in the run's record.
	Crashed, Reclaimed bool
}

// WorkerState is a worker's state, as the worker reports it.
type WorkerState string

const (
	// WorkerRunning: the worker claims tasks.
	WorkerRunning WorkerState = "running"
	// WorkerStopping: the worker has had its last call; from now on its death is an interruption, not
	// a crash.
	WorkerStopping WorkerState = "stopping"
	// WorkerStopped: this is the worker's last beat.
	WorkerStopped WorkerState = "stopped"
)

// Beat is a worker's heartbeat.
type Beat struct {
	// Worker is the incarnation: an id that is never used again.
	Worker string
	// Name, Host and PID are for people. Kinds are the kinds that the worker claims, and Queues the
	// queues, none for every queue. Slots is how many handlers it runs at once. Lease is how long its
	// beat may stand still. The values of the first beat are kept.
	Name   string
	Host   string
	PID    int
	Kinds  []string
	Queues []string
	Slots  int
	Lease  time.Duration
	// Seq is 1 in the first beat and grows.
	Seq   uint64
	State WorkerState
	// Unresponsive are tasks whose handlers have not returned although their contexts ended 10 s ago;
	// at most 100 of them. Those of the newest beat are kept.
	Unresponsive []string
	// Paused are kinds that the worker does not claim now, because their handlers have returned
	// [PauseKind]. Those of the newest beat are kept.
	Paused []PausedKind
	// Runs are those that the worker believes to hold. A beat without runs asks about none.
	Runs []Fence
	// ListsAllRuns: the worker has no other runs. Such a beat is called complete.
	ListsAllRuns bool
}

// BeatReply is what the store knows and the worker may not know.
type BeatReply struct {
	// Lost are the listed runs that no longer belong to the worker.
	Lost []Fence
	// Commands are those for runs of the worker that have not ended.
	Commands []PendingCommand
	// Missing are the worker's runs that a complete beat did not list.
	Missing []Task
	// Restarted: since the worker's last complete beat, or its first beat, the store's server has
	// restarted, and may have lost what it had confirmed (rule 31).
	Restarted bool
}

// PendingCommand is a command for a run that has not ended yet.
type PendingCommand struct {
	Fence
	// Verb is VerbCancel or VerbInterrupt.
	Verb Verb
}

// Liveness is what a store knows about a worker's process.
type Liveness string

const (
	// LivenessUnknown: there is no evidence; only the lease decides.
	LivenessUnknown Liveness = "unknown"
	// LivenessAlive: the process holds its lock.
	LivenessAlive Liveness = "alive"
	// LivenessDead: the process is certainly gone.
	LivenessDead Liveness = "dead"
)

// WorkerInfo is a registered worker.
type WorkerInfo struct {
	// Beat is the last one, without its Runs.
	Beat
	// Liveness is the evidence at this moment.
	Liveness Liveness
	// Dead: the worker is marked dead, and its runs wait to be reclaimed.
	Dead bool
	// Since is when the worker registered.
	Since time.Time
}

// ReclaimRequest names a dead worker and the ground for it.
type ReclaimRequest struct {
	// Worker is the incarnation to be marked dead.
	Worker string
	// Evidence: the store has evidence that the worker's process is gone. Otherwise the ground is that
	// its beat stood still at Seq for a whole lease.
	Evidence bool
	Seq      uint64
	// Max bounds the Tasks of the reply.
	Max int
}

// ReclaimReply is a part of what a dead worker left.
type ReclaimReply struct {
	// Evidence and State are the ground on which the worker was marked, and its state at that time.
	// They decide whose fault its death was.
	Evidence bool
	State    WorkerState
	// Suspects is how many suspects the worker held when it was marked. Split is the id at which the
	// second half of them begins, in the order of their ids. If there were no suspects it halves the
	// tasks that had been in a crash before. It is empty when there were fewer than two (rule 26).
	Suspects int
	Split    string
	// Tasks are running tasks that the worker still holds.
	Tasks []Task
	// Done: the worker holds no run any more, and is removed.
	Done bool
}

// Verb is a command of Control.
type Verb string

const (
	// VerbCancel ends a task.
	VerbCancel Verb = "cancel"
	// VerbRetry makes a task claimable now.
	VerbRetry Verb = "retry"
	// VerbInterrupt makes a run hand over.
	VerbInterrupt Verb = "interrupt"
	// VerbDelete removes an ended task.
	VerbDelete Verb = "delete"
	// VerbPause keeps a queue's tasks from being claimed, or a schedule's ticks from making tasks.
	VerbPause Verb = "pause"
	// VerbResume ends a pause.
	VerbResume Verb = "resume"
)

// Command is a request of a person.
type Command struct {
	// Verb is what is requested.
	Verb Verb
	// Task is the id of the task, or Queue the name of the queue, that the command is for.
	Task, Queue string
	// FromStart: a Retry removes the task's checkpoint, progress and steps (rule 41).
	FromStart bool
	// SkipSteps are names of steps that a Retry records as skipped. The task has run before.
	SkipSteps []string
	// By is who requests it and Reason why, for the task's history (rule 55). Both may be empty.
	By, Reason string
	// Running, with VerbPause: the running tasks of the queue are requested to hand over (rule 45).
	Running bool
	// Schedule is the schedule that is paused or resumed, as SET/NAME.
	Schedule string
}

// Count is how many tasks of a kind and a queue have a status.
type Count struct {
	// Queue, Kind and Status are what the counted tasks have in common.
	Queue, Kind string
	Status      Status
	// N is how many there are.
	N int
}

// CountQuery bounds how many numbers a count has; zero means all of them. It exists because every
// client that may submit chooses names of queues and kinds, and so how many there are.
type CountQuery struct {
	// Lines bounds the lines of Tasks. Those with the most tasks are listed, and the others are added
	// up in one line of OtherLines for each status. Zero means no bound.
	Lines int
	// Kinds, unless nil, are the kinds that have lines of their own; those of other kinds are added
	// up.
	Kinds []string
}

// OtherLines is the queue and the kind of a line of Counts that adds up others. No queue and no
// kind can have this name.
const OtherLines = "(other)"

// Counts are the numbers of all tasks.
type Counts struct {
	// Tasks are sorted by queue, kind and the order of Statuses. Numbers of zero are left out.
	Tasks []Count
	// Paused are the paused queues, sorted.
	Paused []string
	// SuspectsWaiting and SuspectsRunning are how many of the tasks are suspects.
	SuspectsWaiting, SuspectsRunning int
	// Digest differs when a number or a paused queue differs, even where the number is one of those
	// that were added up. It can be compared only within a process; the HTTP API does not return it.
	Digest uint64
}

// SortCounts puts counts into the order in which a store returns them.
func SortCounts(counts []Count) {
	order := Statuses()
	slices.SortFunc(counts, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Queue, b.Queue), cmp.Compare(a.Kind, b.Kind),
			cmp.Compare(slices.Index(order, a.Status), slices.Index(order, b.Status)))
	})
}

// PruneRequest defines which tasks are old.
type PruneRequest struct {
	// Age is how long ago a task without a Retention of its own must have ended (rule 37). With
	// KeepOthers such tasks are kept whatever their age is.
	Age        time.Duration
	KeepOthers bool
	// Clock is the caller's clock; zero means that only the store's clock counts. Of two clocks the
	// one that is behind counts.
	Clock time.Time
	// After is the Next of the last call, empty at first.
	After string
	// Max bounds the tasks that the call removes.
	Max int
}

// PruneReply is what a call of Prune did.
type PruneReply struct {
	// Tasks is how many tasks were removed.
	Tasks int
	// Next is the After of the next call, a text that only the store reads. It is empty when there are
	// no more old tasks.
	Next string
}

// Generations are the numbers that Wait compares.
type Generations struct {
	// Tasks counts the changes that may have made a task claimable. Commands counts those that may
	// have requested something of a run. Workers counts those that may have been the stop of a worker
	// or the end of its process.
	Tasks, Commands, Workers uint64
}

// Standing is a task as a listing has shown it (rule 54).
type Standing struct {
	// ID is the task's id, Created when it was created.
	ID      string
	Created time.Time
	// Status is the status that it had then, and Since the time since when.
	Status Status
	Since  time.Time
}

// CommandRecord is a command in a task's history.
type CommandRecord struct {
	// Verb is what was requested, At when, by the store's clock.
	Verb Verb
	At   time.Time
	// By is who requested it and Reason why; each is empty where it was not given.
	By, Reason string
}
