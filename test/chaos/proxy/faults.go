package proxy

import (
	"slices"
	"time"
)

// Direction is one of a connection's two.
type Direction int

// The directions.
const (
	ToServer Direction = iota
	ToClient
)

// fault is one that has begun. What is not set does not happen.
type fault struct {
	victims []string
	hold    [2]bool
	delay   [2]time.Duration
	refuse  bool
	cancels bool                      // are lost
	answers int                       // how many may still be lost
	cut     func() (Direction, int64) // asked for each connection
	count   int                       // what it has hit
}

// limit gives a connection the byte at which it is cut. The proxy's lock is held.
func (f *fault) limit(c *conn) {
	if f.cut == nil || !hits(f.victims, c.front.name) {
		return
	}
	to, n := f.cut()
	c.left, c.limited = [2]int64{-1, -1}, f
	c.left[to] = max(n, 0)
}

// begin enters a fault, and returns the function that ends it. That returns how often it has hit,
// and may be called again.
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

// find returns the first fault that hits a process and of which something is true. The lock is
// held.
func (p *Proxy) find(name string, is func(*fault) bool) *fault {
	for _, f := range p.faults {
		if hits(f.victims, name) && is(f) {
			return f
		}
	}
	return nil
}

// refuses reports, and counts, that a new connection is refused. The lock is held.
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

// CutAfter ends each connection of the victims, also each new one, when so many bytes have gone in
// one direction since the fault began, or since the connection did. The function is asked once for
// each connection, one at a time. Until the fault is ended, which returns how many it has cut.
func (p *Proxy) CutAfter(bytes func() (Direction, int64), victims ...string) (end func() int) {
	return p.begin(&fault{victims: victims, cut: bytes})
}

// BlackHole keeps back all bytes in the directions that are named, also the news that a connection
// has ended. Connections are taken, and begin when it is over. When it ends what was kept back is
// delivered, as a network does that sends it again; a caller that wants it to be lost calls Cut
// first.
func (p *Proxy) BlackHole(toServer, toClient bool, victims ...string) (end func() int) {
	return p.begin(&fault{victims: victims, hold: [2]bool{toServer, toClient}})
}

// Delay delivers all bytes later by so much in each direction: 40 ms each are a round trip of 80
// ms.
func (p *Proxy) Delay(toServer, toClient time.Duration, victims ...string) (end func() int) {
	return p.begin(&fault{victims: victims, delay: [2]time.Duration{toServer, toClient}})
}

// LoseAnswers cuts a connection when the server has said that it has committed, before the client
// is told: by COMMIT, or by a statement that was a transaction of its own. It does so to the next n
// answers of the victims.
func (p *Proxy) LoseAnswers(n int, victims ...string) (end func() int) {
	return p.begin(&fault{victims: victims, answers: n})
}

// LoseCancels takes requests to cancel a statement, and does not deliver them.
func (p *Proxy) LoseCancels(victims ...string) (end func() int) {
	return p.begin(&fault{victims: victims, cancels: true})
}

// Refuse closes new connections at once.
func (p *Proxy) Refuse(victims ...string) (end func() int) {
	return p.begin(&fault{victims: victims, refuse: true})
}
