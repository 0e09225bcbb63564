package pgstore

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// proxy stands between a store and the server: a network that is slow, and that breaks.
type proxy struct {
	listener net.Listener
	target   atomic.Pointer[string] // a Unix socket
	delay    atomic.Int64           // nanoseconds, each way
	refuses  atomic.Bool            // new connections are closed at once
	muted    atomic.Bool            // what the server answers is lost
	stubborn atomic.Bool            // requests to cancel a statement are lost
	trips    atomic.Int64           // how many times a client went on after an answer

	mu    sync.Mutex
	conns map[net.Conn]bool
	ended sync.WaitGroup
}

// newProxy returns a proxy before the server of an address, and the address of the proxy.
func newProxy(t *testing.T, dsn string) (p *proxy, through string) {
	t.Helper()
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(cfg.Host, "/") {
		t.Skip("the proxy leads to a server on a Unix socket")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p = &proxy{listener: l, conns: make(map[net.Conn]bool)}
	p.lead(cfg.Host)
	p.ended.Go(p.accept)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		p.refuses.Store(true)
		p.cut()
		p.ended.Wait()
	})
	return p, "postgres://" + cfg.User + "@" + l.Addr().String() + "/" + cfg.Database + "?sslmode=disable"
}

// lead directs new connections to the server whose socket is in a directory.
func (p *proxy) lead(host string) {
	target := host + "/.s.PGSQL.5432"
	p.target.Store(&target)
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("unix", *p.target.Load())
		if err != nil || p.refuses.Load() {
			_ = client.Close()
			if err == nil {
				_ = server.Close()
			}
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		answered := new(atomic.Bool)
		p.ended.Go(func() { p.carry(client, server, new(atomic.Bool), func() { p.count(answered) }) })
		p.ended.Go(func() { p.carry(server, client, &p.muted, func() { answered.Store(true) }) })
	}
}

// count counts a round trip when a client sends again after an answer.
func (p *proxy) count(answered *atomic.Bool) {
	if answered.CompareAndSwap(true, false) {
		p.trips.Add(1)
	}
}

// carry copies what arrives from one side to the other, each piece after the delay, unless it is
// lost. It calls note for each piece first.
func (p *proxy) carry(from, to net.Conn, lost *atomic.Bool, note func()) {
	type piece struct {
		due  time.Time
		data []byte
	}
	pieces := make(chan piece, 1000)
	p.ended.Go(func() {
		defer p.drop(from, to)
		for one := range pieces {
			<-time.After(time.Until(one.due))
			if _, err := to.Write(one.data); err != nil {
				return
			}
		}
	})
	defer close(pieces)
	for {
		buf := make([]byte, 32<<10)
		n, err := from.Read(buf)
		if p.stubborn.Load() && asksToCancel(buf[:n]) {
			p.drop(from, to)
			return
		}
		if n > 0 {
			note()
		}
		if n > 0 && !lost.Load() {
			pieces <- piece{due: time.Now().Add(time.Duration(p.delay.Load())), data: buf[:n]}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				p.drop(from, to)
			}
			return
		}
	}
}

// asksToCancel reports whether data is the beginning of a connection that cancels another one's
// statement.
func asksToCancel(data []byte) bool {
	return len(data) == 16 && binary.BigEndian.Uint32(data) == 16 && binary.BigEndian.Uint32(data[4:]) == 80877102
}

func (p *proxy) drop(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close() // perhaps for the second time
		delete(p.conns, c)
	}
}

// cut breaks all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close() // perhaps for the second time
	}
	clear(p.conns)
}
