package rehearse

import (
	"errors"
	"io"
	"syscall"
	"time"
)

// tcpLook is how long a client that has nothing to send checks that its connection stays open.
const tcpLook = 100 * time.Millisecond

// greet sends what there is to send on a new connection, and waits for the first byte of an answer.
// With nothing to send, the server only has to keep the connection open for a moment, whether it
// speaks first or not.
func (w *wire) greet(to *target) error {
	w.begin(requestTimeout)
	if to.Body != "" {
		if _, err := io.WriteString(w, to.Body); err != nil {
			return err
		}
		_, err := w.in.Peek(1)
		return err
	}
	if w.idle(tcpLook) == closed {
		return w.err
	}
	return nil
}

// connectOnce connects by TCP.
func (t *traffic) connectOnce(to *target) {
	begun := time.Now()
	w, err := t.dial(to)
	if err != nil {
		t.add(to, newConnection, begun, err, 0)
		return
	}
	defer w.close()
	begun = time.Now()
	t.add(to, newConnection, begun, w.greet(to), 0)
}

// oneTCP stays connected until the server closes the connection. That is no failure: TCP has no
// other way to say goodbye.
func (t *traffic) oneTCP(to *target) {
	begun := time.Now()
	w, err := t.dial(to)
	if err != nil {
		t.add(to, newConnection, begun, err, 0)
		return
	}
	defer w.close()
	begun = time.Now()
	if err := w.greet(to); err != nil {
		t.add(to, newConnection, begun, err, 0)
		return
	}
	t.add(to, openConnection, begun, nil, 0)
	defer t.opens(openConnection)()
	w.begin(forever)
	if _, err := io.Copy(io.Discard, w.in); errors.Is(err, syscall.ECONNRESET) {
		t.add(to, openConnection, begun, err, 0)
	}
}
