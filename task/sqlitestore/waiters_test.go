package sqlitestore

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

func TestWriter_ThatWaitsForItsTurnIsSeenAndLetIn(t *testing.T) {
	a, path := fresh(t)
	b := openAt(t, path)
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	inside, leave, first, second := make(chan struct{}), make(chan struct{}), make(chan error), make(chan error)
	go func() {
		first <- a.inTx(context.Background(), func(*txn) error { close(inside); <-leave; return nil })
	}()
	<-inside
	if a.locks.othersWait() {
		t.Error("somebody waits, before anybody does")
	}
	go func() { second <- b.inTx(context.Background(), func(*txn) error { return nil }) }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !a.locks.othersWait() { // until the test's time is over
		select {
		case <-tick.C:
		case err := <-second:
			t.Fatalf("the second has not waited: %v", err)
		}
	}
	close(leave)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if err := <-second; err != nil {
		t.Error(err)
	}
	if a.locks.othersWait() {
		t.Error("somebody waits, after all have written")
	}
}

func TestAdd_OfManyTasksIsNotMorePatientThanOtherCalls(t *testing.T) {
	t.Parallel()
	a, path := fresh(t)
	b := openAt(t, path)
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	inside, leave, first := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		first <- a.inTx(context.Background(), func(*txn) error { close(inside); <-leave; return nil })
	}()
	<-inside
	began := time.Now()
	_, err := b.Add(t.Context(), []task.NewTask{{ID: id(1), Kind: "k", Queue: "default"}, {ID: id(2), Kind: "k", Queue: "default"}})
	if took := time.Since(began); err == nil || took < patience || took > patience*3/2 {
		t.Errorf("after %v: %v; want an error after %v", took, err, patience)
	}
	close(leave)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// One process has long transactions, as on a slow disk, without a gap between them: with SQLite's
// own way of waiting, others waited for seconds, and some gave up.
func TestWriter_ThatIsBusyDoesNotKeepOtherProcessesFromWriting(t *testing.T) {
	a, path := fresh(t)
	b := openAt(t, path)
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	ctx, done := context.WithCancel(t.Context())
	inside := make(chan struct{})
	var busy sync.WaitGroup
	for range 4 {
		busy.Go(func() {
			for ctx.Err() == nil {
				if err := a.inTx(t.Context(), func(tx *txn) error {
					_, err := tx.exec("CountEnded", "q", "k", "failed", 1)
					select { // what the disk takes
					case inside <- struct{}{}:
						<-time.After(5 * time.Millisecond)
					case <-time.After(5 * time.Millisecond):
					}
					return err
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var took []time.Duration
	for i := range 20 {
		<-inside
		began := time.Now()
		if _, err := b.Add(t.Context(), []task.NewTask{{ID: fmt.Sprintf("00000000-0000-7000-8000-%012d", i), Kind: "k"}}); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	done()
	busy.Wait()
	slices.Sort(took)
	t.Logf("median %v, longest %v", took[10], took[19])
	if took[10] > time.Second {
		t.Errorf("half of the calls waited for longer than %v", took[10])
	}
}
