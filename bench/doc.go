// Command bench measures what a Group costs, side by side with what a Go
// programmer would use instead: sync.WaitGroup, errgroup, conc, a bare context.
//
//	go run ./bench            # every measure
//	go run ./bench -rounds 9 start memory
//
// Each measurement runs in a process of its own. The contenders of a measure
// take turns, round by round, so that a machine that becomes slower meanwhile
// becomes slower for all; what is compared is the ratio within a round, and
// what is printed is the median of the ratios. A target that is missed is said
// in the table and makes the exit code 1.
package main
