package execkind

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lastcall-go/lastcall/internal/execfile"
	"github.com/lastcall-go/lastcall/task"
)

// released waits until a task was released.
func (f *fixture) released(id string) task.Task {
	f.t.Helper()
	return f.reaches(id, "given back", func(t task.Task) bool { return t.Status == task.StatusInterrupted })
}

func TestLacking_WhatTheMachineLacksGivesTheTaskBackUntilItIsThere(t *testing.T) {
	for name, c := range map[string]struct {
		breaks, mends func(f *fixture) error
		says          string
	}{
		"the temporary directory": {
			func(f *fixture) error { return os.Remove(f.temp) },
			func(f *fixture) error { return os.Mkdir(f.temp, 0o700) },
			"a run needs a directory of its own: mkdir",
		},
		"the program": {
			func(f *fixture) error { f.kind.Path = filepath.Join(f.dir, "program"); return nil },
			func(f *fixture) error { return execfile.Write(f.kind.Path, []byte("#!/bin/sh\n"), 0o700) },
			"cannot be started: fork/exec",
		},
		"the interpreter": {
			func(f *fixture) error {
				f.kind.Path = filepath.Join(f.dir, "program")
				return execfile.Write(f.kind.Path, []byte("#!"+f.dir+"/interpreter\n"), 0o700)
			},
			func(f *fixture) error { return os.Symlink("/bin/true", filepath.Join(f.dir, "interpreter")) },
			`interpreter", which is not there: install it`,
		},
		"what a shim needs to begin": {
			func(*fixture) error { return os.WriteFile(earlyDeath(os.Getpid()), nil, 0o600) },
			func(*fixture) error { return os.Remove(earlyDeath(os.Getpid())) },
			"the shim that was to start the program has ended before (killed by signal 9)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, "exit 0")
			f.kind.MaxCrashes = 1
			t.Cleanup(func() { _ = os.Remove(earlyDeath(os.Getpid())) })
			if err := c.breaks(f); err != nil {
				t.Fatal(err)
			}
			id := f.enqueue("{}")
			f.serve(time.Minute)
			want(t, f.released(id), task.StatusInterrupted, task.ReasonReleased, 0, 0, 0, c.says)
			if paused := f.worker.PausedKinds(); len(paused) != 1 || !strings.Contains(paused[0].Error, c.says[:20]) {
				t.Errorf("paused are %+v", paused)
			}
			if err := c.mends(f); err != nil {
				t.Fatal(err)
			}
			want(t, f.ends(id), task.StatusSucceeded, "", 0, 0, 0, "")
			f.stop()
		})
	}
}

func TestLacking_NoDirectoryIsLeftBehindWhereDescriptorsAreOut(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	full := fill(t)
	s, err := newScratch([]byte("{}"), nil)
	if err == nil || !strings.Contains(err.Error(), "too many open files") {
		t.Errorf("%v, %v", s, err)
	}
	full()
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

// fill opens as many files as this process may, until the function that it returns is called.
func fill(t *testing.T) (empty func()) {
	t.Helper()
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 64, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	var all []*os.File
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		all = append(all, f)
	}
	return func() {
		for _, f := range all {
			_ = f.Close() // only read
		}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
			t.Fatal(err)
		}
	}
}
