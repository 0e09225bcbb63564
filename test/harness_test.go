package test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task"
)

// onBothStores runs a test on a SQLite file and on a PostgreSQL database of its own, both at the
// same time. Scenarios run one after the other: each has several processes, and how soon these
// notice events is part of what is tested.
func onBothStores(t *testing.T, test func(t *testing.T, store string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, "sqlite:"+filepath.Join(t.TempDir(), "tasks.db"))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, pgtest.DSN(t))
	})
}

// fixture is a store, the worker processes on it, and what the test knows of them.
type fixture struct {
	t       *testing.T
	rng     *rand.Rand
	address string
	points  int
	rounds  int
	store   task.Store
	client  *task.Client
	ledger  *ledger

	accepted map[string]bool // ids
	fates    map[int]fate    // of the processes that did not end normally, by pid
	heirs    map[int]int     // which process must have taken over from which, by pid

	histories [][]task.RunRecord // of all tasks, once they have been verified
}

// fate is a way in which a process ended, and what the history of its runs may contain.
type fate struct {
	name string
	may  func(task.RunRecord) bool
}

// crashed and the functions below report whether a record is that of a run which was cut short in
// one particular way.
func crashed(r task.RunRecord) bool {
	return r.Reason == task.ReasonLost && r.Reclaimed &&
		(r.Crashed || strings.HasSuffix(r.Error, "died while another task was under suspicion") ||
			strings.HasSuffix(r.Error, "none is charged, they go on in two groups"))
}

func overdue(r task.RunRecord) bool {
	return r.Reason == task.ReasonDeadline && r.Reclaimed && !r.Crashed
}

// unheard reports whether a process has recorded the run before it abandoned the handler.
func unheard(r task.RunRecord) bool {
	return r.Reason == task.ReasonDeadline && !r.Reclaimed && !r.Crashed && strings.HasPrefix(r.Error, "the handler is unresponsive")
}

func handedOver(r task.RunRecord) bool {
	return r.Reason == task.ReasonStop && !r.Reclaimed && !r.Crashed
}

// either combines the outcomes that the runs of a process may have, when only some of them were in
// time.
func either(may ...func(task.RunRecord) bool) func(task.RunRecord) bool {
	return func(r task.RunRecord) bool {
		return slices.ContainsFunc(may, func(one func(task.RunRecord) bool) bool { return one(r) })
	}
}

func expired(r task.RunRecord) bool {
	return r.Reason == task.ReasonLost && r.Reclaimed && !r.Crashed && strings.HasPrefix(r.Error, "the lease of worker")
}

// newFixture opens a store for the test itself, which enqueues and inspects tasks.
func newFixture(t *testing.T, address string) *fixture {
	t.Helper()
	f := &fixture{t: t, rng: random(t), address: address, points: manyPoints(t),
		accepted: make(map[string]bool), fates: make(map[int]fate), heirs: make(map[int]int)}
	var err error
	if f.store, err = openStore(t.Context(), address, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	f.client = task.NewClient(f.store)
	if f.ledger, err = openLedger(address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.close)
	if err := f.ledger.create(t.Context()); err != nil {
		t.Fatal(err)
	}
	return f
}

// close may be called again.
func (f *fixture) close() {
	if err := f.store.Close(); err != nil {
		f.t.Error(err)
	}
	if err := f.ledger.db.Close(); err != nil {
		f.t.Error(err)
	}
}

// start starts a worker process.
func (f *fixture) start(j job) *process {
	f.t.Helper()
	j.Store, j.Seed = f.address, f.rng.Uint64()
	text, err := json.Marshal(j)
	if err != nil {
		f.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), workerVariable+"="+string(text), "KUBERNETES_SERVICE_HOST=", "LASTCALL_GRACE=",
		"GORACE=atexit_sleep_ms=0") // otherwise the race detector sleeps for a second at exit
	if _, err := cmd.StdinPipe(); err != nil { // it ends with the test, which ends the worker
		f.t.Fatal(err)
	}
	return begin(f.t, cmd)
}

// patient is a grace in which all work can be completed.
const patient = time.Minute

// ask repeats a call until there is an answer. A server that has just been restarted, or an
// overloaded machine, may refuse some.
func ask[T any](f *fixture, call func(context.Context) (T, error)) (answer T) {
	f.t.Helper()
	var err error
	if !poll(func() bool {
		answer, err = call(f.t.Context())
		return err == nil
	}) {
		f.t.Fatal(err)
	}
	return answer
}

