package main

import (
	"context"
	"time"
)

// A check is one command, or one module's tests.
type check struct {
	name string
	run  func(ctx context.Context) result
}

// A result is what a check found. Exactly one of three holds: it failed, it was
// left out, or it passed.
type result struct {
	// failure is what went wrong, ready to be printed; empty when nothing did.
	failure string
	// leftOut is why the check could not run; empty when it ran.
	leftOut string
	// tests is nil for a check that runs no Go tests.
	tests *tests

	elapsed time.Duration
}

func failed(what string) result {
	if what == "" {
		what = "it failed and said nothing\n"
	}
	return result{failure: what}
}

func leftOut(why string) result { return result{leftOut: why} }
