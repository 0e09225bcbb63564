package task

import "context"

// Store keeps tasks. This documentation is for those who implement a store; users of the package
// work with a [Client] and a [Worker]. The program that has opened a store closes it, after the
// Serve of its workers has returned: neither a Client nor a Worker does.
//
// Every method may be called by many goroutines at once, and several processes may use one store at
// the same time. A method that waits returns soon after its context has ended, with the context's
// cause. A method that returns an error may still have done its work (the answer was lost), so the
// rules say for each method what a repeated call does. Stores take no decisions: they compare and
// set.
//
// What each method is for:
//
//   - Add: new tasks, with delays, priorities, keys and their conflicts, and StartBefore.
//   - Claim: queues, limits of kinds, pauses, suspects, tasks handed over in a rollout, MaxRunTime.
//   - Apply: the ends of runs, and what a run saves: checkpoints, steps and Each, progress, logs.
//   - Heartbeat, Workers, Reclaim: the life and death of workers, and commands for their runs.
//   - Control, ControlAll, Commands: what people request, for one task or for those of a filter,
//     and the record of who did and why.
//   - Find, History, Steps, Log, Count: what people see.
//   - PutSchedules, Schedules, DueSchedules, Tick: schedules.
//   - Prune: retention.
//
// The rules are numbered, and storetest has a case for each.
//
//  1. The client chooses the ids. Adding a task whose id exists changes nothing and reports it as
//     not added: a client that did not get the answer to a submit sends it again and creates no
//     second task. (Rule 32 defines when it is not the same submit.)
//  2. A task that Add has accepted survives the process from then on and, where the store is
//     durable, a power failure of the machine.
//  3. A run number is never used twice, and grows: it is at least the previous one plus one, and at
//     least the store's clock in milliseconds. Otherwise a database that lost its last commits
//     would hand out a number twice, and two runs would have the same fence.
//  4. A task is claimed by one worker at a time, and only when it is queued or interrupted and its
//     RunAt has come by the store's clock. Callers pass durations, never times, so that two clocks
//     are never mixed.
//  5. Within one claim the higher priority comes first, then interrupted tasks before queued ones,
//     then the earlier RunAt, then the smaller id. Work that has been started ends before new work
//     begins.
//  6. Claim returns nothing to a worker that is not registered or has been marked dead. The store
//     checks this in the transaction of the claim: a claim that commits after its worker was
//     reclaimed would leave an orphan for ever.
//  7. The kind's limits are copied to the run at the claim, because the worker that reclaims the
//     run may not know the kind.
//  8. Every change names task, run and worker, and is made only if that worker still holds that
//     run. A late write of a stale worker is refused with ErrLeaseLost and changes nothing.
//  9. A repeated final change with the same status and reason returns nil, even when a newer run
//     exists. With another outcome it returns ErrAlreadyFinished, and ErrLeaseLost if another
//     worker has taken over the run. A worker that did not get the answer repeats its change.
//  10. Changes in one call are independent: one that cannot be made does not hold back the others.
//  11. A nil Checkpoint or a nil Progress leaves the recorded one as it is. A checkpoint is stored
//     byte for byte.
//  12. The first beat of an incarnation registers it. A later beat of an incarnation that is not
//     registered, or is marked dead, returns ErrWorkerGone: it must not come back to life with runs
//     that other workers have by now.
//  13. Beats are numbers, not times. A store never compares them with a clock: otherwise, after an
//     outage of a minute, the first worker to return would take over everybody's work. A beat whose
//     number is not higher than the last one changes nothing, but is answered; so of two beats that
//     arrive in the wrong order the newer one counts.
//  14. The reply to a beat that lists runs names those that are no longer the worker's own, since
//     notifications get lost.
//  15. Reclaim with evidence of death verifies the evidence itself, and refuses with ErrWorkerAlive
//     if it does not hold. Without evidence it refuses when the beat has moved. Only a Reclaim that
//     succeeded marks the worker dead.
//  16. A worker that is marked dead stays so. Any process may call Reclaim again, until the reply
//     is Done: the process that began may have died too. The ground on which the worker was marked
//     stays that of the first call.
//  17. A worker that leaves is removed when it holds no run. Otherwise it counts as dead from then
//     on, by evidence, and Reclaim can be called for it.
//  18. Find returns only the tasks that match all given filters. The newest come first, by the time
//     of creation, which is the store's clock at Add, then by the larger id. After names a task,
//     and the answer has only those that follow it in this order. When that task is gone, the time
//     in its id is used in place of its creation; an id without a time, which is not a UUID of
//     version 7, is then ErrNotFound. The clients choose ids of any version, so the ids give no
//     order.
//  19. After Close every method returns ErrClosed, and no goroutine is left.
//  20. A change between two calls of Wait is not lost: the second call returns at once. Wait may
//     return early without a reason. The numbers begin above zero.
//  21. A key is held by one unfinished task of its kind, from Add until that task has ended. Adding
//     another task with that key changes nothing and returns the id of the holder. Where an open
//     transaction must end before the store knows whether a key is held, or an id exists, the task
//     is not added and the answer is Busy: a new task does not wait for the transaction of another
//     caller. A task that is busy holds back no other task of the same call.
//  22. No claim that begins after Pause has returned takes a task of that queue. Running tasks go
//     on.
//  23. Cancel ends a waiting task at once. For a running task the store records it with the run,
//     and each end of that run after which the task could be claimed again ends it as cancelled
//     instead, in the same step: no worker may claim it in between. A run that nevertheless
//     succeeds or fails keeps that outcome.
//  24. Retry makes a failed or cancelled task claimable at once, and a waiting task claimable now.
//     Attempts and streaks begin at zero again; the other counters stay.
//  25. A command for a run is part of every reply to its worker's beats until the run has ended,
//     since notifications get lost. Two requests are the same as one, and Cancel outweighs
//     Interrupt.
//  26. A suspect is a task to which a change has given a Suspicion, which is its group. It keeps
//     the group until it has ended, is retried, or a change removes the group. Only a claim that
//     asks for suspects gets them: as many of the claim's group as it asks for, or one of any
//     group. Reclaim returns how many suspects a dead worker held, and the id at which the second
//     half of them begins. The runs of its other tasks are no crashes, and a suspect is charged
//     only if it died alone. So one bad task neither makes the ninety-nine next to it fail, nor
//     keeps them waiting for each other. A claim costs no more where many suspects wait.
//  27. A run's log is kept as it was written: of all runs of a task together the last MaxLog bytes.
//     A result is kept byte for byte when the task has succeeded.
//  28. History keeps the newest MaxHistory runs of a task; the counters count all.
//  29. Prune removes only tasks that ended at least Age ago, with all that belongs to them. Those
//     that ended first go first, whatever their ids are: one young task or one odd id never stops
//     it. The clock is the store's, or the caller's where that is behind: a clock that leaps ahead
//     by a week must not remove everything at once. Two calls at the same time do no harm.
//  30. The numbers of Count are those of one moment, except that an ended task may be counted a
//     little later than it ended. The numbers of suspects count tasks that the other numbers count
//     too.
//  31. The reply to a complete beat that was sent while no claim of its worker was under way has
//     the runs that the worker holds and did not list: they belong to a claim whose answer was
//     lost. Where a server may lose what it has confirmed when it restarts, as after a failover,
//     each reply has Restarted set from then on until the next complete beat, so that an end that
//     was lost is found too.
//  32. A new task whose id exists is answered as Conflict, and not as existing, when the task with
//     that id has another kind, or a payload that is not the same byte for byte. Otherwise a caller
//     that took an id first, by chance or by guessing it, would have its own work done in the name
//     of the other caller, which would see a success.
//  33. Workers returns what a worker's first beat said about it, and from the newest beat its
//     state, its unresponsive handlers and the kinds that it has paused.
//  34. Count needs no more memory than the lines that its query wants: other lines are added up as
//     they are read, and none is lost. Its digest is that of all lines.
//  35. A task's Meta is kept byte for byte, and is part of the task wherever a store returns it.
//     Rule 32 does not compare it: adding a task again with another Meta is a repetition, and
//     changes nothing. A query's Meta matches the tasks that have each of its pairs, with exactly
//     that value.
//  36. Delete removes an ended task with all that belongs to it, and no other task: it returns
//     ErrNotEnded for one that waits or runs, and ErrNotFound once the task is gone. The id is free
//     again: adding it creates a new task, which has nothing of the old one. When a Delete meets a
//     Retry or a Prune, one comes first, and the other finds what the first has left.
//  37. The kind's Retention is copied to the run at the claim, as the limits are. When that run
//     ends the task, it gives the task the value for its status, whichever process records the end.
//     From then on Prune removes the task that long after its end by the same clock, whatever Age
//     is, or never where the value is negative. Age applies to tasks without a value (0), and to
//     those that were cancelled while they waited. A Retry removes the value.
//  38. A claim for interrupted tasks returns only these, in the order of rule 5, and no suspects.
//     Queued tasks that come before them do not hold them back, and a claim costs no more where
//     many of those wait: a task that is handed over in a rollout must not wait behind the backlog.
//  39. When a worker announces its stop, the number of workers that Wait returns changes in its own
//     process, and in other processes where the store can see them: the neighbours get ready for
//     the tasks that it hands over.
//  40. A change's Step is recorded with the change, byte for byte, and replaces the task's record
//     of that name. It leaves the other steps and the checkpoint as they are, and these leave it as
//     it is. Its cost does not grow with them. Steps returns all steps of a task: first those with
//     a Place, in the order of their places, then the others in the order of their names. Steps are
//     removed with their task.
//  41. A Retry with FromStart removes the task's checkpoint, its progress and its steps. A Retry
//     with SkipSteps records these steps as skipped, without a Place, except those that are done.
//     Both happen together with the rest of the Retry, or not at all.
//  42. A task that is released with the RunAt of its claim has its old place: the next claim
//     returns it as if it had never been claimed, even where thousands have that same RunAt. A
//     delay that the caller has measured would be milliseconds off, and behind such a backlog that
//     is the end of the line. It is the only time that a caller passes, and it is the store's own.
//  43. A task with a StartBefore that no claim has taken by then, by the store's clock, is never
//     claimed, and is cancelled with the reason expired, as by Cancel, even where its queue is
//     paused. A caller that asks for the task by its id sees it so from then on. Where a store
//     lists by status or counts, and where the task's key is wanted, this may be a second late; in
//     AddTx it may be later, where no worker claims and nobody lists or counts. The first claim
//     removes the bound, and so does a Retry of a task that was cancelled by it. A claim costs no
//     more where many of those wait.
//  44. A claim with a MinPriority returns no task of a lower priority; if it found none, that says
//     nothing about what other claims find. A task that a change has queued again with a Reason
//     keeps the reason until the next end, as an interrupted task does: a run that makes room for
//     others comes after them.
//  45. Pause with Running also requests every run of the queue to hand over, as Interrupt does.
//     When it has returned nil, each run of the queue that has not ended has got the request, even
//     one whose claim was under way: if nothing runs afterwards, nothing will until Resume.
//  46. PutSchedules makes the schedules of a set those of the call, in one step, if the set still
//     has the generation that the call names; otherwise it changes nothing. The answer is the set
//     as it is then. A schedule whose Timing is the same keeps its next tick, unless the given one
//     is earlier. Each schedule keeps its pause and its last task, also under a new name. A process
//     that comes late, or did not get the answer, reads the present set and changes nothing.
//  47. A tick is one step: the store compares the schedule's generation and tick, sets the next
//     tick, and adds the tasks; or it does nothing. If several processes name one tick, exactly one
//     is answered as Made and creates the task: there is no leader. A tick of another generation is
//     not made. A task whose id exists is not added, and its tick is Made: it was made before.
//     Where an open transaction has the id, the tick is not made. The tick of a paused schedule
//     adds nothing.
//  48. A schedule is due when its tick has come by the store's clock, and by the caller's: a clock
//     that leaps ahead by a week must not make the ticks of a week. The answer has those that were
//     due first, and costs no more where many are not due.
//  49. A tick that is to be Alone adds nothing while the schedule's last task has not ended. With
//     Hold it is due again after that time, and is still the same tick.
//  50. The OnConflict of a new task whose key is held decides what happens. Existing and Discard
//     change nothing. Replace gives the payload, the Meta, the priority and the time of the new
//     task to the holder, if that waits. The holder then begins from the start: it is queued, has
//     no checkpoint, steps, progress, reason or suspicion, and its attempts and streaks are zero;
//     its runs, its queue and its id stay. The new task's StartBefore counts if the holder has not
//     run before. A holder that runs or has ended is left as it is, and answered as existing. A
//     claim gets all of the one version or all of the other. The same task again, by its id, is
//     answered as replaced and changes nothing, until another one has replaced it. Rule 32 compares
//     the payload with which the id was added.
//  51. A KeyFor holds the key of the added task for that time after it was added, by the store's
//     clock, even when the task has ended or been pruned; the answer to another task with the key
//     then has the id of the added task. Delete releases the key. A task that is replaced keeps its
//     window, and so does one that is retried. Prune removes windows that are over.
//  52. Find in the order of ends returns tasks that have ended: the one that ended last comes
//     first, then the larger id. After may be a Position: its time and id say where the listing
//     goes on, whatever has happened to that task. Tasks may move between two pages: a task that
//     the query matches all the time is on exactly one page, and in the order of creation none is
//     on two.
//  53. A query whose fields have an index (see Query) is answered whole. For any other query a
//     store reads at most Query.Look tasks. If there are more it returns what it has found, and a
//     MoreError whose After is the place after the last task that it has read: no query reads a
//     whole large table at once, and none is cut short in silence.
//  54. ControlAll applies a command to each task that still has the Status with which it was seen,
//     and has had it since that time. Any other task is ErrChanged, as is one that another
//     transaction has locked, and stays as it is. So a task that was repaired meanwhile is not
//     deleted because it had failed, and a call may be repeated. Tasks are independent, except
//     after an error of the store: then the command was applied to all or to none.
//  55. A command that was applied to a task leaves a record, with By and Reason and the time by the
//     store's clock. The record is kept with the task until the task is removed. The newest
//     MaxCommands are kept, the oldest first. A command that found nothing to do may leave one too.
//  56. Prune also removes a set of schedules that has no schedule, when no process of it has been
//     heard of for a day, by the clock of rule 29. Until then the set stays, since an older version
//     may come back. A set with schedules stays: they may be late, but nobody has removed them.
type Store interface {
	// Add records tasks as queued, and returns the outcome for each, in order (rules 1, 2, 21, 32, 43,
	// 50, 51). All tasks that can be added are recorded together; after an error, all or none. A task
	// may have the key or the id of another task of the same call: the result is as if they came one
	// by one.
	Add(ctx context.Context, tasks []NewTask) ([]AddResult, error)

	// Claim returns runs of claimable tasks to a worker, marked as running and committed (rules 3 to
	// 7, 22, 26, 38, 44). It does not wait for tasks: none is an empty answer. A lost answer leaves
	// runs that the worker does not know of; a complete beat finds them (rule 31).
	Claim(ctx context.Context, req ClaimRequest) ([]Task, error)

	// Apply makes changes and returns an error or nil for each, in order (rules 8 to 11, 23, 27, 40,
	// 42). After it has returned the caller may reuse the changes that were made.
	Apply(ctx context.Context, changes []Change) []error

	// Heartbeat registers, renews, announces and removes a worker (rules 12 to 14, 17, 25, 31,
	// 33).
	Heartbeat(ctx context.Context, beat Beat) (BeatReply, error)

	// Workers lists the registered workers, including those that are marked dead, with what the store
	// knows about the liveness of each (rule 33).
	Workers(ctx context.Context) ([]WorkerInfo, error)

	// Reclaim marks a worker dead and lists runs that it still holds (rules 15, 16). The caller ends
	// them through Apply, with the dead worker's name in the fence and Reclaimed set, and calls
	// Reclaim again until Done.
	Reclaim(ctx context.Context, req ReclaimRequest) (ReclaimReply, error)

	// Find returns the tasks that a query matches (rules 18, 52, 53); none is an empty answer.
	Find(ctx context.Context, q Query) ([]Task, error)

	// History returns a task's runs, the oldest first, and ErrNotFound for a task that does not
	// exist (rule 28).
	History(ctx context.Context, id string) ([]RunRecord, error)

	// Steps returns the records of a task's steps (rule 40), and ErrNotFound for a task that does not
	// exist.
	Steps(ctx context.Context, id string) ([]StepRecord, error)

	// Log returns the tail of what a task's runs have logged (rule 27), and ErrNotFound for a task
	// that does not exist.
	Log(ctx context.Context, id string) ([]byte, error)

	// Control does what a person requests (rules 22 to 25, 36, 41, 45). A repeated call returns nil,
	// unless the list says otherwise:
	//
	//   - Cancel: ErrAlreadyFinished for a task that has succeeded or failed.
	//   - Retry: ErrRunning, and ErrAlreadyFinished for a task that has succeeded; ErrKeyBusy when
	//     another unfinished task has its key by now.
	//   - Interrupt: ErrNotRunning.
	//   - Delete: ErrNotEnded, and ErrNotFound for a repeated call.
	//   - all for a task or a schedule: ErrNotFound.
	Control(ctx context.Context, cmd Command) error

	// ControlAll applies Cancel, Retry, Interrupt or Delete to at most MaxControl tasks as they were
	// seen, and returns an error or nil for each, in order (rule 54). ErrKeyBusy is as for Control.
	// Where Control would refuse a command for the task's status, the error is ErrChanged.
	ControlAll(ctx context.Context, cmd Command, seen []Standing) []error

	// Commands returns the commands that were applied to a task, and ErrNotFound for a task that does
	// not exist (rule 55).
	Commands(ctx context.Context, id string) ([]CommandRecord, error)

	// Count counts the tasks (rules 30, 34).
	Count(ctx context.Context, q CountQuery) (Counts, error)

	// Prune removes old ended tasks, a part of them with each call (rules 29, 37, 51, 56).
	Prune(ctx context.Context, req PruneRequest) (PruneReply, error)

	// PutSchedules replaces the schedules of a set (rule 46). A repeated call finds another generation
	// than the one that it names, and changes nothing.
	PutSchedules(ctx context.Context, put SchedulesPut) (ScheduleSet, error)

	// Schedules lists schedules by set and name.
	Schedules(ctx context.Context, q ScheduleQuery) ([]StoredSchedule, error)

	// DueSchedules returns the due schedules of a set, and when the next one is due (rule 48).
	DueSchedules(ctx context.Context, req DueRequest) (DueReply, error)

	// Tick makes ticks, and returns the outcome for each, in order (rules 47, 49). After an error all
	// ticks that could be made are made, or none. A tick that was made before is not Made.
	Tick(ctx context.Context, req TickRequest) ([]TickResult, error)

	// Wait returns once one of the numbers differs from seen, and returns all of them (rules 20, 39):
	// how many changes may have made a task claimable, how many commands may have come for runs of
	// this process, and how many workers may have announced their stop or lost their processes. A
	// store that cannot see other processes counts its own changes only: workers also poll.
	Wait(ctx context.Context, seen Generations) (now Generations, err error)

	// Close releases everything, including the evidence that its workers live, and ends waiting calls
	// (rule 19). Closing twice returns nil. The program that opened the store closes it, once
	// [Worker.Serve] has returned: neither a [Worker] nor a [Client] does.
	Close() error
}

