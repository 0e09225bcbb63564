package lastcall

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// Serve starts a server that can stop gracefully, such as a *grpc.Server. Its methods
// must behave as follows:
//
//   - Serve accepts connections until GracefulStop or Stop is called.
//   - GracefulStop stops accepting and waits for the calls in flight.
//   - Stop cuts off the calls in flight.
//
// The group calls GracefulStop when the listeners of [Group.HTTP] would close: after
// Config.Delay, once everything has returned that was running when the delay ended, and at
// the latest at Interrupt. It calls Stop at Interrupt, if GracefulStop has not returned by
// then: only Stop ends the contexts of the calls in flight. If calls are still in flight at
// Abandon, the report names the server. Options and errors are those of HTTP.
//
// The contexts of the server's calls do not come from the group. Wrap them with
// [Group.Context] in an interceptor, so that streams can end at last call.
func (g *Group) Serve(name string, srv interface {
	Serve(net.Listener) error
	GracefulStop()
	Stop()
}, l net.Listener, options ...ServerOption) error {
	if srv == nil || l == nil {
		return fmt.Errorf("lastcall: Serve(%s): the server and the listener must be given; make one with net.Listen", name)
	}
	site := g.site(g.workEnd, EntryServer, name, 2)
	if untilClose(options) {
		return g.serveUntilClose(&lasting{group: g, site: site, cut: srv.Stop}, func() error { return srv.Serve(l) })
	}
	s := &graceful{group: g, name: site.name, callSite: site.callSite, stopGracefully: srv.GracefulStop, stop: srv.Stop}
	if err := g.addServer(s, s.name, l.Addr()); err != nil {
		return err
	}
	return g.start(site, func(context.Context) error {
		err := srv.Serve(l)
		if s.draining() {
			return nil
		}
		return err
	})
}

// graceful is a server that was started with Serve.
type graceful struct {
	group                *Group
	name, callSite       string
	stopGracefully, stop func()

	mu      sync.Mutex
	began   time.Time // when the drain began
	stopped bool      // GracefulStop has returned
	cut     bool      // Stop was called
}

func (s *graceful) draining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.began.IsZero()
}

// drain starts GracefulStop. The driver waits until it has returned, until Abandon at most.
func (s *graceful) drain() {
	s.mu.Lock()
	s.began = time.Now()
	s.mu.Unlock()
	go func() {
		defer s.group.recoverHook(s.name + ": GracefulStop")
		defer func() {
			s.mu.Lock()
			s.stopped = true
			s.mu.Unlock()
			s.group.wake()
		}()
		s.stopGracefully()
	}()
}

func (s *graceful) drained() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped
}

// interrupt starts Stop, which ends the calls that GracefulStop waits for.
func (s *graceful) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	s.cut = true
	go func() {
		defer s.group.recoverHook(s.name + ": Stop")
		s.stop()
	}()
}

func (s *graceful) abandon() {}
func (s *graceful) release() {}

func (s *graceful) open() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil
	}
	return []Entry{{Kind: EntryServer, Name: s.name + " calls in flight", Count: 1, Age: time.Since(s.began), CallSite: s.callSite}}
}

func (s *graceful) served() (finished, cut []Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped && s.cut {
		cut = append(cut, Entry{Kind: EntryServer, Name: s.name + " calls in flight", Count: 1, Age: time.Since(s.began), CallSite: s.callSite})
	}
	return nil, cut
}
