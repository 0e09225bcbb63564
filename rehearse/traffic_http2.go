package rehearse

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"sync"
	"time"
)

// Types of HTTP/2 frames, and HTTP/2 error codes.
const (
	frameReset   = 3
	frameGoAway  = 7
	refusedByH2  = 7
	frameHeader  = 9
	frameLongest = 8 // bytes of a payload that are inspected
)

// frames is an HTTP/2 connection whose incoming frames are inspected on their way to net/http,
// which does not tell its callers about a GOAWAY.
type frames struct {
	net.Conn

	head []byte // of the next frame: its header, and then the bytes that are inspected
	left int    // bytes left of its payload

	mu    sync.Mutex
	last  uint32            // the last stream that the server answers
	reset map[uint32]uint32 // streams that the server has reset, each with its error code
	err   error             // why nothing more can be read

	away, ended chan struct{} // closed by the first GOAWAY, and by the end
}

func newFrames(conn net.Conn) *frames {
	return &frames{Conn: conn, reset: map[uint32]uint32{}, away: make(chan struct{}), ended: make(chan struct{})}
}

// Read implements io.Reader.
func (f *frames) Read(b []byte) (int, error) {
	n, err := f.Conn.Read(b)
	f.look(b[:n])
	if err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.err == nil {
			f.err = err
			close(f.ended)
		}
	}
	return n, err
}

// look follows the frames.
func (f *frames) look(b []byte) {
	for len(b) > 0 {
		want := frameHeader
		if len(f.head) >= frameHeader {
			want = frameHeader + min(frameLongest, f.length())
		}
		if missing := want - len(f.head); missing > 0 {
			n := min(missing, len(b))
			f.head, b = append(f.head, b[:n]...), b[n:]
			if len(f.head) == frameHeader {
				f.left = f.length()
			} else {
				f.left -= n
			}
		} else {
			n := min(f.left, len(b))
			f.left, b = f.left-n, b[n:]
		}
		if len(f.head) >= frameHeader && f.left == 0 {
			f.frame()
			f.head = f.head[:0]
		}
	}
}

// length is that of the payload of the next frame.
func (f *frames) length() int { return int(f.head[0])<<16 | int(f.head[1])<<8 | int(f.head[2]) }

// frame inspects a whole frame.
func (f *frames) frame() {
	payload := f.head[frameHeader:]
	f.mu.Lock()
	defer f.mu.Unlock()
	switch kind := f.head[3]; {
	case kind == frameReset && len(payload) >= 4:
		f.reset[binary.BigEndian.Uint32(f.head[5:])&^(1<<31)] = binary.BigEndian.Uint32(payload)
	case kind == frameGoAway && len(payload) >= 8:
		f.last = binary.BigEndian.Uint32(payload) &^ (1 << 31)
		select {
		case <-f.away:
		default:
			close(f.away)
		}
	}
}

// closedHere reports whether this side has closed the connection.
func (f *frames) closedHere() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return errors.Is(f.err, net.ErrClosed)
}

// isAway reports whether the server has sent a GOAWAY.
func (f *frames) isAway() bool {
	select {
	case <-f.away:
		return true
	default:
		return false
	}
}

// announced reports whether a stream has ended with its connection, after a GOAWAY.
func (f *frames) announced(id uint32) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, isReset := f.reset[id]
	return f.isAway() && f.err != nil && !isReset
}

// errLater is the error of a request that the server has declared not to have processed: a client
// retries it at another server.
var errLater = errors.New("not taken")

// why refines an error of a request on a stream by what the connection knows.
func (f *frames) why(id uint32, begun bool, err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	code, isReset := f.reset[id]
	switch {
	case isReset && code == refusedByH2, f.isAway() && id > f.last:
		return errLater
	case isReset:
		err = fmt.Errorf("the stream was reset with code %d: %w", code, io.ErrUnexpectedEOF)
	// net/http has closed it, and gives the reason.
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(f.err, net.ErrClosed):
	case f.err != nil:
		err = f.err
	}
	if begun {
		err = fmt.Errorf("%w: %w", errWithin, err)
	}
	return err
}

// http2 is a client's HTTP/2 connection.
type http2 struct {
	wire   *wire
	frames *frames
	conn   *http.ClientConn
	next   uint32 // the stream of the next request
	opened time.Time
	idle   time.Duration // how long the connection may be idle; 0: for ever
}

// onceIdle is how long net/http keeps a connection for one request in memory after it is closed;
// without it, five seconds.
const onceIdle = time.Second

// dialHTTP2 opens an HTTP/2 connection. If idle is not 0, the connection is closed after being idle
// for that long.
func (t *traffic) dialHTTP2(to *target, idle time.Duration) (*http2, error) {
	w, err := t.dialWith(to, to.tls2)
	if err != nil {
		return nil, err
	}
	w.begin(forever)
	h := &http2{wire: w, frames: newFrames(w.Conn), next: 1, opened: time.Now(), idle: idle}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true) // for net/http it is unencrypted: TLS is below it
	transport := &http.Transport{
		Protocols: protocols, DisableCompression: true, IdleConnTimeout: idle,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return h.frames, nil },
	}
	if h.conn, err = transport.NewClientConn(t.ctx, "http", to.addr); err != nil {
		w.close()
		return nil, err
	}
	return h, nil
}

// idledOut reports whether a request has failed because this side closed the connection when it had
// been idle: this process had no processor before it could send the request, or while it did.
func (h *http2) idledOut(err error) bool {
	return err != nil && h.idle > 0 && time.Since(h.opened) >= h.idle && h.frames.closedHere()
}

