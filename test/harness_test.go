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

// onBothStores runs a test on a SQLite file and on a PostgreSQL database of its own, both at a
// time. Scenarios come one after the other: each has some processes, and how soon these notice
// things is part of what is tested.
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

// fixture is a store on which worker processes are ended, and what the test knows of it.
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
	fates    map[int]fate    // of the processes that did not end well, by pid
	heirs    map[int]int     // which process must have taken over from which, by pid

	histories [][]task.RunRecord // of all tasks, once they have been verified
}

// fate is a way in which a process ended, and what may stand in the history of a run of its.
type fate struct {
	name string
	may  func(task.RunRecord) bool
}

// What a record can say of a run that was cut short.
func crashed(r task.RunRecord) bool {
	return r.Reason == task.ReasonLost && r.Reclaimed &&
		(r.Crashed || strings.HasSuffix(r.Error, "died while another task was under suspicion") ||
			strings.HasSuffix(r.Error, "none is charged, they go on in two groups"))
}

func overdue(r task.RunRecord) bool {
	return r.Reason == task.ReasonDeadline && r.Reclaimed && !r.Crashed
}

// unheard is what a process has recorded before it abandoned a handler.
func unheard(r task.RunRecord) bool {
	return r.Reason == task.ReasonDeadline && !r.Reclaimed && !r.Crashed && strings.HasPrefix(r.Error, "the handler is unresponsive")
}

func handedOver(r task.RunRecord) bool {
	return r.Reason == task.ReasonStop && !r.Reclaimed && !r.Crashed
}

// either is what became of the runs of a process some of which were in time.
func either(may ...func(task.RunRecord) bool) func(task.RunRecord) bool {
	return func(r task.RunRecord) bool {
		return slices.ContainsFunc(may, func(one func(task.RunRecord) bool) bool { return one(r) })
	}
}

func expired(r task.RunRecord) bool {
	return r.Reason == task.ReasonLost && r.Reclaimed && !r.Crashed && strings.HasPrefix(r.Error, "the lease of worker")
}

// newFixture opens a store for the test itself, which enqueues and looks.
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

// close is not minded when it is done again.
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
		"GORACE=atexit_sleep_ms=0") // under the race detector it otherwise sleeps for a second before it exits
	if _, err := cmd.StdinPipe(); err != nil { // which ends with the test, and the worker with it
		f.t.Fatal(err)
	}
	return begin(f.t, cmd)
}

// patient is a grace in which everything is done.
const patient = time.Minute

// ask makes a call until there is an answer: a server that has just been restarted, or a machine
// that has too much to do, may refuse some.
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

// enqueue accepts tasks. Trying again, with the same ids, is safe.
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

// topUp enqueues tasks until so many are unfinished.
func (f *fixture) topUp(k task.Kind[work], n int, make func() work) {
	f.t.Helper()
	f.enqueue(k, max(0, n-f.unfinished()), make)
}

func (f *fixture) work() work { return randomWork(f.rng) }

// count is how many tasks have one of the statuses.
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

// until polls until something observable has come to pass.
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

// cuts is how many runs are known to have been cut short.
func (f *fixture) cuts() (n int) {
	f.t.Helper()
	for _, t := range f.tasks("") {
		n += t.Interruptions + t.Crashes
	}
	return n
}

// lacks says whether another process must be ended to have all points. It fails the test when that
// takes so many that something must be wrong: a process may have ended its tasks before it is
// stopped, while all others wait for their next try.
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

// moment lets a process work for a random time: this is the point at which it is ended.
func (f *fixture) moment(longest time.Duration, p *process) {
	f.t.Helper()
	if !f.outlives(longest, p) {
		f.t.Fatalf("process %d ended by itself:\n%s", p.pid(), p.text())
	}
}

// outlives waits for a random time, and says whether the process still runs.
func (f *fixture) outlives(longest time.Duration, p *process) bool {
	select {
	case <-time.After(time.Duration(f.rng.Int64N(int64(longest)))):
		return true
	case <-p.done:
		return false
	}
}

// kill ends a process without a word.
func (f *fixture) kill(p *process) {
	f.t.Helper()
	f.fates[p.pid()] = fate{"killed", crashed}
	p.signal(syscall.SIGKILL)
	p.exit()
}

// drain ends a process that has nothing to do, or time enough for it.
func (f *fixture) drain(p *process) {
	f.t.Helper()
	p.signal(syscall.SIGTERM)
	p.exits(0)
}

// finish has a process end what is left, then drains it, and checks everything.
func (f *fixture) finish(last *process) {
	f.t.Helper()
	f.until("all tasks ended", func() bool { return f.unfinished() == 0 })
	f.until("all dead workers gone", func() bool { return len(f.workers()) == 1 })
	f.drain(last)
	f.verify()
}

// last starts a worker process that has time enough.
func (f *fixture) last(slots int) *process { return f.start(job{Grace: patient, Slots: slots}) }

// newTaskID makes an id, so that enqueuing can be repeated.
func newTaskID(rng *rand.Rand) string {
	return fmt.Sprintf("00000000-0000-7000-8000-%012x", rng.Uint64()>>16)
}
