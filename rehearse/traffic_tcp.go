package rehearse

import (
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"
)

// tcpLook is how long a client that has nothing to send checks that its connection stays open.
const tcpLook = 100 * time.Millisecond

// greet sends what there is to send on a new connection, and waits for the answer: as many bytes as
// are expected, or else the first one. With nothing to send and nothing to expect, the server only
// has to keep the connection open for a moment, whether it speaks first or not.
func (w *wire) greet(to *target) error {
	w.begin(requestTimeout)
	if to.Body == "" && to.Answer == "" {
		if w.idle(tcpLook) == closed {
			return w.err
		}
		return nil
	}
	if _, err := io.WriteString(w, to.Body); err != nil {
		return err
	}
	if to.Answer == "" {
		_, err := w.in.Peek(1)
		return err
	}
	return w.expect(to.Answer)
}

// maxShown bounds how much of a wrong answer is shown after its first wrong byte.
const maxShown = 80

// expect reads an answer up to the first byte that is not the expected one: a wrong answer may be
// shorter than the right one.
func (w *wire) expect(answer string) error {
	for i := range len(answer) {
		switch got, err := w.in.ReadByte(); {
		case err != nil && i > 0:
			return fmt.Errorf("%w: %w", errWithin, err)
		case err != nil:
			return err
		case got != answer[i]:
			rest, _ := w.in.Peek(min(w.in.Buffered(), maxShown)) // it has arrived
			return saidError(fmt.Sprintf("the answer begins with %q, and not with %q", answer[:i]+string([]byte{got})+string(rest), answer))
		}
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
