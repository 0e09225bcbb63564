package lastcall

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// Serve starts a server that knows how to stop: Serve accepts until
// GracefulStop, which stops accepting and waits for what runs, or Stop, which
// cuts off what runs. A *grpc.Server is one.
//
// GracefulStop is called when the listeners of HTTP close: not before
// Config.Delay is over, nor while work runs that ran by then. Stop is called at
// Interrupt, if GracefulStop has not returned by then: it is the only way to end
// the contexts of the calls in flight. What has not returned at Abandon is named
// in the report. For the rest, for options and errors, it is like HTTP.
//
// The contexts of its calls do not come from the group: [Group.Context], in an
// interceptor, makes them know it, so that streams can end at last call.
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

// graceful is a server that Serve was given.
type graceful struct {
	group                *Group
	name, callSite       string
	stopGracefully, stop func()

	mu      sync.Mutex
	began   time.Time // of the drain
	stopped bool      // GracefulStop has returned
	cut     bool      // by Stop
}

func (s *graceful) draining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.began.IsZero()
}

// drain starts GracefulStop, whose end the driver waits for, until Abandon.
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

// interrupt starts Stop, which ends what GracefulStop waits for.
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
