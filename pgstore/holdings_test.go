package pgstore

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task"
)

// rig is a store with one worker. It plans nothing ahead, which would wait at the locks of a test, with connections of the pool.
type rig struct {
	*testing.T
	store *Store
	seq   uint64
}

func newRig(t *testing.T) *rig {
	s := openAt(t, Config{DSN: pgtest.DSN(t), Migrate: true})
	t.Cleanup(func() { closed(t, s) })
	b := &rig{T: t, store: s}
	s.warming.Do(func() {})
	b.beat(task.WorkerRunning)
	return b
}

// begin opens a transaction, which a test that fails does not leave open.
func (b *rig) begin() pgx.Tx {
	b.Helper()
	tx, err := b.store.pool.Begin(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = tx.Rollback(context.WithoutCancel(b.Context())) }) // it has ended, unless the test has failed
	return tx
}

func (b *rig) beat(state task.WorkerState) {
	b.Helper()
	b.seq++
	if _, err := b.store.Heartbeat(b.Context(), task.Beat{Worker: "w", Seq: b.seq, State: state}); err != nil {
		b.Fatal(err)
	}
}

func testID(n int) string { return fmt.Sprintf("00000000-0000-7000-8000-%012d", n) }

func (b *rig) add(tasks ...task.NewTask) {
	b.Helper()
	for i := range tasks {
		tasks[i].Kind, tasks[i].Queue = "k", "default"
	}
	if _, err := b.store.Add(b.Context(), tasks); err != nil {
		b.Fatal(err)
	}
}

func (b *rig) claim(n int) []task.Task {
	b.Helper()
	got, err := b.store.Claim(b.Context(), task.ClaimRequest{Worker: "w", Max: n, Kinds: []task.KindClaim{{Kind: "k", Max: n}}})
	if err != nil || len(got) != n {
		b.Fatalf("%d tasks, %v", len(got), err)
	}
	return got
}

// three claims three new tasks at once.
func (b *rig) three() []task.Task {
	b.Helper()
	for n := range 3 {
		b.add(task.NewTask{ID: testID(n)})
	}
	return b.claim(3)
}

func (b *rig) end(tasks ...task.Task) {
	b.Helper()
	var all []task.Change
	for _, t := range tasks {
		all = append(all, success(t))
	}
	for _, err := range b.store.Apply(b.Context(), all) {
		if err != nil {
			b.Fatal(err)
		}
	}
}

func success(t task.Task) task.Change {
	return task.Change{Fence: task.Fence{Task: t.ID, Run: t.Run, Worker: t.Worker}, Status: task.Succeeded, Counters: t.Counters}
}

func (b *rig) claims() (n int) {
	b.Helper()
	if err := b.store.pool.QueryRow(b.Context(), `select count(*) from lastcall.claims`).Scan(&n); err != nil {
		b.Fatal(err)
	}
	return n
}

func TestTheRowOfAClaimGoesAfterItsLastRun(t *testing.T) {
	b := newRig(t)
	got := b.three()
	b.end(got[:2]...)
	b.beat(task.WorkerRunning)
	if n := b.claims(); n != 1 {
		t.Fatalf("%d claims while one of three runs", n)
	}
	b.end(got[2])
	b.end(got[2]) // a repetition
	b.beat(task.WorkerRunning)
	if n := b.claims(); n != 0 {
		t.Errorf("%d claims when all runs have ended", n)
	}
	if len(b.store.holdings.open)+len(b.store.holdings.over) != 0 {
		t.Errorf("left in memory: %+v", b.store.holdings.open)
	}
}

func TestTheNextClaimTakesTheRowAway(t *testing.T) {
	b := newRig(t)
	b.end(b.three()...)
	b.add(task.NewTask{ID: testID(7)})
	b.claim(1)
	if n := b.claims(); n != 1 {
		t.Errorf("%d claims, want the last one", n)
	}
}

