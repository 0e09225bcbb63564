package pgstore

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

func (b *rig) control(verb task.Verb, id string) error {
	b.Helper()
	return b.store.Control(b.Context(), task.Command{Verb: verb, Task: id})
}

func (b *rig) mustControl(verb task.Verb, id string) {
	b.Helper()
	if err := b.control(verb, id); err != nil {
		b.Fatalf("%s: %v", verb, err)
	}
}

// The process that retries has just started, and its pool has one connection.
func TestControl_RetriesATaskWithAKeyWithAPoolOfOne(t *testing.T) {
	dsn := migrated.DSN(t)
	add := task.NewTask{ID: testID(1), Kind: "k", Queue: "default", Key: "key"}
	before := openAt(t, Config{DSN: dsn, Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	if _, err := before.Add(t.Context(), []task.NewTask{add}); err != nil {
		t.Fatal(err)
	}
	if err := before.Control(t.Context(), task.Command{Verb: task.VerbCancel, Task: add.ID}); err != nil {
		t.Fatal(err)
	}
	closed(t, before)
	s := openAt(t, Config{Pool: poolOfOne(t, dsn), Timeout: 5 * time.Second, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	if err := s.Control(t.Context(), task.Command{Verb: task.VerbRetry, Task: add.ID}); err != nil {
		t.Fatal(err)
	}
	add.ID = testID(2)
	if added, err := s.Add(t.Context(), []task.NewTask{add}); err != nil || added[0] != (task.AddResult{ID: testID(1), Outcome: task.OutcomeExisting}) {
		t.Errorf("%+v, %v: the task has its key again", added, err)
	}
}

func TestControl_DoesNotWaitForAKeyThatAnOpenTransactionHas(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.add(task.NewTask{ID: testID(1), Key: "key"})
	b.mustControl(task.VerbCancel, testID(1))
	tx := b.begin()
	if _, err := b.store.AddTx(t.Context(), Tx(tx), []task.NewTask{{ID: testID(2), Kind: "k", Queue: "default", Key: "key"}}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := b.control(task.VerbRetry, testID(1)); !errors.Is(err, task.ErrKeyBusy) {
		t.Errorf("%v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.mustControl(task.VerbRetry, testID(1))
	b.counts(map[task.Status]int{task.StatusQueued: 1})
}

// A process may be stopped in the middle of a command.
func TestControl_ThatIsUnderWayHoldsBackNoOtherRun(t *testing.T) {
	b := newRig(t)
	b.fillReady(0, 99, "default")
	got := b.claim(100)
	tx := b.begin()
	if _, err := tx.Exec(t.Context(), b.store.q.CommandRun, got[0].ID, string(task.VerbCancel), "", "", int64(task.MaxCommands)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for i, err := range b.store.Apply(t.Context(), changes(interruption, got)) {
		if (err != nil) != (i == 0) {
			t.Errorf("%s: %v", got[i].ID, err)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.apply(interruption, got[0])
	b.counts(map[task.Status]int{task.StatusInterrupted: 99, task.StatusCancelled: 1})
}

func TestControl_SaysWhoHoldsItUp(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.fillReady(0, 0, "default")
	got := b.claim(1)
	tx := b.begin()
	if err := b.store.FinishTx(t.Context(), Tx(tx), success(got[0])); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	err := b.control(task.VerbCancel, got[0].ID)
	if err == nil || !strings.Contains(err.Error(), "commit it or roll it back") {
		t.Errorf("%v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.control(task.VerbCancel, got[0].ID); !errors.Is(err, task.ErrAlreadyFinished) {
		t.Errorf("%v", err)
	}
}

// The task moves from one table to the other all the time.
func TestControl_FindsATaskThatIsClaimedAndInterruptedMeanwhile(t *testing.T) {
	b := newRig(t)
	b.fillReady(0, 0, "default")
	var both sync.WaitGroup
	stop := make(chan struct{})
	both.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			got, err := b.store.Claim(t.Context(), claimOf(1))
			if err != nil {
				t.Error(err)
				return
			}
			if err := errors.Join(b.store.Apply(t.Context(), changes(interruption, got))...); err != nil {
				t.Error(err)
			}
		}
	})
	for range 100 {
		if err := b.control(task.VerbRetry, testID(0)); err != nil && !errors.Is(err, task.ErrRunning) {
			t.Error(err)
		}
		if err := b.control(task.VerbInterrupt, testID(0)); err != nil && !errors.Is(err, task.ErrNotRunning) {
			t.Error(err)
		}
	}
	b.mustControl(task.VerbCancel, testID(0))
	close(stop)
	both.Wait()
	b.counts(map[task.Status]int{task.StatusCancelled: 1})
}

func TestControl_KnowsNoTaskThatIsNotThere(t *testing.T) {
	b := newRig(t)
	for _, verb := range []task.Verb{task.VerbCancel, task.VerbRetry, task.VerbInterrupt} {
		for _, id := range []string{testID(1), "none"} {
			if err := b.control(verb, id); !errors.Is(err, task.ErrNotFound) {
				t.Errorf("%s of %s: %v", verb, id, err)
			}
		}
	}
	if err := b.control("dance", testID(1)); !errors.Is(err, task.ErrInvalid) {
		t.Errorf("%v", err)
	}
}

// OldClaims recognises a claim by its text, of which the server shows the first 1024 bytes.
func TestPause_KnowsTheTextsOfClaims(t *testing.T) {
	s := openAt(t, Config{DSN: migrated.DSN(t), Migrate: true})
	defer closed(t, s)
	_, rest, _ := strings.Cut(s.q.OldClaims, "like '%")
	mark, _, found := strings.Cut(rest, "%'")
	for _, claim := range []string{s.q.Claim, s.q.ClaimFromPriority} {
		if at := strings.Index(claim, mark); !found || mark == "" || at < 0 || at+len(mark) > 1000 {
			t.Errorf("%q is not within the first 1000 bytes of a claim: %.120s", mark, claim)
		}
	}
}
