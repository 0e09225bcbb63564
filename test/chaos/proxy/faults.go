package proxy

import (
	"slices"
	"time"
)

// Direction is one of the two directions of a connection.
type Direction int

// The directions.
const (
	ToServer Direction = iota
	ToClient
)

// fault is a fault that has begun. Fields that are not set have no effect.
type fault struct {
	victims []string
	hold    [2]bool
	delay   [2]time.Duration
	refuse  bool
	cancels bool                      // cancel requests are lost
	answers int                       // how many answers may still be lost
	cut     func() (Direction, int64) // called for each connection
	count   int                       // how often it has hit
}

// limit gives a connection the byte at which it is cut. The caller holds the proxy's lock.
func (f *fault) limit(c *conn) {
	if f.cut == nil || !hits(f.victims, c.front.name) {
		return
	}
	to, n := f.cut()
	c.left, c.limited = [2]int64{-1, -1}, f
	c.left[to] = max(n, 0)
}

// begin adds a fault and returns the function that ends it. That function returns how often the
// fault has hit, and may be called again.
func (p *Proxy) begin(f *fault) (end func() int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, f)
	for c := range p.conns {
		f.limit(c)
	}
	p.change()
	return func() int {
		p.mu.Lock()
		defer p.mu.Unlock()
		if i := slices.Index(p.faults, f); i >= 0 {
			p.faults = slices.Delete(p.faults, i, i+1)
			for c := range p.conns {
				if c.limited == f {
					c.left, c.limited = [2]int64{-1, -1}, nil
				}
			}
			p.change()
		}
		return f.count
	}
}

// find returns the first fault that hits a process and for which is returns true. The caller holds
// the lock.
func (p *Proxy) find(name string, is func(*fault) bool) *fault {
	for _, f := range p.faults {
		if hits(f.victims, name) && is(f) {
			return f
		}
	}
	return nil
}

// refuses reports, and counts, that a new connection is refused. The caller holds the lock.
func (p *Proxy) refuses(name string) bool {
	f := p.find(name, func(f *fault) bool { return f.refuse })
	if f != nil {
		f.count++
	}
	return f != nil
}

// Cut ends the connections of the victims, or all if none is named, at once and on both sides. It
// returns how many there were.
func (p *Proxy) Cut(victims ...string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if hits(victims, c.front.name) {
			c.end()
			n++
		}
	}
	return n
}

// CutAfter ends each existing and each new connection of the victims after a number of bytes in one
// direction, counted from the beginning of the fault or of the connection, whichever is later. The
// function is called once for each connection, never concurrently. The fault lasts until end is
// called, which returns how many connections it has cut.
func (p *Proxy) CutAfter(bytes func() (Direction, int64), victims ...string) (end func() int) {
	return p.begin(&fault{victims: victims, cut: bytes})
}

// BlackHole holds back all bytes in the named directions, including the news that a connection has
// ended. Connections are accepted, and start when the fault is over. The bytes that were held back
// are then delivered, as by a network that retransmits. A caller that wants them to be lost calls
// Cut first.
func (p *Proxy) BlackHole(toServer, toClient bool, victims ...string) (end func() int) {
	return p.begin(&fault{victims: victims, hold: [2]bool{toServer, toClient}})
}

// Delay delivers all bytes later, by the given time in each direction: 40 ms each add a round trip
// of 80 ms.
func (p *Proxy) Delay(toServer, toClient time.Duration, victims ...string) (end func() int) {
	return p.begin(&fault{victims: victims, delay: [2]time.Duration{toServer, toClient}})
}

// LoseAnswers cuts a connection after the server has confirmed a commit, before the client receives
// the answer. The commit is that of COMMIT, or of a statement that was a transaction of its own.
// This happens to the next n such answers for the victims.
func (p *Proxy) LoseAnswers(n int, victims ...string) (end func() int) {
	return p.begin(&fault{victims: victims, answers: n})
}

// LoseCancels accepts requests to cancel a statement, and does not deliver them.
func (p *Proxy) LoseCancels(victims ...string) (end func() int) {
	return p.begin(&fault{victims: victims, cancels: true})
}

// Refuse closes new connections at once.
func (p *Proxy) Refuse(victims ...string) (end func() int) {
	return p.begin(&fault{victims: victims, refuse: true})
}
