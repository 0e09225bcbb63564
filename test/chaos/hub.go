//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// hub is the harness's side of package wire. It receives the reports of the processes, and is the
// ledger that refuses the effects of stale runs.
type hub struct {
	rec      *record
	progress *progress
	listener net.Listener
	conns    sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	open    map[net.Conn]bool
	peers   map[string]*peer // by the name of the process
	fences  map[int]int64    // the highest fence by Plan.Seq
	refused error            // the first message that was not understood
}

// peer is what the hub knows of a process of the run.
type peer struct {
	name    string
	ready   chan struct{} // closed when it is ready
	answers chan history.Answer

	mu   sync.Mutex
	pid  int
	conn net.Conn      // nil before it has said hello
	over chan struct{} // closed when the connection has ended; nil before hello
	out  *json.Encoder
	was  bool          // it was ready
	left string        // what it had not released when it ended
	next chan struct{} // closed when the next call is sent; nil when nobody waits for that
}

// newHub listens on a socket.
func newHub(path string, rec *record, p *progress) (*hub, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen for the processes of the run: %w", err)
	}
	h := &hub{rec: rec, progress: p, listener: l, open: make(map[net.Conn]bool), peers: make(map[string]*peer), fences: make(map[int]int64)}
	h.conns.Go(h.accept)
	return h, nil
}

// expect registers a process before it starts.
func (h *hub) expect(name string) *peer {
	p := &peer{name: name, ready: make(chan struct{}), answers: make(chan history.Answer, 16)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.peers[name] = p
	return p
}

// close ends all connections and waits for them.
func (h *hub) close() error {
	err := h.listener.Close()
	h.mu.Lock()
	h.closed = true
	for c := range h.open {
		_ = c.Close() // this ends its reader
	}
	h.mu.Unlock()
	h.conns.Wait()
	return errors.Join(err, h.refused)
}

func (h *hub) accept() {
	for {
		c, err := h.listener.Accept()
		if err != nil {
			return // closed
		}
		h.mu.Lock()
		if h.closed {
			h.mu.Unlock()
			_ = c.Close()
			return
		}
		h.open[c] = true
		h.mu.Unlock()
		h.conns.Go(func() {
			h.serve(c)
			_ = c.Close()
			h.mu.Lock()
			delete(h.open, c)
			h.mu.Unlock()
		})
	}
}

// serve reads what a process sends until its connection ends.
func (h *hub) serve(c net.Conn) {
	in := json.NewDecoder(bufio.NewReader(c))
	var m wire.Message
	if err := in.Decode(&m); err != nil {
		return // it died, or only tried the socket
	}
	h.mu.Lock()
	var p *peer
	if m.Hello != nil {
		p = h.peers[m.Hello.Name]
	}
	if p == nil {
		h.refuse(fmt.Errorf("a process that is not known says %+v", m))
	}
	h.mu.Unlock()
	if p == nil {
		return
	}
	out := json.NewEncoder(c)
	if m.Hello.Role != "program" {
		p.mu.Lock()
		over := make(chan struct{})
		p.conn, p.out, p.over = c, out, over
		p.mu.Unlock()
		defer close(over)
	}
	for {
		var m wire.Message
		if err := in.Decode(&m); err != nil {
			return
		}
		h.take(p, out, m)
	}
}

// refuse keeps the first error in what processes send. The caller holds the lock.
func (h *hub) refuse(err error) {
	if h.refused == nil {
		h.refused = err
	}
}

func (h *hub) take(p *peer, out *json.Encoder, m wire.Message) {
	switch {
	case m.Effect != nil:
		stale := h.effect(p, *m.Effect)
		p.mu.Lock()
		// The end of the process is recorded separately.
		_ = out.Encode(wire.Reply{Verdict: &wire.Verdict{N: m.N, Stale: stale}})
		p.mu.Unlock()
	case m.Answer != nil:
		select {
		case p.answers <- *m.Answer:
		default:
			h.mu.Lock()
			h.refuse(fmt.Errorf("client %s answers call %d, and nobody waits for so many", p.name, m.Answer.Call))
			h.mu.Unlock()
		}
	case m.Ready:
		h.ready(p)
	case m.Left != "":
		p.mu.Lock()
		defer p.mu.Unlock()
		p.left = m.Left
	}
}

// ready records that a process accepts tasks or calls.
func (h *hub) ready(p *peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.was {
		p.was = true
		h.rec.add(history.Event{Process: &history.Process{Name: p.name, PID: p.pid, What: history.Ready}})
		close(p.ready)
	}
}

// effect accepts an effect, or refuses it because a newer run has already written. Effects are
// recorded in the order of these decisions.
func (h *hub) effect(p *peer, e history.Effect) (stale bool) {
	p.mu.Lock()
	e.Process, e.PID = p.name, p.pid // a program's effects count for the worker that runs it
	p.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.Fence < h.fences[e.Seq] {
		e.Stale = true
	} else {
		h.fences[e.Seq] = e.Fence
	}
	h.rec.add(history.Event{Effect: &e})
	if !e.Stale {
		h.progress.effect(e)
	}
	return e.Stale
}

// errGone is returned for a client that has no connection.
var errGone = errors.New("the client has no connection")

// call sends a call to a client.
func (p *peer) call(c history.Call) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == nil {
		return errGone
	}
	err := p.out.Encode(wire.Reply{Call: &c})
	if p.next != nil {
		close(p.next)
		p.next = nil
	}
	return err
}

// asked returns a channel that is closed when the client gets its next call.
func (p *peer) asked() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == nil {
		p.next = make(chan struct{})
	}
	return p.next
}

// drain waits until nothing more arrives from a process that has ended.
func (p *peer) drain() {
	p.mu.Lock()
	over := p.over
	p.mu.Unlock()
	if over != nil {
		<-over
	}
}

// hangUp closes the connection of a client, which tells it to end.
func (p *peer) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		_ = p.conn.Close() // closing is all that is wanted
	}
}
