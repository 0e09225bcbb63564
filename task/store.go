package task

import "context"

// Store keeps tasks. It is documented for those who implement one; users hold a [Client] and a
// [Worker]. The program that has opened a store closes it, after the Serve of its workers has
// returned: neither a Client nor a Worker does.
//
// Every method may be called by many goroutines at once, and several processes may use one store at
// the same time. A method that waits returns soon after its context has ended, with the context's
// cause. A method that returns an error may have done its work all the same (the answer was lost),
// therefore each says what a repetition does. Stores take no decision: they compare and set.
//
// Which methods carry what:
//
//   - Add: new tasks, with delays, priorities, keys and what comes of them, and StartBefore.
//   - Claim: queues, limits of kinds, pauses, suspects, what is handed over in a rollout,
//     MaxRunTime.
//   - Apply: ends of every sort, and what a run saves: checkpoints, steps and Each, progress, logs.
//   - Heartbeat, Workers, Reclaim: the life and the death of workers, and what is asked of runs.
//   - Control, ControlAll, Commands: what people ask for, one by one or by filter, and who and why.
//   - Find, History, Steps, Log, Count: what people see.
//   - PutSchedules, Schedules, DueSchedules, Tick: schedules.
//   - Prune: retention.
//
// The rules are numbered, and storetest has a case for each.
//
//  1. Ids are the client's. Adding a task whose id exists changes nothing and reports it as not
//     added: a submit whose answer was lost is sent again and makes no second task (rule 32 says
//     when it is not the same submit).
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
//  7. The kind's limits are copied to the run at the claim. Whoever reclaims it may not know the
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
//  26. A suspect is a task that a change has given a Suspicion, its group, which it keeps until it
//     has ended, is retried, or a change takes the group away. It is claimed only by a claim that
//     says so: as many of the claim's group as it says, or one of any group. Reclaim says how many
//     a dead worker held, and where two halves of them meet: the others' runs are no crashes, and
//     of suspects only one that died alone is charged. One bad task does not fail the ninety-nine
//     beside it, nor keep them waiting for each other. A claim costs no more where many suspects
//     wait.
//  27. A run's log is kept as it came, of all runs together the last MaxLog bytes. A result is kept
//     byte for byte when the task has succeeded.
//  28. History keeps the newest MaxHistory runs of a task; the counters count all.
//  29. Prune removes only tasks that ended at least Age ago, with all that belongs to them, and
//     those that ended first go first, whatever their ids: one young task or one odd id never stops
//     it. The clock is the store's, or the caller's where that is behind: a clock that leaps ahead
//     by a week must not remove everything at once. Two prunings at a time do no harm.
//  30. Count's numbers are those of one moment, except that an ended task may be counted a little
//     later than it ended. Those of the suspects count tasks that the others count too.
//  31. A complete beat, sent while no claim of that worker is under way, is answered with the runs
//     that the worker holds and did not list: a claim whose answer was lost is found again. Where a
//     server may lose what it has confirmed when it begins anew, as after a failover, each beat is
//     answered with Restarted from then on until the next complete one: an end that was lost is
//     found too.
//  32. A new task whose id exists is answered as Conflict, and not as existing, when its kind is
//     another one than that task's or its payload is not the same byte for byte. Who has taken an
//     id first, by chance or by guessing it, would otherwise have its own work done in the name of
//     the other, who is told that all is well.
//  33. Workers tells what a worker's first beat said of it, and what the newest one said of its
//     state, of its unresponsive handlers and of the kinds that it has paused.
//  34. Count needs no more memory than the lines that its query wants: others are added up as they
//     are read, and none is lost. Its digest is that of all lines.
//  35. A task's Meta is kept byte for byte, and comes with the task wherever a store hands it out.
//     It is no part of what rule 32 compares: adding a task again with another Meta is a
//     repetition, and changes nothing. A query's Meta admits the tasks that have each of its pairs,
//     with exactly that value.
//  36. Delete removes an ended task with all that belongs to it, and no other: it is ErrNotEnded
//     for one that waits or runs, and ErrNotFound from then on. The id is free again: adding it
//     makes a new task, which has nothing of the old one. Of a Delete that meets a Retry or a Prune
//     one comes first, and the other finds what that has left.
//  37. The kind's Retention is copied to the run at the claim, as the limits are. The end of that
//     run gives the task what it says for its status, whoever records it: from then on Prune
//     removes the task that long after its end by the same clock, or never where it is negative,
//     whatever Age is. What has none (0), and what was cancelled while it waited, goes by Age. A
//     Retry takes it away.
//  38. A claim of interrupted tasks only gives these in the order of rule 5, and no suspects.
//     Queued tasks that come before them do not hold them back, and a claim costs no more where
//     many of those wait: a task that is handed over in a rollout must not wait behind the backlog.
//  39. When a worker announces its stop, the number of workers that Wait returns changes in its
//     process, and in others where the store can see their doings: the neighbours get ready for
//     what it hands over.
//  40. A change's Step is recorded with it, byte for byte, in place of the task's record of that
//     name. It leaves the other steps and the checkpoint as they are, as these leave it, and what
//     it costs does not grow with them. Steps returns all of a task, those with a Place in that
//     order, and then the others in that of their names. They go where the task goes.
//  41. A Retry with FromStart removes the task's checkpoint, its progress and its steps, and one
//     with SkipSteps records these as skipped, without a Place, except what is done: together with
//     what else the Retry does, or not at all.
//  42. A task that is given back with the RunAt of its claim has its old place: the next claim
//     gives it as if it had never been given, also where thousands have that same RunAt. A delay
//     that the caller has measured would be milliseconds off, and behind such a backlog that is the
//     end of the line. It is the only time that a caller passes, and it is the store's own.
//  43. A task with a StartBefore that no claim has taken by then, by the store's clock, is never
//     claimed and is cancelled with the reason expired, as by Cancel, also where its queue is
//     paused. Who asks for it by its id sees it so from then on. Where a store lists by status or
//     counts, and where its key is wanted, this may be a second late, and later in AddTx where no
//     worker claims and nobody lists or counts. The first claim takes the bound away, and so does a
//     Retry of a task that was cancelled by it. A claim costs no more where many of those wait.
//  44. A claim with a MinPriority gives no task of a lower priority; that it found none says
//     nothing of what other claims find. A task that a change has queued again with a Reason keeps
//     that until the next end, as one that was interrupted does: a run that makes room for others
//     comes after them.
//  45. Pause with Running also asks every run of the queue to hand over, as Interrupt does. When it
//     has returned nil, each run of the queue that has not ended was asked, also one whose claim
//     was under way: where nothing runs any more afterwards, nothing will until Resume.
//  46. PutSchedules makes the schedules of a set those of the call, in one step, if the set has the
//     generation that the call says it was, and none otherwise; the answer is the set as it is. A
//     schedule whose Timing is the same keeps its next tick, unless the given one is earlier, and
//     each its pause and its last task, also under a new name. A process that comes late, or whose
//     answer was lost, reads what the set has become and changes nothing.
//  47. A tick is one step: the schedule's generation and tick are compared, the next one is set,
//     and the tasks are added; or nothing is. Of several that name one tick one is Made, whoever
//     asks: exactly one process makes the task, and none leads. A tick of another generation is not
//     made. A task whose id exists is not added, and its tick is Made: it was taken before. Where
//     an open transaction has the id, the tick is not made. The tick of a paused schedule adds
//     nothing.
//  48. A schedule is due when its tick has come by the store's clock, and by the caller's: a clock
//     that leaps ahead by a week must not make the ticks of a week. The answer has those that were
//     due first, and costs no more where many are not due.
//  49. A tick that is to be Alone adds nothing while the schedule's last task has not ended. With
//     Hold it is due again after that time, and stays what it was.
//  50. What comes of a new task whose key is held is for its OnConflict to say. Existing and
//     Discard change nothing. Replace gives the payload, the Meta, the priority and the time of the
//     new task to one that waits, which begins from the start: it is queued, without a checkpoint,
//     steps, a progress, a reason and a suspicion, attempts and streaks are zero, its runs, its
//     queue and its id stay. The new one's StartBefore counts if it has not run before. One that
//     runs or has ended is left and answered as existing. A claim takes all of the one or all of
//     the other. The same task again, by its id, is answered as replaced and changes nothing, as
//     long as no other one has replaced it since. What rule 32 compares is the payload with which
//     the id was added.
//  51. A KeyFor holds the key of the task that is added until that time has gone by since, by the
//     store's clock, also when the task has ended or been pruned; the answer to another one then
//     has the id of that task. Delete gives the key back. A task that is replaced keeps its window,
//     and so does one that is retried. Prune removes what is over.
//  52. Find in the order of ends returns what has ended, that first which ended last, then by the
//     larger id. After may be a Position: its time and id say where the listing goes on, whatever
//     has become of that task. Tasks may move between two pages: one that the query admits all the
//     time is on exactly one page, and in the order of creation none is on two.
//  53. A query whose fields have an index (see Query) is answered whole. For any other a store
//     looks at no more tasks than Query.Looks says. If there are others behind them it returns what
//     it has found, and a MoreError whose After is behind the last one that it has looked at: no
//     query reads a whole large table at once, and none is cut short in silence.
//  54. ControlAll does a command to each task that still has the Status, and has had it since the
//     time, with which it was seen. Any other is ErrChanged, as is one that another transaction has
//     locked, and nothing is done to it. So a task that was put right meanwhile is not deleted
//     because it had failed, and a call may be repeated. Tasks are independent, but for an error of
//     the store: then all are done or none.
//  55. A command that was done to a task leaves a record, with By and Reason and the time by the
//     store's clock, with the task and until that is removed. The newest MaxCommands are kept, the
//     oldest first. A command that found nothing to do may leave one too.
type Store interface {
	// Add records tasks as queued, and returns for each, in order, what came of it (rules 1, 2, 21,
	// 32, 43, 50, 51). All that are not left out are recorded together; after an error, all or none. A
	// task may have a key or an id that another one of the call has: it is as if they came one by one.
	Add(ctx context.Context, tasks []NewTask) ([]AddResult, error)

	// Claim gives a worker runs of claimable tasks, marked running and committed (rules 3 to 7, 22,
	// 26, 38, 44). It does not wait for tasks: none is an empty answer. An answer that was lost leaves
	// runs that the worker does not know of; a complete beat finds them (rule 31).
	Claim(ctx context.Context, req ClaimRequest) ([]Task, error)

	// Apply makes changes and returns an error or nil for each, in order (rules 8 to 11, 23, 27, 40,
	// 42). The changes that it has made are the caller's to use again.
	Apply(ctx context.Context, changes []Change) []error

	// Heartbeat registers, renews, announces and removes a worker (rules 12 to 14, 17, 25, 31,
	// 33).
	Heartbeat(ctx context.Context, beat Beat) (BeatReply, error)

	// Workers lists the registered workers, those marked dead too, with what the store can tell
	// about the life of each (rule 33).
	Workers(ctx context.Context) ([]WorkerInfo, error)

	// Reclaim marks a worker dead and lists runs that it still holds (rules 15, 16); the caller
	// ends them through Apply, with the dead worker's name in the fence and Reclaimed set, and calls
	// again until Done.
	Reclaim(ctx context.Context, req ReclaimRequest) (ReclaimReply, error)

	// Find returns the tasks that a query admits (rules 18, 52, 53); none is an empty answer.
	Find(ctx context.Context, q Query) ([]Task, error)

	// History returns a task's runs, the oldest first, and ErrNotFound for a task that does not
	// exist (rule 28).
	History(ctx context.Context, id string) ([]RunRecord, error)

	// Steps returns what is recorded of a task's steps (rule 40), and ErrNotFound for a task that does
	// not exist.
	Steps(ctx context.Context, id string) ([]StepRecord, error)

	// Log returns the tail of what a task's runs have logged (rule 27), and ErrNotFound for a task
	// that does not exist.
	Log(ctx context.Context, id string) ([]byte, error)

	// Control does what a person asks for (rules 22 to 25, 36, 41, 45). Doing it again is nil, unless
	// it is said otherwise:
	//
	//   - Cancel: ErrAlreadyFinished for a task that has succeeded or failed.
	//   - Retry: ErrRunning, and ErrAlreadyFinished for a task that has succeeded; ErrKeyBusy when
	//     another unfinished task has its key by now.
	//   - Interrupt: ErrNotRunning.
	//   - Delete: ErrNotEnded, and ErrNotFound when it is done again.
	//   - all of a task, or of a schedule: ErrNotFound.
	Control(ctx context.Context, cmd Command) error

	// ControlAll does Cancel, Retry, Interrupt or Delete to at most MaxControl tasks as they were
	// seen, and returns an error or nil for each, in order (rule 54). ErrKeyBusy is as for Control.
	// What Control refuses for a status is ErrChanged.
	ControlAll(ctx context.Context, cmd Command, seen []Standing) []error

	// Commands returns what was asked of a task, and ErrNotFound for a task that does not exist
	// (rule 55).
	Commands(ctx context.Context, id string) ([]CommandRecord, error)

	// Count counts the tasks (rules 30, 34).
	Count(ctx context.Context, q CountQuery) (Counts, error)

	// Prune removes old ended tasks, a part of them with each call (rule 29).
	Prune(ctx context.Context, req PruneRequest) (PruneReply, error)

	// PutSchedules replaces the schedules of a set (rule 46). Doing it again finds another generation
	// than the call says, and changes nothing.
	PutSchedules(ctx context.Context, put SchedulesPut) (ScheduleSet, error)

	// Schedules lists schedules by set and name.
	Schedules(ctx context.Context, q ScheduleQuery) ([]StoredSchedule, error)

	// DueSchedules returns what is due in a set, and when the next is (rule 48).
	DueSchedules(ctx context.Context, req DueRequest) (DueReply, error)

	// Tick makes ticks, and returns for each, in order, what became of it (rules 47, 49). After an
	// error all that could be made are, or none. A tick that is made again is not Made.
	Tick(ctx context.Context, req TickRequest) ([]TickResult, error)

	// Wait returns once a number is another one than seen, and returns all (rules 20, 39): how many
	// changes may have made a task claimable, how many times something may have been asked of a run of
	// this process, and how many workers may have announced their stop, or their processes ended. A
	// store that cannot see other processes' doings counts its own: workers also poll.
	Wait(ctx context.Context, seen Generations) (now Generations, err error)

	// Close releases everything, the evidence of its workers' lives too, and ends waiting calls
	// (rule 19). Closing twice is nil. Whoever opened the store closes it, once [Worker.Serve] has
	// returned: neither a [Worker] nor a [Client] does.
	Close() error
}

