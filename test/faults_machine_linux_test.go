package test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lastcall-go/lastcall/task"
)

// manyTasks is the number of tasks for a server whose machine lacks something.
func manyTasks(t *testing.T) int {
	if testing.Short() {
		t.Log("make test-full: 150 tasks instead of 40")
		return 40
	}
	return 150
}

// sickServer starts a server of the workshop with a temporary directory of its own. The shell runs
// the script with the server's command line as its arguments.
func (w *workshop) sickServer(script, temp string, attr *syscall.SysProcAttr, args ...string) *server {
	w.t.Helper()
	args = append([]string{"serve", "--store", w.store, "--config", w.config, "--listen", "127.0.0.1:0", "--log-format", "text"}, args...)
	cmd := exec.Command("sh", append([]string{"-c", script, program(w.t)}, args...)...)
	cmd.Env = append(os.Environ(), "KUBERNETES_SERVICE_HOST=", "LASTCALL_GRACE=", "TMPDIR="+temp)
	cmd.SysProcAttr = attr
	s := &server{process: begin(w.t, cmd)}
	line := s.waitLog("lastcall serves ")
	s.url = line[strings.LastIndex(line, "http://"):]
	return s
}

// submitMany submits tasks of the kind k, with numbers in the given range.
func (w *workshop) submitMany(from, to int) {
	w.t.Helper()
	s := w.open()
	defer s.Close()
	var tasks []task.NewTask
	for i := from; i < to; i++ {
		tasks = append(tasks, task.NewTask{ID: fmt.Sprintf("0197c0de-0000-7000-8000-%012d", i), Kind: "k", Queue: task.DefaultQueue, Payload: []byte("{}")})
	}
	if _, err := s.Add(w.t.Context(), tasks); err != nil {
		w.t.Fatal(err)
	}
}

// allSucceed waits until all tasks have succeeded. None of them may have a failed attempt, an
// interruption or a crash.
func (w *workshop) allSucceed(s *server, n int) {
	w.t.Helper()
	store := w.open()
	defer store.Close()
	var all []task.Task
	s.until("all have succeeded", func() bool {
		var err error
		if all, err = task.NewClient(store).Find(w.t.Context(), task.Query{Limit: 1000}); err != nil {
			return false // the file is busy
		}
		done := 0
		for _, t := range all {
			if t.Attempts+t.Crashes+t.Interruptions > 0 || t.Status == task.StatusFailed {
				w.t.Fatalf("a task was charged: %s (%s), %+v, %s\n%s", t.Status, t.Reason, t.Counters, t.Error, s.text())
			}
			if t.Status == task.StatusSucceeded {
				done++
			}
		}
		return done == n
	})
}

// says waits until /readyz answers 503 with a text.
func (s *server) says(want string) {
	s.t.Helper()
	s.until("not ready: "+want, func() bool {
		status, text := s.ask("/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(text, want)
	})
}

// ask requests a path.
func (s *server) ask(path string) (status int, text string) {
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, ""
	}
	b, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return 0, ""
	}
	return resp.StatusCode, string(b)
}

// noRunsLeft waits until no run's directory is left.
func (s *server) noRunsLeft(temp string) {
	s.t.Helper()
	s.until("every run's directory is removed", func() bool {
		left, err := filepath.Glob(filepath.Join(temp, "lastcall-run-*"))
		return err == nil && len(left) == 0
	})
}

