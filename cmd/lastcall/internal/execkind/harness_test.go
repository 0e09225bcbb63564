package execkind

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/confine"
	"github.com/lastcall-go/lastcall/internal/proc"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
)

// patience bounds every wait for something that will happen.
const patience = 60 * time.Second

// keeper is the only one of this process: another keeper would take its shims for orphans.
var keeper proc.Keeper

// The test binary is started as a shim, as the program is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == nosyCommand {
		beNosy()
		syscall.Exit(0)
	}
	if len(os.Args) > 1 && os.Args[1] == ShimCommand {
		if _, err := os.Stat(earlyDeath(os.Getppid())); err == nil {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		syscall.Exit(Shim()) // os.Exit sleeps for a second under the race detector
	}
	os.Exit(m.Run())
}

// earlyDeath is a file that makes the shims of a process die before they start anything.
func earlyDeath(server int) string { return fmt.Sprintf("/tmp/lastcall-test-early-death-%d", server) }

// fixture runs programs on a memory store.
type fixture struct {
	t      *testing.T
	kind   Kind
	store  *memstore.Store
	client *task.Client
	group  *lastcall.Group
	runner *Runner
	worker *task.Worker
	dir    string // where the program starts
	temp   string // where its scratch directory is made
	log    strings.Builder
	// isolation and cgroups are those of the Runner.
	isolation confine.Isolation
	cgroups   *confine.Cgroups
	reserve   time.Duration // of the stop; 0 is the default
	// through, if set, wraps the store for the worker.
	through func(task.Store) task.Store
}

// newFixture creates a fixture whose only kind is a shell script. Its tests do not run in parallel,
// since each sets a temporary directory of its own.
func newFixture(t *testing.T, script string) *fixture {
	t.Helper()
	f := &fixture{t: t, store: memstore.New(), dir: t.TempDir(), temp: t.TempDir()}
	t.Setenv("TMPDIR", f.temp)
	f.client = task.NewClient(f.store)
	f.kind = Kind{Name: "k", Path: "/bin/sh", Argv: []string{"sh", "-c", script, "name"}, Dir: f.dir,
		Env: []string{"PATH=" + os.Getenv("PATH")}, MaxAttempts: 1, Backoff: 10 * time.Millisecond, KillAfter: 10 * time.Second}
	t.Cleanup(func() {
		if f.group != nil {
			f.group.Stop(nil)
			f.group.Wait()
		}
		f.store.Close()
		if t.Failed() {
			t.Logf("log:\n%s", f.log.String())
		}
	})
	return f
}

// serve runs a worker in a group with this much time for a stop.
func (f *fixture) serve(grace time.Duration) {
	f.t.Helper()
	log := slog.New(slog.NewTextHandler(&f.log, nil))
	var mux task.Mux
	r := &Runner{Keeper: &keeper, Isolation: f.isolation, Cgroups: f.cgroups, Logger: log}
	f.runner = r
	r.Register(&mux, f.kind)
	var err error
	store := task.Store(f.store)
	if f.through != nil {
		store = f.through(store)
	}
	f.worker, err = task.NewWorker(task.WorkerConfig{Store: store, Mux: &mux, Logger: log})
	if err != nil {
		f.t.Fatal(err)
	}
	if f.group, err = lastcall.New(context.Background(), lastcall.Config{Grace: grace, Reserve: f.reserve, Delay: -1, Logger: log}); err != nil {
		f.t.Fatal(err)
	}
	f.group.Defer("programs", r.Close)
	if err := f.group.Go("worker", f.worker.Serve); err != nil {
		f.t.Fatal(err)
	}
}

// stop ends the group. Everything must be recorded.
func (f *fixture) stop() {
	f.t.Helper()
	f.group.Stop(nil)
	report := f.group.Wait()
	f.group = nil
	if report.ExitCode() != 0 {
		f.t.Errorf("exit code %d: %+v", report.ExitCode(), report)
	}
	f.tidy()
}

// tidy checks that nothing of a run is left.
func (f *fixture) tidy() {
	f.t.Helper()
	if left, err := os.ReadDir(f.temp); err != nil || len(left) > 0 {
		f.t.Errorf("left in the temporary directory: %v, %v", left, err)
	}
}

func (f *fixture) enqueue(payload string) string {
	f.t.Helper()
	e, err := f.client.Enqueue(f.t.Context(), f.kind.Name, []byte(payload), nil)
	if err != nil {
		f.t.Fatal(err)
	}
	return e.ID
}

// reaches waits until a task is in a state.
func (f *fixture) reaches(id, what string, ok func(task.Task) bool) task.Task {
	f.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); ; {
		got, err := f.client.Get(f.t.Context(), id)
		if err != nil {
			f.t.Fatal(err)
		}
		if ok(got) {
			return got
		}
		select {
		case <-tick.C:
		case <-late:
			f.t.Fatalf("not %s: %+v, log %s", what, got, f.output(id))
		}
	}
}

// ends waits until a task has ended.
func (f *fixture) ends(id string) task.Task {
	f.t.Helper()
	return f.reaches(id, "ended", func(t task.Task) bool { return t.Status.Ended() })
}

// output is the task's log.
func (f *fixture) output(id string) string {
	f.t.Helper()
	b, err := f.client.Log(f.t.Context(), id)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(b)
}

// prints waits until the program has created a file in its directory, and returns its content.
func (f *fixture) prints(name string) string {
	f.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); ; {
		b, err := os.ReadFile(filepath.Join(f.dir, name))
		if err == nil && strings.HasSuffix(string(b), "\n") {
			return strings.TrimSpace(string(b))
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			f.t.Fatal(err)
		}
		select {
		case <-tick.C:
		case <-late:
			f.t.Fatalf("the program did not write %s", name)
		}
	}
}

// want checks how a task ended.
func want(t *testing.T, got task.Task, status task.Status, reason task.Reason, attempts, interruptions, crashes int, text string) {
	t.Helper()
	if got.Status != status || got.Reason != reason || got.Attempts != attempts || got.Interruptions != interruptions || got.Crashes != crashes ||
		!strings.Contains(got.Error, text) || text == "" && got.Error != "" {
		t.Errorf("%s (%s), %+v, error %q; want %s (%s), %d attempts, %d interruptions, %d crashes, error %q",
			got.Status, got.Reason, got.Counters, got.Error, status, reason, attempts, interruptions, crashes, text)
	}
}
