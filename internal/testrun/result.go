package main

import (
	"context"
	"time"
)

// A check is one command, or the tests of one module.
type check struct {
	name string
	lane lane
	// full describes what make test-full runs here, for a check that make test does
	// not run; else it is empty.
	full string
	run  func(ctx context.Context) result
}

// A lane is a sequence of checks. Lanes run in parallel.
type lane int

const (
	// source has the checks of the source, which keep a processor busy.
	source lane = iota
	// library has the tests of the root module, modules those of the smaller modules, and vet on other
	// systems after them. Both wait most of the time.
	library
	modules
	// processes and harnesses have the tests that end real processes, and wait for these most of the
	// time. harnesses has the tests of the chaos harness and of containers, processes the others.
	processes
	harnesses
	lanes
)

// after maps a lane to the lane that must end before it begins. Tests that end processes make
// assertions about time, which are more reliable while some processors are idle.
var after = map[lane]lane{processes: source, harnesses: source}

// options are the options for all checks.
type options struct {
	full     bool
	fuzzTime string // for each fuzz target, with full
	database string // the database of known vulnerabilities
}

// A result is the result of a check: it failed, it was left out, or it passed.
type result struct {
	// failure is the text to print for a failure; empty if the check did not fail.
	failure string
	// leftOut is why the check could not run; empty if it ran.
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
