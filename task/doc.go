// Package task keeps work that must survive the process that does it.
//
// A goroutine is gone when its process ends. A task is a record in a store: it has a status, and
// when the process is stopped in the middle of it the status becomes [StatusInterrupted], with the
// reason, with the checkpoint that the handler saved last, and the next process takes it up from
// there.
//
//	queued ──claim──> running ──> succeeded
//	  ^  ^              │ │ └───> failed       (attempts or crashes used up, or a permanent error)
//	  │  └── retry ─────┘ │ └───> cancelled
//	  │                   v
//	  └───────<────── interrupted (reason: stop | deadline | frozen | lost | requested)
//
// # Kinds and handlers
//
// A [Kind] names a sort of work, the type of its payload, and its policy. A handler is registered
// for it in a [Mux] and is given a [Run], through which it loads and saves its checkpoint:
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
// A [Worker] claims tasks of the kinds that its Mux knows and runs them. It is made to be run by a
// [lastcall.Group], whose last call and interrupt it obeys:
//
//	g.Go("worker", worker.Serve)
//
// A handler that does one thing after another is better written as steps: [Step] does a part once
// and keeps its result, [Each] does something for each item and keeps how far it is. Both look for
// the stop by themselves.
//
// # What a handler's return means
//
// Nil: the task has succeeded, whether or not a stop has begun. An error made by [Permanent]: it
// has failed. Any other error uses up an attempt, and the task waits for its next one or, when
// there is none left, has failed; but after a stop has begun it is an interruption and uses no
// attempt. A panic is an attempt, with its stack, always.
//
// # What is good after the interrupt
//
// [Run.Save] works with the context that has ended. Everything else that has to be finished gets
// [lastcall.UntilAbandon] of it. [Handle] says more.
//
// # Tests
//
// Package tasktest works a task in a unit test, through last calls, interrupts and SIGKILLs.
//
// # Three counters
//
// An attempt is a run that ended in the handler's own error. An interruption is a run that was
// stopped on purpose. A crash is a run whose worker vanished without a word, or whose handler says
// with [Crashed] that the process vanished in which it had its work done. They are counted
// apart, because they are different people's fault, and each has its own limit.
//
// # Who decides
//
// Every decision is made in this package and handed to a [Store], which compares and sets. A store
// is told what its part is in the numbered rules of [Store]; package storetest checks them.
package task