// enqueue enqueues tasks. Retrying is safe, since it uses the same ids.
func (f *fixture) enqueue(k task.Kind[work], n int, make func() work) {
	f.t.Helper()
	var tasks []task.NewTask
	for range n {
		t, err := k.Prepare(make(), nil)
		if err != nil {
			f.t.Fatal(err)
		}
		tasks = append(tasks, t)
		f.accepted[t.ID] = true
	}
	ask(f, func(ctx context.Context) ([]task.EnqueueResult, error) { return f.client.EnqueueMany(ctx, tasks) })
}

// topUp enqueues tasks until n are unfinished.
func (f *fixture) topUp(k task.Kind[work], n int, make func() work) {
	f.t.Helper()
	f.enqueue(k, max(0, n-f.unfinished()), make)
}

func (f *fixture) work() work { return randomWork(f.rng) }

// count returns how many tasks have one of the statuses.
func (f *fixture) count(statuses ...task.Status) (n int) {
	f.t.Helper()
	c := ask(f, f.client.Count)
	for _, c := range c.Tasks {
		for _, s := range statuses {
			if c.Status == s {
				n += c.N
			}
		}
	}
	return n
}

func (f *fixture) unfinished() int {
	return f.count(task.StatusQueued, task.StatusRunning, task.StatusInterrupted)
}

// until polls until a condition is true.
func (f *fixture) until(what string, ok func() bool) {
	f.t.Helper()
	if !poll(ok) {
		f.t.Fatalf("not %s after %v", what, patience)
	}
}

// tasks lists the tasks of a status, or all.
func (f *fixture) tasks(status task.Status) []task.Task {
	f.t.Helper()
	return ask(f, func(ctx context.Context) ([]task.Task, error) {
		return f.client.Find(ctx, task.Query{Status: status, Limit: 1 << 20})
	})
}

// cuts returns how many runs are known to have been cut short.
func (f *fixture) cuts() (n int) {
	f.t.Helper()
	for _, t := range f.tasks("") {
		n += t.Interruptions + t.Crashes
	}
	return n
}

// lacks reports whether another process must be ended to reach all points. It fails the test when
// that takes so many processes that something must be wrong. A process may have completed its tasks
// before it is stopped, while all others wait for their retry.
func (f *fixture) lacks() bool {
	f.t.Helper()
	f.rounds++
	n := f.cuts()
	if n < f.points && f.rounds > 2*f.points {
		f.t.Fatalf("%d processes were ended, and only %d runs are known to have been cut short", f.rounds-1, n)
	}
	return n < f.points
}

// workers lists the registered workers.
func (f *fixture) workers() []task.WorkerInfo {
	f.t.Helper()
	return ask(f, f.client.Workers)
}

// moment lets a process work for a random time, after which the test ends it.
func (f *fixture) moment(longest time.Duration, p *process) {
	f.t.Helper()
	if !f.outlives(longest, p) {
		f.t.Fatalf("process %d ended by itself:\n%s", p.pid(), p.text())
	}
}

// outlives waits for a random time, and reports whether the process is still running.
func (f *fixture) outlives(longest time.Duration, p *process) bool {
	select {
	case <-time.After(time.Duration(f.rng.Int64N(int64(longest)))):
		return true
	case <-p.done:
		return false
	}
}

// kill kills a process without warning.
func (f *fixture) kill(p *process) {
	f.t.Helper()
	f.fates[p.pid()] = fate{"killed", crashed}
	p.signal(syscall.SIGKILL)
	p.exit()
}

// drain stops a process that has nothing to do, or enough time to do it.
func (f *fixture) drain(p *process) {
	f.t.Helper()
	p.signal(syscall.SIGTERM)
	p.exits(0)
}

// finish lets a process complete the remaining work, drains it, and checks everything.
func (f *fixture) finish(last *process) {
	f.t.Helper()
	f.until("all tasks ended", func() bool { return f.unfinished() == 0 })
	f.until("all dead workers gone", func() bool { return len(f.workers()) == 1 })
	f.drain(last)
	f.verify()
}

// last starts a worker process with enough time.
func (f *fixture) last(slots int) *process { return f.start(job{Grace: patient, Slots: slots}) }

// newTaskID returns a new id, so that the enqueue can be repeated.
func newTaskID(rng *rand.Rand) string {
	return fmt.Sprintf("00000000-0000-7000-8000-%012x", rng.Uint64()>>16)
}
