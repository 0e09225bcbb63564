// Package task is for work that must survive the process that does it.
//
// A goroutine is gone when its process ends. A task is a record in a store and has a status. When a
// process is stopped in the middle of a task, the status becomes [StatusInterrupted]; the store
// keeps the reason and the checkpoint that the handler saved last, and the next process resumes the
// task from that checkpoint.
//
//	queued ──claim──> running ──> succeeded
//	  ^  ^              │ │ └───> failed       (a permanent error, or a limit of the kind used up)
//	  │  └── retry ─────┘ │ └───> cancelled
//	  │                   v
//	  └───────<────── interrupted (reason: stop | deadline | frozen | lost | requested | released)
//
// # Kinds and handlers
//
// A [Kind] names a type of work, and has the type of its payload and its policy. A handler is
// registered for a kind in a [Mux]. It receives a [Run], through which it loads and saves its
// checkpoint:
//
//	var Import = task.Kind[ImportArgs]{Name: "import", Timeout: time.Hour}
//
//	task.Handle(mux, Import, func(ctx context.Context, r *task.Run, a ImportArgs) error {
//		var at Cursor
//		if _, err := r.Load(&at); err != nil {
//			return err
//		}
//		for ; at.Row < a.Rows; at.Row++ {
//			if ctx.Err() != nil {
//				return r.HandOver(at) // hand over: the next run goes on at this row
//			}
//			...
//		}
//		return nil
//	})
//
// A [Worker] claims tasks of the kinds that its Mux knows and runs them. It is meant to run in a
// [lastcall.Group], and obeys the group's last call and interrupt:
//
//	g.Go("worker", worker.Serve)
//
// A handler that does one thing after another is better written as steps. [Step] does a part once
// and keeps its result; [Each] does something for each item and keeps its position. Both check for
// the stop by themselves.
//
// # What a handler's return means
//
//   - nil: the task has succeeded, whether or not a stop has begun.
//   - An error made by [Permanent]: the task has failed.
//   - Any other error uses up an attempt. The task waits for its next attempt, or has failed when
//     none is left. After a stop has begun such an error is an interruption and uses no attempt.
//   - A panic always uses up an attempt, and its stack is recorded.
//
// # What works after the interrupt
//
// [Run.Save] still works with a context that the interrupt has ended. For everything else that must
// be finished, use [lastcall.UntilAbandon] of that context. [Handle] has the details.
//
// # Tests
//
// Package tasktest runs a task in a unit test, through last calls, interrupts and SIGKILLs.
//
// # Three counters
//
// An attempt is a run that ended in the handler's own error. An interruption is a run that was
// stopped on purpose. A crash is a run whose worker vanished without a word, or whose handler
// returned [Crashed] because the process that did its work vanished. The three are counted
// separately, because they are different people's fault, and each has its own limit.
//
// # Who decides
//
// Every decision is made in this package and passed to a [Store], which only compares and sets. The
// numbered rules of [Store] define a store's part; package storetest checks them.
package task
