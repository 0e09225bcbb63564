package rehearse

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"syscall"
	"time"
)

// client is a sort of client.
type client string

const (
	newConnection client = "new connection"
	keepAlive     client = "keep-alive"
	slowRequest   client = "slow request"
)

// failure is why a request failed.
type failure string

const (
	refused    failure = "refused"     // nobody listened
	dropped    failure = "dropped"     // the connection ended before the answer had begun
	cut        failure = "cut off"     // it ended within the answer
	timedOut   failure = "timed out"   // no answer in requestTimeout
	serverSaid failure = "server said" // a status of 500 or above
	otherwise  failure = "failed"
)

// result is one request that failed.
type result struct {
	client     client
	begun, end time.Time
	failure    failure
	text       string
}

const (
	// requestTimeout is for how long a client waits for an answer.
	requestTimeout = 10 * time.Second
	// slowTimeout is the same for a request that takes long.
	slowTimeout = 2 * time.Minute
	// maxInFlight bounds the requests of new connections that are under way; what would come then is
	// not sent, and has failed.
	maxInFlight = 1000
	// keepAliveClients and keepAlivePause: each of so many clients asks again after so long.
	keepAliveClients = 2
	keepAlivePause   = 50 * time.Millisecond
	slowRequests     = 3
)

// traffic is what clients send to a program. Its owner calls stop, which waits for all of them.
type traffic struct {
	target *url.URL
	rate   int

	ctx     context.Context //nolint:containedctx // of all requests, which stop ends
	cancel  context.CancelFunc
	clients sync.WaitGroup
	gone    chan struct{} // closed when the endpoint is gone: nobody connects any more

	mu       sync.Mutex
	failed   []result
	answered int
	// stopping: the signal is sent. unannounced are the kept connections that the server has closed
	// since, without having said so in an answer.
	stopping    bool
	unannounced int
}

func newTraffic(target *url.URL, rate int) *traffic {
	t := &traffic{target: target, rate: rate, gone: make(chan struct{})}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.clients.Go(t.connect)
	for range keepAliveClients {
		t.clients.Go(t.keep)
	}
	return t
}

// signalled notes that the program is told to stop now.
func (t *traffic) signalled() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopping = true
}

// remove takes the endpoint away: no client connects any more, those that are connected stay.
func (t *traffic) remove() { close(t.gone) }

// stop ends what is still under way, and waits for it.
func (t *traffic) stop() {
	t.cancel()
	t.clients.Wait()
}

// add notes how a request ended; the status is 0 when no answer has begun. What the end of the rehearsal has cut is no failure.
func (t *traffic) add(c client, begun time.Time, err error, status int) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err != nil && t.ctx.Err() != nil:
	case err != nil:
		what := classify(err)
		if status != 0 && what == dropped {
			what = cut
		}
		t.failed = append(t.failed, result{c, begun, now, what, err.Error()})
	case status >= http.StatusInternalServerError:
		t.failed = append(t.failed, result{c, begun, now, serverSaid, fmt.Sprintf("%d %s", status, http.StatusText(status))})
	default:
		t.answered++
	}
}

// classify says what an error of a request is.
func classify(err error) failure {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return refused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return dropped
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return timedOut
	}
	return otherwise
}

// errTooMany is why a request was not sent.
var errTooMany = fmt.Errorf("not sent: %d requests were under way and not answered: give a smaller rate", maxInFlight)

