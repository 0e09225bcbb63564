package stop_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall"
)

// rpcServer follows the contract of a *grpc.Server: GracefulStop stops accepting and waits for the
// calls; Stop ends their contexts and closes everything. Each connection is one call.
type rpcServer struct {
	handle func(context.Context)
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	stopped bool
	l       net.Listener
	calls   sync.WaitGroup
}

func newRPCServer(handle func(context.Context)) *rpcServer {
	s := &rpcServer{handle: handle}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

func (s *rpcServer) Serve(l net.Listener) error {
	s.mu.Lock()
	s.l = l
	if s.stopped {
		l.Close()
	}
	s.mu.Unlock()
	for {
		c, err := l.Accept()
		if err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.stopped {
				return nil
			}
			return err
		}
		if !s.call(c) {
			c.Close()
			return nil
		}
	}
}

// call begins the call of a connection, unless the server has been stopped.
func (s *rpcServer) call(c net.Conn) (begun bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	s.calls.Go(func() {
		defer c.Close()
		s.handle(s.ctx)
	})
	return true
}

func (s *rpcServer) GracefulStop() {
	s.mu.Lock()
	s.stopped = true
	if s.l != nil {
		s.l.Close()
	}
	s.mu.Unlock()
	s.calls.Wait()
}

func (s *rpcServer) Stop() { s.cancel(); s.GracefulStop() }

// rpc starts an rpcServer in a group.
func rpc(t *testing.T, cfg lastcall.Config, handle func(context.Context)) *service {
	t.Helper()
	l := listen(t)
	s := &service{t: t, addr: l.Addr().String(), ended: make(chan struct{})}
	cfg.Logger = slog.New(slog.NewTextHandler(&s.log, nil))
	cfg.Delay = -1
	g, err := lastcall.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.g = g
	if err := g.Serve("rpc", newRPCServer(handle), l); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestListener_CallsFinishInTheDrain(t *testing.T) {
	t.Parallel()
	h := newHeld()
	s := rpc(t, lastcall.Config{Grace: time.Minute}, func(context.Context) {
		select {
		case h.entered <- struct{}{}:
		default: // refused dials until nobody accepts, so some of its connections arrive
		}
		<-h.release
	})
	dial(t, s.addr)
	arrives(t, "the call", h.entered)
	s.stop()
	s.logs("phase=drain")
	refused(t, s.addr)
	close(h.release)
	exits(t, s.g.Wait(), 0)
}

func TestListener_CallsAreCutOffAtInterrupt(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{}, 1)
	s := rpc(t, lastcall.Config{Grace: 4 * time.Second, Reserve: 2 * time.Second}, func(ctx context.Context) { entered <- struct{}{}; <-ctx.Done() })
	c := dial(t, s.addr)
	arrives(t, "the call", entered)
	s.stop()
	closed(t, c)
	r := s.g.Wait()
	finds(t, r, r.Interrupted, lastcall.EntryServer, "rpc calls in flight", 1)
	exits(t, r, 75)
}

func TestListener_WithAnUnresponsiveCallIsAbandonedByName(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}, 1), make(chan struct{})
	defer close(release)
	s := rpc(t, lastcall.Config{Grace: 3 * time.Second}, func(context.Context) { entered <- struct{}{}; <-release })
	dial(t, s.addr)
	arrives(t, "the call", entered)
	s.stop()
	r := s.g.Wait()
	finds(t, r, r.Abandoned, lastcall.EntryServer, "rpc calls in flight", 1)
	exits(t, r, 3)
}

func TestListener_ThatStopsBeforeItServedHoldsUpNobody(t *testing.T) {
	t.Parallel()
	for range 50 {
		s := rpc(t, lastcall.Config{Grace: time.Minute}, func(context.Context) {})
		s.stop()
		exits(t, s.g.Wait(), 0)
	}
}

func TestListener_ThatIsGivenBackAfterLastCallIsTheCallers(t *testing.T) {
	t.Parallel()
	g := newGroup(t.Context(), t, lastcall.Config{})
	g.Stop(nil)
	l := listen(t)
	if err := g.Serve("late", newRPCServer(nil), l); !errors.Is(err, lastcall.ErrStopping) {
		t.Errorf("Listener says %v, want ErrStopping", err)
	}
	g.Wait()
	if err := l.Close(); err != nil {
		t.Errorf("the listener was not the caller's any more: %v", err)
	}
}
