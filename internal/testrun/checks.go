package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// allChecks returns every check in the order in which it is worth knowing: the
// cheap ones first, the tests before the slowest tool.
func allChecks(root string, modules []module, getenv func(string) string) []check {
	checks := []check{
		{"gofmt", gofmt(root)},
		{"shellcheck", shellcheck(root)},
	}
	each := func(name string, run func(dir string) func(context.Context) result) {
		for _, m := range modules {
			checks = append(checks, check{name + " " + m.name, run(m.dir)})
		}
	}
	each("go mod tidy", func(dir string) func(context.Context) result {
		return command(dir, nil, "go", "mod", "tidy", "-diff")
	})
	// The modules are tested one by one, with the versions that their own go.mod
	// chooses: that is what their users get. This one check is for a clone.
	if len(modules) > 1 {
		patterns := []string{"build", "-o", os.DevNull}
		for _, m := range modules {
			patterns = append(patterns, "./"+path.Join(m.name, "..."))
		}
		checks = append(checks, check{"workspace", command(root, []string{"GOWORK="}, "go", patterns...)})
	}
	each("go vet", func(dir string) func(context.Context) result { return command(dir, nil, "go", "vet", "./...") })
	for _, goos := range []string{"darwin", "windows"} {
		// The library alone: the program is for Linux first. vet compiles the
		// tests too.
		checks = append(checks, check{"go vet " + goos, command(root, []string{"GOOS=" + goos, "CGO_ENABLED=0"}, "go", "vet", "./...")})
	}
	each("staticcheck", func(dir string) func(context.Context) result {
		return command(dir, nil, "staticcheck", "./...")
	})
	each("golangci-lint", func(dir string) func(context.Context) result {
		return command(dir, nil, "golangci-lint", "run", "--config", absolute(root, ".golangci.yml"), "./...")
	})
	each("go test", goTest)
	return append(checks, check{"govulncheck", govulncheck(modules, getenv("GOVULNDB"))})
}

func absolute(root, name string) string {
	full, err := filepath.Abs(filepath.Join(root, name))
	if err != nil {
		return name
	}
	return full
}

// command is a check that passes when a command exits with 0 and is left out
// when its tool is not installed.
func command(dir string, env []string, name string, args ...string) func(context.Context) result {
	return func(ctx context.Context) result {
		out, err := output(ctx, dir, env, name, args...)
		switch {
		case errors.Is(err, exec.ErrNotFound):
			return leftOut(name + " is not installed: run make setup")
		case err != nil:
			return failed(fmt.Sprintf("%s\n%s %s: %v\n", bytes.TrimSpace(out), name, strings.Join(args, " "), err))
		}
		return result{}
	}
}

// gofmt finds files that are not formatted. It exits with 0 and lists them.
func gofmt(root string) func(context.Context) result {
	return func(ctx context.Context) result {
		out, err := output(ctx, root, nil, "gofmt", "-l", "-s", ".")
		switch {
		case err != nil:
			return failed(fmt.Sprintf("%s\ngofmt: %v\n", bytes.TrimSpace(out), err))
		case len(bytes.TrimSpace(out)) > 0:
			return failed(fmt.Sprintf("%s\nformat them with: gofmt -s -w .\n", bytes.TrimSpace(out)))
		}
		return result{}
	}
}

// output runs a command with GOWORK=off, so that each module stands alone, and
// returns everything it printed.
func output(ctx context.Context, dir string, env []string, name string, args ...string) ([]byte, error) {
	var both bytes.Buffer
	cmd := prepare(ctx, dir, env, name, args...)
	cmd.Stdout, cmd.Stderr = &both, &both
	err := cmd.Run()
	return both.Bytes(), err
}

func prepare(ctx context.Context, dir string, env []string, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = slices.Concat(os.Environ(), []string{"GOWORK=off"}, env)
	// Interrupt the command when we are interrupted; go test passes it on.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// goTest runs a module's tests and reads their events: two packages at a time, since most tests wait most of the
// time, and then, alone, those whose tests end real processes in the middle of real work. What these prove about
// time holds better on a machine that does nothing else. Within a package more run side by side than there
// are cores. The limit for a package is one for a machine that has other things to do: on an idle one none
// comes near it.
func goTest(dir string) func(context.Context) result {
	return func(ctx context.Context) result {
		var complaints bytes.Buffer
		pipe, write := io.Pipe()
		test := func(together string, packages ...string) error {
			if len(packages) == 0 {
				return nil
			}
			args := []string{"test", "-json", "-race", "-shuffle=on", "-p=" + together, "-parallel=4", "-timeout=15m"}
			cmd := prepare(ctx, dir, nil, "go", append(args, packages...)...)
			cmd.Stdout, cmd.Stderr = write, &complaints
			return cmd.Run()
		}
		done := make(chan error, 1)
		go func() {
			some, alone := packages(ctx, dir)
			done <- errors.Join(test("2", some...), test("1", alone...), write.Close())
		}()
		t, readErr := readEvents(pipe)
		return judge(t, errors.Join(<-done, readErr), complaints.String())
	}
}

// packages lists a module's packages, and apart those that are tested alone: the ones called test. What cannot be listed go
// test will complain about.
func packages(ctx context.Context, dir string) (some, alone []string) {
	out, err := output(ctx, dir, nil, "go", "list", "./...")
	if err != nil {
		return []string{"./..."}, nil
	}
	for p := range strings.FieldsSeq(string(out)) {
		if path.Base(p) == "test" {
			alone = append(alone, p)
		} else {
			some = append(some, p)
		}
	}
	return some, alone
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

// shellcheck reads every script: what stands in scripts without an ending, and
// the runner's.
func shellcheck(root string) func(context.Context) result {
	return func(ctx context.Context) result {
		scripts, err := shellScripts(root)
		if err != nil {
			return failed(err.Error() + "\n")
		}
		return command(root, nil, "shellcheck", scripts...)(ctx)
	}
}

// shellScripts returns the executable files that begin with a line naming a
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
