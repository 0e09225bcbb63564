package rehearse

import (
	"errors"
	"io"
	"syscall"
	"time"
)

// tcpLook is for how long a client without anything to say looks whether its connection stays.
const tcpLook = 100 * time.Millisecond

// greet says what there is to say on a new connection, and waits for the first byte of an answer.
// Without anything to say it is enough that the server keeps the connection for a moment, whether it
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

// oneTCP stays connected for as long as the server lets it. That it closes the connection is no
// failure: TCP has no other way to say goodbye.
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
