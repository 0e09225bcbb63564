package task

import (
	"context"
	"time"
)

// Store keeps tasks. It is documented for whoever implements one; users hold a [Client] and a
// [Worker].
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
//     with another outcome it is ErrAlreadyFinished; if the run was taken by somebody else,
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
//  18. Find returns the newest first, by id, and only what every given filter admits.
//  19. After Close every method returns ErrClosed, and no goroutine is left.
//  20. A change between two calls of Wait is not lost: the second returns at once. It may return early
//     for no reason. The number begins above zero.
type Store interface {
	// Add records tasks as queued and says for each whether it was added (rules 1, 2). All of them
	// are recorded or none.
	Add(ctx context.Context, tasks []NewTask) (added []bool, err error)

	// Claim gives a worker runs of claimable tasks, marked running and committed (rules 3 to 7). It
	// does not wait for tasks: none is an empty answer. An answer that was lost leaves runs that
	// the worker does not know of; it learns of them never, and they are reclaimed when it leaves.
	Claim(ctx context.Context, req ClaimRequest) ([]Task, error)

	// Apply makes changes and returns an error or nil for each, in order (rules 8 to 11).
	Apply(ctx context.Context, changes []Change) []error

	// Heartbeat registers, renews, announces and removes a worker (rules 12 to 14, 17).
	Heartbeat(ctx context.Context, beat Beat) (BeatReply, error)

	// Workers lists the registered workers, those marked dead too, with what the store can tell
	// about the life of each.
	Workers(ctx context.Context) ([]WorkerInfo, error)

	// Reclaim marks a worker dead and lists runs that it still holds (rules 15, 16); the caller
	// ends them through Apply, with the dead worker's name in the fence and Taken set, and calls
	// again until Done.
	Reclaim(ctx context.Context, req ReclaimRequest) (Reclaimed, error)

	// Find returns the tasks that a query admits (rule 18); none is an empty answer.
	Find(ctx context.Context, q Query) ([]Task, error)

	// History returns a task's runs, the oldest first, and ErrNotFound for a task that does not
	// exist.
	History(ctx context.Context, id string) ([]RunRecord, error)

	// Wait returns once the number of changes that may have made a task claimable is another one
	// than seen, and returns that number (rule 20). A store that cannot see other processes' doings
	// counts its own: workers poll besides.
	Wait(ctx context.Context, seen uint64) (now uint64, err error)

	// Close releases everything, the evidence of its workers' lives too, and ends waiting calls
	// (rule 19). Closing twice is nil.
	Close() error
}

// NewTask is what a client hands in.
type NewTask struct {
	// ID and Kind are the task's, as the client checked them.
	ID, Kind string
	// Payload is kept byte for byte.
	Payload []byte
	// Priority: the higher number is claimed first.
	Priority int
	// Delay is added to the store's clock to make RunAt.
	Delay time.Duration
}

// ClaimRequest says who wants what.
type ClaimRequest struct {
	// Worker is the incarnation that claims.
	Worker string
	// Max bounds the claim over all kinds.
	Max   int
	Kinds []KindClaim
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
	// Status is Running for a change within the run (checkpoint, progress), and ends the run
	// otherwise.
	Status Status
	// Reason is recorded with Interrupted.
	Reason Reason
	// Counters replace the task's.
	Counters Counters
	// Delay, added to the store's clock, makes the RunAt of a task that is claimable again.
	Delay time.Duration
	// Checkpoint and Progress replace the task's when they are not nil.
	Checkpoint []byte
	Progress   *Progress
	// Error replaces the task's when the run ends.
	Error string
	// Crashed and Taken go to the run's record.
	Crashed, Taken bool
}

// WorkerState is what a worker says of itself.
type WorkerState string

const (
	// WorkerRunning claims.
	WorkerRunning WorkerState = "running"
	// WorkerStopping has had its last call: its death from now on is an interruption, not a crash.
	WorkerStopping WorkerState = "stopping"
	// WorkerLeft is the last beat.
	WorkerLeft WorkerState = "left"
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
}

// BeatReply is what the store knows and the worker may not.
type BeatReply struct {
	// Lost are the listed runs that are no longer the worker's.
	Lost []Fence
}

// Life is what a store can tell about a worker's process.
type Life string

const (
	// LifeUnknown: no evidence; only the lease decides.
	LifeUnknown Life = "unknown"
	// LifeAlive: its process holds its lock.
	LifeAlive Life = "alive"
	// LifeDead: its process is gone, for certain.
	LifeDead Life = "dead"
)

// WorkerInfo is a registered worker.
type WorkerInfo struct {
	// Beat is the last one, without its Runs.
	Beat
	// Life is the evidence at this moment.
	Life Life
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

// Reclaimed is a part of what a dead worker left.
type Reclaimed struct {
	// Evidence and State are the ground on which it was marked, and the state in which it was then:
	// they decide whose fault it was.
	Evidence bool
	State    WorkerState
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
	// Kind is the only one wanted.
	Kind string
	// After continues a listing: only tasks with a smaller id, so older ones.
	After string
	// Limit bounds the answer; zero is 100.
	Limit int
}