// connect sends requests at a rate, each with a connection of its own, however long the ones before
// take, until the endpoint is gone.
func (t *traffic) connect() {
	ticker := time.NewTicker(time.Second / time.Duration(t.rate))
	defer ticker.Stop()
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	web := &http.Client{
		Transport: transport, Timeout: requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	places := make(chan struct{}, maxInFlight)
	for {
		select {
		case <-ticker.C:
		case <-t.gone:
			return
		case <-t.ctx.Done():
			return
		}
		select {
		case places <- struct{}{}:
			t.clients.Go(func() {
				defer func() { <-places }()
				begun := time.Now()
				status, err := t.get(web)
				t.add(newConnection, begun, err, status)
			})
		default:
			t.add(newConnection, time.Now(), errTooMany, 0)
		}
	}
}

func (t *traffic) get(web *http.Client) (status int, err error) {
	req, err := http.NewRequestWithContext(t.ctx, http.MethodGet, t.target.String(), http.NoBody)
	if err != nil {
		return 0, err
	}
	resp, err := web.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// dial opens a connection that ends with the traffic.
func (t *traffic) dial(host string) (net.Conn, func(), error) {
	conn, err := (&net.Dialer{Timeout: requestTimeout}).DialContext(t.ctx, "tcp", host)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(t.ctx, func() { _ = conn.Close() }) // which ends what is read and written
	return conn, func() { stop(); _ = conn.Close() }, nil
}

// isGone reports whether the endpoint is gone.
func (t *traffic) isGone() bool {
	select {
	case <-t.gone:
		return true
	case <-t.ctx.Done():
		return true
	default:
		return false
	}
}

// keep is a client that keeps its connection, asks again and again, and connects anew when the
// server has closed it, until the endpoint is gone.
func (t *traffic) keep() {
	for !t.isGone() {
		t.oneConnection()
		pause(t.ctx, keepAlivePause)
	}
}

// oneConnection asks on one connection for as long as the server keeps it.
func (t *traffic) oneConnection() {
	begun := time.Now()
	conn, closeConn, err := t.dial(t.target.Host)
	if err != nil {
		if !t.isGone() {
			t.add(keepAlive, begun, err, 0)
		}
		return
	}
	defer closeConn()
	answered := false // until then it is a connection like any new one
	for answers := bufio.NewReader(conn); pause(t.ctx, keepAlivePause); answered = true {
		if closedByPeer(conn, answers) {
			t.mu.Lock()
			defer t.mu.Unlock()
			if answered && t.stopping && t.ctx.Err() == nil {
				t.unannounced++
			}
			return
		}
		begun := time.Now()
		status, last, err := t.ask(conn, answers)
		who := keepAlive
		if !answered {
			who = newConnection
		}
		t.add(who, begun, err, status)
		if err != nil {
			return
		}
		if last {
			return
		}
	}
}

// ask sends a request and reads its answer; last says that the server closes the connection now.
func (t *traffic) ask(conn net.Conn, answers *bufio.Reader) (status int, last bool, err error) {
	if err := send(conn, t.target, requestTimeout); err != nil {
		return 0, false, err
	}
	return readAnswer(answers)
}

// send sends a request, whose answer is to be there in time.
func send(conn net.Conn, target *url.URL, timeout time.Duration) error {
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	_, err := io.WriteString(conn, "GET "+target.RequestURI()+" HTTP/1.1\r\nHost: "+target.Host+"\r\nUser-Agent: lastcall-rehearse\r\n\r\n")
	return err
}

func readAnswer(answers *bufio.Reader) (status int, last bool, err error) {
	resp, err := http.ReadResponse(answers, nil)
	if err != nil {
		return 0, false, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Close, err
}

// closedByPeer reports whether the server has closed a connection on which nothing is under way.
func closedByPeer(conn net.Conn, answers *bufio.Reader) bool {
	if conn.SetReadDeadline(time.Now().Add(time.Millisecond)) != nil {
		return true
	}
	_, err := answers.Peek(1)
	return err != nil && !errors.Is(err, context.DeadlineExceeded) && classify(err) != timedOut
}

// slow sends requests that take long, and returns when they are sent.
func (t *traffic) slow(target *url.URL) {
	var sent sync.WaitGroup
	for range slowRequests {
		sent.Add(1)
		t.clients.Go(func() {
			begun := time.Now()
			status, err := t.oneSlow(target, sent.Done)
			t.add(slowRequest, begun, err, status)
		})
	}
	sent.Wait()
}

// oneSlow calls sent when the request is sent, or cannot be.
func (t *traffic) oneSlow(target *url.URL, sent func()) (status int, err error) {
	conn, closeConn, err := t.dial(target.Host)
	if err != nil {
		sent()
		return 0, err
	}
	defer closeConn()
	err = send(conn, target, slowTimeout)
	sent()
	if err != nil {
		return 0, err
	}
	status, _, err = readAnswer(bufio.NewReader(conn))
	return status, err
}

// pause waits, and reports whether ctx lives on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
