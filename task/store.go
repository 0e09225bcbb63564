package task

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// Store keeps tasks. It is documented for those who implement one; users hold a [Client] and a
// [Worker]. The program that has opened a store closes it, after the Serve of its workers has
// returned: neither a Client nor a Worker does.
//
// Every method may be called by many goroutines at once, and several processes may use one store at
// the same time. A method that waits returns soon after its context has ended, with the context's
// cause. A method that returns an error may have done its work all the same (the answer was lost),
// therefore each says what a repetition does. Stores take no decision: they compare and set.
//
// The rules are numbered, and storetest has a case for each.
//
//  1. Ids are the client's. Adding a task whose id exists changes nothing and reports it as not
//     added: a submit whose answer was lost is sent again and makes no second task.
//  2. A task that Add has accepted survives the process at once, and where the store is durable,
//     the machine's power failure.
//  3. A run number never repeats, and grows: it is at least the previous one plus one, and at least
//     the store's clock in milliseconds. A database that lost its last commits would otherwise hand
//     out a number twice, and two runs would hold the same fence.
//  4. A task is claimed by one worker at a time, only when it is queued or interrupted and its
//     RunAt has come by the store's clock. Callers pass durations, never times: two clocks would be
//     mixed.
//  5. Within one claim the higher priority comes first, then interrupted tasks before queued ones,
//     then the earlier RunAt, then the smaller id. Started work ends before new work begins.
//  6. Claim gives nothing to a worker that is not registered or has been marked dead, and this is
//     checked in the same transaction: a claim that commits after its worker was reclaimed is an
//     orphan for ever.
//  7. The kind's caps are copied to the run at the claim. Whoever reclaims it may not know the
//     kind.
//  8. Every change names task, run and worker, and is made only if that worker still holds that
//     run. A stale worker's late write is refused with ErrLeaseLost and changes nothing.
//  9. A repeated final change with the same status and reason is nil, even when a newer run exists;
//     with another outcome it is ErrAlreadyFinished; if another worker has taken the run over,
//     ErrLeaseLost. A worker that did not get the answer asks again.
//  10. Changes in one call are independent: one that cannot be made does not hold back the others.
//  11. A nil Checkpoint and a nil Progress leave what is there; a checkpoint is stored byte for
//     byte.
//  12. The first beat of an incarnation registers it. A later beat of one that is not registered,
//     or is marked dead, is ErrWorkerGone: it must not come back to life with runs that have been
//     given away.
//  13. Beats are numbers, not times: a store never compares them with a clock (after a minute's
//     outage the first worker back would otherwise take everybody's work), and a beat that overtook
//     another wins: one whose number is not higher than the last changes nothing, but is answered.
//  14. A beat that lists runs is told which of them are no longer its own: notifications get lost.
//  15. Reclaim with evidence of death verifies the evidence itself and refuses with ErrWorkerAlive;
//     without it, it refuses when the beat has moved. Only one that succeeded marks the worker
//     dead.
//  16. A worker marked dead stays so. Reclaim may be called again, by anyone, until it says that it
//     is done: the one who began it may have died too. Why it was marked stays the first answer.
//  17. A worker that leaves is removed when it holds no run; otherwise it counts as dead from then
//     on, by evidence, and is there for Reclaim.
//  18. Find returns the newest first, by the time of creation, which is the store's clock at Add,
//     then by the larger id, and only what every given filter admits. After names a task, and the
//     answer has only those that follow it in this order. When that task is gone, the time in its
//     id stands in for that of its creation; an id without one, not a UUID of version 7, is then
//     ErrNotFound. Ids are the clients', of any version, so no order follows from them.
//  19. After Close every method returns ErrClosed, and no goroutine is left.
//  20. A change between two calls of Wait is not lost: the second returns at once. It may return
//     early for no reason. The numbers begin above zero.
//  21. A key is held by one unfinished task of its kind, from Add until that task has ended. Adding
//     another one changes nothing and answers with the holder's id. Where an open transaction has
//     to end before it is known whether a key is held, or an id exists, the task is not added and
//     answered as Busy: a new task does not wait for the transaction of another caller. One that is
//     busy holds up no other of the same call.
//  22. No claim that begins after Pause has returned takes a task of that queue; what runs, runs
//     on.
//  23. Cancel ends a task that waits, at once. Of one that runs it is remembered with the run, and
//     every end of that run by which the task could be claimed again ends it as cancelled instead,
//     in the same step: no worker may claim it in between. One that succeeds or fails nevertheless
//     has succeeded or failed.
//  24. Retry makes a failed or cancelled task claimable at once, and one that waits claimable now;
//     attempts and streaks begin at zero again, the other counters stay.
//  25. What was asked of a run is told with every answer to its worker's beats until the run has
//     ended: notifications get lost. Asking twice is asking once, and Cancel outweighs Interrupt.
//  26. A suspect, a task with two crashes in a row, is claimed only by a claim that says so, and
//     one by a claim. Reclaim says whether a dead worker held one: then the others' runs are no
//     crashes, and one bad task does not fail the ninety-nine beside it.
//  27. A run's log is kept as it came, of all runs together the last MaxLog bytes. A result is kept
//     byte for byte when the task has succeeded.
//  28. History keeps the newest MaxHistory runs of a task; the counters count all.
//  29. Prune removes only tasks that ended at least Age ago, with all that belongs to them, and
//     those that ended first go first, whatever their ids: one young task or one odd id never stops
//     it. The clock is the store's, or the caller's where that is behind: a clock that leaps ahead
//     by a week must not remove everything at once. Two prunings at a time do no harm.
//  30. Count's numbers are those of one moment, except that an ended task may be counted a little
//     later than it ended.
//  31. A complete beat, sent while no claim of that worker is under way, is answered with the runs
//     that the worker holds and did not list: a claim whose answer was lost is found again.
type Store interface {
	// Add records tasks as queued, and returns for each, in order, whether it was added (rules 1,
	// 2, 21). All that are not busy are recorded together; after an error, all or none. A task may
	// have a key or an id that another one of the call has: the first one counts.
	Add(ctx context.Context, tasks []NewTask) ([]AddResult, error)

	// Claim gives a worker runs of claimable tasks, marked running and committed (rules 3 to 7, 22,
	// 26). It does not wait for tasks: none is an empty answer. An answer that was lost leaves runs
	// that the worker does not know of; a complete beat finds them (rule 31).
	Claim(ctx context.Context, req ClaimRequest) ([]Task, error)

	// Apply makes changes and returns an error or nil for each, in order (rules 8 to 11, 23, 27).
	// The changes that it has made are the caller's to use again.
	Apply(ctx context.Context, changes []Change) []error

	// Heartbeat registers, renews, announces and removes a worker (rules 12 to 14, 17, 25, 31).
	Heartbeat(ctx context.Context, beat Beat) (BeatReply, error)

	// Workers lists the registered workers, those marked dead too, with what the store can tell
	// about the life of each.
	Workers(ctx context.Context) ([]WorkerInfo, error)

	// Reclaim marks a worker dead and lists runs that it still holds (rules 15, 16); the caller
	// ends them through Apply, with the dead worker's name in the fence and Reclaimed set, and calls
	// again until Done.
	Reclaim(ctx context.Context, req ReclaimRequest) (ReclaimReply, error)

	// Find returns the tasks that a query admits (rule 18); none is an empty answer.
	Find(ctx context.Context, q Query) ([]Task, error)

	// History returns a task's runs, the oldest first, and ErrNotFound for a task that does not
	// exist (rule 28).
	History(ctx context.Context, id string) ([]RunRecord, error)

	// Log returns the tail of what a task's runs have logged (rule 27), and ErrNotFound for a task
	// that does not exist.
	Log(ctx context.Context, id string) ([]byte, error)

	// Control does what a person asks for (rules 22 to 25). Doing it again is nil, unless it is
	// said otherwise:
	//
	//   - Cancel: ErrAlreadyFinished for a task that has succeeded or failed.
	//   - Retry: ErrRunning, and ErrAlreadyFinished for a task that has succeeded; ErrKeyBusy when
	//     another unfinished task has its key by now.
	//   - Interrupt: ErrNotRunning.
	//   - all of a task: ErrNotFound.
	Control(ctx context.Context, cmd Command) error

	// Count counts the tasks (rule 30).
	Count(ctx context.Context) (Counts, error)

	// Prune removes old ended tasks, a part of them with each call (rule 29).
	Prune(ctx context.Context, req PruneRequest) (PruneReply, error)

	// Wait returns once a number is another one than seen, and returns all (rule 20): how many
	// changes may have made a task claimable, how many times something may have been asked of a run
	// of this process, and how many processes of workers may have ended. A store that cannot see
	// other processes' doings counts its own: workers also poll.
	Wait(ctx context.Context, seen Generations) (now Generations, err error)

	// Close releases everything, the evidence of its workers' lives too, and ends waiting calls
	// (rule 19). Closing twice is nil.
	Close() error
}

