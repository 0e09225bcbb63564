package proxy

import (
	"context"
	"net"
	"sync"
	"time"
)

// conn is a process's connection to the proxy, together with the proxy's connection to the server.
type conn struct {
	proxy  *Proxy
	front  *Front
	client net.Conn
	done   <-chan struct{} // closed when the connection is cut or over

	// These fields are guarded by the proxy's lock.
	server  net.Conn
	cancel  func() // closes done
	over    bool
	left    [2]int64 // bytes left in each direction until the connection is cut; negative: no limit
	limited *fault   // the fault that set the limit
}

// end closes both sides. The caller holds the lock.
func (c *conn) end() {
	if c.over {
		return
	}
	c.over = true
	delete(c.proxy.conns, c)
	c.cancel()
	_ = c.client.Close() // it may have broken before
	if c.server != nil {
		_ = c.server.Close() // it may have broken before
	}
}

// finish ends the connection.
func (c *conn) finish() {
	c.proxy.mu.Lock()
	defer c.proxy.mu.Unlock()
	c.end()
}

// serve forwards data until one side ends.
func (c *conn) serve(ctx context.Context) {
	defer c.finish()
	start, code, err := readStart(c.client)
	if err != nil || code == cancelRequest && c.losesCancel() || !c.connect(ctx) {
		return
	}
	a := &answers{armed: c.losesAnswers, lose: c.loseAnswer}
	var both sync.WaitGroup
	both.Go(func() {
		c.carry(c.client, c.server, ToServer, start, func(data []byte) ([]byte, bool) { return data, false })
		c.finish()
	})
	both.Go(func() {
		if c.carry(c.server, c.client, ToClient, nil, a.push) {
			c.deliver(c.client, ToClient, a.rest())
		}
		c.finish()
	})
	both.Wait()
}

// connect connects to the server.
func (c *conn) connect(ctx context.Context) bool {
	if !c.pass(ToServer) { // no connection is made while bytes are held back
		return false
	}
	c.proxy.mu.Lock()
	target := c.proxy.target
	c.proxy.mu.Unlock()
	server, err := dial(ctx, target)
	if err != nil {
		return false
	}
	c.proxy.mu.Lock()
	defer c.proxy.mu.Unlock()
	if c.over {
		_ = server.Close() // it was never used
		return false
	}
	c.server = server
	return true
}

func (c *conn) losesCancel() bool {
	c.proxy.mu.Lock()
	defer c.proxy.mu.Unlock()
	f := c.proxy.find(c.front.name, func(f *fault) bool { return f.cancels })
	if f != nil {
		f.count++
	}
	return f != nil
}

func (c *conn) losesAnswers() bool {
	c.proxy.mu.Lock()
	defer c.proxy.mu.Unlock()
	return c.proxy.find(c.front.name, func(f *fault) bool { return f.answers > 0 }) != nil
}

func (c *conn) loseAnswer() bool {
	c.proxy.mu.Lock()
	defer c.proxy.mu.Unlock()
	f := c.proxy.find(c.front.name, func(f *fault) bool { return f.answers > 0 })
	if f != nil {
		f.answers--
		f.count++
	}
	return f != nil
}

// piece is what was read at once, and the time when it is to be delivered.
type piece struct {
	due  time.Time
	data []byte
}

// inFlight is how many pieces may be on their way in one direction. The sender waits if there are
// more.
const inFlight = 64

// carry delivers what one side sends to the other, each piece after the delay, beginning with
// first. It reports true when the side has ended and everything is delivered. A receiver that takes
// nothing any more does not end carry, since the news of its end may be what a fault holds back.
func (c *conn) carry(from, to net.Conn, way Direction, first []byte, through func([]byte) ([]byte, bool)) bool {
	pieces := make(chan piece, inFlight)
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(pieces)
		if first != nil && !c.send(pieces, c.piece(way, first)) {
			return
		}
		for {
			buf := make([]byte, 32<<10)
			n, err := from.Read(buf)
			if n > 0 && !c.send(pieces, c.piece(way, buf[:n])) || err != nil {
				return
			}
		}
	})
	defer reader.Wait()
	for one := range pieces {
		if !c.sleep(time.Until(one.due)) {
			return false
		}
		data, lost := through(one.data)
		if !c.deliver(to, way, data) {
			return false
		}
		if lost {
			c.finish()
			return false
		}
	}
	return c.pass(way)
}

func (c *conn) piece(way Direction, data []byte) piece {
	c.proxy.mu.Lock()
	defer c.proxy.mu.Unlock()
	var delay time.Duration
	for _, f := range c.proxy.faults {
		if hits(f.victims, c.front.name) {
			delay += f.delay[way]
			if f.delay[way] > 0 {
				f.count++
			}
		}
	}
	return piece{due: time.Now().Add(delay), data: data}
}

// send passes a piece on, unless the connection is over.
func (c *conn) send(pieces chan<- piece, one piece) bool {
	select {
	case pieces <- one:
		return true
	case <-c.done:
		return false
	}
}

// sleep waits for d, unless the connection is over.
func (c *conn) sleep(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.done:
		return false
	}
}

// pass waits while bytes are held back, and reports false if the connection is over.
func (c *conn) pass(way Direction) bool {
	for first := true; ; first = false {
		c.proxy.mu.Lock()
		changed, over := c.proxy.changed, c.over
		held := c.proxy.find(c.front.name, func(f *fault) bool { return f.hold[way] })
		if held != nil && !over && first {
			held.count++
		}
		c.proxy.mu.Unlock()
		if over || held == nil {
			return !over
		}
		select {
		case <-changed:
		case <-c.done:
			return false
		}
	}
}

// deliver writes the bytes that may be written, and cuts the connection after the last of them.
func (c *conn) deliver(to net.Conn, way Direction, data []byte) bool {
	if !c.pass(way) {
		return false
	}
	c.proxy.mu.Lock()
	cut := c.left[way] >= 0 && int64(len(data)) >= c.left[way]
	if cut {
		data = data[:c.left[way]]
		c.limited.count++
	} else if c.left[way] >= 0 {
		c.left[way] -= int64(len(data))
	}
	c.proxy.mu.Unlock()
	if len(data) > 0 {
		_, _ = to.Write(data) // the reader of a side notices its end
	}
	if cut {
		c.finish()
	}
	return !cut
}
