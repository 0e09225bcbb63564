package rehearse

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

// lateness records for how long this process was kept from running: a server that shares the
// machine with it is not blamed for that time.
type lateness struct {
	mu   sync.Mutex
	sum  time.Duration
	seen []delay
}

// delay is one period in which this process did not run, and the time at which it ran again.
type delay struct {
	until time.Time
	took  time.Duration
}

const (
	// watchEvery is how often the lateness is measured, and watchOver what does not count as lateness.
	watchEvery = 20 * time.Millisecond
	watchOver  = 5 * time.Millisecond
	// lastLook is how long a client checks for the answer after its time is up: a process that was
	// stopped finds both at once.
	lastLook = 50 * time.Millisecond
)

// watch measures the lateness until the context ends.
func (l *lateness) watch(ctx context.Context) {
	for {
		before := time.Now()
		if !pause(ctx, watchEvery) {
			return
		}
		if over := time.Since(before) - watchEvery; over > watchOver {
			l.add(over)
		}
	}
}

func (l *lateness) add(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sum += d
	l.seen = append(l.seen, delay{time.Now(), d})
}

// total is the lateness until now.
func (l *lateness) total() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sum
}

// since is the lateness since a time.
func (l *lateness) since(when time.Time) (sum time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.seen) - 1; i >= 0 && l.seen[i].until.After(when); i-- {
		sum += min(l.seen[i].took, l.seen[i].until.Sub(when))
	}
	return sum
}

// wire is a connection of a client. It ends with the traffic.
type wire struct {
	net.Conn               // over TLS, if the target has it
	in       *bufio.Reader // reads from Conn
	patient  *patient
	traffic  *traffic
	stop     func() bool
	heard    bool  // something was received since the request began
	err      error // why nothing more can be read
}

// Read implements io.Reader, for in.
func (w *wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	w.heard = w.heard || n > 0
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		w.err = err
	}
	return n, err
}

// protocolHTTP2 is the name of HTTP/2 in TLS.
const protocolHTTP2 = "h2"

// readers are the buffers of connections that are closed.
var readers = sync.Pool{New: func() any { return bufio.NewReader(nil) }}

// dial opens a connection to a target. No request has begun on it.
func (t *traffic) dial(to *target) (*wire, error) { return t.dialWith(to, to.tls) }

// dialWith is dial with another TLS configuration.
func (t *traffic) dialWith(to *target, config *tls.Config) (*wire, error) {
	// A keep-alive probe would never be in time.
	dialer := net.Dialer{Timeout: requestTimeout, KeepAlive: -1}
	conn, err := dialer.DialContext(t.ctx, "tcp", to.addr)
	if err != nil {
		return nil, err
	}
	t.connected.Add(1)
	w := &wire{traffic: t, patient: &patient{Conn: conn, late: &t.late}, in: readers.Get().(*bufio.Reader)}
	w.stop = context.AfterFunc(t.ctx, func() { _ = conn.Close() }) // which ends reads and writes
	w.Conn = w.patient
	w.begin(requestTimeout)
	if config != nil {
		secure := tls.Client(w.patient, config)
		w.Conn = secure
		err := secure.HandshakeContext(t.ctx)
		if got := secure.ConnectionState().NegotiatedProtocol; err == nil && got == "" && slices.Equal(config.NextProtos, []string{protocolHTTP2}) {
			err = errors.New("the server does not speak HTTP/2")
		}
		if err != nil {
			w.close()
			return nil, err
		}
	}
	w.in.Reset(w)
	return w, nil
}

// close closes the connection.
func (w *wire) close() {
	w.stop()
	_ = w.Conn.Close()
	w.in.Reset(nil)
	readers.Put(w.in)
	w.in = nil
	w.traffic.connected.Add(-1)
}

// begin begins a request, or part of one, with a time limit.
func (w *wire) begin(limit time.Duration) {
	w.heard = false
	w.patient.begin(limit)
}

// patient is a connection that does not mistake this process's lateness for that of the other side.
type patient struct {
	net.Conn
	late  *lateness
	until time.Time     // reads must be done by then,
	taken time.Duration // or later, by the lateness since this one
	exact bool          // but exactly then, if the caller only checks for data
}

func (p *patient) begin(limit time.Duration) {
	p.until, p.taken, p.exact = time.Now().Add(limit), p.late.total(), false
	_ = p.SetDeadline(p.until) // an error is that of the next read
}

// Read implements io.Reader.
func (p *patient) Read(b []byte) (int, error) {
	for looked := false; ; {
		n, err := p.Conn.Read(b)
		if n > 0 || p.exact || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		late := p.late.total()
		until := p.until.Add(late - p.taken)
		if now := time.Now(); !until.After(now) {
			if looked {
				return n, err
			}
			looked, until = true, now.Add(lastLook)
		}
		p.until, p.taken = until, late
		if err := p.SetDeadline(until); err != nil {
			return n, err
		}
	}
}

// stillness is what happens on a connection with nothing in flight.
type stillness int

const (
	still  stillness = iota
	spoke            // the other side has sent something unasked
	closed           // it has closed the connection
)

// idle waits for a while with nothing in flight.
func (w *wire) idle(d time.Duration) stillness {
	w.patient.begin(d)
	w.patient.exact = true
	switch _, err := w.in.Peek(1); {
	case err == nil:
		return spoke
	case errors.Is(err, os.ErrDeadlineExceeded):
		return still
	}
	return closed
}
