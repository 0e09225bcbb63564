// Package storetest checks that a [task.Store] keeps its rules.
//
// There is a case for each rule, with its number, and a breach prints the rule with its reason. An
// engine's own test calls the suite:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, storetest.Engine{Open: func(t *testing.T) task.Store { ... }, Kill: ...})
//	}
//
// [RunTwice] repeats the calls. [Property] makes random use of a store and compares it with a
// model. [RunFaults] has clients and workers use it while calls go wrong, with [FaultyStore].
package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// Engine is the store to be tested.
type Engine struct {
	// Open returns a new empty store. The suite closes it.
	Open func(t *testing.T) task.Store
	// Reopen returns a store with the same tasks, after the first was closed; nil for an engine that
	// does not outlive its process.
	Reopen func(t *testing.T) task.Store
	// Bubble: the store works inside a testing/synctest bubble, where waiting takes no time.
	Bubble bool
	// Kill makes a worker of the store look as if its process had been killed. It is nil for an engine
	// without evidence of life: the cases about evidence are then left out by name.
	Kill func(t *testing.T, s task.Store, worker string)
	// Begin are the ways to begin a transaction in the database of a store that is a [task.TxStore];
	// none for any other store. The engine ends transactions that a failed case leaves open.
	Begin []func(t *testing.T, s task.Store) Transaction
}

// Transaction is a transaction that has begun.
type Transaction struct {
	// Tx is the transaction, as the store's package wraps it.
	Tx task.Tx
	// Commit and Rollback end it.
	Commit, Rollback func() error
}

// rule is a case of the suite.
type rule struct {
	numbers string // of task.Store's documentation, or "preface" for what is before them
	says    string
	check   func(t *T)
}

// T is the test of one case, with a store of its own.
type T struct {
	testing.TB
	real *testing.T // for the engine; nil where a breach is expected
	// Store is empty at first.
	Store  task.Store
	bare   task.Store // for the engine
	engine Engine
	ids    int
}

// groups has all cases; alone, those in which calls do not meet.
var (
	alone  = [][]rule{addRules, metaRules, claimRules, applyRules, workerRules, controlRules, deleteRules, stepRules, retentionRules, suspectRules, handoverRules, placeRules, turnRules, expireRules, missingRules, keepRules, orderRules, batchRules, findRules, bulkRules, keyRules, scheduleRules, closeRules}
	groups = append(slices.Clip(alone), raceRules, meetRules, keyRaceRules, scheduleMeetings)
)

// Run checks every rule, each in a subtest and on a store of its own. If the engine can begin
// transactions it also checks the documentation of task.TxStore.
func Run(t *testing.T, e Engine) {
	run(t, e, groups, func(_ testing.TB, s task.Store) task.Store { return s })
	runTx(t, e)
}

// RunTwice is Run, but makes every call twice that may be repeated, as a caller does that did not
// get the answer. Cases in which calls meet are left out: anything may happen between the two
// calls.
func RunTwice(t *testing.T, e Engine) {
	run(t, e, alone, func(tb testing.TB, s task.Store) task.Store { return &repeating{Store: s, tb: tb} })
}

func run(t *testing.T, e Engine, cases [][]rule, wrap func(testing.TB, task.Store) task.Store) {
	for _, r := range slices.Concat(cases...) {
		t.Run("rule "+r.numbers+" "+r.says, func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("rule %s of task.Store is broken: %s. Why there is such a rule: %s", r.numbers, r.says, reasons[r.numbers])
				}
			})
			s := e.Open(t)
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			r.check(&T{TB: t, real: t, Store: wrap(t, s), bare: s, engine: e})
		})
	}
}

// lease is long enough to play no part.
const lease = time.Minute

// id returns the n-th id of a case; ids sort by n.
func (t *T) id() string {
	t.ids++
	return fmt.Sprintf("00000000-0000-7000-8000-%012d", t.ids)
}

