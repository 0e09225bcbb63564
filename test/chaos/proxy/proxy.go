// Package proxy is placed between the processes of a run and PostgreSQL, and makes network faults:
// connections that are cut at any byte, that accept bytes and deliver none, or that are slow;
// answers that are lost after the server has committed; cancel requests that never arrive.
//
// Each process has its own entrance, a Front, so that a fault can hit all processes or some of
// them. The proxy listens on Unix sockets or on the loopback interface. It reads PostgreSQL's
// protocol without changing it, and does not support TLS.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Proxy is a network between processes and one server at a time. Its methods are safe for
// concurrent use.
type Proxy struct {
	dir   string
	ended sync.WaitGroup // waits for all goroutines

	mu      sync.Mutex
	target  string
	fronts  map[string]*Front
	conns   map[*conn]bool
	faults  []*fault
	changed chan struct{} // closed and replaced when the faults or the target change
	closed  bool
}

// New returns a proxy without a target. Its sockets are in dir, which must exist and have a short
// path. If dir is empty, it listens on 127.0.0.1.
func New(dir string) *Proxy {
	return &Proxy{dir: dir, fronts: make(map[string]*Front), conns: make(map[*conn]bool), changed: make(chan struct{})}
}

// Lead directs new connections to a server: the path of its Unix socket, or HOST:PORT. While the
// address is empty they are closed at once, as if no server existed. Existing connections stay as
// they are; Cut ends them.
func (p *Proxy) Lead(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = address
	p.change()
}

// change wakes those that wait for a change of the proxy. The caller holds the lock.
func (p *Proxy) change() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// Front is the entrance of one process.
type Front struct {
	name       string
	host, port string
	listener   net.Listener
}

// firstPort is the port of the first front in a directory. The other fronts have the following
// ports.
const firstPort = 6001

// Front returns the entrance of a process, and creates it on the first call.
func (p *Proxy) Front(name string) (*Front, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.fronts[name]; f != nil {
		return f, nil
	}
	if p.closed {
		return nil, net.ErrClosed
	}
	network, address := "tcp", "127.0.0.1:0"
	f := &Front{name: name, host: p.dir, port: strconv.Itoa(firstPort + len(p.fronts))}
	if p.dir != "" {
		network, address = "unix", filepath.Join(p.dir, ".s.PGSQL."+f.port)
	}
	var (
		lc  net.ListenConfig
		err error
	)
	if f.listener, err = lc.Listen(context.Background(), network, address); err != nil {
		return nil, fmt.Errorf("the proxy's entrance for %s: %w", name, err)
	}
	if p.dir == "" {
		f.host, f.port, err = net.SplitHostPort(f.listener.Addr().String())
	} else {
		err = os.Chmod(address, 0o777) // like the server's own: a process may run as another user
	}
	if err != nil {
		return nil, errors.Join(err, f.listener.Close())
	}
	p.fronts[name] = f
	p.ended.Go(func() { p.accept(f) })
	return f, nil
}

// Host returns the directory of the front's socket, or its IP address.
func (f *Front) Host() string { return f.host }

// Port returns the front's port, or the number in the name of its socket.
func (f *Front) Port() string { return f.port }

// Address returns the URL that a process connects to, for a role and a database.
func (f *Front) Address(role, database string) string {
	query := url.Values{"host": {f.host}, "port": {f.port}, "sslmode": {"disable"}}
	return "postgres://" + url.PathEscape(role) + "@/" + url.PathEscape(database) + "?" + query.Encode()
}

// Close ends all connections and entrances, and returns when no goroutine is left.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	var err error
	for _, f := range p.fronts {
		if e := f.listener.Close(); e != nil && !errors.Is(e, net.ErrClosed) {
			err = errors.Join(err, e)
		}
	}
	for c := range p.conns {
		c.end()
	}
	p.mu.Unlock()
	p.ended.Wait()
	return err
}

// Connections returns how many connections some processes have, or all of them if none is named.
func (p *Proxy) Connections(victims ...string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if hits(victims, c.front.name) {
			n++
		}
	}
	return n
}

// hits reports whether a process is a victim of a fault. If no victim is named, all processes are.
func hits(victims []string, name string) bool {
	return len(victims) == 0 || slices.Contains(victims, name)
}

// dial connects to the server, if there is one.
func dial(ctx context.Context, target string) (net.Conn, error) {
	if target == "" {
		return nil, errors.New("the proxy leads nowhere")
	}
	network := "tcp"
	if strings.HasPrefix(target, "/") {
		network = "unix"
	}
	return new(net.Dialer).DialContext(ctx, network, target)
}

// accept accepts the connections of a front until that is closed.
func (p *Proxy) accept(f *Front) {
	for {
		client, err := f.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		if p.closed || p.refuses(f.name) {
			p.mu.Unlock()
			_ = client.Close() // it was never used
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		c := &conn{proxy: p, front: f, client: client, done: ctx.Done(), cancel: cancel, left: [2]int64{-1, -1}}
		p.conns[c] = true
		for _, one := range p.faults {
			one.limit(c)
		}
		p.ended.Go(func() { c.serve(ctx) })
		p.mu.Unlock()
	}
}
