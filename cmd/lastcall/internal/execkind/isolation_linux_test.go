package execkind

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/confine"
	"github.com/lastcall-go/lastcall/internal/proc"
	"github.com/lastcall-go/lastcall/task"
)

// isolated creates a fixture whose programs have PID namespaces.
func isolated(t *testing.T, script string) *fixture {
	t.Helper()
	f := newFixture(t, script)
	var err error
	if f.isolation, err = FindIsolation(&keeper); err != nil {
		t.Skipf("PID namespaces: run as root, or allow unprivileged user namespaces and mount a whole /proc (%v)", err)
	}
	return f
}

// The operator reads both the isolation and the error, so both must be right.
func TestFindIsolation_FindsWhatTheSystemAllowsToRootAndToOthers(t *testing.T) {
	found, err := FindIsolation(&keeper)
	if err != nil && found != confine.Shared || err == nil && found != confine.Possible() {
		t.Errorf("%v, %v", found, err)
	}
	t.Logf("%v, %v", found, err)
	asStranger(t)
}

func TestIsolation_AProgramSeesItsOwnProcessesAloneAndIsWhoItWas(t *testing.T) {
	f := isolated(t, `
		echo "uid $(id -u) gid $(id -g) parent $PPID"
		echo processes $(ls /proc | grep -c '^[0-9]')
		[ -e /proc/$SERVER ] || echo no server
		grep -E '^(CapAmb|CapInh|NoNewPrivs)' /proc/self/status
		[ $(id -u) = 0 ] || grep -E '^(CapEff|CapPrm)' /proc/self/status
		touch mine; echo "mine is of $(stat -c %u mine)"
		echo 5 > "$LASTCALL_CHECKPOINT"; exit 1`)
	f.kind.Env = append(f.kind.Env, "SERVER="+strconv.Itoa(os.Getpid()))
	id := f.enqueue("{}")
	f.serve(time.Minute)
	got := f.ends(id)
	out := f.output(id)
	const none = "0000000000000000"
	wanted := []string{
		fmt.Sprintf("uid %d gid %d parent 1\n", os.Getuid(), os.Getgid()), "NoNewPrivs:\t1\n", "CapAmb:\t" + none, "CapInh:\t" + none,
		fmt.Sprintf("mine is of %d\n", os.Getuid()), "no server\n",
	}
	if os.Getuid() != 0 {
		wanted = append(wanted, "CapEff:\t"+none, "CapPrm:\t"+none)
	}
	for _, line := range wanted {
		if !strings.Contains(out, line) {
			t.Errorf("%q is missing in\n%s", line, out)
		}
	}
	var processes int
	if _, after, ok := strings.Cut(out, "processes "); ok {
		_, _ = fmt.Sscan(after, &processes) // on an error it stays 0, which is too few
	}
	if processes < 2 || processes > 6 { // the shim, the shell, its subshell, ls and grep
		t.Errorf("it sees %d processes", processes)
	}
	if string(got.Checkpoint) != `{"text":"5\n"}` {
		t.Errorf("checkpoint %s", got.Checkpoint)
	}
	f.stop()
	asStranger(t)
}

func TestIsolation_AProgramCanNeitherStopNorKillItsShim(t *testing.T) {
	f := isolated(t, `
		trap '' TERM HUP INT
		for s in STOP KILL TSTP TTIN QUIT ABRT SEGV BUS FPE ILL TRAP SYS USR1 XCPU; do kill -$s $PPID; kill -$s -1; done 2>/dev/null
		setsid sh -c 'trap "" TERM; kill -STOP 1; exec sleep 1000' &
		sh -c 'kill -STOP 1; trap "" TERM; while :; do sleep 1000; done' & 
		echo > ready; while :; do kill -STOP $PPID; kill -KILL $PPID; done`)
	f.kind.Timeout, f.kind.KillAfter = 2*time.Second, 300*time.Millisecond
	id := f.enqueue("{}")
	f.serve(time.Minute)
	f.prints("ready")
	began := time.Now()
	want(t, f.ends(id), task.StatusFailed, "", 1, 0, 0, "timeout of the kind exceeded (2s)")
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it ended after %v", took)
	}
	if left := below(t, os.Getpid()); len(left) > 0 {
		t.Errorf("alive: %+v", left)
	}
	f.stop()
	asStranger(t)
}

