package lastcall

import (
	"net"
	"net/http"
	"runtime/pprof"
	"sync/atomic"
	"time"
)

// A ServerOption changes how HTTP and Serve treat a server.
type ServerOption func(*serverOptions)

type serverOptions struct{ untilClose bool }

func untilClose(options []ServerOption) bool {
	var o serverOptions
	for _, set := range options {
		set(&o)
	}
	return o.untilClose
}

// ServeUntilClose is an option for servers through which people and platforms observe
// the program: metrics, probes, profiles. Such a server answers during the whole stop,
// until the closers run:
//
//   - A stop does not wait for it. It cuts off the requests in flight, and does not count them.
//   - A program with nothing else left to do ends although the server still serves.
//   - The server does not cause a Config.Delay.
//   - The contexts of its HTTP requests end when the server ends, not at Interrupt.
//   - It is closed before the first closer runs, since its handlers may use what closers
//     close. Handlers that obey their context have a tenth of a second to return.
func ServeUntilClose() ServerOption {
	return func(o *serverOptions) { o.untilClose = true }
}

// lasting is a server with the option ServeUntilClose.
type lasting struct {
	group   *Group
	site    *site
	cut     func()       // closes the listener and the connections; may block
	closing atomic.Bool  // the server is being closed: an end of Serve is no failure
	busy    atomic.Int64 // how many run: Serve, cut, and the requests in flight
}

func (g *Group) httpUntilClose(at *site, srv *http.Server, l net.Listener) error {
	s := &lasting{group: g, site: at, cut: func() { _ = srv.Close() }}
	handler := srv.Handler
	if handler == nil {
		handler = http.DefaultServeMux
	}
	return g.serveUntilClose(s, func() error { return srv.Serve(l) }, func() {
		srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.busy.Add(1)
			defer s.left()
			handler.ServeHTTP(w, r)
		})
		g.hookContext(g.lastEnd, srv)
	})
}

// serveUntilClose calls the functions in before and starts a server that no stop waits for, or
// returns ErrStopping.
func (g *Group) serveUntilClose(s *lasting, serve func() error, before ...func()) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopping() {
		return ErrStopping
	}
	g.lasting = append(g.lasting, s)
	for _, f := range before {
		f()
	}
	s.busy.Add(1)
	go s.run(serve)
	return nil
}

// run calls Serve. As for any other server, an end of Serve before the stop closes it is a failure.
func (s *lasting) run(serve func() error) {
	defer s.left()
	pprof.SetGoroutineLabels(s.site.ctx)
	returned := false
	var err error
	defer func() {
		if !returned {
			err = unwound(recover())
		}
		if !s.closing.Load() {
			s.group.judge(&goroutine{site: s.site}, err)
		}
	}()
	err = serve()
	returned = true
}

// left decrements busy.
func (s *lasting) left() {
	if s.busy.Add(-1) == 0 {
		s.group.wake()
	}
}

// closeLasting closes the servers of ServeUntilClose, before the closers close what their handlers
// may use. It waits for a tenth of a second at most until they and their handlers have returned.
func (g *Group) closeLasting() {
	g.mu.Lock()
	lasting := g.lasting
	end := time.Now().Add(maxReportTime)
	if left := time.Until(g.at.close); !g.at.close.IsZero() {
		end = time.Now().Add(min(maxReportTime, max(left/4, 0)))
	}
	g.mu.Unlock()
	for _, s := range lasting {
		s.closing.Store(true)
		s.busy.Add(1)
		go func() {
			defer s.left()
			defer g.recoverHook(s.site.name + ": close")
			s.cut()
		}()
	}
	g.await(func() time.Time { return end }, func() bool {
		for _, s := range lasting {
			if s.busy.Load() > 0 {
				return false
			}
		}
		return true
	})
}

// addServer registers a server, or returns ErrStopping if a stop has begun.
func (g *Group) addServer(s server, name string, at net.Addr) error {
	g.mu.Lock()
	if g.stopping() {
		g.mu.Unlock()
		return ErrStopping
	}
	g.servers = append(g.servers, s)
	warns := false
	if forOthers(at) {
		if g.events != nil {
			g.open = true
		} else {
			warns = !g.warned && g.cfg.Delay == 0 && g.cfg.PreStop <= 0 && g.budget.delay == 0
			g.warned = g.warned || warns
		}
	}
	g.mu.Unlock()
	if warns {
		g.log.Warn("a stop may refuse clients: this server listens for other machines, and its group has no delay in which they could notice; "+
			"set Config.Delay to the time they need, such as 3s, or to -1 where nobody sends them here any more",
			"server", name, "address", at.String())
	}
	return nil
}

// forOthers reports whether other machines can reach an address.
func forOthers(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && !tcp.IP.IsLoopback()
}
