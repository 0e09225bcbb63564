package pgstore

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// fillDelayed inserts tasks of the kind k whose time has come, with the numbers from first to last.
func (b *rig) fillDelayed(first, last int) {
	b.Helper()
	b.fillReady(first, last, "default")
	mustExec(b.T, b.store, `with gone as (delete from @.ready returning *) insert into @.delayed (created, id, run_at, route, sort_priority, queued, kind, queue) select created, id, run_at, route, sort_priority, queued, kind, queue from gone`)
	mustExec(b.T, b.store, `update @.delayed set run_at = now() - interval '1 minute'`)
}

func TestPoll_MovesTheMostUrgentTaskFirstOfManyThatAreDue(t *testing.T) {
	b := newRig(t)
	b.fillDelayed(1, 6000)
	b.add(task.NewTask{ID: testID(9000), Priority: 5, Delay: time.Millisecond})
	b.until(`select not exists (select 1 from @.delayed where run_at > now())`)
	if got := b.one(); got != testID(9000) {
		t.Errorf("claimed %s before the urgent task whose time had come", got)
	}
	if n := b.number(`select count(*) from lastcall.delayed`); n != 0 {
		t.Errorf("%d tasks whose time has come are still delayed", n)
	}
	b.counts(map[task.Status]int{task.StatusQueued: 6000, task.StatusRunning: 1})
}

func TestPromote_MovesABoundedNumberOfTheMostUrgentTasks(t *testing.T) {
	b := newRig(t)
	b.fillDelayed(1, promoteMost)
	mustExec(t, b.store, `update @.delayed set sort_priority = -7, run_at = now() - interval '1 second' where id >= $1`, testID(promoteMost-9))
	b.add(task.NewTask{ID: testID(9000), Priority: 100, Delay: time.Hour})
	mustExec(t, b.store, b.store.q.Promote, int64(20))
	if n, urgent := b.number(`select count(*) from lastcall.ready`), b.number(`select count(*) from lastcall.ready where sort_priority = -7`); n != 20 || urgent != 10 {
		t.Errorf("%d tasks were moved, %d of the 10 urgent ones", n, urgent)
	}
}

func TestPoll_ReportsWhenTheNextDelayRunsOut(t *testing.T) {
	b := newRig(t)
	poll := func() time.Duration {
		t.Helper()
		_, next, err := b.store.poll(t.Context(), claimOf(1))
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	if next := poll(); next != idleFor {
		t.Errorf("%v without anything that waits", next)
	}
	b.add(task.NewTask{ID: testID(1), Delay: time.Hour}, task.NewTask{ID: testID(2), Delay: time.Minute})
	if next := poll(); next > time.Minute || next < 50*time.Second {
		t.Errorf("%v, want a minute", next)
	}
}

// The worker that found nothing polls again when the delay has run out, and not before.
func TestClaim_TakesATaskWhenItsDelayHasRunOut(t *testing.T) {
	b := newRig(t)
	awaitUp(t, b.store)
	b.add(task.NewTask{ID: testID(1), Delay: 400 * time.Millisecond})
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); len(claims(t, b.store, "k")) == 0; <-tick.C {
		if since := time.Since(began); since > 10*time.Second {
			t.Fatalf("not claimed after %v", since)
		}
	}
	got := b.find(task.Query{IDs: []string{testID(1)}})[0]
	if late := got.Started.Sub(got.RunAt); late < 0 || late > idleFor/2 {
		t.Errorf("claimed %v after its delay had run out", late)
	}
}

func TestPoll_LeavesOutWhatIsPaused(t *testing.T) {
	b := newRig(t)
	b.fillReady(1, 1, "red")
	b.fillReady(2, 2, "green")
	mustExec(t, b.store, b.store.q.Pause, "red")
	if _, _, err := b.store.poll(t.Context(), claimOf(5)); err != nil {
		t.Fatal(err)
	}
	if got := queuesOf(b.store.scan.plan(claimOf(5))); !slices.Equal(got, []string{"green"}) {
		t.Errorf("%q is planned", got)
	}
}

func TestPoll_FindsTheFirstTaskOfEachRoute(t *testing.T) {
	b := newRig(t)
	var tasks []task.NewTask
	for i := range 60 {
		tasks = append(tasks, task.NewTask{ID: testID(i), Kind: "k", Queue: fmt.Sprint("q", i%20), Priority: i})
	}
	if _, err := b.store.Add(t.Context(), tasks); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.store.poll(t.Context(), claimOf(20)); err != nil {
		t.Fatal(err)
	}
	plan := b.store.scan.plan(claimOf(20))
	if len(plan) != 20 {
		t.Fatalf("%d routes", len(plan))
	}
	for i, c := range plan {
		if want := fmt.Sprint("q", 19-i); c.queue != want || c.first.sortPriority != int32(^(59-i)) || !c.exact {
			t.Errorf("%+v, want %s", c, want)
		}
	}
}

func TestPoll_RefusesAWorkerThatIsNotRegistered(t *testing.T) {
	b := newRig(t)
	req := claimOf(1)
	req.Worker = "unknown"
	if _, _, err := b.store.poll(t.Context(), req); !errors.Is(err, task.ErrWorkerGone) {
		t.Errorf("%v", err)
	}
}

func TestPoll_NoticesThatANeighboursLockIsFree(t *testing.T) {
	b := newRig(t)
	theirs := b.neighbour()
	if _, err := theirs.Heartbeat(t.Context(), task.Beat{Worker: "n", Seq: 1, State: task.WorkerRunning}); err != nil {
		t.Fatal(err)
	}
	gone := func() uint64 {
		t.Helper()
		b.store.idle.wake() // so that it polls
		b.store.idle.neighbours = time.Time{}
		if got := claims(t, b.store, "k"); len(got) != 0 {
			t.Fatal(got)
		}
		now, err := b.store.Wait(t.Context(), task.Generations{})
		if err != nil {
			t.Fatal(err)
		}
		return now.Workers
	}
	before := gone()
	if again := gone(); again != before {
		t.Errorf("a neighbour that lives is said to be gone: %d, then %d", before, again)
	}
	lose(t, theirs, "n")
	if after := gone(); after != before+1 {
		t.Errorf("a neighbour's session is gone, and the count of those that may be gone went from %d to %d", before, after)
	}
}