func TestWhatEndedInATransactionIsSwept(t *testing.T) {
	b := newRig(t)
	got := b.three()
	b.end(got[:2]...)
	tx := b.begin()
	if err := b.store.FinishTx(t.Context(), Tx(tx), success(got[2])); err != nil {
		t.Fatal(err)
	}
	b.beat(task.WorkerRunning) // in the middle
	if n := b.claims(); n != 1 {
		t.Fatalf("%d claims before the commit", n)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.store.holdings.unsure["w"].swept = time.Time{} // it is time
	b.beat(task.WorkerRunning)
	if n := b.claims(); n != 0 || len(b.store.holdings.open) != 0 || len(b.store.holdings.unsure) != 0 {
		t.Errorf("%d claims, %d in memory, unsure %v", n, len(b.store.holdings.open), b.store.holdings.unsure)
	}
}

func TestALostAnswerMakesTheStoreUnsure(t *testing.T) {
	b := newRig(t)
	got := b.three()
	b.add(task.NewTask{ID: testID(7)})
	for _, lost := range []struct{ call, locks string }{
		{"a claim", `select 1 from lastcall.workers for update`},
		{"an end", `select 1 from lastcall.tasks for update`},
	} {
		tx := b.begin()
		if _, err := tx.Exec(t.Context(), lost.locks); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		var err error
		if lost.call == "a claim" {
			_, err = b.store.Claim(ctx, task.ClaimRequest{Worker: "w", Max: 1, Kinds: []task.KindClaim{{Kind: "k", Max: 1}}})
		} else {
			err = b.store.Apply(ctx, []task.Change{success(got[0])})[0]
		}
		cancel()
		if err == nil {
			t.Errorf("%s was answered", lost.call)
		}
		if b.store.holdings.unsure["w"] == nil {
			t.Errorf("%s whose answer was lost leaves no doubt", lost.call)
		}
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.store.holdings.unsure = nil
	}
	b.end(got...)
}

func TestARunThatIsFoundAgainStaysInDoubt(t *testing.T) {
	b := newRig(t)
	got := b.three()
	id, _ := parseID(got[0].ID)
	end := success(got[0])
	b.store.holdings.doubt([]item{{Change: &end, key: id}})
	b.store.holdings.adopt(got)
	for i, want := range []bool{false, true, true} {
		f := success(got[i]).Fence
		id, _ := parseID(f.Task)
		if b.store.holdings.knows(f, id) != want {
			t.Errorf("run %d is known: %v, want %v", i, !want, want)
		}
	}
	b.end(got...)
}

func TestASweepLeavesWhatRuns(t *testing.T) {
	b := newRig(t)
	got := b.three()
	b.end(got[:2]...)
	if err := b.store.sweep(t.Context(), "w"); err != nil {
		t.Fatal(err)
	}
	if n := b.claims(); n != 1 {
		t.Fatalf("%d claims", n)
	}
	b.end(got[2])
}

func TestATaskIsPrunedWhenNoClaimNamesIt(t *testing.T) {
	b := newRig(t)
	prune := func() int {
		t.Helper()
		pruned, err := b.store.Prune(t.Context(), task.PruneRequest{Max: 10})
		if err != nil {
			t.Fatal(err)
		}
		return pruned.Tasks
	}
	got := b.three()
	b.end(got[:2]...)
	if n := prune(); n != 0 {
		t.Fatalf("%d tasks pruned while another one of their claim runs", n)
	}
	b.end(got[2])
	if n := prune(); n != 3 {
		t.Fatalf("%d tasks pruned, want 3", n)
	}
	b.add(task.NewTask{ID: got[0].ID})
	if errs := b.store.Apply(t.Context(), []task.Change{success(got[0])}); errs[0] == nil {
		t.Error("an end of the pruned task's run was taken for one of the new task's")
	}
	b.end(b.claim(1)...)
}

func TestAWorkerThatLeavesLeavesNoClaims(t *testing.T) {
	b := newRig(t)
	got := b.three()
	b.end(got...)
	b.store.holdings.forget("w") // as if nothing had been counted
	b.beat(task.WorkerLeft)
	var n int
	if err := b.store.pool.QueryRow(t.Context(), `select count(*) from lastcall.workers`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	if n += b.claims(); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

func TestAClaimReturnsPayloadsOfEveryLength(t *testing.T) {
	for _, together := range []int{1, copyFrom} {
		b := newRig(t) // on a database of its own
		want := make(map[string][]byte)
		var tasks []task.NewTask
		for i, length := range []int{0, 1, carried, carried + 1, 100_000} {
			for n := range together {
				id := testID(100*i + n)
				want[id] = bytes.Repeat([]byte{byte(n)}, length)
				tasks = append(tasks, task.NewTask{ID: id, Payload: want[id]})
			}
		}
		if together == 1 {
			for _, n := range tasks {
				b.add(n)
			}
			tasks = append(tasks, task.NewTask{ID: testID(900), Key: "key", Payload: []byte("of the key")})
			b.add(tasks[len(tasks)-1])
			want[testID(900)] = []byte("of the key")
		} else {
			b.add(tasks...)
		}
		for _, got := range b.claim(len(tasks)) {
			switch w := want[got.ID]; {
			case !bytes.Equal(got.Payload, w):
				t.Errorf("%s: %d bytes, want %d", got.ID, len(got.Payload), len(w))
			case (got.Key == "key") != (got.ID == testID(900)):
				t.Errorf("%s has the key %q", got.ID, got.Key)
			case time.Since(got.Created).Abs() > time.Minute || got.RunAt != got.Created:
				t.Errorf("%s: created %v, claimable %v", got.ID, got.Created, got.RunAt)
			}
		}
	}
}

func TestATaskThatWaitedKeepsItsTimeOfCreation(t *testing.T) {
	b := newRig(t)
	b.add(task.NewTask{ID: testID(1), Payload: []byte("later"), Delay: 300 * time.Millisecond})
	due(t, b.store)
	got := b.claim(1)[0]
	if wait := got.RunAt.Sub(got.Created); wait != 300*time.Millisecond || string(got.Payload) != "later" {
		t.Errorf("claimable %v after it was created, with the payload %q", wait, got.Payload)
	}
}

// due waits until a delay has run out.
func due(t *testing.T, s *Store) {
	t.Helper()
	for waits := true; waits; {
		if err := s.pool.QueryRow(t.Context(), `select exists (select 1 from lastcall.delayed where run_at > now())`).Scan(&waits); err != nil {
			t.Fatal(err)
		}
	}
}