// NewTask is what a client hands in.
type NewTask struct {
	// ID, Kind and Queue are the task's, as the client checked them; Key is empty for none.
	ID, Kind, Queue, Key string
	// Payload is kept byte for byte.
	Payload []byte
	// Priority: the higher number is claimed first. It has 32 bits with their sign, so a store of
	// 64 may negate it.
	Priority int
	// Delay is added to the store's clock to make RunAt.
	Delay time.Duration
}

// AddResult is the outcome of adding one task.
type AddResult struct {
	// ID is the task's, or that of the unfinished task that has its key.
	ID string
	// Existed: nothing was added, there was one before.
	Existed bool
	// Busy: nothing was added, since an open transaction holds the key or the id: try again. ID is
	// then the new task's own, and Existed is false.
	Busy bool
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
	// Suspect: one of the tasks may be a suspect.
	Suspect bool
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
	// Caps are copied to the runs.
	Caps Caps
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
	// Reason is recorded with StatusInterrupted.
	Reason Reason
	// Counters replace the task's.
	Counters Counters
	// Delay, added to the store's clock, makes the RunAt of a task that is claimable again. A
	// negative one gives it a place before those that came meanwhile.
	Delay time.Duration
	// Checkpoint and Progress replace the task's when they are not nil.
	Checkpoint []byte
	Progress   *Progress
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
	WorkerStopped WorkerState = "left"
)