func TestMachine_WithoutATemporaryDirectoryNoTaskIsChargedAndEverybodySaysWhy(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, map[string]string{"k": "exit 0"}, "    retry: {maxAttempts: 1}\n")
	temp := filepath.Join(w.dir, "temp")
	if err := os.Mkdir(temp, 0o700); err != nil {
		t.Fatal(err)
	}
	s := w.sickServer(`exec "$0" "$@"`, temp, nil, "--concurrency", "20")
	s.until("ready", func() bool { return s.status("/readyz") == http.StatusOK })
	if err := os.Remove(temp); err != nil {
		t.Fatal(err)
	}
	w.submitMany(0, manyTasks(t))
	s.says("every kind is paused on this worker: no such file or directory")
	const why = "a run needs a directory of its own: mkdir " // followed by its name
	s.until("said by the worker", func() bool { return strings.Contains(string(command(t, "workers", "--store", w.store)), why) })
	for _, c := range [][]string{{"doctor", "--store", w.store}, {"show", "--store", w.store, "0197c0de-0000-7000-8000-000000000000"}, {"workers", "--json", "--server", s.url}} {
		if out := string(command(t, c...)); !strings.Contains(out, why) {
			t.Errorf("lastcall %v does not say why:\n%s", c, out)
		}
	}
	if _, text := s.ask("/metrics"); !strings.Contains(text, `lastcall_kind_paused{kind="k",reason="no such file or directory"} 1`) {
		t.Errorf("metrics do not say why")
	}
	if err := os.Mkdir(temp, 0o700); err != nil {
		t.Fatal(err)
	}
	w.allSucceed(s, manyTasks(t))
	s.until("ready", func() bool { return s.status("/readyz") == http.StatusOK })
	s.noRunsLeft(temp)
	stop(s)
}

func TestMachine_OnAFullTemporaryDirectoryNoTaskIsCharged(t *testing.T) {
	t.Parallel()
	attr := namespaces(t)
	w := newWorkshop(t, map[string]string{"k": "exit 0"}, "    retry: {maxAttempts: 1}\n")
	temp := filepath.Join(w.dir, "temp")
	if err := os.Mkdir(temp, 0o700); err != nil {
		t.Fatal(err)
	}
	s := w.sickServer(`mount -t tmpfs -o size=1m,nr_inodes=200 none "$TMPDIR"; exec "$0" "$@"`, temp, attr)
	seen := fmt.Sprintf("/proc/%d/root%s", s.pid(), temp)
	empty := smallDisk{server: s, dir: temp, seen: seen}.fill()
	w.submitMany(0, manyTasks(t))
	s.says("every kind is paused on this worker: no space left on device")
	empty()
	w.allSucceed(s, manyTasks(t))
	s.noRunsLeft(seen)
	stop(s)
}

func TestMachine_WhereDescriptorsAreOutNoTaskIsChargedAndNoDirectoryStays(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, map[string]string{"k": "exec sleep 0.5"}, "    retry: {maxAttempts: 1}\n")
	temp := t.TempDir()
	s := w.sickServer(`exec "$0" "$@"`, temp, nil, "--concurrency", "60")
	var before unix.Rlimit
	if err := unix.Prlimit(s.pid(), unix.RLIMIT_NOFILE, nil, &before); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prlimit(s.pid(), unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 100, Max: before.Max}, nil); err != nil {
		t.Fatal(err)
	}
	w.submitMany(0, manyTasks(t))
	s.waitLog("kind paused on this worker")
	s.waitLog("reason=released")
	if err := unix.Prlimit(s.pid(), unix.RLIMIT_NOFILE, &before, nil); err != nil {
		t.Fatal(err)
	}
	w.allSucceed(s, manyTasks(t))
	s.noRunsLeft(temp)
	stop(s)
}