// add adds a task and returns its id.
func (t *T) add(change ...func(*task.NewTask)) string {
	t.Helper()
	n := task.NewTask{ID: t.id(), Kind: "k", Queue: "default", Payload: []byte("{}")}
	for _, c := range change {
		c(&n)
	}
	added, err := t.Store.Add(t.Context(), []task.NewTask{n})
	if err != nil || len(added) != 1 || added[0] != (task.AddResult{ID: n.ID}) {
		t.Fatalf("Add: %+v, %v", added, err)
	}
	return n.ID
}

// join registers a worker.
func (t *T) join(worker string) {
	t.Helper()
	if _, err := t.beat(worker, 1, task.WorkerRunning); err != nil {
		t.Fatalf("first beat of %s: %v", worker, err)
	}
}

func (t *T) beat(worker string, seq uint64, state task.WorkerState, runs ...task.Fence) (task.BeatReply, error) {
	return t.Store.Heartbeat(t.Context(), task.Beat{Worker: worker, Name: "n", Host: "h", PID: 1, Kinds: []string{"k"},
		Lease: lease, Seq: seq, State: state, Runs: runs})
}

// claim claims up to max tasks of kind k.
func (t *T) claim(worker string, max int) []task.Task {
	t.Helper()
	got, err := t.Store.Claim(t.Context(), request(worker, max))
	if err != nil {
		t.Fatalf("Claim: %v", err)
	}
	return got
}

// request returns a claim into memory that was used before, none of which may be in an answer.
func request(worker string, max int) task.ClaimRequest {
	used := task.Task{ID: "used", Kind: "used", Queue: "used", Key: "used", Payload: []byte("used"), Reason: task.ReasonLost, Error: "used",
		Checkpoint: []byte("used"), Result: []byte("used"), Progress: task.Progress{Fraction: 0.5, Message: "used"}, Counters: task.Counters{Attempts: 7}}
	return task.ClaimRequest{Worker: worker, Max: max, Into: []task.Task{used, used, used},
		Kinds: []task.KindClaim{{Kind: "k", Max: max, Limits: task.Limits{MaxAttempts: 3, MaxCrashes: 4}}}}
}

// run adds a task and lets a new worker claim it.
func (t *T) run(worker string) task.Task {
	t.Helper()
	t.join(worker)
	id := t.add()
	got := t.claim(worker, 1)
	if len(got) != 1 || got[0].ID != id {
		t.Fatalf("Claim: %+v, want task %s", got, id)
	}
	return got[0]
}

// change returns a change of a claimed task's run.
func change(c task.Task, status task.Status) task.Change {
	ch := task.Change{Fence: task.Fence{Task: c.ID, Run: c.Run, Worker: c.Worker}, Status: status, Counters: c.Counters}
	if status == task.StatusInterrupted {
		ch.Reason = task.ReasonStop
	}
	return ch
}

func (t *T) apply(c task.Change) error {
	t.Helper()
	errs := t.Store.Apply(t.Context(), []task.Change{c})
	if len(errs) != 1 {
		t.Fatalf("Apply of one change returned %d errors", len(errs))
	}
	return errs[0]
}

func (t *T) mustApply(c task.Change) {
	t.Helper()
	if err := t.apply(c); err != nil {
		t.Fatalf("Apply %s: %v", c.Status, err)
	}
}

func (t *T) get(id string) task.Task {
	t.Helper()
	got, err := t.Store.Find(t.Context(), task.Query{IDs: []string{id}})
	if err != nil || len(got) != 1 {
		t.Fatalf("Find %s: %+v, %v", id, got, err)
	}
	return got[0]
}

func (t *T) worker(name string) (task.WorkerInfo, bool) {
	t.Helper()
	all, err := t.Store.Workers(t.Context())
	if err != nil {
		t.Fatalf("Workers: %v", err)
	}
	for _, w := range all {
		if w.Worker == name {
			return w, true
		}
	}
	return task.WorkerInfo{}, false
}

func ids(tasks []task.Task) []string {
	var all []string
	for _, t := range tasks {
		all = append(all, t.ID)
	}
	return all
}
