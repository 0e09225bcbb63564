package rehearse

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // RFC 6455 requires it, and nothing depends on its strength
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// forever is how long a stream may last.
const forever = 24 * time.Hour

// hold keeps a client connected, and reconnects it after an end while the endpoint exists.
func (t *traffic) hold(to *target, one func(*target)) {
	for t.whenThere() {
		one(to)
		pause(t.ctx, keepAlivePause)
	}
}

// opens records that a client begins to stay connected, and returns the function that records its
// end.
func (t *traffic) opens(as client) (ends func()) {
	count := func(n int) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.open[as] += n
	}
	count(1)
	return func() { count(-1) }
}

// oneStream reads an endless answer for as long as the server sends it. A stream that ends as its
// protocol defines does not fail.
func (t *traffic) oneStream(to *target) {
	begun := time.Now()
	w, err := t.dial(to)
	if err != nil {
		t.add(to, newConnection, begun, err, 0)
		return
	}
	defer w.close()
	begun = time.Now()
	w.begin(requestTimeout)
	if _, err = w.Write(to.more); err != nil {
		t.add(to, newConnection, begun, err, 0)
		return
	}
	resp, err := w.header(to)
	if err != nil {
		t.add(to, newConnection, begun, err, 0)
		return
	}
	defer resp.Body.Close()
	t.add(to, stream, begun, notFound(resp.StatusCode), resp.StatusCode)
	defer t.opens(stream)()
	w.begin(forever)
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.add(to, stream, begun, fmt.Errorf("%w: %w", errWithin, err), 0)
	}
}

// notFound is the error of an answer that is no stream.
func notFound(status int) error {
	if status < http.StatusBadRequest {
		return nil
	}
	return saidError(fmt.Sprintf("%d %s, and no stream", status, http.StatusText(status)))
}

// WebSocket opcodes.
const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10
)

// errNoCloseFrame is the error of a WebSocket that ended without a close frame.
var errNoCloseFrame = fmt.Errorf("%w: the connection ended without a close frame", errWithin)

// oneWebSocket stays connected to a WebSocket until the server closes it.
func (t *traffic) oneWebSocket(to *target) {
	begun := time.Now()
	w, err := t.dial(to)
	if err != nil {
		t.add(to, newConnection, begun, err, 0)
		return
	}
	defer w.close()
	begun = time.Now()
	w.begin(requestTimeout)
	if err := w.upgrade(t.ctx, to); err != nil {
		var said statusError
		if errors.As(err, &said) && said >= http.StatusInternalServerError {
			t.add(to, newConnection, begun, nil, int(said))
			return
		}
		t.add(to, newConnection, begun, err, 0)
		return
	}
	t.add(to, webSocket, begun, nil, http.StatusSwitchingProtocols)
	defer t.opens(webSocket)()
	w.begin(forever)
	if err := w.untilClosed(); err != nil {
		t.add(to, webSocket, begun, fmt.Errorf("%w: %w", errNoCloseFrame, err), 0)
	}
}

// statusError is a status other than the expected one.
type statusError int

func (s statusError) Error() string {
	return fmt.Sprintf("the answer is %d %s, and no WebSocket", int(s), http.StatusText(int(s)))
}

// upgrade turns a connection into a WebSocket, as RFC 6455 defines.
func (w *wire) upgrade(ctx context.Context, to *target) error {
	var random [16]byte
	_, _ = rand.Read(random[:]) // it never fails
	key := base64.StdEncoding.EncodeToString(random[:])
	req, err := to.newRequest(ctx)
	if err != nil {
		return err
	}
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key,
	} {
		req.Header.Set(name, value)
	}
	if err := req.Write(w); err != nil {
		return err
	}
	resp, err := w.header(to)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return statusError(resp.StatusCode)
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // as above
	if got := resp.Header.Get("Sec-WebSocket-Accept"); got != base64.StdEncoding.EncodeToString(sum[:]) {
		return fmt.Errorf("the answer is 101, and its Sec-WebSocket-Accept is not that of the request: %q", got)
	}
	return nil
}

// untilClosed reads frames, and answers those that require it. It returns an error if the
// connection ends before a close frame has arrived.
func (w *wire) untilClosed() error {
	for {
		op, payload, err := readFrame(w.in)
		if err != nil {
			return err
		}
		switch op {
		case opPing:
			err = w.writeFrame(opPong, payload)
		case opClose:
			// Whether this answer arrives no longer matters: the WebSocket is closed.
			_ = w.writeFrame(opClose, payload[:min(len(payload), 2)])
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// maxControl is the longest payload of a control frame.
const maxControl = 125

// readHead reads the head of a frame, up to the payload.
func readHead(in *bufio.Reader) (op byte, length uint64, err error) {
	var head [2]byte
	if _, err = io.ReadFull(in, head[:]); err != nil {
		return 0, 0, err
	}
	op, length = head[0]&0x0f, uint64(head[1]&0x7f)
	if masked := head[1]&0x80 != 0; masked {
		return 0, 0, errors.New("a frame of the server is masked")
	}
	switch length {
	case 126:
		var more uint16
		err = binary.Read(in, binary.BigEndian, &more)
		length = uint64(more)
	case 127:
		err = binary.Read(in, binary.BigEndian, &length)
	}
	return op, length, err
}

// readFrame reads a frame. It returns the payload of control frames only.
func readFrame(in *bufio.Reader) (op byte, payload []byte, err error) {
	op, length, err := readHead(in)
	switch {
	case err != nil:
		return 0, nil, err
	case op < opClose:
		_, err = io.CopyN(io.Discard, in, int64(min(length, 1<<62))) //nolint:gosec // it fits
		return op, nil, err
	case length > maxControl:
		return 0, nil, fmt.Errorf("a control frame of %d bytes", length)
	}
	payload = make([]byte, length)
	_, err = io.ReadFull(in, payload)
	return op, payload, err
}

// writeFrame writes a frame with a payload of maxControl at most.
func (w *wire) writeFrame(op byte, payload []byte) error {
	frame := []byte{0x80 | op, 0x80 | byte(len(payload)), 0, 0, 0, 0} // masked with zeros
	_, err := w.Write(append(frame, payload...))
	return err
}
