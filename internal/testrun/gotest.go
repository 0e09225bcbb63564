package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// A choice reports whether one check tests a package of a module.
type choice func(path string) bool

func everything(string) bool { return true }

// endsProcesses reports whether the tests of a package end real processes in the
// middle of real work. These packages are below a directory called test. Their
// assertions about time are more reliable on a machine without other load.
func endsProcesses(path string) bool { return slices.Contains(strings.Split(path, "/"), "test") }

func endsNone(path string) bool { return !endsProcesses(path) }

// makesFaults reports whether a package belongs to the chaos harness, which tolerates other load on
// the machine.
func makesFaults(path string) bool { return endsProcesses(path) && strings.Contains(path, "/chaos") }

// endsItsOwn reports whether the tests of a package end real processes, and the package belongs
// neither to the chaos harness nor to the attacks.
func endsItsOwn(path string) bool {
	return endsProcesses(path) && !makesFaults(path) && !attacks(path)
}

// attacks reports whether a package contains the attacks on the built program.
func attacks(path string) bool { return strings.Contains(path, "/test/attack") }

// long are the packages whose tests take most of the library's time. They begin
// first, so that none of them runs alone at the end.
var long = []string{"/task/pgstore", "/task/sqlitestore", "/rehearse", "/scripts"}

func isLong(path string) bool {
	return slices.ContainsFunc(long, func(end string) bool { return strings.HasSuffix(path, end) })
}

// unwatched turns the race detector off for SQLite and the C library that it needs, both translated
// to Go, and for that library's allocator: it would make them five times as slow. It stays on for
// the driver, and for everything that calls the driver.
var unwatched = []string{
	"-gcflags=modernc.org/sqlite/lib=-race=false", "-gcflags=modernc.org/libc/...=-race=false",
	"-gcflags=modernc.org/memory=-race=false",
}

// atATime is how many packages of a module are tested at a time. Tests spend most of their time
// waiting, but up to three modules are tested in parallel, and what a test measures of real
// processes is late if all of them wait for two cores.
const atATime = 2

// goTest runs the chosen tests of a module, some packages at a time, and reads their
// events. Within a package more tests run in parallel than there are cores. The time
// limit for a package is made for a machine with other load: on an idle machine no package
// comes near it.
func goTest(dir string, full bool, chosen choice) func(context.Context) result {
	return func(ctx context.Context) result {
		some, err := packages(ctx, dir, chosen)
		if err != nil {
			return failed(err.Error() + "\n")
		}
		if len(some) == 0 {
			return result{tests: newTests()}
		}
		args := slices.Concat([]string{
			"test", "-json", "-race", "-shuffle=on", "-vet=off", "-parallel=4", "-p=" + strconv.Itoa(atATime),
		}, unwatched)
		if full {
			args = append(args, "-timeout=60m")
		} else {
			args = append(args, "-short", "-timeout=30m")
		}
		var complaints bytes.Buffer
		pipe, write := io.Pipe()
		cmd := prepare(ctx, dir, nil, "go", append(args, some...)...)
		cmd.Stdout, cmd.Stderr = write, &complaints
		done := make(chan error, 1)
		go func() { done <- errors.Join(cmd.Run(), write.Close()) }()
		t, readErr := readEvents(pipe)
		r := judge(t, errors.Join(<-done, readErr), complaints.String())
		r.processor = processorTime(cmd)
		return r
	}
}

// packages lists the chosen packages of a module, the long ones first.
func packages(ctx context.Context, dir string, chosen choice) (some []string, err error) {
	// The standard output alone: with an empty module cache go list reports each download on the other
	// stream.
	out, err := prepare(ctx, dir, nil, "go", "list", "./...").Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", describeExit(err))
	}
	var rest []string
	for p := range strings.FieldsSeq(string(out)) {
		switch {
		case !chosen(p):
		case isLong(p):
			some = append(some, p)
		default:
			rest = append(rest, p)
		}
	}
	return append(some, rest...), nil
}

// judge returns the result of go test. It is a failure if the events or the exit
// of go test show one.
func judge(t *tests, err error, complaints string) result {
	_, broken, _ := t.count()
	r := result{tests: t}
	if err == nil && broken == 0 {
		return r
	}
	r.failure = describe(t) + complaints
	if err != nil {
		r.failure += fmt.Sprintf("go test: %v\n", err)
	}
	return r
}
