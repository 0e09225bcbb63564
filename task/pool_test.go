package task

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func TestPool_ARunNeverWaitsBehindAHandlerThatBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 3 * maxIdle
		var begun atomic.Int64
		release := make(chan struct{})
		p := newPool(func(*Run) {
			begun.Add(1)
			<-release
		})
		for round := range 3 { // the later ones find goroutines that are idle, and fewer than they are
			for range n {
				p.run(new(Run))
			}
			synctest.Wait()
			if got := begun.Load(); got != int64((round+1)*n) {
				t.Fatalf("round %d: %d of %d runs have begun", round, got, (round+1)*n)
			}
			for range n {
				release <- struct{}{}
			}
			synctest.Wait()
			if p.idle != maxIdle {
				t.Fatalf("round %d: %d goroutines are idle, want %d", round, p.idle, maxIdle)
			}
		}
		p.dismiss()
	})
}

func TestPool_EachRunIsDoneOnce(t *testing.T) {
	const n = 50_000
	runs, done := make([]Run, n), make([]atomic.Int32, n)
	var all sync.WaitGroup
	all.Add(n)
	p := newPool(func(r *Run) {
		done[r.place].Add(1)
		all.Done()
	})
	for i := range runs {
		runs[i].place = i
		p.run(&runs[i])
	}
	all.Wait()
	p.dismiss()
	for i := range done {
		if times := done[i].Load(); times != 1 {
			t.Fatalf("run %d was done %d times", i, times)
		}
	}
}
