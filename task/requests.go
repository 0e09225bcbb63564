package task

import (
	"cmp"
	"slices"
	"time"
)

// NewTask is what a client hands in.
type NewTask struct {
	// ID, Kind and Queue are the task's, as the client checked them; Key is empty for none.
	ID, Kind, Queue, Key string
	// Payload is kept byte for byte.
	Payload []byte
	// Meta is kept as it is (rule 35). Where it is to be changed SetMeta does so: the map may be
	// another task's too.
	Meta map[string]string
	// Priority: the higher number is claimed first. It has 32 bits with their sign, so a store of
	// 64 may negate it.
	Priority int
	// Delay is added to the store's clock to make RunAt.
	Delay time.Duration
	// StartBefore, unless it is zero, is added to the store's clock to make the task's StartBefore
	// (rule 43).
	StartBefore time.Duration
	// OnConflict and KeyFor are about the Key (rules 50, 51).
	OnConflict OnConflict
	KeyFor     time.Duration
}

// AddResult is the outcome of adding one task.
type AddResult struct {
	// ID is the task's, or that of the task that has its key.
	ID string
	// Outcome is what came of it, and OutcomeAdded where Busy or Conflict says that nothing did.
	Outcome Outcome
	// Busy: nothing was added, since an open transaction holds the key or the id: try again. ID is
	// then the new task's own.
	Busy bool
	// Conflict: nothing was added, since the id is that of a task of another kind or with another
	// payload (rule 32). ID is the new task's own.
	Conflict bool
}

// ClaimRequest says who wants what.
type ClaimRequest struct {
	// Worker is the incarnation that claims.
	Worker string
	// Max bounds the claim over all kinds.
	Max   int
	Kinds []KindClaim
	// Queues are the only ones claimed from; none means every queue.
	Queues []string
	// Suspects bounds those of the tasks that are suspects, of the group Suspicion. When that is
	// zero one of any group may be claimed, if Suspects is not zero (rule 26).
	Suspects  int
	Suspicion Suspicion
	// Interrupted: only interrupted tasks are wanted, and no suspects (rule 38).
	Interrupted bool
	// MinPriority, unless nil, is the least priority of a task that is wanted (rule 44). It is not set
	// together with Interrupted.
	MinPriority *int
	// Except are ids of a few tasks that are not wanted now.
	Except []string
	// Into is memory that the answer may take, as in append(Into[:0], ...). It may be nil.
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

// Fence names a run that a worker believes to have.
type Fence struct {
	// Task is the task's id, Worker the incarnation that has the run.
	Task, Worker string
	// Run is the run's number.
	Run int64
}

// Change is what becomes of a run, decided by this package.
type Change struct {
	Fence
	// Status is StatusRunning for a change within the run (checkpoint, progress), and ends the run
	// otherwise.
	Status Status
	// Reason is recorded with StatusInterrupted, and with StatusQueued where it is ReasonTurn.
	Reason Reason
	// Counters replace the task's.
	Counters Counters
	// Delay, added to the store's clock, makes the RunAt of a task that is claimable again. A
	// negative one gives it a place before those that came meanwhile.
	Delay time.Duration
	// RunAt takes the place of Delay when it is not zero: the one that the task was claimed with
	// (rule 42).
	RunAt time.Time
	// Checkpoint and Progress replace the task's when they are not nil.
	Checkpoint []byte
	Progress   *Progress
	// Step, if it is not nil, is recorded in place of the task's step of that name (rule 40). Only a
	// change within the run has one.
	Step *StepRecord
	// Error replaces the task's when the run ends.
	Error string
	// Result becomes the task's when it has succeeded.
	Result []byte
	// Log is added to the task's.
	Log []byte
	// Crashed and Reclaimed go to the run's record.
	Crashed, Reclaimed bool
}

// WorkerState is what a worker says of itself.
type WorkerState string

const (
	// WorkerRunning claims.
	WorkerRunning WorkerState = "running"
	// WorkerStopping has had its last call: its death from now on is an interruption, not a crash.
	WorkerStopping WorkerState = "stopping"
	// WorkerStopped is the last beat.
	WorkerStopped WorkerState = "stopped"
)

// Beat is a worker's sign of life.
type Beat struct {
	// Worker is the incarnation: an id that is never used again.
	Worker string
	// Name, Host and PID are for people; Kinds are what it claims, and Queues where, none for every
	// queue; Slots is how many handlers it runs at once; Lease is for how long its beat may stand
	// still. The first beat's are kept.
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
	// Unresponsive are tasks whose handlers have not returned although their contexts ended 10 s
	// ago; at most 100 of them. The newest beat's are kept.
	Unresponsive []string
	// Paused are kinds that the worker does not claim now, since their handlers have said [PauseKind].
	// The newest beat's are kept.
	Paused []PausedKind
	// Runs are those that the worker believes to have; none asks nothing.
	Runs []Fence
	// ListsAllRuns: the worker has no others. Such a beat is called complete.
	ListsAllRuns bool
}

// BeatReply is what the store knows and the worker may not.
type BeatReply struct {
	// Lost are the listed runs that are no longer the worker's.
	Lost []Fence
	// Commands are those that wait for the worker's runs to end.
	Commands []PendingCommand
	// Missing are the worker's runs that a complete beat did not list.
	Missing []Task
	// Restarted: since the worker's last complete beat, or its first one, the store's server has
	// begun anew, and may have lost what it had confirmed (rule 31).
	Restarted bool
}

// PendingCommand is a command for a run that has not ended yet.
type PendingCommand struct {
	Fence
	// Verb is VerbCancel or VerbInterrupt.
	Verb Verb
}

// Liveness is what a store can tell about a worker's process.
type Liveness string

const (
	// LivenessUnknown: no evidence; only the lease decides.
	LivenessUnknown Liveness = "unknown"
	// LivenessAlive: its process holds its lock.
	LivenessAlive Liveness = "alive"
	// LivenessDead: its process is gone, for certain.
	LivenessDead Liveness = "dead"
)

// WorkerInfo is a registered worker.
type WorkerInfo struct {
	// Beat is the last one, without its Runs.
	Beat
	// Liveness is the evidence at this moment.
	Liveness Liveness
	// Dead: it has been marked so, and its runs wait to be moved.
	Dead bool
	// Since is when it registered.
	Since time.Time
}

// ReclaimRequest says whom, and on what ground.
type ReclaimRequest struct {
	// Worker is the incarnation to be marked dead.
	Worker string
	// Evidence: the store says that its process is gone. Otherwise the ground is that its beat
	// stood still at Seq for a whole lease.
	Evidence bool
	Seq      uint64
	// Max bounds the list that comes back.
	Max int
}

// ReclaimReply is a part of what a dead worker left.
type ReclaimReply struct {
	// Evidence and State are the ground on which it was marked, and the state in which it was then:
	// they decide whose fault it was.
	Evidence bool
	State    WorkerState
	// Suspects is how many suspects it held when it was marked. Split halves them, or where there
	// was none, those that were in a crash already: it is the id at which the second half begins,
	// in the order of their ids, and empty when there were fewer than two (rule 26).
	Suspects int
	Split    string
	// Tasks are running ones that it still holds.
	Tasks []Task
	// Done: it holds none, and is removed.
	Done bool
}

// Verb is what can be asked for with Control.
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
	// VerbPause keeps a queue's tasks from being claimed, and a schedule's ticks from making tasks.
	VerbPause Verb = "pause"
	// VerbResume ends a pause.
	VerbResume Verb = "resume"
)

