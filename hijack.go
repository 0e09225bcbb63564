package lastcall

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// hijackWriter is the ResponseWriter of a request whose handler may hijack the
// connection. It registers the hijacked connection with the server, until it is closed.
type hijackWriter struct {
	http.ResponseWriter
	server  *httpServer
	request *request
}

// Unwrap is for http.ResponseController.
func (w *hijackWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *hijackWriter) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

func (w *hijackWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	c := &hijackedConn{Conn: conn, server: w.server, name: w.request.name, start: time.Now()}
	w.server.mu.Lock()
	w.request.hijacked = true
	w.server.hijacked[c] = struct{}{}
	w.server.mu.Unlock()
	c.readNoMore()
	return c, rw, nil
}

// hijackedConn is a hijacked connection; the server notices when it is closed.
type hijackedConn struct {
	net.Conn
	server *httpServer
	name   string
	start  time.Time
	once   sync.Once
}

func (c *hijackedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		s := c.server
		p := phase(s.group.phase.Load())
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.hijacked, c)
		if p == interrupted {
			s.cutOff++
			s.oldestCut = max(s.oldestCut, time.Since(c.start))
		}
		s.changed()
	})
	return err
}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// readNoMore makes reads fail after Interrupt, whatever deadline the
// user has just set: a WebSocket library sets one before each message.
func (c *hijackedConn) readNoMore() {
	if c.server.interrupted.Load() {
		_ = c.Conn.SetReadDeadline(longAgo)
	}
}

func (c *hijackedConn) SetReadDeadline(t time.Time) error {
	defer c.readNoMore()
	return c.Conn.SetReadDeadline(t)
}

func (c *hijackedConn) SetDeadline(t time.Time) error {
	defer c.readNoMore()
	return c.Conn.SetDeadline(t)
}

// ReadFrom, WriteTo and CloseWrite pass on the connection's own methods, which proxies use.
func (c *hijackedConn) ReadFrom(r io.Reader) (int64, error) { return io.Copy(c.Conn, r) }

func (c *hijackedConn) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, c.Conn) }

func (c *hijackedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
