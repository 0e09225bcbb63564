package main

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/sourcegraph/conc"
	"golang.org/x/sync/errgroup"
)

const million = 1_000_000

// timed runs f after a warm-up of a tenth of its size, and checks that every goroutine ran.
func timed(f func(n int, work func()) error) (float64, error) {
	var ran atomic.Int64
	work := func() { ran.Add(1) }
	n := million / load
	if err := f(n/10, work); err != nil {
		return 0, err
	}
	runtime.GC()
	ran.Store(0)
	began := time.Now()
	if err := f(n, work); err != nil {
		return 0, err
	}
	took := time.Since(began)
	if int(ran.Load()) != n {
		return 0, fmt.Errorf("%d of %d goroutines ran", ran.Load(), n)
	}
	return milliseconds(took), nil
}

func startGroup() (float64, error) {
	return timed(func(n int, work func()) error {
		g, err := lastcall.New(context.Background(), lastcall.Config{Logger: quiet})
		if err != nil {
			return err
		}
		fn := func(context.Context) error { work(); return nil }
		for range n {
			if err := g.Go("short", fn); err != nil {
				return err
			}
		}
		if code := g.Wait().ExitCode(); code != 0 {
			return fmt.Errorf("exit code %d", code)
		}
		return nil
	})
}

func startWaitGroup() (float64, error) {
	return timed(func(n int, work func()) error {
		var wg sync.WaitGroup
		for range n {
			wg.Go(work)
		}
		wg.Wait()
		return nil
	})
}

func startErrgroup() (float64, error) {
	return timed(func(n int, work func()) error {
		g, _ := errgroup.WithContext(context.Background())
		fn := func() error { work(); return nil }
		for range n {
			g.Go(fn)
		}
		return g.Wait()
	})
}

func startConc() (float64, error) {
	return timed(func(n int, work func()) error {
		wg := conc.NewWaitGroup()
		for range n {
			wg.Go(work)
		}
		wg.Wait()
		return nil
	})
}