func TestMachine_WhereProcessesAreOutNoTaskIsCharged(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("to be a user of its own: run as root")
	}
	w := newWorkshop(t, map[string]string{"k": "exec sleep 0.5"}, "    retry: {maxAttempts: 1}\n")
	temp, self := filepath.Join(w.dir, "temp"), filepath.Join(w.dir, "lastcall")
	if out, err := exec.Command("cp", program(t), self).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Mkdir(temp, 0o700); err != nil {
		t.Fatal(err)
	}
	const user = 64_318
	err := filepath.WalkDir(w.dir, func(path string, _ os.DirEntry, err error) error { return errors.Join(err, os.Chown(path, user, user)) })
	if err = errors.Join(err, os.Chmod(filepath.Dir(w.dir), 0o711)); err != nil {
		t.Fatal(err)
	}
	as := fmt.Sprintf(`exec setpriv --reuid=%d --regid=%d --clear-groups prlimit --nproc=200 -- `, user, user)
	s := w.sickServer(as+self+` "$@"`, temp, nil, "--concurrency", "20")
	cmd := exec.Command("sh", "-c", as+`sh -c 'for i in $(seq 150); do sleep 1000 & done; echo all; wait'`)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	others := begin(t, cmd)
	end := sync.OnceFunc(func() { _ = syscall.Kill(-others.pid(), syscall.SIGKILL) })
	t.Cleanup(end)
	others.waitLog("all")
	w.submitMany(0, manyTasks(t))
	s.waitLog("kind paused on this worker")
	s.waitLog("reason=released")
	end()
	w.allSucceed(s, manyTasks(t))
	s.noRunsLeft(temp)
	stop(s)
}

func TestMachine_OfTwoServersTheOneThatIsWellDoesTheWork(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, map[string]string{"k": "exit 0"}, "    retry: {maxAttempts: 1}\n")
	sick := w.sickServer(`exec "$0" "$@"`, filepath.Join(w.dir, "gone"), nil)
	w.submitMany(0, 10)
	sick.says("no such file or directory")
	well := w.sickServer(`exec "$0" "$@"`, t.TempDir(), nil, "--concurrency", "2")
	w.submitMany(10, manyTasks(t))
	w.allSucceed(well, manyTasks(t))
	if status, _ := sick.ask("/readyz"); status != http.StatusServiceUnavailable || well.status("/readyz") != http.StatusOK {
		t.Errorf("the sick one answers %d, the other one %d", status, well.status("/readyz"))
	}
	stop(well)
	stop(sick)
}

func TestMachine_WhatAKilledServerAndItsShimHaveLeftIsSweptByTheNextOne(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, map[string]string{"k": `
		if [ "$LASTCALL_RUN" != 1 ]; then exit; fi
		echo "$TMPDIR" > "$0.temp"; echo $$ > own.pid; echo $PPID > shim.pid; while :; do sleep 1000; done`}, "    hostPid: true\n")
	temp := t.TempDir()
	other := filepath.Join(temp, "lastcall-run-notes")
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	s := w.sickServer(`exec "$0" "$@"`, temp, nil)
	w.submitMany(0, 1)
	own, shim := w.pid(s, "own.pid"), w.pid(s, "shim.pid")
	t.Cleanup(func() { _ = syscall.Kill(-own, syscall.SIGKILL) })
	s.signal(syscall.SIGSTOP) // so that all of them are killed at the same moment
	if err := syscall.Kill(shim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.signal(syscall.SIGKILL)
	s.exit()
	left, err := filepath.Glob(filepath.Join(temp, "lastcall-run-*"))
	if err != nil || len(left) != 2 {
		t.Fatalf("left are %v, %v", left, err)
	}
	next := w.sickServer(`exec "$0" "$@"`, temp, nil)
	next.waitLog("removed what dead runs had left")
	if err := os.Remove(other); err != nil { // it belongs to no run
		t.Error(err)
	}
	next.noRunsLeft(temp)
	stop(next)
}

func TestMachine_AProgramThatExceedsItsLimitOfTMPDIRIsKilled(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, map[string]string{"k": `head -c 3000000 /dev/zero > "$TMPDIR/x"; while :; do sleep 1000; done`},
		"    retry: {maxAttempts: 1}\n    limits: {tmpdir: 1Mi}\n")
	s := w.start()
	r := s.reaches(submitTo(s, "k", "{}"), "failed")
	if r.Attempts != 1 || !strings.Contains(r.Error, "its limit of TMPDIR (1Mi) was exceeded") {
		t.Errorf("%+v", r)
	}
	stop(s)
}