// Command is something that a person asks for.
type Command struct {
	// Verb is what is asked for.
	Verb Verb
	// Task is the id of the task that is meant, or Queue the queue.
	Task, Queue string
	// FromStart: a Retry removes the task's checkpoint, progress and steps (rule 41).
	FromStart bool
	// SkipSteps are names of steps that a Retry records as skipped. The task has run before.
	SkipSteps []string
	// By is who asks for it and Reason why, for the task's history (rule 55). Both may be empty.
	By, Reason string
	// Running, with VerbPause: what runs of the queue is asked to hand over (rule 45).
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

// CountQuery says how many numbers a count has; zero means all of them. Whoever may submit chooses
// the names of queues and kinds, and so how many there are.
type CountQuery struct {
	// Lines bounds the lines of Tasks: those with the most tasks are there, and the others are added
	// up in one line for each status, of OtherLines. Zero means no bound.
	Lines int
	// Kinds, unless nil, are the kinds that have lines of their own; those of others are added up.
	Kinds []string
}

// OtherLines is the queue and the kind of a line of Counts that adds up others. No queue and no
// kind can have this name.
const OtherLines = "(other)"

// Counts are the numbers of all tasks.
type Counts struct {
	// Tasks are sorted by queue, kind and the order of Statuses; numbers of zero are left out.
	Tasks []Count
	// Paused are the paused queues, sorted.
	Paused []string
	// SuspectsWaiting and SuspectsRunning are how many of the tasks are suspects.
	SuspectsWaiting, SuspectsRunning int
	// Digest is another one when a number or a paused queue is, also where the number is one of those
	// that were added up. It can be compared within a process; a server tells none.
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

// PruneRequest says what is old.
type PruneRequest struct {
	// Age is for how long a task must have ended that has no Retention of its own (rule 37). With
	// KeepOthers these are kept whatever their age is.
	Age        time.Duration
	KeepOthers bool
	// Clock is the caller's clock; zero means that the store's alone counts. Where both are there,
	// the one that is behind counts.
	Clock time.Time
	// After is the Next of the last call, empty at first.
	After string
	// Max bounds the tasks that the call removes.
	Max int
}

// PruneReply is what a call of Prune did.
type PruneReply struct {
	// Tasks were removed.
	Tasks int
	// Next is the After of the next call, a text that only the store reads; empty when there are no
	// more old tasks.
	Next string
}

// Generations are the numbers that Wait compares.
type Generations struct {
	// Tasks counts what may have made a task claimable, Commands what may have been asked of a run,
	// Workers what may have been the stop of a worker or the end of its process.
	Tasks, Commands, Workers uint64
}

// Standing is a task as a listing has shown it (rule 54).
type Standing struct {
	// ID is the task's, Created when it was created.
	ID      string
	Created time.Time
	// Status is what it was, since Since.
	Status Status
	Since  time.Time
}

// CommandRecord is a command in a task's history.
type CommandRecord struct {
	// Verb is what was asked for, At when, by the store's clock.
	Verb Verb
	At   time.Time
	// By is who asked for it and Reason why, empty where that was not said.
	By, Reason string
}
