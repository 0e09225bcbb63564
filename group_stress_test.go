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

// grpcLike is a server with the methods that Serve needs.
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

// Thousands of groups with every kind of work are stopped at a random moment,
// in every possible way. Each stop must end, with no goroutine left
// and nothing counted twice.
func TestGroup_MadeAndStoppedThousandsOfTimesLeaveNothingBehind(t *testing.T) {
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

// stress is one group with every kind of work.
type stress struct {
	t             *testing.T
	cfg           Config
	g             *Group
	parent        context.Context
	cancel        context.CancelFunc // of parent
	ran, accepted atomic.Int64       // functions that have ended, and those that the group accepted
}

func stressOnce(t *testing.T) {
	s := &stress{t: t}
	s.cfg, _ = testConfig()
	s.cfg.Delay = none
	s.parent, s.cancel = context.WithCancel(context.Background())
	defer s.cancel()
	s.g = mustNew(s.parent, t, s.cfg)
	for range rand.IntN(3) {
		s.accepted.Add(1)
		s.g.Defer("closer", CloseFunc(func() error { s.ran.Add(1); return nil }))
	}
	if rand.IntN(2) == 0 {
		s.serve()
	}
	var starters sync.WaitGroup
	starters.Go(func() {
		for range rand.IntN(20) {
			s.count(s.g.Go("go", s.work))
			s.count(s.g.Background(s.parent, "background", s.work))
			s.count(s.g.Loop("loop", s.work))
		}
	})
	s.count(s.g.Go("nest", s.nest))
	for range rand.IntN(50) {
		runtime.Gosched()
	}
	code := s.stop()
	r := s.g.Wait()
	done := s.ran.Load()
	starters.Wait()
	if want := s.accepted.Load(); done != want || r.ExitCode() != code {
		t.Errorf("%d of %d had ended, code %d\n%s", done, want, r.ExitCode(), r)
	}
}

// serve starts a server of each kind.
func (s *stress) serve() {
	if err := s.g.HTTP("http", quietServer(nil), newPipeListener()); err != nil {
		s.t.Error(err)
	}
	l := newPipeListener()
	if err := s.g.Serve("rpc", &grpcLike{l: l, stopped: make(chan struct{})}, l); err != nil {
		s.t.Error(err)
	}
}

// stop begins a stop in one of the possible ways, and returns the expected exit code.
func (s *stress) stop() (code int) {
	switch rand.IntN(4) {
	case 0:
		s.g.Stop(nil)
	case 1:
		s.cancel()
	case 2:
		_ = s.g.Go("fails", func(context.Context) error { return errBroken })
		return codeFailure
	case 3:
		s.g.Stop(errBroken)
		s.g.interruptNow()
		return codeFailure
	}
	return 0
}

func (s *stress) count(err error) {
	switch {
	case err == nil:
		s.accepted.Add(1)
	case !errors.Is(err, ErrStopping):
		s.t.Error(err)
	}
}

func (s *stress) work(ctx context.Context) error {
	defer s.ran.Add(1)
	child, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	select {
	case <-LastCall(child):
	case <-UntilInterrupt(child).Done():
	}
	return nil
}

// nest runs a group inside the group.
func (s *stress) nest(ctx context.Context) error {
	inner, err := New(ctx, s.cfg)
	if err != nil {
		return err
	}
	inner.Defer("inner", CloseFunc(func() error { return nil }))
	if err := inner.Loop("inner", obedient); err != nil && !errors.Is(err, ErrStopping) {
		return err
	}
	inner.Wait()
	s.ran.Add(1)
	return nil
}

// settledGoroutines returns the number of goroutines once it is at most the wanted one. If
// the wanted number is 0, it returns the number once it no longer changes.
func settledGoroutines(want int) int {
	n := runtime.NumGoroutine()
	for range 200 {
		if want > 0 && n <= want {
			break
		}
		runtime.GC() // takes a moment, in which the last goroutines end
		now := runtime.NumGoroutine()
		if want == 0 && now == n {
			break
		}
		n = now
	}
	return n
}
