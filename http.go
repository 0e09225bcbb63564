package lastcall

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"
)

// HTTP starts an HTTP server on a listener. From now on both belong to the group: it
// serves until the drain, and replaces Handler, BaseContext and ConnState of srv by
// functions that call the given ones.
//
// The context of a request belongs to the group: [LastCall] and [TimeLeft] work with it.
// It ends at Interrupt with an [*InterruptError] as its cause, or earlier, when the
// client disconnects. A request that has not returned at Abandon loses its
// connection, and the report names it with its method and path.
//
// From last call on, responses have "Connection: close" (HTTP/2: GOAWAY), and the server
// still accepts connections. The listener closes after Config.Delay, once everything has
// returned that was running when the delay ended, and at the latest at Interrupt.
// Requests, and work that they start after the delay, do not keep the listener open, but
// the stop waits for both.
//
// When the listener closes, connections end as follows:
//
//   - Idle connections are closed at once.
//   - Connections that have not sent a whole request header within 10 ms are closed then.
//   - All others are closed when their response is complete.
//   - HTTP/2 clients receive GOAWAY and close the connection when they have their responses;
//     the server closes it after a second without a request.
//
// If the listener closes only at Interrupt, contexts end up to a tenth of a second later, so
// that the requests that arrived last can finish.
//
// The stop waits for a connection that a handler hijacked (a WebSocket) as for a request,
// if the request had an Upgrade header or the method CONNECT. Its reads fail from
// Interrupt on, its writes from Abandon on. The group does not know any other hijacked
// connection after its handler has returned. Event streams should end when the channel of
// LastCall closes, and long polls should wait with [UntilLastCall].
//
// Use the option [ServeUntilClose] for metrics, probes and profiles; it replaces these
// rules.
//
// For TLS pass a tls.Listener, with "h2" in NextProtos for HTTP/2. After an error nothing
// was started, and the listener still belongs to the caller. From last call on the error
// is ErrStopping. A server that ends before last call begins a stop with exit code 1.
func (g *Group) HTTP(name string, srv *http.Server, l net.Listener, options ...ServerOption) error {
	if srv == nil || l == nil {
		return fmt.Errorf("lastcall: HTTP(%s): the server and the listener must be given; make one with net.Listen", name)
	}
	site := g.site(g.workEnd, EntryServer, name, 2)
	if untilClose(options) {
		return g.httpUntilClose(site, srv, l)
	}
	s := &httpServer{
		group: g, name: site.name, callSite: site.callSite, srv: srv, handler: srv.Handler,
		conns: map[net.Conn]connection{}, inFlight: map[*request]struct{}{}, hijacked: map[*hijackedConn]struct{}{},
		labels: pprof.WithLabels(context.Background(), g.labels(EntryRequest, site.name)),
		helped: make(chan struct{}),
	}
	if s.handler == nil {
		s.handler = http.DefaultServeMux
	}
	if err := g.addServer(s, s.name, l.Addr()); err != nil {
		return err
	}
	srv.Handler = s
	g.hookContext(g.workEnd, srv)
	s.hookState()
	err := g.start(site, func(context.Context) error {
		err := srv.Serve(l)
		if s.serveEnded() { // the error of Serve only says that drain closed the listener
			return nil
		}
		if errors.Is(err, http.ErrServerClosed) {
			err = errors.New("the server was shut down by somebody else before last call; leave that to the group")
		}
		return err
	})
	if err != nil {
		s.serveEnded() // Serve was never called
	}
	return err
}

// serveEnded records that no new connection can arrive, and reports whether
// the drain has begun.
func (s *httpServer) serveEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	return s.drains
}

// newPatience is how long after the beginning of the drain a connection may take to
// send its first request header.
const newPatience = 10 * time.Millisecond

// longIdle is the idle time after which an HTTP/2 connection is closed without
// waiting for its client. net/http waits for a second after GOAWAY too.
const longIdle = time.Second

