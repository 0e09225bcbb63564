//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lastcall-go/lastcall/internal/proc"
	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wiretest"
)

// startRun starts a run of a program in a directory, as the real server does.
func startRun(t *testing.T, h *wiretest.Harness, dir string, nth int, plan string, env ...string) *wiretest.Process {
	t.Helper()
	payload := filepath.Join(dir, "payload")
	if err := os.WriteFile(payload, []byte(plan), 0o600); err != nil {
		t.Fatal(err)
	}
	return h.Start("w", "program", append(env, "LASTCALL_PAYLOAD_FILE="+payload, "LASTCALL_CHECKPOINT="+filepath.Join(dir, "checkpoint"),
		"LASTCALL_STOP_FILE="+filepath.Join(dir, "stop"), "LASTCALL_TASK_ID=id", fmt.Sprintf("LASTCALL_FENCE=%d", 100+nth), fmt.Sprintf("LASTCALL_RUN=%d", nth))...)
}

func TestProgram_DoesWhatThePlanSays(t *testing.T) {
	t.Parallel()
	h := onSQLite(t)
	dir := t.TempDir()
	const plan = `{"Seq": 1, "Kind": "program", "Steps": 20, "Save": true, "Exit": 1, "Fail": 1, "HandOver": true, "Log": 1, "Progress": true, "PaceMS": 100}`
	startRun(t, h, dir, 1, plan).End(0, -1)
	startRun(t, h, dir, 2, plan).End(0, codeFailed)
	p := startRun(t, h, dir, 3, plan)
	h.AwaitStep(1, 1, 1)
	if err := os.WriteFile(filepath.Join(dir, "stop"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.End(0, codeFailed)
	if err := os.Remove(filepath.Join(dir, "stop")); err != nil {
		t.Fatal(err)
	}
	p = startRun(t, h, dir, 4, plan)
	p.End(0, 0)
	h.WantHandedOver(1, 20, "begun at 0: 0 begun at 0: 0 ")
	if log := p.Log(); !strings.Contains(log, "run 104, line 0\n") || !strings.Contains(log, "::progress 1.000 step 19\n") {
		t.Error(log)
	}
}

func TestProgram_LeavesProcessesBehind(t *testing.T) {
	t.Parallel()
	h := onSQLite(t)
	marker := fmt.Sprintf("CHAOS_NAME=leaves-%d", os.Getpid())
	p := startRun(t, h, t.TempDir(), 1, `{"Seq": 1, "Kind": "program", "Children": 2}`, marker)
	h.AwaitStep(1, history.Finished, 1)
	left := withEnvironment(t, marker, p.PID())
	defer func() {
		for _, pid := range left {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}()
	if len(left) != 2 {
		t.Fatalf("%d processes are left, want 2: %v", len(left), left)
	}
	for _, pid := range left {
		if session, err := unix.Getsid(pid); err != nil || session != pid {
			t.Errorf("process %d is in session %d, %v", pid, session, err)
		}
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil || !proc.Alive(pid) {
			t.Errorf("process %d ended by SIGTERM, %v", pid, err)
		}
	}
}

func TestProgram_LeavesHostileProcessesBehindWhoseNumberIsBounded(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("they run as another user, which only root can make them")
	}
	h := onSQLite(t)
	const user = 39999
	marker := fmt.Sprintf("CHAOS_NAME=hostile-%d", os.Getpid())
	p := startRun(t, h, t.TempDir(), 1, `{"Seq": 1, "Kind": "program", "Children": 2, "Hostile": true}`, marker, fmt.Sprintf("CHAOS_HOSTILE=%d", user))
	h.AwaitStep(1, history.Finished, 1) // its descendants have its output, so it seems to continue
	defer func() {
		for left := withEnvironment(t, marker, 0); len(left) > 0; left = withEnvironment(t, marker, 0) {
			// None can start another one in between.
			for _, sig := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} {
				for _, pid := range left {
					syscall.Kill(pid, sig)
				}
			}
		}
	}()
	most := 0
	for began := time.Now(); most < 8; {
		left := withEnvironment(t, marker, p.PID())
		most = max(most, len(left))
		for _, pid := range left {
			info, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
			if err == nil && info.Sys().(*syscall.Stat_t).Uid != user {
				t.Fatalf("process %d is user %d", pid, info.Sys().(*syscall.Stat_t).Uid)
			}
		}
		if time.Since(began) > 20*time.Second {
			t.Fatalf("there were %d processes at most", most)
		}
	}
	for range 50 {
		if n := len(withEnvironment(t, marker, p.PID())); n > int(hostileLimits[unix.RLIMIT_NPROC]) {
			t.Fatalf("%d processes", n)
		}
	}
}

func TestProgram_StartsNothingHostileWithoutAUserForIt(t *testing.T) {
	t.Setenv("CHAOS_HOSTILE", "")
	if err := forkForEver(); err == nil {
		t.Error("it started")
	}
	t.Setenv("CHAOS_HOSTILE", "0")
	if err := forkForEver(); err == nil {
		t.Error("it started as root")
	}
}

// withEnvironment returns the processes, except one, that have a text in their environment.
func withEnvironment(t *testing.T, marker string, but int) (pids []int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err == nil && pid != but && bytes.Contains(text, []byte(marker)) {
			pids = append(pids, pid)
		}
	}
	return pids
}
