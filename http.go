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

// HTTP starts an HTTP server on a listener. The group owns both from now on:
// it serves until the drain, and changes Handler, BaseContext and ConnState of
// srv to functions that call the given ones.
//
// Requests have a context of the group: [LastCall] and [TimeLeft] work in it,
// and it ends at Interrupt with an [*InterruptError] as its cause, as well as
// when the client goes away. A request that outlives Abandon loses its
// connection and is named in the report with its method and path.
//
// From last call on responses say "Connection: close" (HTTP/2: GOAWAY), while
// the server goes on accepting: for Config.Delay, and then for as long as
// anything else runs that ran when the delay ended, at the latest until
// Interrupt. Requests do not count, nor what they start after the delay: both
// are waited for, and keep no listener open.
//
// Then the listener closes; idle connections are closed at once, those that have
// not sent a whole request header within 10 ms of it too, and all others when
// their response is complete. The end of each is an event, not something to
// poll for. HTTP/2 clients receive GOAWAY; they close when they have their
// answers, or are closed after a second without a request. A listener that
// closes only at Interrupt leaves the requests that came last a tenth of a
// second before their contexts end.
//
// A connection that a handler hijacked (a WebSocket) is waited for like a
// request, when the request had an Upgrade header or the method CONNECT; its
// reads fail from Interrupt on, its writes from Abandon on. The connections of
// other hijackers are not known after their handler has returned. Event
// streams should end when the channel of LastCall closes, and long polls wait
// with [UntilLastCall].
//
// [ServeUntilClose] is for metrics, probes and profiles: then nothing of this
// holds but what it says.
//
// HTTP serves what the listener accepts: for TLS give it a tls.Listener, with
// "h2" in NextProtos for HTTP/2. An error means that nothing was started, and
// the listener is still the caller's: ErrStopping from last call on. A server
// that ends before last call begins a stop with exit code 1.
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
		if s.serveEnded() { // what Serve returns is about the listener that drain closed
			return nil
		}
		if errors.Is(err, http.ErrServerClosed) {
			err = errors.New("the server was shut down by somebody else before last call; leave that to the group")
		}
		return err
	})
	if err != nil {
		s.serveEnded() // it never began
	}
	return err
}

// serveEnded notes that no connection can come any more, and reports whether
// that is the drain's doing.
func (s *httpServer) serveEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	return s.drains
}

// newPatience is how long after the drain's beginning a connection may take to
// send its first request header.
const newPatience = 10 * time.Millisecond

// longIdle is how long an HTTP/2 connection has to be idle to be closed without
// waiting for its client. net/http, too, waits for a second after GOAWAY.
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

// connection is what net/http has said of one.
type connection struct {
	state http.ConnState
	since time.Time
	late  bool // it sent its first bytes during the drain
}

// request is one that a handler works on.
type request struct {
	name     string
	start    time.Time
	hijacked bool // its connection counts instead
}

const maxRequestName = 200

// ServeHTTP is the first frame of every request; stacks are recognised by it.
func (s *httpServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// The path as it was sent: decoded it may have line breaks, and worse.
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

// changed wakes the driver when it may be waiting for this server.
func (s *httpServer) changed() {
	if s.drains {
		s.group.wake()
	}
}

// hookContext puts requests into the group, with contexts that end with one of
// its ends. They carry no labels, so that a Background costs no more than its
// own: only the goroutine of a request has the labels.
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

// shut closes a connection without blocking: TLS may take five seconds to say
// goodbye to a peer that does not read, and a listener of the user's own may
// bring connections of any kind.
func shut(c net.Conn) {
	switch c.(type) {
	case *net.TCPConn, *net.UnixConn:
		_ = c.Close()
	default:
		go func() { _ = c.Close() }()
	}
}

// cut closes a connection without a goodbye, and without blocking.
func cut(c net.Conn) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	shut(c)
}

// unwanted reports whether a connection is to be closed now. HTTP/2 says that it
// is idle when the end of a response is still in its buffer. There net/http
// does better: it says GOAWAY, writes the rest, and closes the connection when
// the client has done so, or a second later. Not left to it are those who came
// too late to receive the GOAWAY, and those who have been idle for so long
// that nothing is on its way.
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

// mayBeHTTP2 is about a connection whose TLS handshake is over.
func (s *httpServer) mayBeHTTP2(c net.Conn) bool {
	if t, ok := c.(*tls.Conn); ok {
		return t.ConnectionState().NegotiatedProtocol == "h2"
	}
	return s.srv.Protocols != nil && s.srv.Protocols.UnencryptedHTTP2()
}

// drain closes the listener through Shutdown, which also makes net/http close
// connections after their response and send GOAWAY. Shutdown's own waiting,
// which polls and lets a connection without a request live for five seconds,
// is not used: the states of the connections tell more.
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

// interrupt ends the reads of hijacked connections; requests learn it from
// their context.
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
	case <-timer.C: // Shutdown says goodbye to a client that does not read
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