func (h *http2) close() {
	_ = h.conn.Close()
	h.wire.close()
}

// do sends a request. Its errors have been refined by why.
func (h *http2) do(req *http.Request) (resp *http.Response, id uint32, err error) {
	id = h.next
	h.next += 2
	resp, err = h.conn.RoundTrip(req)
	if err != nil {
		return nil, id, h.frames.why(id, false, timeoutOf(req.Context(), err))
	}
	return resp, id, nil
}

// ask sends a request and reads its answer.
func (h *http2) ask(ctx context.Context, t *traffic, to *target, limit time.Duration) (status int, err error) {
	ctx, cancel := t.within(ctx, limit)
	defer cancel()
	req, err := to.newRequest(ctx)
	if err != nil {
		return 0, err
	}
	resp, id, err := h.do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return resp.StatusCode, h.frames.why(id, true, timeoutOf(ctx, err))
	}
	return to.answered(resp)
}

// timeoutOf returns the cause of a context that has ended, or else the error.
func timeoutOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// within returns a context for a request with a time limit. The limit is extended by the lateness
// of this process.
func (t *traffic) within(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	taken, looked := t.late.total(), false
	var mu sync.Mutex // until timer is set
	mu.Lock()
	defer mu.Unlock()
	var timer *time.Timer
	timer = time.AfterFunc(limit, func() {
		mu.Lock()
		defer mu.Unlock()
		late := t.late.total()
		switch more := late - taken; {
		case more > 0:
			taken = late
			timer.Reset(more)
		case !looked:
			looked = true
			timer.Reset(lastLook)
		default:
			cancel(os.ErrDeadlineExceeded)
		}
	})
	return ctx, func() { timer.Stop(); cancel(nil) }
}

// askOnceHTTP2 connects for one request.
func (t *traffic) askOnceHTTP2(to *target) {
	begun := time.Now()
	h, err := t.dialHTTP2(to, onceIdle)
	if err != nil {
		t.add(to, newConnection, begun, err, 0)
		return
	}
	defer h.close()
	begun = time.Now()
	status, err := h.ask(t.ctx, t, to, requestTimeout)
	switch {
	case errors.Is(err, errLater): // it was connected, and the request was not processed
		err = io.EOF
	case h.idledOut(err):
		err = errLate
	}
	t.add(to, newConnection, begun, err, status)
}

// oneHTTP2 asks repeatedly on one connection, with a pause in between, until the server sends a
// GOAWAY.
func (t *traffic) oneHTTP2(to *target, every time.Duration) {
	begun := time.Now()
	h, err := t.dialHTTP2(to, 0)
	if err != nil {
		t.add(to, newConnection, begun, err, 0)
		return
	}
	defer h.close()
	for who := newConnection; t.still(h, who, every); who = keptHTTP2 {
		begun := time.Now()
		status, err := h.ask(t.ctx, t, to, requestTimeout)
		if errors.Is(err, errLater) {
			return
		}
		t.add(to, who, begun, err, status)
		if err != nil {
			return
		}
	}
}

// still waits for the pause between two requests, and reports whether to send another one.
func (t *traffic) still(h *http2, who client, every time.Duration) bool {
	timer := time.NewTimer(every)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-h.frames.away:
	case <-t.ctx.Done():
	case <-h.frames.ended:
		if who == keptHTTP2 && !h.frames.isAway() {
			t.closedUnannounced(keptHTTP2)
		}
	}
	return false
}

// oneStreamHTTP2 reads an endless answer for as long as the server sends it. A GOAWAY does not end
// it: a client for HTTP/2 or gRPC tells its callers nothing of that.
//
// A gRPC stream that ends with its connection after a GOAWAY has not failed: a server that has
// waited for the stream has no other way to end it, and the caller gets the status UNAVAILABLE.
func (t *traffic) oneStreamHTTP2(to *target) {
	never := false // there is no connection to stay on
	defer func() {
		if never {
			<-t.ctx.Done()
		}
	}()
	begun := time.Now()
	h, err := t.dialHTTP2(to, 0)
	if err != nil {
		t.add(to, newConnection, begun, err, 0)
		return
	}
	defer h.close()
	begun = time.Now()
	req, err := to.newRequest(t.ctx)
	if err != nil {
		t.add(to, newConnection, begun, err, 0)
		return
	}
	resp, id, err := h.do(req)
	switch {
	case errors.Is(err, errLater):
		return
	case err != nil:
		t.add(to, newConnection, begun, err, 0)
		return
	}
	defer resp.Body.Close()
	t.add(to, stream, begun, notFound(resp.StatusCode), resp.StatusCode)
	defer t.opens(stream)()
	_, err = io.Copy(io.Discard, resp.Body)
	status, _, said := grpcStatus(resp)
	switch {
	case err != nil && to.grpc && h.frames.announced(id):
	case err != nil:
		t.add(to, stream, begun, h.frames.why(id, true, err), 0)
	case to.grpc && !said:
		t.add(to, stream, begun, errNoStatus, 0)
	case to.grpc && status == grpcUnimplemented:
		never = true
	}
}

// oneSlowHTTP2 calls sent when the request is sent, or cannot be.
func (t *traffic) oneSlowHTTP2(to *target, sent func()) (status int, err error) {
	sent = sync.OnceFunc(sent)
	defer sent()
	h, err := t.dialHTTP2(to, 0)
	if err != nil {
		return 0, err
	}
	defer h.close()
	wrote := httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { sent() }}
	return h.ask(httptrace.WithClientTrace(t.ctx, &wrote), t, to, slowTimeout)
}