// TxStore is a [Store] that can work inside its caller's transaction. It is optional.
//
// A caller may leave its transaction open for as long as it likes. Meanwhile:
//
//   - No claim, save or end of another task waits for it, nor a command, a pruning or the
//     reclaiming of a worker.
//   - If AddTx only found a key or an id that exists, the task that it found may end as well.
//   - A task that AddTx has replaced is not claimed before the transaction has ended. A command for
//     it waits a moment and then fails, and another caller that wants to replace it gets the answer
//     Busy.
//   - A change of the run that the transaction has saved or finished is held up: Apply waits a
//     moment for the end of the transaction, then returns ErrHeldUp and has changed nothing.
type TxStore interface {
	Store
	// AddTx is Add as part of tx: the tasks exist when tx commits. It wakes no worker. A task that is
	// busy leaves tx usable.
	AddTx(ctx context.Context, tx Tx, tasks []NewTask) ([]AddResult, error)
	// FinishTx is Apply of one change as part of tx. When the run is no longer held it returns
	// ErrLeaseLost and makes tx impossible to commit, in case the caller ignores the error.
	FinishTx(ctx context.Context, tx Tx, c Change) error
	// SaveTx is Apply of one change within a run as part of tx: the change is made when tx commits,
	// and never if it does not. A run that is no longer held is treated as by FinishTx.
	SaveTx(ctx context.Context, tx Tx, c Change) error
	// Wake reports that a transaction with new tasks has been committed.
	Wake()
}

// Tx is a transaction of a store's database, as the store's package wraps it.
type Tx interface {
	// StoreTx names the kind of store that can use it.
	StoreTx() string
}
