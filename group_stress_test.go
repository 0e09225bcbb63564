package lastcall

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// grpcLike is a server of the shape that Listener takes.
type grpcLike struct {
	l       net.Listener
	stopped chan struct{}
	once    sync.Once
}

func (s *grpcLike) Serve(l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			<-s.stopped
			return err
		}
		_ = c.Close()
	}
}

func (s *grpcLike) GracefulStop() { s.Stop() }
func (s *grpcLike) Stop()         { s.once.Do(func() { _ = s.l.Close(); close(s.stopped) }) }

// Thousands of groups with everything in them are stopped at a random moment,
// in every way there is: each has to come to its end, with nobody left behind
// and nothing counted twice.
func TestGroupsMadeAndStoppedThousandsOfTimesLeaveNothingBehind(t *testing.T) {
	plainEnvironment(t)
	const rounds = 3000
	before := settledGoroutines(0)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range rounds / 4 {
				stressOnce(t)
			}
		})
	}
	all.Wait()
	if after := settledGoroutines(before); after > before {
		t.Errorf("%d goroutines before, %d after:\n%s", before, after, strings.Join(goroutinesWith("lastcall-go/lastcall."), "\n\n"))
	}
}

func stressOnce(t *testing.T) {
	cfg, _ := testConfig()
	cfg.Delay = none
	parent, cancel := context.WithCancel(context.Background())
	defer cancel()
	g := mustNew(parent, t, cfg)
	var ran, accepted atomic.Int64
	count := func(err error) {
		switch {
		case err == nil:
			accepted.Add(1)
		case !errors.Is(err, ErrStopping):
			t.Error(err)
		}
	}
	work := func(ctx context.Context) error {
		defer ran.Add(1)
		child, cancel := context.WithTimeout(ctx, time.Hour)
		defer cancel()
		select {
		case <-LastCall(child):
		case <-UntilInterrupt(child).Done():
		}
		return nil
	}
	nest := func(ctx context.Context) error {
		inner, err := New(ctx, cfg)
		if err != nil {
			return err
		}
		inner.Defer("inner", CloseFunc(func() error { return nil }))
		if err := inner.Loop("inner", obedient); err != nil && !errors.Is(err, ErrStopping) {
			return err
		}
		inner.Wait()
		ran.Add(1)
		return nil
	}

	closers := rand.IntN(3)
	for range closers {
		g.Defer("closer", CloseFunc(func() error { ran.Add(1); return nil }))
	}
	l := newPipeListener()
	if rand.IntN(2) == 0 {
		if err := g.HTTP("http", quietServer(nil), newPipeListener()); err != nil {
			t.Error(err)
		}
		if err := g.Serve("rpc", &grpcLike{l: l, stopped: make(chan struct{})}, l); err != nil {
			t.Error(err)
		}
	}
	nested := int64(0)
	var starters sync.WaitGroup
	starters.Go(func() {
		for range rand.IntN(20) {
			count(g.Go("go", work))
			count(g.Background(parent, "background", work))
			count(g.Loop("loop", work))
		}
	})
	if g.Go("nest", nest) == nil {
		nested = 1
	}
	for range rand.IntN(50) {
		runtime.Gosched()
	}
	how := rand.IntN(4)
	switch how {
	case 0:
		g.Stop(nil)
	case 1:
		cancel()
	case 2:
		_ = g.Go("fails", func(context.Context) error { return errBroken })
	case 3:
		g.Stop(errBroken)
		g.interruptNow()
	}
	r := g.Wait()
	done := ran.Load()
	starters.Wait()
	code := 0
	if how >= 2 {
		code = codeFailure
	}
	if want := accepted.Load() + int64(closers) + nested; done != want || r.ExitCode() != code {
		t.Errorf("%d of %d had ended, code %d\n%s", done, want, r.ExitCode(), r)
	}
}

// settledGoroutines returns the number of goroutines once it is at most the
// wanted one, or stands still.
func settledGoroutines(want int) int {
	n := runtime.NumGoroutine()
	for range 200 {
		if want > 0 && n <= want {
			break
		}
		runtime.GC() // takes a moment, in which the last ones go
		now := runtime.NumGoroutine()
		if want == 0 && now == n {
			break
		}
		n = now
	}
	return n
}
