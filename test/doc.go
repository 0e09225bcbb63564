// Package test has the tests with real processes, which receive real signals by their process id.
//
// Some tests start the program itself, as it is built for users. The others start worker processes:
// this test binary again (worker_test.go), with special handlers (handlers_test.go), on a SQLite
// file and on a PostgreSQL database. A scenario ends such processes in one way, again and again,
// and lets a last process do the remaining work. The effects of the handlers are recorded in a
// ledger (ledger_test.go), which refuses the effects of stale runs. At the end a checker
// (checker_test.go) compares the ledger, the tasks, their histories, and what was done to which
// process.
//
// The points of interruption are random. The seed is logged; with -seed or LASTCALL_TEST_SEED it
// reproduces the same choices. A scenario has 100 points on each store, or 20 with -short; -points
// sets another number. For the program, a point is one end of a server with one task. For the
// worker processes, a point is a run that was cut short according to its task's history. When a
// process with ten tasks ends, these are ten points, since each task was at a different step or had
// not begun its first.
package test