// TxStore is a [Store] that can work inside its caller's transaction. It is optional.
//
// A caller may leave its transaction open for as long as it likes. Meanwhile no claim, save or end
// of another task waits for it, nor a command, a pruning or the reclaiming of a worker; and if
// AddTx only found a key or an id that exists, the task that it found may end as well. One that
// AddTx has replaced is not claimed before the transaction has ended, a command for it waits a
// moment and then fails, and who else would replace it is answered as busy. A change of
// the run that the transaction has saved or finished is held up: Apply waits a moment for the
// transaction's end, and then answers with ErrHeldUp and has changed nothing.
type TxStore interface {
	Store
	// AddTx is Add, as a part of tx: the tasks exist when tx commits. It wakes nobody. A task that
	// is busy leaves tx as usable as it was.
	AddTx(ctx context.Context, tx Tx, tasks []NewTask) ([]AddResult, error)
	// FinishTx is Apply of one change as a part of tx. When the run is no longer held it returns
	// ErrLeaseLost and makes tx impossible to commit, for those who do not look at the error.
	FinishTx(ctx context.Context, tx Tx, c Change) error
	// SaveTx is Apply of one change within a run as a part of tx: it is made when tx commits, and
	// never if it does not. A run that is no longer held is treated as by FinishTx.
	SaveTx(ctx context.Context, tx Tx, c Change) error
	// Wake says that a transaction with new tasks has been committed.
	Wake()
}

// Tx is a transaction of a store's database, as the store's package wraps it.
type Tx interface {
	// StoreTx names the kind of store that can use it.
	StoreTx() string
}
