package execkind

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/internal/proc"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
)

// patience bounds every wait for something that will happen.
const patience = 60 * time.Second

// The test binary is started as a shim, as the program is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == ShimCommand {
		syscall.Exit(Shim()) // os.Exit sleeps for a second under the race detector
	}
	os.Exit(m.Run())
}

// lab runs programs on a memory store.
type lab struct {
	t      *testing.T
	kind   Kind
	store  *memstore.Store
	client *task.Client
	group  *lastcall.Group
	dir    string // where the program starts
	temp   string // where its scratch directory is made
	log    strings.Builder
}

// newLab makes a lab whose only kind is a shell script. The tests of a lab do not run side by side,
// since each has a temporary directory of its own.
func newLab(t *testing.T, script string) *lab {
	t.Helper()
	l := &lab{t: t, store: memstore.New(), dir: t.TempDir(), temp: t.TempDir()}
	t.Setenv("TMPDIR", l.temp)
	l.client = task.NewClient(l.store)
	l.kind = Kind{Name: "k", Path: "/bin/sh", Argv: []string{"sh", "-c", script, "name"}, Dir: l.dir,
		Env: []string{"PATH=" + os.Getenv("PATH")}, MaxAttempts: 1, Backoff: 10 * time.Millisecond, KillAfter: 10 * time.Second}
	t.Cleanup(func() {
		if l.group != nil {
			l.group.Stop(nil)
			l.group.Wait()
		}
		l.store.Close()
		if t.Failed() {
			t.Logf("log:\n%s", l.log.String())
		}
	})
	return l
}

// serve runs a worker in a group that has so long for a stop.
func (l *lab) serve(grace time.Duration) {
	l.t.Helper()
	log := slog.New(slog.NewTextHandler(&l.log, nil))
	var mux task.Mux
	r := Runner{Keeper: new(proc.Keeper), Logger: log}
	r.Register(&mux, l.kind)
	w, err := task.NewWorker(task.WorkerConfig{Store: l.store, Mux: &mux, Logger: log})
	if err != nil {
		l.t.Fatal(err)
	}
	if l.group, err = lastcall.New(context.Background(), lastcall.Config{Grace: grace, Delay: -1, Logger: log}); err != nil {
		l.t.Fatal(err)
	}
	if err := l.group.Go("worker", w.Serve); err != nil {
		l.t.Fatal(err)
	}
}

// stop ends the group. Everything must be recorded.
func (l *lab) stop() {
	l.t.Helper()
	l.group.Stop(nil)
	report := l.group.Wait()
	l.group = nil
	if report.ExitCode() != 0 {
		l.t.Errorf("exit code %d: %+v", report.ExitCode(), report)
	}
	l.tidy()
}

// tidy checks that nothing of a run is left.
func (l *lab) tidy() {
	l.t.Helper()
	if left, err := os.ReadDir(l.temp); err != nil || len(left) > 0 {
		l.t.Errorf("left in the temporary directory: %v, %v", left, err)
	}
}

func (l *lab) enqueue(payload string) string {
	l.t.Helper()
	e, err := l.client.Enqueue(l.t.Context(), l.kind.Name, []byte(payload), nil)
	if err != nil {
		l.t.Fatal(err)
	}
	return e.ID
}

// reaches waits until a task is as it shall be.
func (l *lab) reaches(id, what string, ok func(task.Task) bool) task.Task {
	l.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); ; {
		got, err := l.client.Get(l.t.Context(), id)
		if err != nil {
			l.t.Fatal(err)
		}
		if ok(got) {
			return got
		}
		select {
		case <-tick.C:
		case <-late:
			l.t.Fatalf("not %s: %+v, log %s", what, got, l.output(id))
		}
	}
}

// ends waits until a task has ended.
func (l *lab) ends(id string) task.Task {
	l.t.Helper()
	return l.reaches(id, "ended", func(t task.Task) bool { return t.Status.Ended() })
}

// output is the task's log.
func (l *lab) output(id string) string {
	l.t.Helper()
	b, err := l.client.Log(l.t.Context(), id)
	if err != nil {
		l.t.Fatal(err)
	}
	return string(b)
}

// prints waits until the program has made a file in its directory, and returns what it wrote there.
func (l *lab) prints(name string) string {
	l.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); ; {
		b, err := os.ReadFile(filepath.Join(l.dir, name))
		if err == nil && strings.HasSuffix(string(b), "\n") {
			return strings.TrimSpace(string(b))
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			l.t.Fatal(err)
		}
		select {
		case <-tick.C:
		case <-late:
			l.t.Fatalf("the program did not write %s", name)
		}
	}
}

// want checks a task's end.
func want(t *testing.T, got task.Task, status task.Status, reason task.Reason, attempts, interruptions, crashes int, text string) {
	t.Helper()
	if got.Status != status || got.Reason != reason || got.Attempts != attempts || got.Interruptions != interruptions || got.Crashes != crashes ||
		!strings.Contains(got.Error, text) || text == "" && got.Error != "" {
		t.Errorf("%s (%s), %+v, error %q; want %s (%s), %d attempts, %d interruptions, %d crashes, error %q",
			got.Status, got.Reason, got.Counters, got.Error, status, reason, attempts, interruptions, crashes, text)
	}
}
