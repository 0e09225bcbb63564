package pgstore

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

func (b *rig) prune(req task.PruneRequest) task.PruneReply {
	b.Helper()
	done, err := b.store.Prune(b.Context(), req)
	if err != nil {
		b.Fatal(err)
	}
	return done
}

// Everything that a task has left is removed with it.
func TestPrune_LeavesNothingOfATask(t *testing.T) {
	b := newRig(t)
	got := b.many(40)
	saved := success(got[0])
	saved.Status, saved.Checkpoint, saved.Log = task.StatusRunning, []byte("1"), []byte("a line\n")
	if err := b.store.Apply(t.Context(), []task.Change{saved})[0]; err != nil {
		t.Fatal(err)
	}
	b.apply(interruption, got[1])
	again := b.claim(1)
	b.end(append(append(got[2:], got[0]), again...)...)
	b.add(task.NewTask{ID: testID(100), Key: "key", Delay: time.Hour})
	b.mustControl(task.VerbCancel, testID(100))
	if done := b.prune(task.PruneRequest{Max: 1000}); done.Tasks != 41 || done.Next != "" {
		t.Fatalf("%+v", done)
	}
	for _, table := range []string{"tasks", "ready", "delayed", "running", "ended", "runs", "checkpoints", "logs", "keys"} {
		if n := b.number(`select count(*) from lastcall.` + table); n != 0 {
			t.Errorf("%d rows are left in %s", n, table)
		}
	}
	b.counts(map[task.Status]int{})
	if n := b.number(`select count(*) from lastcall.counts`); n == 0 {
		t.Error("this test shows nothing: no counts")
	}
	mustExec(t, b.store, b.store.q.CompactCounts, int64(0))
	if n := b.number(`select count(*) from lastcall.counts`); n != 0 {
		t.Errorf("%d rows are left in counts", n)
	}
}

func TestPrune_RemovesTasksOfEveryID(t *testing.T) {
	b := newRig(t)
	odd := []string{
		"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", // nil and max
		// Versions 1 and 4.
		"c232ab00-9414-11ec-b3c8-9f6bdeced846", "919108f7-52d1-4320-9bac-f847db4148a8",
		// Versions 5 and 7.
		"2ed6657d-e927-568b-95e1-2665a8aea6a2", "01a20590-8ee5-7b09-80e0-000000000001",
	}
	for _, id := range odd {
		b.add(task.NewTask{ID: id})
	}
	b.end(b.claim(len(odd))...)
	mustExec(t, b.store, `update @.ended set ended = ended - interval '30 days'`)
	young := []string{"00000000-0000-4000-8000-000000000001", "fffffffe-0000-4000-8000-000000000001"}
	for _, id := range young {
		b.add(task.NewTask{ID: id})
	}
	b.end(b.claim(len(young))...)
	for n, req := 0, (task.PruneRequest{Age: time.Hour, Max: 2}); n < len(odd); {
		done := b.prune(req)
		if n += done.Tasks; done.Tasks == 0 {
			t.Fatalf("stopped after %d tasks", n)
		}
		req.After = done.Next
	}
	if got := b.find(task.Query{}); len(got) != len(young) {
		t.Errorf("%v are left", ids(got))
	}
}