// httpServer follows the connections and requests of one http.Server.
type httpServer struct {
	group    *Group
	name     string
	callSite string
	srv      *http.Server
	handler  http.Handler
	labels   context.Context
	helped   chan struct{} // closed when Shutdown has returned

	cancel   context.CancelFunc // of Shutdown; set by drain, for release
	patience *time.Timer        // set by drain, for release

	interrupted atomic.Bool // reads of hijacked connections fail

	mu               sync.Mutex // guards what follows
	conns            map[net.Conn]connection
	inFlight         map[*request]struct{}
	hijacked         map[*hijackedConn]struct{}
	drains           bool
	impatient        bool // connections that are still new are closed
	ended            bool // Serve has returned
	finished, cutOff int  // requests that ended during the stop
	oldestCut        time.Duration
}

// connection is the last state of a connection that net/http has reported.
type connection struct {
	state http.ConnState
	since time.Time
	late  bool // it sent its first bytes during the drain
}

// request is a request whose handler has not returned.
type request struct {
	name     string
	start    time.Time
	hijacked bool // its connection counts instead
}

const maxRequestName = 200

// ServeHTTP is the first frame of every request; findStacks recognises a request's stack
// by it.
func (s *httpServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// The escaped path, as it was sent: decoded it may have line breaks and control characters.
	q := &request{name: s.name + " " + r.Method + " " + r.URL.EscapedPath(), start: time.Now()}
	if len(q.name) > maxRequestName {
		q.name = q.name[:maxRequestName] + "..."
	}
	if s.group.stopping() {
		w.Header().Set("Connection", "close")
	}
	s.mu.Lock()
	s.inFlight[q] = struct{}{}
	s.mu.Unlock()
	defer s.answered(q)
	pprof.SetGoroutineLabels(s.labels)
	if r.ProtoMajor == 1 && (r.Header.Get("Upgrade") != "" || r.Method == http.MethodConnect) {
		w = &hijackWriter{ResponseWriter: w, server: s, request: q}
	}
	s.handler.ServeHTTP(w, r)
}

func (s *httpServer) answered(q *request) {
	p := phase(s.group.phase.Load())
	s.mu.Lock()
	delete(s.inFlight, q)
	switch {
	case p == running || p >= abandoned || q.hijacked:
	case p == interrupted:
		s.cutOff++
		s.oldestCut = max(s.oldestCut, time.Since(q.start))
	default:
		s.finished++
	}
	s.changed()
	s.mu.Unlock()
}

// changed wakes the driver if it may be waiting for this server.
func (s *httpServer) changed() {
	if s.drains {
		s.group.wake()
	}
}

// hookContext makes the contexts of requests belong to the group; they end when the
// context end does. They carry no profiler labels: only the goroutine of a request has
// them. Otherwise a Background of the request would have to merge its own with them.
func (g *Group) hookContext(end context.Context, srv *http.Server) {
	given := srv.BaseContext
	srv.BaseContext = func(l net.Listener) context.Context {
		if given == nil {
			return &splice{values: g.values, end: end, group: g}
		}
		ctx, cancel := context.WithCancelCause(g.Context(given(l)))
		context.AfterFunc(end, func() { cancel(context.Cause(end)) })
		return ctx
	}
}

// hookState follows every connection from accept to close.
func (s *httpServer) hookState() {
	given := s.srv.ConnState
	s.srv.ConnState = func(c net.Conn, state http.ConnState) {
		s.connState(c, state)
		if given != nil {
			defer s.group.recoverHook(s.name + ": ConnState") // net/http recovers only some of its calls
			given(c, state)
		}
	}
}

func (s *httpServer) connState(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state == http.StateClosed || state == http.StateHijacked {
		delete(s.conns, c)
	} else {
		last, found := s.conns[c]
		known := connection{state: state, since: time.Now(), late: last.late || found && s.drains && last.state == http.StateNew}
		s.conns[c] = known
		if s.unwanted(c, known) {
			shut(c)
		}
	}
	s.changed()
}

// shut closes a connection without blocking: TLS may take five seconds to send
// close_notify to a peer that does not read, and a user's own listener may
// return connections of any type.
func shut(c net.Conn) {
	switch c.(type) {
	case *net.TCPConn, *net.UnixConn:
		_ = c.Close()
	default:
		go func() { _ = c.Close() }()
	}
}

