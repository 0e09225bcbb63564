package pgstore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
)

// A claim that the server has made, and whose answer is lost, must not be repeated: the tasks of
// the first claim would be lost.
func TestClaim_IsNotRepeatedWhenItsAnswerIsLost(t *testing.T) {
	b := newFarRig(t)
	b.fillReady(0, 4, "default")
	first, err := b.far.Claim(t.Context(), claimOf(1))
	if err != nil {
		t.Fatal(err)
	}
	b.end(first...)
	b.far.scan.mu.Lock() // the next claim does not poll first, however late it is
	b.far.scan.polled = time.Now().Add(time.Hour)
	b.far.scan.mu.Unlock()
	b.losing(func() error {
		got, err := b.far.Claim(t.Context(), claimOf(2))
		if len(got) > 0 {
			t.Errorf("claimed %v", ids(got))
		}
		return err
	}, `select count(*) = 2 from @.running`)
	if n := b.number(`select count(*) from lastcall.running`); n != 2 {
		t.Fatalf("%d tasks run, want those of one claim", n)
	}
	reply, err := b.far.Heartbeat(t.Context(), task.Beat{Worker: "w", Seq: 2, State: task.WorkerRunning, ListsAllRuns: true})
	if err != nil || len(reply.Missing) != 2 {
		t.Fatalf("a complete beat found %v, %v", ids(reply.Missing), err)
	}
	b.end(reply.Missing...)
	rest, err := b.far.Claim(t.Context(), claimOf(2))
	if err != nil {
		t.Fatal(err)
	}
	b.end(rest...)
	b.counts(map[task.Status]int{task.StatusSucceeded: 5})
}

// What a connection had not committed when it was lost was not done. The next claim takes those
// tasks.
func TestClaim_ThatTheServerGaveUpLeavesNothing(t *testing.T) {
	b := newRig(t)
	b.fillReady(0, 3, "default")
	open := b.gate("running")
	failed := make(chan error, 1)
	go func() {
		_, err := b.store.Claim(t.Context(), claimOf(2))
		failed <- err
	}()
	b.untilWaiting(1)
	pid := b.number(`select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`)
	mustExec(t, b.store, `select pg_terminate_backend($1)`, pid)
	if err := <-failed; err == nil {
		t.Error("no error")
	}
	// The server reports the end of the process before the process has released its locks.
	b.until(fmt.Sprintf(`select not exists (select 1 from pg_stat_activity where pid = %d)`, pid))
	open()
	if n := b.number(`select count(*) from lastcall.running`); n != 0 {
		t.Errorf("%d tasks run", n)
	}
	b.claim(4)
}

