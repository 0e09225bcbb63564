package rehearse

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// exchange sends an HTTP/1.1 request and reads its answer. last reports that the server closes the
// connection now.
func (w *wire) exchange(to *target, request []byte) (status int, last bool, err error) {
	if _, err := w.Write(request); err != nil {
		// A server may answer and close without having read everything: then the answer counts.
		if status, last, answer := w.answer(to); answer == nil {
			return status, last, nil
		}
		return 0, false, err
	}
	return w.answer(to)
}

// answer reads an answer.
func (w *wire) answer(to *target) (status int, last bool, err error) {
	resp, err := w.header(to)
	if err != nil {
		return 0, false, err
	}
	defer resp.Body.Close()
	if _, err = io.Copy(io.Discard, resp.Body); err != nil {
		err = fmt.Errorf("%w: %w", errWithin, err)
	}
	return resp.StatusCode, resp.Close, err
}

// header reads the header of an answer, and skips interim ones such as 100 Continue.
func (w *wire) header(to *target) (*http.Response, error) {
	for {
		resp, err := http.ReadResponse(w.in, to.asked)
		switch {
		// It ended in the middle of a line, which is then reported as malformed.
		case err != nil && w.heard && w.err != nil:
			return nil, fmt.Errorf("%w: %w", errWithin, io.ErrUnexpectedEOF)
		case err != nil:
			return nil, err
		case resp.StatusCode >= http.StatusOK || resp.StatusCode == http.StatusSwitchingProtocols:
			return resp, nil
		}
	}
}

// askOnce connects for one request.
func (t *traffic) askOnce(to *target) {
	begun := time.Now()
	w, err := t.dial(to)
	if err != nil {
		t.add(to, newConnection, begun, err, 0)
		return
	}
	defer w.close()
	begun = time.Now()
	w.begin(requestTimeout)
	status, _, err := w.exchange(to, to.once)
	t.add(to, newConnection, begun, err, status)
}

// oneConnection asks repeatedly on one connection, with a pause in between, for as long as the
// server keeps it.
func (t *traffic) oneConnection(to *target, every time.Duration) {
	begun := time.Now()
	w, err := t.dial(to)
	if err != nil {
		t.add(to, newConnection, begun, err, 0)
		return
	}
	defer w.close()
	who := newConnection // until the first answer
	for ; ; who = keepAlive {
		switch w.idle(every) {
		case still:
		case spoke: // such as 408 before it closes
			if _, last, err := w.answer(to); err != nil || last {
				return
			}
		case closed:
			if who == keepAlive {
				t.closedUnannounced(keepAlive)
			}
			return
		}
		begun := time.Now()
		w.begin(requestTimeout)
		status, last, err := w.exchange(to, to.more)
		t.add(to, who, begun, err, status)
		if err != nil || last {
			return
		}
	}
}

// closedUnannounced records that a keep-alive connection was closed without an announcement in an
// answer.
func (t *traffic) closedUnannounced(as client) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopping && t.ctx.Err() == nil {
		t.unannounced[as]++
	}
}

// sendSlow sends the requests that take long, and describes them once they are sent.
func (t *traffic) sendSlow() string {
	var sent sync.WaitGroup
	var said []string
	for _, one := range t.targets {
		if one.Use != Slow {
			continue
		}
		said = append(said, fmt.Sprintf("%d requests for %s", slowRequests, one.url.RequestURI()))
		for range slowRequests {
			sent.Add(1)
			t.clients.Go(func() {
				begun := time.Now()
				ask := t.oneSlow
				if one.scheme == "h2c" {
					ask = t.oneSlowHTTP2
				}
				status, err := ask(one, sent.Done)
				t.add(one, slowRequest, begun, err, status)
			})
		}
	}
	sent.Wait()
	return strings.Join(said, ", ")
}

// acceptedWithin is how long a slow request may wait for the server to read it. A server that
// handles one request at a time reads it later. The bound is short: the stop signal waits for it.
const acceptedWithin = 250 * time.Millisecond

// oneSlow calls sent when the server has read the request, or will not read it soon.
func (t *traffic) oneSlow(to *target, sent func()) (status int, err error) {
	w, err := t.dial(to)
	if err != nil {
		sent()
		return 0, err
	}
	defer w.close()
	w.begin(slowTimeout)
	_, err = w.Write(to.once)
	for until := time.Now().Add(acceptedWithin); err == nil && !accepted(w.patient.Conn) && time.Now().Before(until); {
		if !pause(t.ctx, 5*time.Millisecond) {
			break
		}
	}
	sent()
	if err != nil {
		return 0, err
	}
	status, _, err = w.answer(to)
	return status, err
}
