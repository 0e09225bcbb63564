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

// A choice says whether a package of a module is tested in one check.
type choice func(path string) bool

func everything(string) bool { return true }

// endsProcesses reports whether the tests of a package end real processes in the
// middle of real work: those below a directory called test. What these prove
// about time holds better on a machine that does little else.
func endsProcesses(path string) bool { return slices.Contains(strings.Split(path, "/"), "test") }

func endsNone(path string) bool { return !endsProcesses(path) }

// makesFaults reports whether a package belongs to the chaos harness, which allows for a machine
// that does something else too, and endsItsOwn whether it is one that ends processes and is no
// other's.
func makesFaults(path string) bool { return endsProcesses(path) && strings.Contains(path, "/chaos") }
func endsItsOwn(path string) bool {
	return endsProcesses(path) && !makesFaults(path) && !attacks(path)
}

// attacks reports whether a package has the attacks on the built program.
func attacks(path string) bool { return strings.Contains(path, "/test/attack") }

// long are the packages whose tests take most of the library's time. They begin
// first, so that none runs with nothing beside it at the end.
var long = []string{"/task/pgstore", "/task/sqlitestore", "/rehearse", "/scripts"}

func isLong(path string) bool {
	return slices.ContainsFunc(long, func(end string) bool { return strings.HasSuffix(path, end) })
}

// unwatched has the packages in which the race detector does not look: SQLite and
// the C library that it needs, translated to Go. It would make them five times as
// slow. It does look at the driver, and at everything that calls it.
var unwatched = []string{"-gcflags=modernc.org/sqlite/lib=-race=false", "-gcflags=modernc.org/libc/...=-race=false"}

// beside returns how many packages are tested at a time. Most tests wait most of the time; of those
// that end processes fewer do.
func beside(packages []string) int {
	if slices.ContainsFunc(packages, endsProcesses) {
		return 2
	}
	return 3
}

// goTest runs the chosen tests of a module and reads their events, some packages
// at a time. Within a package more run side by side than there are cores.
// The limit for a package is one for a machine that has other things to do: on
// an idle one none comes near it.
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
			"test", "-json", "-race", "-shuffle=on", "-vet=off", "-parallel=4", "-p=" + strconv.Itoa(beside(some)),
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
	out, _, err := output(ctx, dir, nil, "go", "list", "./...")
	if err != nil {
		return nil, fmt.Errorf("%s\ngo list: %w", bytes.TrimSpace(out), err)
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

// judge decides from the events and from how go test ended. Either is enough
// for a failure.
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
