package rehearse

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/freeport"
)

// The times of events agree with the kernel's to five milliseconds, apart from the time that this
// process waited for a processor: the start, the stop signal, the exit, and SIGKILL.
func TestEvents_HaveTheTimesOfTheKernel(t *testing.T) {
	if testing.Short() {
		t.Skip("make test-full: the times of the kernel, on a machine that does nothing else")
	}
	kernel := trace(t)
	const exact, runs = 5 * time.Millisecond, 8
	for _, how := range []string{"at-once", "hangs"} {
		var late []string
		for i := range runs {
			// The kernel keeps 15 bytes of a name.
			name := fmt.Sprintf("rehearsed%d%c", os.Getpid()%100000, 'a'+i)
			program := filepath.Join(t.TempDir(), name)
			if out, err := exec.CommandContext(t.Context(), "cp", server, program).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			waited := waits()
			r, err := rehearse(t, Config{
				Program: Container{Command: []string{program, how}, Env: []string{"ADDRESS=" + freeport.Address(t)}},
				Grace:   time.Second, Scenarios: []Scenario{Lag0},
			})
			if err != nil {
				t.Fatal(err)
			}
			seen, lag := kernel(program), waited()
			if len(seen) < 3 {
				t.Fatalf("the kernel tells %v of %s\n%s", seen, name, describe(r))
			}
			worst := time.Duration(0)
			for _, e := range r.Events {
				if at, ok := seen[e.What]; ok {
					worst = max(worst, (e.At - (at - seen["started"])).Abs())
				}
			}
			if worst <= exact+lag {
				t.Logf("%s: %v, and this process waited %v", how, worst, lag)
				late = nil
				break
			}
			late = append(late, fmt.Sprintf("%v (waited %v)", worst, lag))
		}
		if late != nil {
			t.Errorf("%s: events were %s from the kernel's, want at most %v once", how, strings.Join(late, ", "), exact)
		}
	}
}

// waits measures the longest time that this process waits for a processor, until the returned
// function is called.
func waits() func() time.Duration {
	stop, most := make(chan struct{}), make(chan time.Duration)
	go func() {
		var longest time.Duration
		for {
			began := time.Now()
			select {
			case <-time.After(time.Millisecond):
				longest = max(longest, time.Since(began)-time.Millisecond)
			case <-stop:
				most <- longest
				return
			}
		}
	}()
	return func() time.Duration { close(stop); return <-most }
}

// trace begins to record what the kernel does with processes and signals. The returned function
// reads the events of a program, by the names that the rehearsal uses for them.
func trace(t *testing.T) func(program string) map[string]time.Duration {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("nodev", dir, "tracefs", 0, ""); err != nil {
		t.Skipf("the kernel's events cannot be traced here: mount tracefs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	instance := filepath.Join(dir, "instances", fmt.Sprintf("rehearse-%d", os.Getpid()))
	if err := os.Mkdir(instance, 0o700); err != nil {
		t.Skipf("the kernel's events cannot be traced here: %v", err)
	}
	t.Cleanup(func() {
		if err := os.Remove(instance); err != nil { // the directory is full of the kernel's files
			t.Error(err)
		}
	})
	for _, file := range []string{"events/sched/sched_process_exec/enable", "events/sched/sched_process_exit/enable", "events/signal/signal_generate/enable"} {
		if err := os.WriteFile(filepath.Join(instance, file), []byte("1"), 0o600); err != nil {
			t.Skipf("the kernel's events cannot be traced here: %v", err)
		}
	}
	return func(program string) map[string]time.Duration {
		text, err := os.ReadFile(filepath.Join(instance, "trace"))
		if err != nil {
			t.Fatal(err)
		}
		return kernelEvents(string(text), program)
	}
}

// A line is like this:
//
//	server-123 [001] d..1. 72305.186429: signal_generate: sig=15 errno=0 code=0 comm=server
//	pid=123 grp=1 res=0
var kernelLine = regexp.MustCompile(`(?m)^.*\s(\d+\.\d+): (\w+): (.*)$`)

// kernelEvents finds the events of a program in a trace.
func kernelEvents(text, program string) map[string]time.Duration {
	found := map[string]time.Duration{}
	comm := filepath.Base(program)
	for _, line := range kernelLine.FindAllStringSubmatch(text, -1) {
		seconds, err := strconv.ParseFloat(line[1], 64)
		if err != nil {
			continue
		}
		at := time.Duration(seconds * float64(time.Second))
		switch rest := line[3] + " "; {
		case line[2] == "sched_process_exec" && strings.Contains(rest, "filename="+program+" "):
			found["started"] = at
		case line[2] == "sched_process_exit" && strings.Contains(rest, "comm="+comm+" "):
			found["exited"] = at // the last of its threads
		case line[2] == "signal_generate" && strings.Contains(rest, "comm="+comm+" ") && strings.HasPrefix(rest, "sig=15 "):
			found["stop signal"] = at
		case line[2] == "signal_generate" && strings.Contains(rest, "comm="+comm+" ") && strings.HasPrefix(rest, "sig=3 "):
			found["SIGKILL"] = at // a Go program gets SIGQUIT first, before it is killed
		}
	}
	return found
}
