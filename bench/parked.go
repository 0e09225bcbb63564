package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall"
)

const hundredThousand = 100_000

var quiet = slog.New(slog.DiscardHandler)

func memoryInUse() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapInuse + m.StackInuse)
}

func memoryGo() (float64, error) {
	return memoryGroup(func(g *lastcall.Group, fn func(context.Context) error) error { return g.Go("parked", fn) })
}

func memoryLoop() (float64, error) {
	return memoryGroup(func(g *lastcall.Group, fn func(context.Context) error) error { return g.Loop("parked", fn) })
}

func memoryBackground() (float64, error) {
	request := context.WithValue(context.Background(), http.ServerContextKey, 1)
	return memoryGroup(func(g *lastcall.Group, fn func(context.Context) error) error {
		return g.Background(request, "parked", fn)
	})
}

func memoryGroup(start func(*lastcall.Group, func(context.Context) error) error) (float64, error) {
	n := hundredThousand / load
	g, err := lastcall.New(context.Background(), lastcall.Config{Logger: quiet})
	if err != nil {
		return 0, err
	}
	before := memoryInUse()
	release := make(chan struct{})
	var up sync.WaitGroup
	up.Add(n)
	parked := func(context.Context) error { up.Done(); <-release; return nil }
	for range n {
		if err := start(g, parked); err != nil {
			return 0, err
		}
	}
	up.Wait()
	used := memoryInUse() - before
	close(release)
	g.Stop(nil)
	g.Wait()
	return used / float64(n), nil
}

func memoryBare() (float64, error) {
	n := hundredThousand / load
	before := memoryInUse()
	release := make(chan struct{})
	var up, down sync.WaitGroup
	up.Add(n)
	down.Add(n)
	parked := func() { up.Done(); <-release; down.Done() }
	for range n {
		go parked()
	}
	up.Wait()
	used := memoryInUse() - before
	close(release)
	down.Wait()
	return used / float64(n), nil
}

func stopGroup() (float64, error) {
	n := hundredThousand / load
	g, err := lastcall.New(context.Background(), lastcall.Config{Logger: quiet})
	if err != nil {
		return 0, err
	}
	var up sync.WaitGroup
	up.Add(n)
	for range n {
		if err := g.Loop("obeys", func(ctx context.Context) error { up.Done(); <-ctx.Done(); return ctx.Err() }); err != nil {
			return 0, err
		}
	}
	up.Wait()
	settle()
	began := time.Now()
	g.Stop(nil)
	r := g.Wait()
	took := time.Since(began)
	if r.ExitCode() != 0 {
		return 0, fmt.Errorf("%v", r)
	}
	return milliseconds(took), nil
}

// stopTree cancels a context with a child for every goroutine, which is what errgroup.WithContext
// and context.WithTimeout per item create.
func stopTree() (float64, error) {
	n := hundredThousand / load
	root, cancel := context.WithCancel(context.Background())
	var up, down sync.WaitGroup
	up.Add(n)
	for range n {
		down.Go(func() {
			ctx, cancel := context.WithCancel(root)
			defer cancel()
			up.Done()
			<-ctx.Done()
		})
	}
	up.Wait()
	settle()
	began := time.Now()
	cancel()
	down.Wait()
	return milliseconds(time.Since(began)), nil
}

// settle lets the last goroutines park before the clock starts.
func settle() {
	runtime.GC()
	time.Sleep(100 * time.Millisecond)
}

func reportEnded() (float64, error) { return reportBeside(0) }

func reportParked() (float64, error) { return reportBeside(hundredThousand / load) }

// reportBeside measures from the call of Abandon to the first closer. The names and stacks are
// collected in between.
func reportBeside(others int) (float64, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for range others {
		go func() { <-ctx.Done() }()
	}
	g, err := lastcall.New(context.Background(), lastcall.Config{Logger: quiet, Grace: 6 * time.Second,
		Reserve: 4 * time.Second})
	if err != nil {
		return 0, err
	}
	n := hundredThousand/load - 3
	for range n {
		if err := g.Loop("obeys", func(ctx context.Context) error { <-ctx.Done(); return nil }); err != nil {
			return 0, err
		}
	}
	release := make(chan struct{})
	var until time.Time
	for range 3 {
		if err := g.Go("stuck", func(context.Context) error { <-release; return nil }); err != nil {
			return 0, err
		}
	}
	if err := g.Go("clock", func(ctx context.Context) error {
		<-ctx.Done()
		var interrupt *lastcall.InterruptError
		if !errors.As(context.Cause(ctx), &interrupt) {
			return context.Cause(ctx)
		}
		until = interrupt.Until
		return nil
	}); err != nil {
		return 0, err
	}
	var took time.Duration
	g.Defer("clock", func(context.Context) error { took = time.Since(until); return nil })
	settle()
	g.Stop(nil)
	r := g.Wait()
	close(release)
	if len(r.Abandoned) != 1 || r.Abandoned[0].Count != 3 || r.Abandoned[0].Name != "stuck" {
		return 0, fmt.Errorf("3 stuck goroutines, but abandoned are: %v", r.Abandoned)
	}
	if !strings.Contains(r.Abandoned[0].Stack, ".reportBeside.func") {
		return 0, fmt.Errorf("no stack after %v: %q", took, r.Abandoned[0].Stack)
	}
	return milliseconds(took), nil
}