// Beat is a worker's sign of life.
type Beat struct {
	// Worker is the incarnation: an id that is never used again.
	Worker string
	// Name, Host and PID are for people; Kinds are what it claims; Lease is for how long its beat
	// may stand still. The first beat's are kept.
	Name  string
	Host  string
	PID   int
	Kinds []string
	Lease time.Duration
	// Seq is 1 in the first beat and grows.
	Seq   uint64
	State WorkerState
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
	// Suspects: when it was marked, it held a suspect.
	Suspects bool
	// Tasks are running ones that it still holds.
	Tasks []Task
	// Done: it holds none, and is removed.
	Done bool
}

// Query says which tasks. A zero field admits everything.
type Query struct {
	// IDs are the only ones wanted.
	IDs []string
	// Status is the only one wanted.
	Status Status
	// Kind, Queue and Key are the only ones wanted.
	Kind, Queue, Key string
	// After continues a listing: only the tasks that follow the one of this id, so older ones (rule
	// 18).
	After string
	// Limit bounds the answer; zero is 100.
	Limit int
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
	// VerbPause keeps a queue's tasks from being claimed.
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
}

// Count is how many tasks of a kind and a queue have a status.
type Count struct {
	// Queue, Kind and Status are what the counted tasks have in common.
	Queue, Kind string
	Status      Status
	// N is how many there are.
	N int
}

// Counts are the numbers of all tasks.
type Counts struct {
	// Tasks are sorted by queue, kind and the order of Statuses; numbers of zero are left out.
	Tasks []Count
	// Paused are the paused queues, sorted.
	Paused []string
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
	// Age is for how long a task must have ended.
	Age time.Duration
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
	// Workers what may have been the end of a worker's process.
	Tasks, Commands, Workers uint64
}

// TxStore is a [Store] that can work inside its caller's transaction. It is optional.
//
// A caller may leave its transaction open for as long as it likes. Meanwhile no claim, save or end
// of another task waits for it, nor a command, a pruning or the reclaiming of a worker; and if
// AddTx only found a key or an id that exists, the task that it found may end as well.
type TxStore interface {
	Store
	// AddTx is Add, as a part of tx: the tasks exist when tx commits. It wakes nobody. A task that
	// is busy leaves tx as usable as it was.
	AddTx(ctx context.Context, tx Tx, tasks []NewTask) ([]AddResult, error)
	// FinishTx is Apply of one change as a part of tx. When the run is no longer held it returns
	// ErrLeaseLost and makes tx impossible to commit, for those who do not look at the error.
	FinishTx(ctx context.Context, tx Tx, c Change) error
	// Wake says that a transaction with new tasks has been committed.
	Wake()
}

// Tx is a transaction of a store's database, as the store's package wraps it.
type Tx interface {
	// StoreTx names the kind of store that can use it.
	StoreTx() string
}