// cut closes a connection without TLS's close_notify, and without blocking.
func cut(c net.Conn) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	shut(c)
}

// unwanted reports whether a connection is to be closed now. net/http reports an
// HTTP/2 connection as idle while the end of a response may still be in its buffer, so
// these are left to net/http: it sends GOAWAY, writes the rest, and closes the
// connection when the client has done so, or a second later. There are two
// exceptions: connections that came too late to receive the GOAWAY, and those that
// have been idle for longer than longIdle, so that nothing can be in transit.
func (s *httpServer) unwanted(c net.Conn, known connection) bool {
	switch known.state {
	case http.StateNew:
		return s.impatient
	case http.StateIdle:
		settled := s.impatient && time.Since(known.since) > longIdle
		return s.drains && (known.late || settled || !s.mayBeHTTP2(c))
	}
	return false
}

// mayBeHTTP2 reports whether a connection may speak HTTP/2. Its TLS handshake must be over.
func (s *httpServer) mayBeHTTP2(c net.Conn) bool {
	if t, ok := c.(*tls.Conn); ok {
		return t.ConnectionState().NegotiatedProtocol == "h2"
	}
	return s.srv.Protocols != nil && s.srv.Protocols.UnencryptedHTTP2()
}

// drain closes the listener through Shutdown, which also makes net/http close
// connections after their response and send GOAWAY. Shutdown's own waiting is not
// used: it polls, and keeps a connection without a request for five seconds. The
// reported states of the connections are more exact.
func (s *httpServer) drain() {
	ctx, cancel := context.WithCancel(context.Background())
	s.mu.Lock()
	s.cancel = cancel
	s.drains = true
	s.closeUnwanted()
	s.mu.Unlock()
	s.patience = time.AfterFunc(newPatience, func() {
		s.mu.Lock()
		s.impatient = true
		s.closeUnwanted()
		s.mu.Unlock()
	})
	go func() {
		defer close(s.helped)
		_ = s.srv.Shutdown(ctx)
	}()
}

func (s *httpServer) closeUnwanted() {
	for c, known := range s.conns {
		if s.unwanted(c, known) {
			shut(c)
		}
	}
}

func (s *httpServer) drained() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended && len(s.conns) == 0 && len(s.inFlight) == 0 && len(s.hijacked) == 0
}

// interrupt ends the reads of hijacked connections; requests are interrupted through
// their contexts.
func (s *httpServer) interrupt() {
	s.interrupted.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.hijacked {
		_ = c.Conn.SetReadDeadline(longAgo)
	}
}

func (s *httpServer) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.hijacked {
		cut(c.Conn)
	}
	for c := range s.conns {
		cut(c)
	}
}

func (s *httpServer) release() {
	s.cancel()
	s.patience.Stop()
	timer := time.NewTimer(maxReportTime)
	defer timer.Stop()
	select {
	case <-s.helped:
	case <-timer.C: // Shutdown is sending close_notify to a client that does not read
	}
}

func (s *httpServer) open() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	byName := map[string]*Entry{}
	add := func(kind EntryKind, name string, start time.Time) {
		e := byName[string(kind)+name]
		if e == nil {
			e = &Entry{Kind: kind, Name: name, CallSite: s.callSite, label: s.name}
			byName[string(kind)+name] = e
		}
		e.Count++
		e.Age = max(e.Age, time.Since(start))
	}
	for q := range s.inFlight {
		add(EntryRequest, q.name, q.start)
	}
	for c := range s.hijacked {
		add(EntryConnection, c.name, c.start)
	}
	entries := make([]Entry, 0, len(byName))
	for _, e := range byName {
		entries = append(entries, *e)
	}
	sortEntries(entries)
	return entries
}

func (s *httpServer) served() (finished, cut []Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := Entry{Kind: EntryRequest, Name: s.name, CallSite: s.callSite}
	if e.Count = s.finished; e.Count > 0 {
		finished = append(finished, e)
	}
	if e.Count = s.cutOff; e.Count > 0 {
		e.Age = s.oldestCut
		cut = append(cut, e)
	}
	return finished, cut
}
