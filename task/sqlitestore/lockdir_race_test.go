//go:build linux || darwin

package sqlitestore

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

func TestLockDir_WhoTakesAFileWaitsForANeighbourThatTidiesItUp(t *testing.T) {
	a, _ := fresh(t)
	if f, err := a.locks.open(a.locks.path("w"), os.O_RDWR|os.O_CREATE); err != nil || f.Close() != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		neighbour := a.locks.seize("w")
		taken := make(chan error)
		go func() {
			_, err := a.locks.take("w")
			taken <- err
		}()
		synctest.Wait()
		neighbour.remove()
		neighbour.release()
		if err := <-taken; err != nil {
			t.Fatal(err)
		}
	})
	if !sameFile(a.locks.held["w"], a.locks.path("w")) {
		t.Error("the neighbour has removed the file of the worker that lives")
	}
	a.locks.release("w", true)
}

func TestLockDir_WhoTakesAFileDoesNotWaitForEver(t *testing.T) {
	a, _ := fresh(t)
	if f, err := a.locks.open(a.locks.path("w"), os.O_RDWR|os.O_CREATE); err != nil || f.Close() != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		neighbour := a.locks.seize("w")
		defer neighbour.release()
		if _, err := a.locks.take("w"); !errors.Is(err, errLocked) {
			t.Errorf("taken while a neighbour has it: %v", err)
		}
	})
}

func TestReclaim_ALookAtTheLockDoesNotHinderIt(t *testing.T) {
	a, path := fresh(t)
	if _, err := a.Heartbeat(t.Context(), beat("w", 1, task.WorkerRunning)); err != nil {
		t.Fatal(err)
	}
	a.locks.release("w", false) // what the kernel does when the process dies
	b := openAt(t, path)
	defer b.Close()
	looks, err := os.Open(a.locks.path("w"))
	if err == nil {
		err = lock(looks, false)
	}
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(20*lockPoll, func() { looks.Close() })
	if left, err := b.Reclaim(t.Context(), task.ReclaimRequest{Worker: "w", Evidence: true, Max: 1}); err != nil || !left.Done {
		t.Errorf("%+v, %v", left, err)
	}
}

func TestLockDir_AFileThatIsTakenStaysWhileNeighboursTidyUp(t *testing.T) {
	const workers = 200
	var next atomic.Int64
	name := func(n int64) string { return fmt.Sprintf("w%03d", n) }
	a, path := fresh(t)
	var neighbours sync.WaitGroup
	for range 2 {
		b := openAt(t, path)
		neighbours.Go(func() {
			for n := next.Load(); n < workers; n = next.Load() {
				b.sweepLock(t.Context(), name(n))
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	removed := 0
	for n := range int64(workers) {
		next.Store(n)
		if _, err := a.locks.take(name(n)); err != nil {
			t.Error(err)
			continue
		}
		if !sameFile(a.locks.held[name(n)], a.locks.path(name(n))) {
			removed++
		}
		a.locks.release(name(n), true)
	}
	next.Store(workers)
	neighbours.Wait()
	if removed > 0 {
		t.Errorf("%d of %d files were removed although their lock was held: their workers would be taken for living until their lease has run out", removed, workers)
	}
}
