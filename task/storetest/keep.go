package storetest

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

var missingRules = []rule{
	{"31", "a complete beat is answered with the runs that it does not list", func(t *T) {
		a := t.run("w")
		t.add()
		b := t.claim("w", 1)[0]
		beat := task.Beat{Worker: "w", Lease: lease, Seq: 2, State: task.WorkerRunning, ListsAllRuns: true, Runs: []task.Fence{change(a, "").Fence}}
		reply, err := t.Store.Heartbeat(t.Context(), beat)
		if err != nil || len(reply.Lost) != 0 || len(reply.Missing) != 1 {
			t.Fatalf("%+v, %v", reply, err)
		}
		if got := reply.Missing[0]; got.ID != b.ID || got.Run != b.Run || got.Kind != b.Kind || got.Limits != b.Limits || !bytes.Equal(got.Payload, b.Payload) || got.Worker != "w" {
			t.Errorf("%+v, want %+v", got, b)
		}
		beat.Seq, beat.ListsAllRuns = 3, false
		if reply, err = t.Store.Heartbeat(t.Context(), beat); err != nil || len(reply.Missing) != 0 {
			t.Errorf("a beat that is not complete: %+v, %v", reply, err)
		}
	}},
}

var keepRules = []rule{
	{"27", "a log keeps its last bytes, and a result every byte", func(t *T) {
		c := t.run("w")
		log := func(want []byte) {
			t.Helper()
			got, err := t.Store.Log(t.Context(), c.ID)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("log of %d bytes, %v, want %d", len(got), err, len(want))
			}
		}
		log(nil)
		first := change(c, task.StatusRunning)
		first.Log = []byte("\x00one\xff\n")
		t.mustApply(first)
		log(first.Log)
		big := change(c, task.StatusInterrupted)
		big.Log = bytes.Repeat([]byte("x"), task.MaxLog-3)
		big.Result = []byte("no success, no result")
		t.mustApply(big)
		log(append([]byte("e\xff\n"), big.Log...)) // the last MaxLog bytes of both
		if got := t.get(c.ID); got.Result != nil {
			t.Errorf("an interrupted task has the result %q", got.Result)
		}
		last := change(t.claim("w", 1)[0], task.StatusSucceeded)
		last.Result = []byte("\x00\xff'")
		t.mustApply(last)
		if got := t.get(c.ID); !bytes.Equal(got.Result, last.Result) {
			t.Errorf("result %q", got.Result)
		}
		_, err := t.Store.Log(t.Context(), t.id())
		t.wantErr("log of nothing", err, task.ErrNotFound)
	}},
	{"28", "History keeps the newest runs", func(t *T) {
		t.join("w")
		id := t.add()
		var numbers []int64
		const runs = task.MaxHistory + 5
		for n := range runs {
			got := t.claim("w", 1)
			if len(got) != 1 {
				t.Fatalf("claim %d: nothing", n)
			}
			numbers = append(numbers, got[0].Run)
			if n == runs-1 {
				break
			}
			c := change(got[0], task.StatusInterrupted)
			c.Counters.Interruptions++
			t.mustApply(c)
		}
		kept, err := t.Store.History(t.Context(), id)
		if err != nil || len(kept) != task.MaxHistory {
			t.Fatalf("%d runs, %v, want %d", len(kept), err, task.MaxHistory)
		}
		for i, r := range kept {
			if want := numbers[len(numbers)-task.MaxHistory+i]; r.Run != want {
				t.Fatalf("run %d is %d, want %d", i, r.Run, want)
			}
		}
		if got := t.get(id); got.Runs != runs || got.Interruptions != runs-1 {
			t.Errorf("%d runs, %d interruptions", got.Runs, got.Interruptions)
		}
	}},
	{"29", "Prune removes only what ended long enough ago, and all of it", func(t *T) {
		t.join("w")
		var gone []string
		for range 5 {
			gone = append(gone, t.add())
		}
		for _, c := range t.claim("w", 5) {
			again := change(c, task.StatusInterrupted)
			again.Log = []byte("log\n")
			t.mustApply(again)
		}
		for _, c := range t.claim("w", 5) {
			t.mustApply(change(c, task.StatusSucceeded))
		}
		waiting := t.add(func(n *task.NewTask) { n.Delay = time.Hour })
		t.add()
		running := t.claim("w", 1)[0].ID
		if n := t.prune(time.Hour, 2); n != 0 {
			t.Errorf("%d tasks removed that are younger than an hour", n)
		}
		t.tick()
		if n := t.prune(0, 2); n != len(gone) {
			t.Errorf("%d tasks removed, want %d", n, len(gone))
		}
		found, err := t.Store.Find(t.Context(), task.Query{})
		if err != nil || !slices.Equal(ids(found), []string{running, waiting}) {
			t.Errorf("left: %v, %v", ids(found), err)
		}
		_, err = t.Store.History(t.Context(), gone[0])
		t.wantErr("history of a pruned task", err, task.ErrNotFound)
		_, err = t.Store.Log(t.Context(), gone[0])
		t.wantErr("log of a pruned task", err, task.ErrNotFound)
		t.count("default k queued", 1, "default k running", 1)
	}},
	{"30", "Count counts by queue, kind and status", func(t *T) {
		t.count()
		t.join("w")
		t.add(func(n *task.NewTask) { n.Kind, n.Queue, n.Delay = "other", "a", time.Hour })
		for range 6 {
			t.add()
		}
		t.count("a other queued", 1, "default k queued", 6)
		got := t.claim("w", 5)
		t.count("a other queued", 1, "default k queued", 1, "default k running", 5)
		t.mustApply(change(got[0], task.StatusSucceeded))
		t.mustApply(change(got[1], task.StatusInterrupted))
		t.mustApply(change(got[2], task.StatusFailed))
		again := change(got[3], task.StatusQueued)
		again.Delay = time.Hour
		t.mustApply(again)
		t.mustAsk(task.VerbCancel, got[4].ID)
		t.mustApply(change(got[4], task.StatusInterrupted))
		t.count("a other queued", 1, "default k queued", 2, "default k interrupted", 1, "default k succeeded", 1, "default k failed", 1, "default k cancelled", 1)
		t.mustAsk(task.VerbRetry, got[2].ID)
		t.count("a other queued", 1, "default k queued", 3, "default k interrupted", 1, "default k succeeded", 1, "default k cancelled", 1)
	}},
	{"34", "a bounded count has the largest lines and the sums of the others", boundedCount},
}

