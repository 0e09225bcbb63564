package rehearse

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/freeport"
)

// recorder is a test that may fail.
type recorder struct {
	t              *testing.T
	logs, errors   []string
	fatal, skipped string
}

func (*recorder) Helper()                    {}
func (r *recorder) Context() context.Context { return r.t.Context() }
func (r *recorder) TempDir() string          { return r.t.TempDir() }
func (r *recorder) Log(args ...any)          { r.logs = append(r.logs, fmt.Sprint(args...)) }
func (r *recorder) Error(args ...any)        { r.errors = append(r.errors, fmt.Sprint(args...)) }
func (r *recorder) Fatal(args ...any)        { r.fatal = fmt.Sprint(args...); runtime.Goexit() }
func (r *recorder) Skip(args ...any)         { r.skipped = fmt.Sprint(args...); runtime.Goexit() }

// recorded runs a rehearsal in a test of its own.
func recorded(t *testing.T, c Config) (*recorder, *Report) {
	t.Helper()
	r, done := &recorder{t: t}, make(chan struct{})
	var report *Report
	go func() {
		defer close(done)
		report = Run(r, c)
	}()
	<-done
	return r, report
}

func TestRun_BuildsAMainPackageAndFailsWithALineForEachFinding(t *testing.T) {
	t.Parallel()
	c := Config{Program: Container{Command: []string{"./testdata/server", "no-handler"}, Env: []string{"ADDRESS=" + freeport.Address(t)}}, Grace: 10 * time.Second}
	r, report := recorded(t, c)
	if report == nil || !slices.Equal(report.Command, c.Program.Command) {
		t.Fatalf("%+v", r)
	}
	fails, warns := codes(&report.Results[0])
	if len(r.errors) != len(fails) || !slices.Contains(fails, NoHandler) || r.fatal != "" || r.skipped != "" {
		t.Errorf("%v: %+v", fails, r)
	}
	for i, code := range fails {
		if line := r.errors[i]; !strings.HasPrefix(line, "delete: "+string(code)+": the program ") || strings.Contains(line, "\n") {
			t.Errorf("%s is reported as %q", code, line)
		}
	}
	for _, code := range warns {
		if !slices.ContainsFunc(r.logs, func(l string) bool { return strings.HasPrefix(l, "warning: delete: "+string(code)) }) {
			t.Errorf("%s is not in %q", code, r.logs)
		}
	}
	if !strings.Contains(strings.Join(r.logs, "\n"), "stop signal") {
		t.Errorf("nothing is said of what happened: %q", r.logs)
	}
}

func TestRun_AProgramThatEndsWellPasses(t *testing.T) {
	t.Parallel()
	r, report := recorded(t, Config{Program: Container{Command: []string{server, "good"}, Env: []string{"ADDRESS=" + freeport.Address(t)}}})
	if report == nil || len(r.errors) > 0 || !report.OK() {
		t.Errorf("%+v", r)
	}
}

func TestRun_WhatCannotBeBuiltIsFatalAndSaysWhy(t *testing.T) {
	t.Parallel()
	broken := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module broken\n", "main.go": "package main\n\nfunc main() { undefined() }\n"} {
		if err := os.WriteFile(filepath.Join(broken, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		command []string
		want    string
	}{
		{nil, "no main package"}, // this test's directory
		{[]string{broken}, "undefined: undefined"},
		{[]string{"./none"}, "no such file"},
	} {
		r, _ := recorded(t, Config{Program: Container{Command: c.command}})
		if !strings.Contains(r.fatal, c.want) {
			t.Errorf("%q: %+v; want %s", c.command, r, c.want)
		}
	}
}

func TestRun_BuildsAsTheTestWasBuilt(t *testing.T) {
	if got := slices.Contains(buildFlags(), "-race=true"); got != raceEnabled {
		t.Errorf("the flags are %q, and the race detector is on: %v", buildFlags(), raceEnabled)
	}
}
