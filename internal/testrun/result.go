package main

import (
	"context"
	"time"
)

// A check is one command, or tests of one module.
type check struct {
	name string
	lane lane
	// full is what make test-full runs here, for a check that make test does not
	// run.
	full string
	run  func(ctx context.Context) result
}

// A lane has checks that run one after the other, beside those of other lanes.
type lane int

const (
	// source has the checks of the source, which keep a processor busy.
	source lane = iota
	// library has the tests of the root module, and modules those of the smaller ones, which wait most
	// of the time.
	library
	modules
	// processes and harnesses have the tests which end real processes, and which wait for them most of
	// the time; harnesses those of the chaos harness and of containers.
	processes
	harnesses
	lanes
)

// after names the lane that has to end before another begins. What ends processes proves more about
// time on a machine whose processors are not all taken.
var after = map[lane]lane{processes: source, harnesses: source}

// options are what is chosen for all checks.
type options struct {
	full     bool
	fuzzTime string // of each fuzz target, when all is run
	database string // of known vulnerabilities
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

	elapsed, processor time.Duration
}

func failed(what string) result {
	if what == "" {
		what = "it failed and said nothing\n"
	}
	return result{failure: what}
}

func leftOut(why string) result { return result{leftOut: why} }
