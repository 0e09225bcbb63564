//go:build linux

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/internal/proc"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// running starts a run and waits until it is in progress. It returns the supervisor, the child that
// executes the run, and the run's directory.
func running(t *testing.T, store, faults string) (supervisor *os.Process, child int, scratch string, wait func() int) {
	t.Helper()
	dir := t.TempDir()
	// The test ends the run, also on a machine that takes a minute to start five processes.
	cmd, out := harness(t, "-duration", "10m", "-store", store, "-faults", faults, "-dir", dir)
	if err := commands.start(cmd, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	wait = func() int {
		_ = cmd.Wait() // ProcessState has the outcome
		return cmd.ProcessState.ExitCode()
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			wait()
		}
		if t.Failed() {
			t.Log(out)
		}
	})
	eventually(t, "five processes are ready", func() bool {
		b, err := os.ReadFile(filepath.Join(dir, "history.jsonl"))
		return err == nil && bytes.Count(b, []byte(`"What":"ready"`)) >= 5
	})
	children, err := proc.Children(cmd.Process.Pid)
	if err != nil || len(children) != 1 {
		t.Fatalf("children: %v, %v", children, err)
	}
	child = children[0].PID
	env, err := os.ReadFile("/proc/" + strconv.Itoa(child) + "/environ")
	if err != nil {
		t.Fatal(err)
	}
	for v := range bytes.SplitSeq(env, []byte{0}) {
		if text, ok := strings.CutPrefix(string(v), insideVariable+"="); ok {
			in, err := readInside(text)
			if err != nil {
				t.Fatal(err)
			}
			scratch = in.Scratch
		}
	}
	// Faults may have killed some of the five by now: they are started again.
	eventually(t, "three processes are found by "+scratch, func() bool {
		return len(marked(wire.EnvSocket+"="+filepath.Join(scratch, "hub"))) >= 3
	})
	return cmd.Process, child, scratch, wait
}

// nothingIsLeft waits until nothing of a run is left.
func nothingIsLeft(t *testing.T, scratch string) {
	t.Helper()
	eventually(t, "no process is left", func() bool { return len(marked(wire.EnvSocket+"="+filepath.Join(scratch, "hub"))) == 0 })
	eventually(t, "no server is left", func() bool {
		lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
		return err == nil && !slices.ContainsFunc(lines, func(path string) bool {
			line, _ := os.ReadFile(path) // it may have ended
			return bytes.Contains(line, []byte(scratch+"/"))
		})
	})
	eventually(t, "no mount is left", func() bool {
		mounts, err := os.ReadFile("/proc/self/mounts")
		return err == nil && !bytes.Contains(mounts, []byte(scratch+"/"))
	})
	eventually(t, "no file is left", func() bool {
		_, err := os.Stat(scratch)
		return os.IsNotExist(err)
	})
	for _, controller := range []string{memoryController, pidsController} {
		if g := ownCgroup(controller, filepath.Base(scratch)); g.err == nil {
			if _, err := os.Stat(g.dir); err == nil {
				t.Errorf("%s is left", g.dir)
			}
		}
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not %s after a minute", what)
		}
	}
}

// onStores runs a test with a directory, a disk and a memory cgroup, and with PostgreSQL.
func onStores(t *testing.T, test func(t *testing.T, store, faults string)) {
	t.Parallel()
	t.Run(sqlite, func(t *testing.T) {
		t.Parallel()
		test(t, sqlite, "stop,oom,sqlite-disk-full")
	})
	t.Run(postgres, func(t *testing.T) {
		t.Parallel()
		if err := pgtest.Missing(); err != nil {
			t.Skip(err)
		}
		test(t, postgres, "stop,oom,pg-disk-full-data,pg-pooler-session")
	})
}

func TestSupervisor_RemovesEverythingOfARunThatWasKilled(t *testing.T) {
	onStores(t, func(t *testing.T, store, faults string) {
		_, child, scratch, wait := running(t, store, faults)
		if err := syscall.Kill(child, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if code := wait(); code != codeFailed {
			t.Errorf("exit code %d", code)
		}
		nothingIsLeft(t, scratch)
	})
}

func TestSupervisor_IsKilledAndTheRunRemovesEverything(t *testing.T) {
	onStores(t, func(t *testing.T, store, faults string) {
		supervisor, _, scratch, wait := running(t, store, faults)
		if err := supervisor.Kill(); err != nil {
			t.Fatal(err)
		}
		wait()
		nothingIsLeft(t, scratch)
	})
}

func TestSupervisor_EndsARunEarlyAtASignal(t *testing.T) {
	t.Parallel()
	supervisor, _, scratch, wait := running(t, sqlite, "stop")
	if err := supervisor.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := wait(); code != codeFailed {
		t.Errorf("exit code %d", code)
	}
	nothingIsLeft(t, scratch)
}
