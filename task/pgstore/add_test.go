package pgstore

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

func TestAddTx_NeedsNoOtherConnectionForAQueueThatNobodyHasSeen(t *testing.T) {
	dsn := migrated.DSN(t)
	pool := poolOfOne(t, dsn)
	s := openAt(t, Config{Pool: pool, Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	client := task.NewClient(s)
	ctx := soon(t)
	tx, err := pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	inside, err := numbered.Enqueue(ctx, client.WithTx(Tx(tx)), 1, &task.EnqueueOptions{Queue: "new", Key: "key"})
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if got, err := client.Get(ctx, inside.ID); err != nil || got.Queue != "new" || got.Kind != numbered.Name || got.Key != "key" {
		t.Errorf("%+v, %v", got, err)
	}
	again, err := numbered.Enqueue(ctx, client, 1, &task.EnqueueOptions{Queue: "new", Key: "key"})
	if err != nil || again.ID != inside.ID || again.Outcome != task.OutcomeExisting {
		t.Errorf("%+v, %v", again, err)
	}
}

// While Add takes the keys, another client records one of the tasks.
func TestAdd_GivesTheKeyBackOfATaskThatSomebodyElseAdds(t *testing.T) {
	b := newRig(t)
	mustExec(t, b.store, `create table public.open (n integer)`)
	mustExec(t, b.store, `create function public.slow() returns trigger language plpgsql as
		$$ begin while not exists (select 1 from public.open) loop perform pg_sleep(0.005); end loop; return new; end $$`)
	mustExec(t, b.store, `create trigger slow before insert on @.keys for each row execute function public.slow()`)
	var (
		added []task.AddResult
		err   error
		done  sync.WaitGroup
	)
	done.Go(func() {
		added, err = b.store.Add(t.Context(), []task.NewTask{{ID: testID(1), Kind: "k", Queue: "default", Key: "key"}, {ID: testID(2), Kind: "k", Queue: "default", Key: "other"}})
	})
	b.until(`select exists (select 1 from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep')`)
	b.add(task.NewTask{ID: testID(1)})
	mustExec(t, b.store, `insert into public.open values (1)`)
	done.Wait()
	if want := []task.AddResult{{ID: testID(1), Outcome: task.OutcomeExisting}, {ID: testID(2)}}; err != nil || !slices.Equal(added, want) {
		t.Errorf("%+v, %v, want %+v", added, err, want)
	}
	if n := b.number(`select count(*) from lastcall.keys`); n != 1 {
		t.Errorf("%d keys are held, want that of the task that was added", n)
	}
	b.counts(map[task.Status]int{task.StatusQueued: 2})
}

func TestAdd_InOppositeOrdersDoesNotEndInADeadlock(t *testing.T) {
	b := newRig(t)
	var tasks []task.NewTask
	for i := range 400 {
		n := task.NewTask{ID: testID(i), Kind: "k", Queue: "default"}
		if i%2 == 0 {
			n.Key = fmt.Sprint("key ", 400-i)
		}
		tasks = append(tasks, n)
	}
	backwards := slices.Clone(tasks)
	slices.Reverse(backwards)
	var both sync.WaitGroup
	for _, some := range [][]task.NewTask{tasks, backwards} {
		both.Go(func() {
			added, err := b.store.Add(t.Context(), some)
			if err != nil {
				t.Error(err)
			}
			for i, a := range added {
				if a.ID != some[i].ID || a.Busy {
					t.Errorf("%+v", a)
				}
			}
		})
	}
	both.Wait()
	b.counts(map[task.Status]int{task.StatusQueued: 400})
}

func TestAdd_IsRepeatedAfterItsAnswerWasLostAndAddsOnce(t *testing.T) {
	b := newFarRig(t)
	tasks := []task.NewTask{{ID: testID(1), Kind: "k", Queue: "default", Key: "key"}, {ID: testID(2), Kind: "k", Queue: "default"}}
	if _, err := b.far.Add(t.Context(), []task.NewTask{{ID: testID(3), Kind: "k", Queue: "default"}}); err != nil {
		t.Fatal(err)
	}
	b.losing(func() error {
		_, err := b.far.Add(t.Context(), tasks)
		return err
	}, `select count(*) = 3 from @.tasks`)
	added, err := b.far.Add(t.Context(), tasks)
	if want := []task.AddResult{{ID: testID(1), Outcome: task.OutcomeExisting}, {ID: testID(2), Outcome: task.OutcomeExisting}}; err != nil || !slices.Equal(added, want) {
		t.Errorf("%+v, %v", added, err)
	}
	b.counts(map[task.Status]int{task.StatusQueued: 3})
}

// Its transaction may be open for hours.
func TestAdd_LeavesOutWhatAnOpenTransactionHasAndRecordsTheRest(t *testing.T) {
	b := newRig(t)
	tx := b.begin()
	var tasks []task.NewTask
	for i := range 300 {
		tasks = append(tasks, task.NewTask{ID: testID(i), Kind: "k", Queue: "default", Key: fmt.Sprint(i)})
	}
	if _, err := b.store.AddTx(t.Context(), Tx(tx), []task.NewTask{tasks[7], {ID: testID(1000), Kind: "k", Queue: "default", Key: "8"}}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	added, err := b.store.Add(t.Context(), tasks)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	for i, a := range added {
		if want := (task.AddResult{ID: testID(i), Busy: i == 7 || i == 8}); a != want {
			t.Errorf("%+v, want %+v", a, want)
		}
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.counts(map[task.Status]int{task.StatusQueued: 298})
}

func TestAdd_RefusesAnIDThatIsNone(t *testing.T) {
	b := newRig(t)
	_, err := b.store.Add(t.Context(), []task.NewTask{{ID: testID(1), Kind: "k", Queue: "default"}, {ID: "none", Kind: "k", Queue: "default"}})
	if !errors.Is(err, task.ErrInvalid) {
		t.Errorf("%v", err)
	}
	b.counts(map[task.Status]int{})
}

// A table that another transaction has locked, or that takes long to grow, says nothing about a
// task.
func TestAdd_WaitsLongerForALockThatIsAboutNoTask(t *testing.T) {
	b := newRig(t)
	tx := b.begin()
	if _, err := tx.Exec(t.Context(), b.store.sql(`lock table @.ready in share mode`)); err != nil {
		t.Fatal(err)
	}
	var (
		added []task.AddResult
		err   error
		done  sync.WaitGroup
	)
	done.Go(func() {
		added, err = b.store.Add(t.Context(), []task.NewTask{{ID: testID(1), Kind: "k", Queue: "default", Key: "key"}, {ID: testID(2), Kind: "k", Queue: "default"}})
	})
	b.until(`select exists (select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and clock_timestamp() - query_start > interval '500 milliseconds')`)
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	done.Wait()
	if want := []task.AddResult{{ID: testID(1)}, {ID: testID(2)}}; err != nil || !slices.Equal(added, want) {
		t.Errorf("%+v, %v, want %+v", added, err, want)
	}
}
