package rehearse

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// kubelet is the version of the kubelet whose requests are imitated.
const kubelet = "1.37"

// maxBody is how much of an answer the kubelet reads.
const maxBody = 10 << 10

// answer is the result of one probe.
type answer int

const (
	// unknown is neither success nor failure: the command could not be run. The kubelet ignores it.
	unknown answer = iota
	yes
	no // a negative answer
	// silent is a failure without an answer: nobody listened, or it took too long.
	silent
)

// overtime is how much later than its timeout a request may end. If it ends later, this side was
// kept from its processor, and the answer is unknown.
const overtime = 100 * time.Millisecond

// ask probes a program once, and returns the answer, also in words.
func (p *program) ask(ctx context.Context, b *Probe) (answer, string) {
	began := time.Now()
	got, said := p.askOnce(ctx, b)
	if got == silent && b.Exec == nil && time.Since(began) > b.timeout()+overtime {
		return unknown, said
	}
	return got, said
}

func (p *program) askOnce(ctx context.Context, b *Probe) (answer, string) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout())
	defer cancel()
	switch {
	case b.HTTPGet != nil:
		status, err := b.HTTPGet.get(ctx, "kube-probe/"+kubelet)
		if err != nil {
			return silent, err.Error()
		}
		said := fmt.Sprintf("GET %s %d", b.HTTPGet.path(), status)
		if status < http.StatusOK || status >= http.StatusBadRequest {
			return no, said
		}
		return yes, said
	case b.TCP != 0:
		conn, err := dialLocal(ctx, "tcp", net.JoinHostPort(loopback, strconv.Itoa(b.TCP)))
		if err != nil {
			return silent, err.Error()
		}
		_ = conn.Close() // it was accepted
		return yes, fmt.Sprintf("port %d accepts", b.TCP)
	case b.GRPC != nil:
		return b.GRPC.check(ctx)
	}
	return p.askCommand(ctx, b.Exec)
}

// askCommand runs the command of a probe.
func (p *program) askCommand(ctx context.Context, argv []string) (answer, string) {
	cmd, err := p.exec(argv)
	if err != nil {
		return unknown, err.Error()
	}
	said, exit := strings.Join(argv, " "), new(exec.ExitError)
	switch err := runGroup(ctx, cmd); {
	case err == nil:
		return yes, said
	case ctx.Err() != nil:
		return silent, said + ": no end in time"
	case errors.As(err, &exit):
		return no, fmt.Sprintf("%s: %v", said, err)
	default:
		return unknown, err.Error()
	}
}

// loopback is the address at which the program is probed.
const loopback = "127.0.0.1"

// dialLocal dials the given address, or the other loopback address if nobody listens on that one.
func dialLocal(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := new(net.Dialer)
	conn, err := dialer.DialContext(ctx, network, address)
	if host, port, _ := net.SplitHostPort(address); errors.Is(err, syscall.ECONNREFUSED) && host == loopback {
		if other, otherErr := dialer.DialContext(ctx, network, net.JoinHostPort("::1", port)); otherErr == nil {
			return other, nil
		}
	}
	return conn, err
}

func (g *HTTPGet) url() string {
	host := g.Host
	if host == "" {
		host = loopback
	}
	scheme := strings.ToLower(g.Scheme)
	if scheme == "" {
		scheme = "http"
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(g.Port)) + g.path()
}

func (g *HTTPGet) path() string { return "/" + strings.TrimPrefix(g.Path, "/") }

// get sends the request as the kubelet does: it verifies no certificate, and follows redirects to
// the same host only.
func (g *HTTPGet) get(ctx context.Context, agent string) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.url(), http.NoBody)
	if err != nil {
		return 0, err
	}
	req.Header.Set("User-Agent", agent)
	req.Header.Set("Accept", "*/*")
	for name, values := range g.Header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	web := &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true, DisableCompression: true, DialContext: dialLocal,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // as the kubelet does
		},
		CheckRedirect: stayOnHost,
	}
	resp, err := web.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxBody))
	return resp.StatusCode, err
}

// maxRedirects is how many redirects the kubelet follows.
const maxRedirects = 10

func stayOnHost(req *http.Request, via []*http.Request) error {
	if req.URL.Hostname() != via[0].URL.Hostname() {
		return http.ErrUseLastResponse
	}
	if len(via) >= maxRedirects {
		return fmt.Errorf("%d redirects", maxRedirects)
	}
	return nil
}

// healthServing is the status SERVING of the gRPC health protocol.
const healthServing = 1

// check calls grpc.health.v1.Health/Check.
func (g *GRPC) check(ctx context.Context) (answer, string) {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols, DisableCompression: true, DialContext: dialLocal}
	defer transport.CloseIdleConnections()
	target := url.URL{Scheme: "http", Host: net.JoinHostPort(loopback, strconv.Itoa(g.Port)), Path: healthCheck}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), strings.NewReader(healthRequest(g.Service)))
	if err != nil {
		return unknown, err.Error()
	}
	req.Header = http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "User-Agent": {"kube-probe/" + kubelet}}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return silent, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return silent, err.Error()
	}
	code, message := resp.Trailer.Get("Grpc-Status"), resp.Trailer.Get("Grpc-Message")
	if code == "" { // an error comes without a message, and its status in the header
		code, message = resp.Header.Get("Grpc-Status"), resp.Header.Get("Grpc-Message")
	}
	if code != "0" {
		return no, strings.TrimSpace(fmt.Sprintf("gRPC health: status %q of the call %s", code, message))
	}
	if status := healthStatus(body); status != healthServing {
		return no, fmt.Sprintf("gRPC health: %d, not serving", status)
	}
	return yes, "gRPC health: serving"
}

// frameHead is the length of the prefix of a gRPC message: whether it is compressed, and its
// length.
const frameHead = 5

// healthRequest is a framed HealthCheckRequest: field 1 is the service.
func healthRequest(service string) string {
	var message []byte
	if service != "" {
		message = append(message, 1<<3|2)
		message = binary.AppendUvarint(message, uint64(len(service)))
		message = append(message, service...)
	}
	frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))) //nolint:gosec // of a name
	return string(append(frame, message...))
}

// healthStatus reads the status of a framed HealthCheckResponse, which is its field 1. If there is
// none, it is 0, which means unknown.
func healthStatus(body []byte) uint64 {
	if len(body) < frameHead {
		return 0
	}
	message := body[frameHead:]
	if len(message) < 2 || message[0] != 1<<3 {
		return 0
	}
	status, n := binary.Uvarint(message[1:])
	if n <= 0 {
		return 0
	}
	return status
}

// timeout is how long the kubelet waits for an answer.
func (b *Probe) timeout() time.Duration { return cmp.Or(b.Timeout, time.Second) }

// period is how often the kubelet runs the probe.
func (b *Probe) period() time.Duration { return cmp.Or(b.Period, 10*time.Second) }

// thresholds are how many equal answers in a row change the probe's result.
func (b *Probe) thresholds() (successes, failures int) {
	return cmp.Or(b.SuccessThreshold, 1), cmp.Or(b.FailureThreshold, 3)
}