// A task that a command has locked in an open transaction stays, and is found when the pruning
// begins again.
func TestPrune_PassesByATaskThatAnOpenTransactionHas(t *testing.T) {
	b := newRig(t)
	b.end(b.many(10)...)
	tx := b.begin()
	if _, err := tx.Exec(t.Context(), `select 1 from lastcall.ended where task = $1 for update`, testID(3)); err != nil {
		t.Fatal(err)
	}
	if done := b.prune(task.PruneRequest{Max: 100}); done.Tasks != 9 {
		t.Errorf("%+v", done)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if done := b.prune(task.PruneRequest{Max: 100}); done.Tasks != 1 {
		t.Errorf("%+v", done)
	}
}

// Logical replication of a whole database creates such a publication.
func TestPrune_DeletesFromTablesThatArePublished(t *testing.T) {
	b := newRig(t)
	mustExec(t, b.store, `create publication everything for all tables`)
	got := b.many(3)
	b.apply(interruption, got[0])
	b.end(append(got[1:], b.claim(1)...)...)
	if done := b.prune(task.PruneRequest{Max: 100}); done.Tasks != 3 {
		t.Errorf("%+v", done)
	}
	mustExec(t, b.store, b.store.q.CompactCounts, int64(0))
	b.beat(task.WorkerStopped)
	mustExec(t, b.store, `update @.workers set gone = now() - interval '1 day'`)
	b.prune(task.PruneRequest{Max: 100})
	if n := b.number(`select count(*) from pg_class c where relnamespace = 'lastcall'::regnamespace and relkind = 'r'
		and not exists (select 1 from pg_index i where i.indrelid = c.oid and i.indisprimary)`); n != 0 {
		t.Errorf("%d tables have no primary key", n)
	}
}

func TestPrune_IsQuickWhileFiftyThousandTasksRun(t *testing.T) {
	b := newRig(t)
	const ended = 2000
	b.fillRunning(0, 49_999, "w")
	b.fillReady(50_000, 50_000+ended-1, "default")
	b.end(b.claim(ended)...)
	began := time.Now()
	for range 2 {
		if done := b.prune(task.PruneRequest{Max: ended / 2}); done.Tasks != ended/2 {
			t.Errorf("%+v", done)
		}
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestPrune_ForgetsWorkersThatHaveBeenGoneForLong(t *testing.T) {
	b := newRig(t)
	b.beat(task.WorkerStopped)
	if b.prune(task.PruneRequest{Age: time.Hour, Max: 1}); b.number(`select count(*) from lastcall.workers`) != 1 {
		t.Error("a worker that has just left is forgotten, and the history knows it no more")
	}
	mustExec(t, b.store, `update @.workers set gone = gone - interval '2 hours'`)
	if b.prune(task.PruneRequest{Age: time.Hour, Max: 1}); b.number(`select count(*) from lastcall.workers`) != 0 {
		t.Error("a worker that left long ago is kept")
	}
}

func TestPrune_WhereTasksAreKeptForEverForgetsWorkersThatNoneOfThemCanName(t *testing.T) {
	b := newRig(t)
	old := b.many(1)
	b.beat(task.WorkerStopped)
	forEver := task.PruneRequest{KeepOthers: true, Max: 1}
	if b.prune(forEver); b.number(`select count(*) from lastcall.workers`) != 1 {
		t.Error("a worker that a task of the store may name is forgotten")
	}
	mustExec(t, b.store, `update @.workers set gone = (select created from @.tasks where id = $1) - interval '1 second'`, old[0].ID)
	if b.prune(forEver); b.number(`select count(*) from lastcall.workers`) != 0 {
		t.Error("a worker that left before any task was created is kept")
	}
	mustExec(t, b.store, `insert into @.workers (worker, id, name, host, pid, kinds, queues, slots, lease, seq, state, gone)
		select gen_random_uuid(), n::text, '', '', n, '{}', '{}', 1, 1, 1, 'stopped', now() + n * interval '1 second' from generate_series(1, 5) n`)
	mustExec(t, b.store, b.store.q.RemoveForgottenWorkers, int64(2))
	if got := b.number(`select sum(pid) from lastcall.workers`); got != 4+5 {
		t.Errorf("of five workers 4 and 5 are to be kept, and the numbers of those that are add up to %d", got)
	}
}

func TestPrune_ForgetsASetWithoutSchedulesADayAfterItsLastProcess(t *testing.T) {
	b := newRig(t)
	for name, schedules := range map[string][]task.ScheduleRecord{"empty": nil, "heard": nil, "full": {{Name: "a", Template: []byte("{}")}}} {
		put := task.SchedulesPut{ScheduleSet: task.ScheduleSet{Name: name, Generation: testID(1)}, Schedules: schedules}
		if _, err := b.store.PutSchedules(t.Context(), put); err != nil {
			t.Fatal(err)
		}
	}
	mustExec(t, b.store, `update @.schedule_sets set heard = heard - interval '25 hours'`)
	if _, err := b.store.DueSchedules(t.Context(), task.DueRequest{Set: "heard", Generation: testID(1), Alive: true}); err != nil {
		t.Fatal(err)
	}
	forEver := task.PruneRequest{KeepOthers: true, Max: 1, Clock: time.Now().Add(-2 * time.Hour)}
	if b.prune(forEver); b.number(`select count(*) from lastcall.schedule_sets`) != 3 {
		t.Error("by a clock that is behind a set is forgotten")
	}
	forEver.Clock = time.Now()
	if b.prune(forEver); b.number(`select count(*) from lastcall.schedule_sets where name = 'empty'`) != 0 || b.number(`select count(*) from lastcall.schedule_sets`) != 2 {
		t.Error("the empty set is to be forgotten, and no other")
	}
}

func TestPrune_RefusesAPositionThatIsNone(t *testing.T) {
	b := newRig(t)
	for _, after := range []string{"x", "1", "1-zz", "1-00", "-"} {
		if _, err := b.store.Prune(t.Context(), task.PruneRequest{Max: 1, After: after}); !errors.Is(err, task.ErrInvalid) || !strings.Contains(err.Error(), "begin again") {
			t.Errorf("%q: %v", after, err)
		}
	}
	at, id := time.UnixMicro(1234567), [16]byte{1, 15: 2}
	gotAt, gotID, err := parsePosition(formatPosition(at, id))
	if err != nil || !gotAt.Equal(at) || gotID != id {
		t.Errorf("%v, %x, %v", gotAt, gotID, err)
	}
}
