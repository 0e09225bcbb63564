// Package test has the tests with real processes, which are sent real signals by their process id.
//
// Some start the program itself, as it is built for users. The others start worker processes: this
// test binary again (worker_test.go), with handlers made for the purpose (handlers_test.go), on a
// SQLite file and on a PostgreSQL database. A scenario ends such processes in one way, again and
// again, and lets a last one do what is left. What the handlers did stands in a ledger
// (ledger_test.go), which accepts nothing of a stale run, and then a checker (checker_test.go)
// compares the ledger, the tasks, their histories, and what was done to which process.
//
// The points of interruption are random. The seed is logged, and given again with -seed or
// LASTCALL_TEST_SEED it makes the same choices. A scenario has 100 points on each store, or 20 with
// -short, and -points sets another number. For the program a point is one end of a server, with one
// task. For the worker processes a point is a run that was cut short, as its task's history has it:
// when a process ends that has ten tasks these are ten points, for each of the tasks was at another
// step, or had not begun its first.
package test
