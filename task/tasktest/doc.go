// Package tasktest tests the handler of a task as a worker would run it, through its stops: without
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
// [Run] enqueues one task and works it to its end, each run in a worker of its own with its own
// [lastcall.Group], as if a new version of the program were deployed between two runs. What happens
// on the way is in [Options]: a last call, an interrupt or a crash at the n-th Save. What came of
// it is in the [Outcome]; asserting on it is the test's business. [RunTask] does the same with the
// program's own [task.Mux]: with its kinds' policies and its middleware.
//
// # An unresponsive handler
//
// A handler that does not return when its context has ended is unresponsive: at a real stop it
// would be abandoned, and its task would be late. No test hangs on one. It fails, and says which
// handler it was and shows its stack, unless [Options].IgnoresContext says that it is known.
//
// # Transactions
//
// Tasks are in memory here, where there are no transactions: [task.Run.FinishTx] and
// [task.Run.SaveTx] return an error. A handler that calls them is tested against its database;
// docs/transactions.md says why, and how.
//
// # Time
//
// Run makes a bubble of package [testing/synctest] around all of this, so that time is fake: it
// begins in the year 2000 and jumps ahead when everyone waits. A backoff, a grace, a timeout of an
// hour cost nothing. In a test that is in a bubble already (t is the bubble's), that one is used;
// but it cannot be left behind with an unresponsive handler in it, and fails or hangs as synctest
// does then.
//
// Who works in a bubble may not wait for anyone outside. A database's connections, a server that
// the test has started before, a client of package http that keeps connections open do not fit into
// it; nor does a channel that was made outside, if it is waited for. For a handler that needs them
// set [Options].RealTime: then there is no bubble, and what takes time takes it.
package tasktest
