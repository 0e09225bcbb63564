// Command testrun runs every check and every test of this repository and lists
// at the end what it left out.
//
// Three groups of checks run:
//
//   - The checks of the source: formatting, the linters, the shell scripts, tidy modules and known
//     vulnerabilities.
//   - In parallel, go test in each module of go.work, with the race detector and in shuffled
//     order, and then vet on two more systems.
//   - When the checks of the source have ended, the tests below test/, which end real
//     processes.
//
// A failure is printed in full. At the end testrun prints the slowest packages and tests,
// everything that was left out with its reason, and the last line
//
//	N passed, N failed, N skipped
//
// which counts checks, tests and subtests.
//
// # What was left out
//
// A skipped test is left out, and so is a check whose tool is not installed or
// whose reports cannot be downloaded. With CI set to 1 or true, anything left out
// is a failure. An environment variable allows exceptions, by name and with a reason:
//
//	LEFT_OUT_OK="shellcheck: this runner has no package of it; ..."
//
// They are still listed. -list prints the names of checks; the name of a
// test is its package's import path, a dot and the test's own name.
//
// # Tests that take long
//
// Without -full, as in make test, tests run with -short: some then do less, or nothing.
// Each of these prints a line that begins with "make test-full: ", and testrun repeats all
// these lines at the end. With -full, as in make test-full, all tests do everything, and each
// fuzz target runs for the time of -fuzztime.
//
// # Exit codes
//
// 0 if everything passed, 1 if something failed or was left out on CI, 2 if
// the command line or the environment is invalid.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	// A second signal ends this program at once: after the first one, signals are no
	// longer caught.
	ctx, forget := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, forget)
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("testrun", flag.ContinueOnError)
	flags.SetOutput(stderr)
	only := flags.String("only", "", "run only what this regular expression matches")
	skip := flags.String("skip", "", "do not run what this regular expression matches")
	full := flags.Bool("full", false, "run the long tests too")
	fuzzTime := flags.String("fuzztime", "20s", "with -full: how long each fuzz target runs")
	list := flags.Bool("list", false, "print the names of all checks, run none")
	root := flags.String("root", ".", "the directory of go.work")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	fail := func(err error) int {
		fmt.Fprintln(stderr, "testrun:", err)
		return 2
	}

	allowed, err := parseAllowed(getenv("LEFT_OUT_OK"))
	if err != nil {
		return fail(err)
	}
	modules, err := findModules(*root)
	if err != nil {
		return fail(err)
	}
	how := options{full: *full, fuzzTime: *fuzzTime, database: getenv("GOVULNDB")}
	all, more := allChecks(*root, modules, how), []string(nil)
	if !how.full {
		all, more = onlyFull(all)
	}
	checks, unchosen, err := choose(all, *only, *skip)
	if err != nil {
		return fail(err)
	}
	if *list {
		for _, c := range checks {
			fmt.Fprintln(stdout, c.name)
		}
		return 0
	}

	sum := summary{more: more}
	began := time.Now()
	if unfinished := runAll(ctx, checks, func(c check, r result) {
		sum.add(c.name, r)
		printResult(stdout, c.name, r)
	}); len(unfinished) > 0 {
		fmt.Fprintf(stderr, "testrun: interrupted in %s; nothing is known about the rest\n", strings.Join(unfinished, ", "))
		return 1
	}
	sum.took = time.Since(began)
	ci := getenv("CI") == "1" || getenv("CI") == "true"
	return sum.finish(stdout, ci, allowed, unchosen)
}

// runAll runs the checks of each lane in their order, and calls ended for each check that has
// ended. It returns the names of the checks that were interrupted.
func runAll(ctx context.Context, checks []check, ended func(check, result)) (interrupted []string) {
	var mu sync.Mutex
	run := func(l lane) {
		for _, c := range checks {
			if c.lane != l {
				continue
			}
			began := time.Now()
			r := c.run(ctx)
			r.elapsed = time.Since(began)
			mu.Lock()
			if ctx.Err() != nil {
				interrupted = append(interrupted, c.name)
				mu.Unlock()
				return
			}
			ended(c, r)
			mu.Unlock()
		}
	}
	var over [lanes]chan struct{}
	for l := range over {
		over[l] = make(chan struct{})
	}
	var beside sync.WaitGroup
	for l := range lanes {
		beside.Go(func() {
			defer close(over[l])
			if first, ok := after[l]; ok {
				<-over[first]
				if ctx.Err() != nil {
					return // no check of this lane has begun
				}
			}
			run(l)
		})
	}
	beside.Wait()
	return interrupted
}

// onlyFull removes the checks that only make test-full runs, and returns their
// descriptions.
func onlyFull(all []check) (some []check, more []string) {
	for _, c := range all {
		if c.full == "" {
			some = append(some, c)
		} else {
			more = append(more, c.name+": "+c.full)
		}
	}
	return some, more
}

// choose returns the checks that match the expressions, and how many do not.
func choose(all []check, only, skip string) (chosen []check, removed int, err error) {
	keep, err := regexp.Compile(only)
	if err != nil {
		return nil, 0, fmt.Errorf("-only: %w", err)
	}
	drop, err := regexp.Compile(skip)
	if err != nil {
		return nil, 0, fmt.Errorf("-skip: %w", err)
	}
	for _, c := range all {
		if keep.MatchString(c.name) && (skip == "" || !drop.MatchString(c.name)) {
			chosen = append(chosen, c)
		}
	}
	if len(chosen) == 0 {
		return nil, 0, fmt.Errorf("-only %q and -skip %q leave nothing to run; -list shows the names", only, skip)
	}
	return chosen, len(all) - len(chosen), nil
}
