// Package tasktest tests the handler of a task as a worker would run it, through its stops, without
// a process, a database or waiting.
//
//	func TestTheImportGoesOnWhereItWasInterrupted(t *testing.T) {
//		var rows []int
//		handler := func(ctx context.Context, r *task.Run, a ImportArgs) error { ... }
//		got := tasktest.Run(t, handler, ImportArgs{Rows: 3}, tasktest.Options{InterruptAtSave: 2})
//		if got.Status != task.StatusSucceeded || !slices.Equal(rows, []int{0, 1, 2}) {
//			t.Errorf("%s (%s), rows %v", got.Status, got.Error, rows)
//		}
//	}
//
// [Run] enqueues one task and runs it until it has ended. Each run has a worker of its own with its
// own [lastcall.Group], as if a new version of the program were deployed between two runs.
// [Options] define what happens to the task: a last call, an interrupt or a crash at the n-th Save.
// [Outcome] is the result, which the test checks. [RunTask] does the same with the program's own
// [task.Mux], its kinds' policies and its middleware.
//
// # An unresponsive handler
//
// A handler that does not return when its context has ended is unresponsive: in a real stop it
// would be abandoned, and its task would be late. No test hangs because of it: the test fails,
// names the handler and shows its stack, unless [Options].IgnoresContext declares that it is known.
//
// # Transactions
//
// Tasks are in memory here, where there are no transactions: [task.Run.FinishTx], [task.Run.SaveTx]
// and [task.Run.StepTx] return an error. Test a handler that calls them against its database;
// docs/transactions.md describes why, and how.
//
// # Time
//
// Run creates a bubble of package [testing/synctest] around all of this, so that time is fake: it
// begins in the year 2000 and jumps ahead when all goroutines wait. A backoff, a grace period or a
// timeout of an hour costs nothing. A test that is in a bubble already (t is the bubble's) uses
// that bubble; but an unresponsive handler cannot be left behind in it, and the test then fails or
// hangs as synctest does.
//
// A goroutine in a bubble must not wait for one outside. Connections of a database, a server that
// the test has started before, and a client of package http that keeps connections open do not work
// in it; nor does a channel that was created outside, if a goroutine waits for it. For a handler
// that needs them set [Options].RealTime: then there is no bubble, and time is real.
package tasktest
