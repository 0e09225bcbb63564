// Command bench measures what Lastcall promises about speed, side by side with what a Go
// programmer would use instead: River for tasks, and sync.WaitGroup, errgroup, conc or a bare
// context for a Group.
//
//	go run ./bench                      # every measure
//	go run ./bench -rounds 9 pgwork pgreal
//
// README.md says what each measure does and how to read the table that it ends with.
//
// Each measurement is made in a process of its own. The contenders of a measure take turns, round
// by round, so that a machine that becomes slower meanwhile becomes slower for all; what is
// compared is the ratio within a round, and what is printed is the median of the ratios. The exit
// code is 1 when a promise is missed, and 2 when a contender has failed.
package main