// below lists the living descendants of a process.
func below(t *testing.T, pid int) (alive []proc.Process) {
	t.Helper()
	all, err := proc.Descendants(pid)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if !p.Zombie() {
			alive = append(alive, p)
		}
	}
	return alive
}

func TestIsolation_EverythingOfAProgramDiesWithItsShim(t *testing.T) {
	f := isolated(t, `
		[ "$LASTCALL_RUN" = 1 ] || exit 0
		for i in 1 2 3 4 5 6 7 8; do setsid sh -c 'while :; do sh -c : ; done' & done
		echo > ready; while :; do sleep 1000; done`)
	id := f.enqueue("{}")
	f.serve(time.Minute)
	f.prints("ready")
	children, err := proc.Children(os.Getpid())
	if err != nil || len(children) != 1 {
		t.Fatalf("%+v, %v", children, err)
	}
	shim, err := os.FindProcess(children[0].PID)
	if err != nil {
		t.Fatal(err)
	}
	if err := shim.Kill(); err != nil {
		t.Fatal(err)
	}
	want(t, f.ends(id), task.StatusSucceeded, "", 0, 0, 1, "")
	if left := below(t, os.Getpid()); len(left) > 0 {
		t.Errorf("alive: %+v", left)
	}
	f.stop()
	asStranger(t)
}

func TestIsolation_AProgramsMountsAreItsOwnAndThoseOutsideReachIt(t *testing.T) {
	f := isolated(t, `
		mkdir inside; mount -t tmpfs none inside && touch inside/file && echo > ready
		until [ -e outside/later/file ]; do sleep 0.02; done`)
	outside := filepath.Join(f.dir, "outside")
	later := filepath.Join(outside, "later")
	if err := os.MkdirAll(later, 0o700); err != nil {
		t.Fatal(err)
	}
	// The mount is shared, as a service manager configures it on most machines.
	if err := errors.Join(unix.Mount(outside, outside, "", unix.MS_BIND, ""), unix.Mount("", outside, "", unix.MS_SHARED, "")); err != nil {
		t.Skipf("mounts: run as root (%v)", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(outside, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	id := f.enqueue("{}")
	f.serve(time.Minute)
	f.prints("ready")
	if _, err := os.Stat(filepath.Join(f.dir, "inside", "file")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a program has mounted is seen outside: %v", err)
	}
	if err := errors.Join(unix.Mount("none", later, "tmpfs", 0, ""), os.WriteFile(filepath.Join(later, "file"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	want(t, f.ends(id), task.StatusSucceeded, "", 0, 0, 0, "")
	f.stop()
}

func TestIsolation_AKindWithHostPIDIsLeftWhereTheServerIs(t *testing.T) {
	f := isolated(t, `[ -d /proc/$SERVER ] || exit 2; kill -0 $SERVER || exit 3; [ $PPID != 1 ] || exit 4`)
	f.kind.HostPID, f.kind.Env = true, append(f.kind.Env, "SERVER="+strconv.Itoa(os.Getpid()))
	id := f.enqueue("{}")
	f.serve(time.Minute)
	want(t, f.ends(id), task.StatusSucceeded, "", 0, 0, 0, "")
	f.stop()
	asStranger(t)
}

// Root may look into everything, so this is about other users.
func TestUndumpable_AProgramOfTheSameUserGetsNothingOfServerAndShim(t *testing.T) {
	if asStranger(t) {
		return
	}
	if err := confine.Undumpable(); err != nil { // as lastcall serve does
		t.Fatal(err)
	}
	for _, shared := range []bool{true, false} {
		f := newFixture(t, `exec "$NOSY" nosy $PPID $SERVER`)
		if !shared {
			f = isolated(t, `exec "$NOSY" nosy $PPID`)
		}
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		f.kind.Env = append(f.kind.Env, "NOSY="+self, "SERVER="+strconv.Itoa(os.Getpid()))
		id := f.enqueue("{}")
		f.serve(time.Minute)
		want(t, f.ends(id), task.StatusSucceeded, "", 0, 0, 0, "")
		if out := f.output(id); out != "tried all\n" {
			t.Errorf("shared %v: %s", shared, out)
		}
		f.stop()
	}
}