func TestClaim_ReturnsPayloadsOfEveryLength(t *testing.T) {
	b := newRig(t)
	want := make(map[string][]byte)
	var together, alone []task.NewTask
	for i, length := range []int{0, 1, inlinePayload, inlinePayload + 1, 100_000} {
		for n := range 4 {
			add := task.NewTask{ID: testID(100*i + n), Payload: bytes.Repeat([]byte{byte(n)}, length)}
			if want[add.ID] = add.Payload; n == 0 {
				alone = append(alone, add)
			} else {
				together = append(together, add)
			}
		}
	}
	alone = append(alone, task.NewTask{ID: testID(900), Key: "key", Payload: []byte("of the key")})
	want[testID(900)] = []byte("of the key")
	for _, add := range alone {
		b.add(add)
	}
	b.add(together...)
	for _, got := range b.claim(len(want)) {
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

func TestClaim_ReturnsTheTimeOfCreationOfATaskThatWaited(t *testing.T) {
	b := newRig(t)
	b.add(task.NewTask{ID: testID(1), Payload: []byte("later"), Delay: 300 * time.Millisecond})
	b.until(`select run_at <= now() from @.delayed`)
	got := b.claim(1)[0]
	if wait := got.RunAt.Sub(got.Created); wait != 300*time.Millisecond || string(got.Payload) != "later" {
		t.Errorf("claimable %v after it was created, with the payload %q", wait, got.Payload)
	}
}

// A claim reads other tables than a listing, and must return the same.
func TestClaim_ReturnsWhatAListingSaysOfATaskThatHasRun(t *testing.T) {
	b := newRig(t)
	b.add(task.NewTask{ID: testID(1), Key: "key", Payload: []byte("p"), Priority: 7}, task.NewTask{ID: testID(2)})
	b.apply(func(run task.Task) task.Change {
		c := interruption(run)
		c.Counters = task.Counters{Attempts: 1, Interruptions: 2, Crashes: 3, CrashStreak: 1, InterruptStreak: 4}
		c.Checkpoint, c.Progress, c.Error = []byte{0, 1}, &task.Progress{Fraction: 0.5, Message: "half"}, "of the last run"
		return c
	}, b.claim(2)...)
	got := b.claim(2)
	if !slices.Equal(ids(got), []string{testID(1), testID(2)}) {
		t.Fatalf("claimed %v", ids(got))
	}
	for _, claimed := range got {
		found := b.find(task.Query{IDs: []string{claimed.ID}})[0]
		claimed.Payload = append([]byte{}, claimed.Payload...)
		found.RunAt = claimed.RunAt // a listing has that of the submission
		text := func(t task.Task) string {
			out, err := json.Marshal(t)
			if err != nil {
				b.Fatal(err)
			}
			return string(out)
		}
		if text(claimed) != text(found) {
			t.Errorf("claimed\n%s\nand found\n%s", text(claimed), text(found))
		}
	}
}

// A process may be stopped in the middle of a command.
func TestClaim_PassesByTasksThatAnOpenTransactionHas(t *testing.T) {
	b := newRig(t)
	b.fillReady(0, 9, "default")
	tx := b.begin()
	if _, err := tx.Exec(t.Context(), b.store.q.CancelWaiting, testID(0), string(task.VerbCancel), "", "", int64(task.MaxCommands)); err != nil {
		t.Fatal(err)
	}
	for _, got := range b.claim(9) {
		if got.ID == testID(0) {
			t.Error("the task was claimed anyway")
		}
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.store.Wake()
	b.claim(1)
}

// A claim asks for as many routes as it may take tasks: the most urgent tasks are in these.
func TestClaim_OfFewTasksFindsTheFirstOfManyQueues(t *testing.T) {
	b := newRig(t)
	var tasks []task.NewTask
	for i := range 40 {
		tasks = append(tasks, task.NewTask{ID: testID(i), Kind: fmt.Sprint("k", i%2), Queue: fmt.Sprint("q", i/2), Priority: i})
	}
	if _, err := b.store.Add(t.Context(), tasks); err != nil {
		t.Fatal(err)
	}
	req := claimOf(5)
	req.Kinds = []task.KindClaim{{Kind: "k0", Max: 5}, {Kind: "k1", Max: 5}}
	for first := 39; first > 0; first -= 5 {
		got, err := b.store.Claim(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for i := range 5 {
			want = append(want, testID(first-i))
		}
		if !slices.Equal(ids(got), want) {
			t.Fatalf("claimed %v, want %v", ids(got), want)
		}
	}
}

// The numbers of a kind's routes begin with 16 bits of a hash, which may be the same for two kinds.
func TestClaim_KeepsKindsApartWhoseRoutesAreNeighbours(t *testing.T) {
	b := newRig(t)
	seen := make(map[int64]string)
	var one, other string
	for i := 0; other == ""; i++ {
		kind := fmt.Sprint("kind", i)
		if one = seen[firstRoute(kind)]; one != "" {
			other = kind
		}
		seen[firstRoute(kind)] = kind
	}
	var tasks []task.NewTask
	for i := range 20 {
		tasks = append(tasks, task.NewTask{ID: testID(i), Kind: []string{one, other}[i%2], Queue: fmt.Sprint("q", i/4)})
	}
	if _, err := b.store.Add(t.Context(), tasks); err != nil {
		t.Fatal(err)
	}
	for i, kind := range []string{one, other} {
		got := claims(t, b.store, kind)
		if len(got) != 10 {
			t.Errorf("%d tasks of the kind %s", len(got), kind)
		}
		for _, id := range got {
			if id[len(id)-1]%2 != byte('0'+i)%2 {
				t.Errorf("%s is none of the kind %s", id, kind)
			}
		}
	}
}

// buffers are the pages of the database that a statement touches.
func buffers(t *testing.T, b *rig, sql string, args ...any) (n int) {
	t.Helper()
	tx := b.begin()
	var answer []byte
	if err := tx.QueryRow(t.Context(), "explain (analyze, buffers, format json) "+sql, append([]any{pgx.QueryExecModeCacheDescribe}, args...)...).Scan(&answer); err != nil {
		t.Fatal(err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	var plans []struct {
		Plan struct {
			Hit     int `json:"Shared Hit Blocks"`
			Read    int `json:"Shared Read Blocks"`
			Dirtied int `json:"Shared Dirtied Blocks"`
		}
	}
	if err := json.Unmarshal(answer, &plans); err != nil {
		t.Fatal(err)
	}
	return plans[0].Plan.Hit + plans[0].Plan.Read
}

func TestClaim_CostsNothingForQueuesThatAreEmptyNow(t *testing.T) {
	b := newRig(t)
	cost := func() (poll, claim int) {
		t.Helper()
		b.store.scan.full = time.Time{} // so that it knows no route
		pieces, _ := b.store.scan.pieces(claimOf(1))
		if _, _, err := b.store.poll(t.Context(), claimOf(1)); err != nil {
			t.Fatal(err)
		}
		pollArgs := append(append([]any{workerKey("w"), int64(0), false}, pieceArgs(pieces)...), false, (*int64)(nil))
		routes := b.store.scan.plan(claimOf(1))
		if len(routes) != 1 || len(pieces) != 1 {
			t.Fatalf("%d routes to claim from, %d pieces to look at", len(routes), len(pieces))
		}
		return buffers(t, b, b.store.q.Poll, pollArgs...), buffers(t, b, b.store.q.Claim, b.store.claimArgs(claimOf(1), routes)...)
	}
	b.add(task.NewTask{ID: testID(0)})
	pollBefore, claimBefore := cost()
	const queues = 2000
	var tasks []task.NewTask
	for i := range queues {
		tasks = append(tasks, task.NewTask{ID: testID(1 + i), Kind: "k", Queue: fmt.Sprint("tenant", i)})
	}
	if _, err := b.store.Add(t.Context(), tasks); err != nil {
		t.Fatal(err)
	}
	ended := b.claim(queues + 1)
	b.end(ended...)
	mustExec(t, b.store, `vacuum @.ready`)
	mustExec(t, b.store, `vacuum @.running`)
	b.add(task.NewTask{ID: testID(queues + 1)})
	poll, claim := cost()
	t.Logf("pages of a poll %d, then %d; of a claim %d, then %d", pollBefore, poll, claimBefore, claim)
	if poll > pollBefore+10 || claim > claimBefore+20 {
		t.Errorf("a poll touches %d pages and a claim %d, before the queues were used %d and %d", poll, claim, pollBefore, claimBefore)
	}
}

func TestClaimAnswer_IsInTheOrderOfClaims(t *testing.T) {
	now := time.Now()
	a := claimAnswer{
		ids:      [][16]byte{{4}, {2}, {3}, {1}, {0}},
		priority: []int32{0, 0, 0, 0, -1},
		queued:   []bool{true, false, false, false, true},
		runAts:   []time.Time{now, now, now.Add(time.Second), now, now.Add(time.Hour)},
	}
	var rows []int
	for _, p := range a.order() {
		rows = append(rows, p.row)
	}
	if want := []int{4, 3, 1, 2, 0}; !slices.Equal(rows, want) {
		t.Errorf("rows %v, want %v", rows, want)
	}
}

func TestTookAll_ReportsWhetherThereMayBeMore(t *testing.T) {
	two := task.ClaimRequest{Max: 10, Kinds: []task.KindClaim{{Kind: "a", Max: 2}, {Kind: "b", Max: 20}, {Kind: "none"}}}
	of := func(a, b int) (all []task.Task) {
		for range a {
			all = append(all, task.Task{Kind: "a"})
		}
		for range b {
			all = append(all, task.Task{Kind: "b"})
		}
		return all
	}
	for _, c := range []struct {
		a, b int
		all  bool
	}{{0, 0, true}, {1, 8, true}, {2, 0, false}, {1, 9, false}, {0, 10, false}} {
		if got := tookAll(two, of(c.a, c.b)); got != c.all {
			t.Errorf("%d of a and %d of b: %v, want %v", c.a, c.b, got, c.all)
		}
	}
}
