package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// allChecks returns every check, the cheap ones of each lane first.
func allChecks(root string, all []module, how options) []check {
	var checks []check
	add := func(l lane, name string, run func(context.Context) result) {
		checks = append(checks, check{name: name, lane: l, run: run})
	}
	each := func(name string, run func(dir string) func(context.Context) result) {
		for _, m := range all {
			add(source, name+" "+m.name, run(m.dir))
		}
	}
	add(source, "gofmt", gofmt(root))
	add(source, "shellcheck", shellcheck(root))
	each("go mod tidy", func(dir string) func(context.Context) result {
		return command(dir, nil, "go", "mod", "tidy", "-diff")
	})
	// The modules are tested one by one, with the versions that their own go.mod selects: these are
	// the versions that users get. Only these two checks see all modules as a clone does, through
	// go.work.
	patterns := make([]string, len(all))
	for i, m := range all {
		patterns[i] = "./" + path.Join(m.name, "...")
	}
	if len(all) > 1 {
		// It compiles everything, as go build does, but links no programs: tests do that.
		add(source, "workspace", command(root, []string{"GOWORK="}, "go", append([]string{"list", "-export"}, patterns...)...))
	}
	// The linters read once what the modules share: a run for each module took more than twice the
	// processor time.
	add(source, "golangci-lint", command(root, []string{"GOWORK="}, "golangci-lint",
		append([]string{"run", "--allow-parallel-runners"}, patterns...)...))
	add(source, "govulncheck", govulncheck(all, how.database))
	for _, m := range all {
		switch {
		case endsProcesses(m.name):
			add(harnesses, "go test "+m.name, goTest(m.dir, how.full, everything))
		case m.name == ".":
			add(library, "go test .", goTest(m.dir, how.full, endsNone))
			add(processes, "go test test/...", goTest(m.dir, how.full, endsItsOwn))
			add(harnesses, "go test test/chaos/...", goTest(m.dir, how.full, makesFaults))
		default:
			add(modules, "go test "+m.name, goTest(m.dir, how.full, everything))
		}
	}
	for _, goos := range []string{"darwin", "windows"} {
		// Only the library: the program is for Linux first. vet compiles the tests too. With empty caches
		// it compiles the standard library and SQLite first: the tests that end processes do not wait for
		// that, and no time is spent on optimising what is never run.
		add(modules, "go vet "+goos, command(root, []string{"GOOS=" + goos, "CGO_ENABLED=0"},
			"go", "vet", "-gcflags=all=-N -l", "./..."))
	}
	checks = append(checks, check{name: "attack", lane: processes,
		full: "every attack on the built program, and hostile programs for 10s", run: goTest(root, how.full, attacks)})
	checks = append(checks, check{name: "fuzz", lane: processes, full: "each fuzz target for " + how.fuzzTime,
		run: command(root, []string{"GOWORK="}, "scripts/fuzz", how.fuzzTime)})
	return checks
}

// command returns a check that passes if a command exits with 0, and is left out
// if the command is not installed.
func command(dir string, env []string, name string, args ...string) func(context.Context) result {
	return func(ctx context.Context) result {
		out, processor, err := output(ctx, dir, env, name, args...)
		r := result{processor: processor}
		switch {
		case errors.Is(err, exec.ErrNotFound):
			r = leftOut(name + " is not installed: run make setup")
		case err != nil:
			r.failure = fmt.Sprintf("%s\n%s %s: %v\n", bytes.TrimSpace(out), name, strings.Join(args, " "), err)
		}
		return r
	}
}

// gofmt returns a check for files that are not formatted. It runs the gofmt of the toolchain that
// go.mod names, because another version may format otherwise. The command exits with 0 even if it
// lists some files.
func gofmt(root string) func(context.Context) result {
	return func(ctx context.Context) result {
		toolchain, _, err := output(ctx, root, nil, "go", "env", "GOROOT")
		if err != nil {
			return failed(fmt.Sprintf("%s\ngo env GOROOT: %v\n", bytes.TrimSpace(toolchain), err))
		}
		name := filepath.Join(string(bytes.TrimSpace(toolchain)), "bin", "gofmt")
		out, processor, err := output(ctx, root, nil, name, "-l", "-s", ".")
		r := result{processor: processor}
		switch {
		case err != nil:
			r.failure = fmt.Sprintf("%s\n%s: %v\n", bytes.TrimSpace(out), name, err)
		case len(bytes.TrimSpace(out)) > 0:
			r.failure = fmt.Sprintf("%s\nformat them with: %s -s -w .\n", bytes.TrimSpace(out), name)
		}
		return r
	}
}

// output runs a command with GOWORK=off, so that the module is built without the others. It
// returns everything that the command printed and the processor time that it used.
func output(ctx context.Context, dir string, env []string, name string, args ...string) (
	printed []byte, processor time.Duration, err error,
) {
	var both bytes.Buffer
	cmd := prepare(ctx, dir, env, name, args...)
	cmd.Stdout, cmd.Stderr = &both, &both
	err = cmd.Run()
	return both.Bytes(), processorTime(cmd), err
}

// processorTime returns the processor time of a command that has ended. It includes the child
// processes that were waited for, and theirs: compilers, tests and the servers of tests.
func processorTime(cmd *exec.Cmd) time.Duration {
	if cmd.ProcessState == nil {
		return 0 // it did not start
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// goFlags returns the GOFLAGS of the environment with -trimpath added. Builds without absolute file
// paths are reused by other clones from the build cache, and by golangci-lint from its own cache.
// The go commands that tests run have the flag too, so they reuse the same builds.
var goFlags = sync.OnceValue(func() string {
	out, err := exec.CommandContext(context.Background(), "go", "env", "GOFLAGS").Output()
	if err != nil {
		return "-trimpath"
	}
	return strings.TrimSpace(string(bytes.TrimSpace(out)) + " -trimpath")
})

func prepare(ctx context.Context, dir string, env []string, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = slices.Concat(os.Environ(), []string{"GOWORK=off", "GOFLAGS=" + goFlags()}, env)
	// Interrupt the command when we are interrupted; go test passes it on.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// shellcheck returns a check of every shell script of the repository.
func shellcheck(root string) func(context.Context) result {
	return func(ctx context.Context) result {
		scripts, err := shellScripts(root)
		if err != nil {
			return failed(err.Error() + "\n")
		}
		return command(root, nil, "shellcheck", scripts...)(ctx)
	}
}

// shellScripts returns the executable files whose first line names a
// shell, with paths relative to root.
func shellScripts(root string) ([]string, error) {
	var found []string
	for _, pattern := range []string{".ci/*", "scripts/*", "bench/*", "deploy/*", "examples/*", "examples/*/*"} {
		paths, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pattern)))
		if err != nil {
			return nil, err
		}
		for _, file := range paths {
			content, err := os.ReadFile(file)
			if errors.Is(err, syscall.EISDIR) {
				continue
			}
			if err != nil {
				return nil, err
			}
			first, _, _ := bytes.Cut(content, []byte("\n"))
			if bytes.HasPrefix(first, []byte("#!")) && bytes.HasSuffix(first, []byte("sh")) {
				relative, err := filepath.Rel(root, file)
				if err != nil {
					return nil, err
				}
				found = append(found, relative)
			}
		}
	}
	if len(found) == 0 {
		return nil, errors.New("found no shell script to check: the patterns in shellScripts no longer fit the tree")
	}
	return found, nil
}