func boundedCount(t *T) {
	t.join("w")
	for i := range 5 {
		for range 2*i + 1 {
			t.add(func(n *task.NewTask) { n.Queue = fmt.Sprintf("q%d", i) })
		}
	}
	t.add(func(n *task.NewTask) { n.Kind, n.Delay = "other", time.Hour })
	t.mustApply(change(t.claim("w", 1)[0], task.StatusSucceeded))
	lines := func(q task.CountQuery) (text []string, digest uint64) {
		t.Helper()
		counts, err := t.Store.Count(t.Context(), q)
		if err != nil {
			t.Fatalf("Count: %v", err)
		}
		for _, c := range counts.Tasks {
			text = append(text, fmt.Sprint(c.Queue, c.Kind, c.Status, c.N))
		}
		return text, counts.Digest
	}
	// Of 25 tasks of the kind k the one in q0 has succeeded.
	for _, c := range []struct {
		q    task.CountQuery
		want []string
	}{
		{task.CountQuery{Lines: 2}, []string{"(other)(other)queued9", "(other)(other)succeeded1", "q3kqueued7", "q4kqueued9"}},
		{task.CountQuery{Kinds: []string{"other"}}, []string{"(other)(other)queued24", "(other)(other)succeeded1", "defaultotherqueued1"}},
		{task.CountQuery{Lines: 1, Kinds: []string{"k"}}, []string{"(other)(other)queued16", "(other)(other)succeeded1", "q4kqueued9"}},
		{task.CountQuery{Kinds: []string{}}, []string{"(other)(other)queued25", "(other)(other)succeeded1"}},
	} {
		if got, _ := lines(c.q); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.q, got, c.want)
		}
	}
	none := task.CountQuery{Kinds: []string{}}
	_, before := lines(none)
	if _, again := lines(none); again != before {
		t.Errorf("the digest is %d and then %d, and nothing has changed", before, again)
	}
	// One more in one line, and one less in another: the sums are the same.
	id := t.add(func(n *task.NewTask) { n.Queue = "new" })
	_, more := lines(none)
	t.mustAsk(task.VerbCancel, id)
	t.add(func(n *task.NewTask) { n.Queue = "newer" })
	if _, after := lines(none); before == more || more == after || before == after {
		t.Errorf("digests of three counts are %d, %d and %d", before, more, after)
	}
}

// prune removes tasks that ended at least age ago, in steps, and returns how many it removed.
func (t *T) prune(age time.Duration, step int) (total int) {
	t.Helper()
	for req := (task.PruneRequest{Age: age, Max: step}); ; {
		done, err := t.Store.Prune(t.Context(), req)
		if err != nil {
			t.Fatalf("Prune: %v", err)
		}
		total += done.Tasks
		if req.After = done.Next; done.Next == "" {
			return total
		}
	}
}

// tick waits until the clock has moved, so that a task that has ended, ended before now. In a
// bubble nothing else moves the clock.
func (t *T) tick() { time.Sleep(2 * time.Millisecond) }

// count compares the store's counts with pairs of "queue kind status" and a number.
func (t *T) count(want ...any) {
	t.Helper()
	counts, err := t.Store.Count(t.Context(), task.CountQuery{})
	if err != nil {
		t.Fatalf("Count: %v", err)
	}
	var got []any
	for _, c := range counts.Tasks {
		got = append(got, c.Queue+" "+c.Kind+" "+string(c.Status), c.N)
	}
	if !slices.Equal(got, want) {
		t.Errorf("counts %v, want %v", got, want)
	}
}
