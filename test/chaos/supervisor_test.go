//go:build linux

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/proc"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// running starts a run, waits until it is in the middle of it, and returns the supervisor, the child
// that does the run, and where this has its files.
func running(t *testing.T) (supervisor *os.Process, child int, scratch string, wait func() int) {
	t.Helper()
	dir := t.TempDir()
	cmd, out := harness(t, "-duration", "1m", "-faults", "stop,oom", "-dir", dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	wait = func() int {
		_ = cmd.Wait() // the state tells
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
	workers, err := proc.Children(child)
	if err != nil || len(workers) < 5 {
		t.Fatalf("workers: %v, %v", workers, err)
	}
	env, err := os.ReadFile("/proc/" + strconv.Itoa(workers[0].PID) + "/environ")
	if err != nil {
		t.Fatal(err)
	}
	for v := range bytes.SplitSeq(env, []byte{0}) {
		if path, ok := strings.CutPrefix(string(v), wire.EnvSocket+"="); ok {
			scratch = filepath.Dir(path)
		}
	}
	if len(marked(wire.EnvSocket+"="+filepath.Join(scratch, "hub"))) < 5 {
		t.Fatalf("no processes are found by %s", scratch)
	}
	return cmd.Process, child, scratch, wait
}

// nothingIsLeft waits until there is nothing of a run.
func nothingIsLeft(t *testing.T, scratch string) {
	t.Helper()
	eventually(t, "no process is left", func() bool { return len(marked(wire.EnvSocket+"="+filepath.Join(scratch, "hub"))) == 0 })
	eventually(t, "no file is left", func() bool {
		_, err := os.Stat(scratch)
		return os.IsNotExist(err)
	})
	if g := ownCgroup(filepath.Base(scratch)); g.err == nil {
		if _, err := os.Stat(g.dir); err == nil {
			t.Errorf("%s is left", g.dir)
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

func TestSupervisor_RemovesEverythingOfARunThatWasKilled(t *testing.T) {
	t.Parallel()
	_, child, scratch, wait := running(t)
	if err := syscall.Kill(child, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if code := wait(); code != codeFailed {
		t.Errorf("exit code %d", code)
	}
	nothingIsLeft(t, scratch)
}

func TestSupervisor_IsKilledAndTheRunRemovesEverything(t *testing.T) {
	t.Parallel()
	supervisor, _, scratch, wait := running(t)
	if err := supervisor.Kill(); err != nil {
		t.Fatal(err)
	}
	wait()
	nothingIsLeft(t, scratch)
}

func TestSupervisor_EndsARunEarlyAtASignal(t *testing.T) {
	t.Parallel()
	supervisor, _, scratch, wait := running(t)
	if err := supervisor.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := wait(); code != codeFailed {
		t.Errorf("exit code %d", code)
	}
	nothingIsLeft(t, scratch)
}
