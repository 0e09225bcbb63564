package pgstore

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// complete returns a beat that lists some runs, and says that there are no others.
func complete(seq uint64, runs ...task.Fence) task.Beat {
	return task.Beat{Worker: "w", Seq: seq, State: task.WorkerRunning, Runs: runs, ListsAllRuns: true}
}

// The connection of a claim breaks while the server is still executing the claim: only the beat
// asks again.
func TestHeartbeat_ThatIsCompleteWaitsForAClaimThatTheServerIsAt(t *testing.T) {
	b := newFarRig(t)
	b.fillReady(0, 1, "default")
	open := b.gate("running")
	lost := make(chan error, 1)
	go func() {
		got, err := b.far.Claim(t.Context(), claimOf(2))
		if len(got) > 0 {
			t.Errorf("claimed %v", ids(got))
		}
		lost <- err
	}()
	b.untilWaiting(1)
	b.net.cut()
	if err := <-lost; err == nil {
		t.Fatal("a claim whose connection broke returned no error")
	}
	type answer struct {
		reply task.BeatReply
		err   error
	}
	answered := make(chan answer, 1)
	go func() {
		reply, err := b.far.Heartbeat(t.Context(), complete(2))
		answered <- answer{reply, err}
	}()
	b.untilWaiting(2)
	select {
	case a := <-answered:
		t.Errorf("answered before the claim had ended: %+v", a)
	default:
	}
	open()
	a := <-answered
	if a.err != nil || len(a.reply.Missing) != 2 {
		t.Fatalf("%v, %v", ids(a.reply.Missing), a.err)
	}
	b.end(a.reply.Missing...)
}

func TestClaim_ThatACompleteBeatHasOvertakenTakesNothing(t *testing.T) {
	b := newRig(t)
	b.fillReady(0, 1, "default")
	if _, _, err := b.store.poll(t.Context(), claimOf(2)); err != nil {
		t.Fatal(err)
	}
	sent := b.store.claimArgs(claimOf(2), b.store.scan.plan(claimOf(2))) // and it comes late
	reply, err := b.store.Heartbeat(t.Context(), complete(2))
	if err != nil || len(reply.Missing) != 0 {
		t.Fatalf("%+v, %v", reply, err)
	}
	if _, err := readClaim(b.store.pool.QueryRow(t.Context(), b.store.q.Claim, sent...)); !errors.Is(err, task.ErrWorkerGone) {
		t.Errorf("%v", err)
	}
	if n := b.number(`select count(*) from lastcall.running`); n != 0 {
		t.Errorf("%d tasks run for a worker that does not know it", n)
	}
	b.claim(2) // one that is sent now is in time
}

// The last beat of a worker must not remove it while a claim is in progress that will commit.
func TestHeartbeat_ThatIsTheLastLeavesAWorkerWhoseClaimIsUnderWay(t *testing.T) {
	b := newFarRig(t)
	b.fillReady(0, 1, "default")
	open := b.gate("running")
	lost := make(chan error, 1)
	go func() {
		_, err := b.far.Claim(t.Context(), claimOf(2))
		lost <- err
	}()
	b.untilWaiting(1)
	b.net.cut()
	<-lost
	left := make(chan error, 1)
	go func() {
		_, err := b.far.Heartbeat(t.Context(), task.Beat{Worker: "w", Seq: 2, State: task.WorkerStopped})
		left <- err
	}()
	b.untilWaiting(2)
	open()
	if err := <-left; err != nil {
		t.Fatal(err)
	}
	held, err := b.store.Reclaim(t.Context(), task.ReclaimRequest{Worker: "w", Seq: 2, Evidence: true, Max: 10})
	if err != nil || len(held.Tasks) != 2 || held.Done {
		t.Fatalf("%+v, %v", held, err)
	}
	b.apply(func(run task.Task) task.Change {
		c := interruption(run)
		c.Reason, c.Reclaimed = task.ReasonLost, true
		return c
	}, held.Tasks...)
	if held, err = b.store.Reclaim(t.Context(), task.ReclaimRequest{Worker: "w", Seq: 2, Evidence: true, Max: 10}); err != nil || !held.Done {
		t.Errorf("%+v, %v", held, err)
	}
	b.counts(map[task.Status]int{task.StatusInterrupted: 2})
}

func TestReclaim_WaitsForAClaimThatIsUnderWay(t *testing.T) {
	b := newRig(t)
	b.fillReady(0, 1, "default")
	open := b.gate("running")
	claimed := make(chan []task.Task, 1)
	go func() {
		got, err := b.store.Claim(t.Context(), claimOf(2))
		if err != nil {
			t.Error(err)
		}
		claimed <- got
	}()
	b.untilWaiting(1)
	left := make(chan task.ReclaimReply, 1)
	go func() {
		r, err := b.store.Reclaim(t.Context(), task.ReclaimRequest{Worker: "w", Seq: 1, Max: 10})
		if err != nil {
			t.Error(err)
		}
		left <- r
	}()
	b.untilWaiting(2)
	open()
	if got, taken := <-claimed, <-left; len(got) != 2 || len(taken.Tasks) != 2 || taken.Done {
		t.Errorf("claimed %v, and taken %+v", ids(got), taken)
	}
	if _, err := b.store.Claim(t.Context(), claimOf(2)); !errors.Is(err, task.ErrWorkerGone) {
		b.store.Wake()
		if _, err = b.store.Claim(t.Context(), claimOf(2)); !errors.Is(err, task.ErrWorkerGone) {
			t.Errorf("a worker that was taken for dead claims: %v", err)
		}
	}
}

func TestHeartbeat_ThatIsCompleteIsQuickWithTwentyThousandRuns(t *testing.T) {
	const n, unknown = 20_000, 10
	b := newRig(t)
	b.fillRunning(0, n-1, "w")
	b.fillRunning(n, n+99, "other")
	var runs []task.Fence
	for i := range n - unknown {
		runs = append(runs, task.Fence{Task: testID(i), Run: 1, Worker: "w"})
	}
	runs[5].Run = 7 // one that it has not got
	began := time.Now()
	reply, err := b.store.Heartbeat(t.Context(), complete(2, runs...))
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	want := []string{testID(5)}
	for i := n - unknown; i < n; i++ {
		want = append(want, testID(i))
	}
	got := ids(reply.Missing)
	if slices.Sort(got); !slices.Equal(got, want) || !slices.Equal(reply.Lost, runs[5:6]) {
		t.Errorf("unlisted %v, lost %v", got, reply.Lost)
	}
}

func TestEpochs_AreOfEachWorker(t *testing.T) {
	var e epochs
	if e.of("a") != 0 || e.raise("a") != 1 || e.raise("a") != 2 || e.of("a") != 2 || e.of("b") != 0 {
		t.Errorf("%+v", e.by)
	}
	start := time.Now()
	if e.begun("a", start); e.of("a") != 2 || e.restarted("a", start) || !e.restarted("a", start.Add(time.Hour)) || e.restarted("b", start) {
		t.Errorf("%+v", e.by)
	}
	if e.forget("a"); e.of("a") != 0 || e.restarted("a", start) {
		t.Errorf("%+v", e.by)
	}
}
