// Command bench measures what Lastcall promises about speed, side by side with what a Go programmer
// would use instead: River for tasks, and sync.WaitGroup, errgroup, conc or a bare context for a
// Group.
//
//	go run ./bench                      # every measure
//	go run ./bench -rounds 9 pgwork pgreal
//
// README.md describes each measure and how to read the table that is printed at the end.
//
// Each measurement runs in a process of its own. The contenders of a measure take turns, round by
// round, so that a machine that becomes slower meanwhile becomes slower for all. Figures are
// compared within a round; the printed ratio is the median over the rounds. The exit code is 1 when
// a promise is missed, and 2 when a contender has failed.
package main
